//! What clients and workers of one process tell each other without asking the backend.
//!
//! Invariants: everything here is a shortcut; each works without it, by a beat or a poll later. Nothing is told before
//! it is durable.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{mpsc, oneshot, watch};

use crate::backend::{Arrival, Result as BackendResult, StartRun, Started};
use crate::history::{Event, Outcome};
use crate::id::{Route, WorkerId, WorkflowId};
use crate::map::Map;
use crate::worker::lane::LaneInput;

/// Tells who waits for a run of this process how it ended.
pub(crate) type EndCell = watch::Sender<Option<Outcome>>;

/// Asks a worker to start a run that it then owns.
#[derive(Debug)]
pub(crate) struct StartHere {
    pub(crate) run: StartRun,
    pub(crate) first: Event,
    pub(crate) reply: oneshot::Sender<BackendResult<Started>>,
}

/// Is a worker as clients of its process see it.
#[derive(Debug, Clone)]
pub(crate) struct WorkerLink {
    pub(crate) worker: WorkerId,
    pub(crate) routes: Arc<BTreeSet<Route>>,
    pub(crate) starts: mpsc::UnboundedSender<StartHere>,
    pub(crate) lane: mpsc::UnboundedSender<LaneInput>,
    pub(crate) nudge: Arc<tokio::sync::Notify>,
}

/// Links the clients and workers of one connection.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    workers: Mutex<Vec<WorkerLink>>,
    ends: Mutex<Map<WorkflowId, Weak<EndCell>>>,
}

impl Hub {
    pub(crate) fn add(&self, link: WorkerLink) {
        self.workers().push(link);
    }

    pub(crate) fn remove(&self, worker: WorkerId) {
        self.workers().retain(|link| link.worker != worker);
    }

    /// Takes note that a worker joined again under a new id.
    pub(crate) fn rename(&self, before: WorkerId, after: WorkerId) {
        for link in self.workers().iter_mut() {
            if link.worker == before {
                link.worker = after;
            }
        }
    }

    /// Finds a worker that can execute the route.
    pub(crate) fn worker_for(&self, route: &Route) -> Option<WorkerLink> {
        self.workers()
            .iter()
            .find(|link| link.routes.contains(route))
            .cloned()
    }

    /// Tells the owner of a run what arrived for it, or every worker that something unowned is due.
    pub(crate) fn arrived(
        &self,
        run: &WorkflowId,
        owner: Option<WorkerId>,
        arrival: Option<Arrival>,
    ) {
        let workers = self.workers();
        match owner {
            Some(owner) => {
                let link = workers.iter().find(|link| link.worker == owner);
                if let Some(link) = link {
                    drop(link.lane.send(LaneInput::Arrived(run.clone(), arrival)));
                }
            }
            None => workers.iter().for_each(|link| link.nudge.notify_one()),
        }
    }

    /// Tells every worker that something unowned is due.
    pub(crate) fn nudge(&self) {
        self.workers()
            .iter()
            .for_each(|link| link.nudge.notify_one());
    }

    /// Returns the cell that will hold the end of a run.
    pub(crate) fn watch(&self, run: &WorkflowId) -> Arc<EndCell> {
        let mut ends = self.ends();
        if let Some(cell) = ends.get(run).and_then(Weak::upgrade) {
            return cell;
        }
        let cell = Arc::new(watch::Sender::new(None));
        ends.insert(run.clone(), Arc::downgrade(&cell));
        cell
    }

    /// Forgets the cell of a run when nobody holds it any more.
    pub(crate) fn unwatch(&self, run: &WorkflowId) {
        let mut ends = self.ends();
        if ends.get(run).is_some_and(|cell| cell.strong_count() == 0) {
            ends.remove(run);
        }
    }

    /// Tells who waits that a run has ended, durably.
    pub(crate) fn ended(&self, run: &WorkflowId, outcome: Outcome) {
        let cell = self.ends().remove(run).and_then(|cell| cell.upgrade());
        if let Some(cell) = cell {
            cell.send_replace(Some(outcome));
        }
    }

    fn workers(&self) -> MutexGuard<'_, Vec<WorkerLink>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends(&self) -> MutexGuard<'_, Map<WorkflowId, Weak<EndCell>>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
