//! The few things that can go wrong in memory.
//!
//! Invariants: nothing that failed was applied.

use longhaul_core::backend::{Error, Kind, PAGE_MAX};
use longhaul_core::id::{WorkerId, WorkflowId};

/// Makes the error of a worker that is not registered.
pub(crate) fn worker_dead(worker: WorkerId) -> Error {
    let message = format!("worker {worker} is not registered, or was declared dead");
    Error::new(Kind::WorkerDead, message)
}

/// Makes the error of a run that is not there.
pub(crate) fn unknown_run(run: &WorkflowId) -> Error {
    Error::new(Kind::NotFound, format!("there is no run `{run}`"))
}

/// Makes the error of a page that is too small or too large.
pub(crate) fn wrong_page(limit: usize) -> Error {
    let message = format!("a page of {limit} is not possible; it has 1 to {PAGE_MAX} entries");
    Error::new(Kind::Invalid, message)
}
