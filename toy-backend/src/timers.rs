//! When runs that nobody owns are due.
//!
//! Invariants: one question, [`Run::wakes_for`], decides for acquiring, beats and timers alike.

use async_trait::async_trait;
use longhaul_core::backend::{Due, PAGE_MAX, Result, Serves, Timers};
use longhaul_core::clock::Timestamp;
use longhaul_core::status::Status;

use crate::ToyBackend;
use crate::store::{Run, Store};

#[async_trait]
impl Timers for ToyBackend {
    async fn due(&self, serves: &Serves) -> Result<Due> {
        Ok(self.read(|store, now| store.due(serves, now)))
    }
}

impl Store {
    pub(crate) fn due(&self, serves: &Serves, now: Timestamp) -> Due {
        let times = || self.runs.values().filter_map(|run| run.wakes_for(serves));
        Due {
            now: times().filter(|time| *time <= now).take(PAGE_MAX).count(),
            next: times().filter(|time| *time > now).min(),
        }
    }
}

impl Run {
    /// Returns when such a worker may take the run; none when it may not.
    pub(crate) fn wakes_for(&self, serves: &Serves) -> Option<Timestamp> {
        let run = &self.record;
        let is_free =
            run.owner.is_none() && run.status != Status::Paused && !run.status.is_terminal();
        let is_blocked = run
            .blocked
            .as_ref()
            .is_some_and(|(_, build)| *build == serves.build);
        let is_served = serves.routes.contains(&run.route) && !is_blocked;
        run.wake_at.filter(|_| is_free && is_served)
    }
}
