//! When runs that nobody owns are due.

use async_trait::async_trait;
use longhaul_core::backend::{Due, PAGE_MAX, Result, Serves, Timers};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::WorkflowId;

use crate::MemoryBackend;
use crate::store::{Run, Store};

#[async_trait]
impl Timers for MemoryBackend {
    async fn due(&self, serves: &Serves) -> Result<Due> {
        Ok(self.store().due(serves, self.now()))
    }
}

impl Store {
    pub(crate) fn due(&self, serves: &Serves, now: Timestamp) -> Due {
        let next = serves
            .routes
            .iter()
            .filter_map(|route| {
                self.due_of(route)
                    .find(|(wake_at, run)| *wake_at > now && is_fit(run, serves))
                    .map(|(wake_at, _)| wake_at)
            })
            .min();
        Due {
            now: self.due_runs(serves, now, PAGE_MAX).len(),
            next,
        }
    }

    /// Returns up to `limit` due runs, the oldest due first.
    pub(crate) fn due_runs(
        &self,
        serves: &Serves,
        now: Timestamp,
        limit: usize,
    ) -> Vec<WorkflowId> {
        let mut found: Vec<(Timestamp, WorkflowId)> = Vec::new();
        for route in &serves.routes {
            let due = self
                .due_of(route)
                .take_while(|(wake_at, _)| *wake_at <= now)
                .filter(|(_, run)| is_fit(run, serves))
                .take(limit)
                .map(|(wake_at, run)| (wake_at, run.record.identity.workflow_id.clone()));
            found.extend(due);
        }
        found.sort_unstable();
        found.truncate(limit);
        found.into_iter().map(|(_, id)| id).collect()
    }
}

fn is_fit(run: &Run, serves: &Serves) -> bool {
    run.record
        .blocked
        .as_ref()
        .is_none_or(|(_, build)| *build != serves.build)
}
