//! Due runs, found by one probe of an index per route.
//!
//! Invariants: runs of other routes, parked runs and runs that the asking build blocked are never looked at, so that
//! they cost nothing however many there are.

use async_trait::async_trait;
use longhaul_core::backend::{Due, PAGE_MAX, Result, Serves, Timers};
use longhaul_core::clock::Timestamp;

use crate::MemoryBackend;
use crate::store::{RunNumber, Store};

#[async_trait]
impl Timers for MemoryBackend {
    async fn due(&self, serves: &Serves) -> Result<Due> {
        Ok(self.apply(|store, now| due(store, serves, now)))
    }
}

/// Counts due runs, and tells when the next one is due.
pub(crate) fn due(store: &Store, serves: &Serves, now: Timestamp) -> Due {
    let next_of_route = |route| {
        let unblocked = store.wakes(route)?.get(&None)?;
        let next = unblocked.range((now, RunNumber::MAX)..).next()?;
        Some(next.0)
    };
    Due {
        now: due_runs(store, serves, now, PAGE_MAX).len(),
        next: serves.routes.iter().filter_map(next_of_route).min(),
    }
}

/// Returns up to `limit` due runs, the oldest due first.
pub(crate) fn due_runs(
    store: &Store,
    serves: &Serves,
    now: Timestamp,
    limit: usize,
) -> Vec<RunNumber> {
    let mut found = Vec::new();
    for wakes in serves.routes.iter().filter_map(|route| store.wakes(route)) {
        let build = Some(&serves.build);
        let others = wakes.iter().filter(|(by, _)| by.as_ref() != build);
        for (_, of_build) in others {
            found.extend(of_build.range(..=(now, RunNumber::MAX)).take(limit));
        }
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(limit);
    found.into_iter().map(|(_, number)| number).collect()
}
