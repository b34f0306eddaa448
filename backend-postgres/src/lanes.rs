//! The numbers of lanes, which keep late statements out.
//!
//! Invariants: after an unclear answer the number of the lane is raised before anything else is sent through it. A
//! statement that comes late then finds no fence row, or has ended before the raise, which waited for it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use longhaul_core::backend::{Kind, Lane};
use longhaul_core::id::WorkerId;

use crate::Store;
use crate::error::{Failure, Result};
use crate::row::uuid;
use crate::session::arguments;

/// Is the lane of claims, which is no worker's own.
const CLAIMS: i32 = -1;

const RAISE: &str =
    "update longhaul.fence set n = n + 1 where worker = $1 and lane = $2 returning n";

/// Names a fence row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fence {
    pub(crate) worker: WorkerId,
    pub(crate) lane: i32,
}

impl Fence {
    pub(crate) fn of(lane: Lane) -> Self {
        Self {
            worker: lane.worker,
            lane: i32::from(lane.number),
        }
    }

    pub(crate) const fn of_claims(worker: WorkerId) -> Self {
        Self {
            worker,
            lane: CLAIMS,
        }
    }
}

/// Remembers the numbers of the lanes that this handle uses.
#[derive(Debug, Default)]
pub(crate) struct Lanes(Mutex<HashMap<Fence, i64>>);

impl Lanes {
    fn get(&self, fence: Fence) -> Option<i64> {
        let lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.get(&fence).copied()
    }

    /// Notes the number of a lane; none when it has to be raised before the next statement.
    pub(crate) fn set(&self, fence: Fence, n: Option<i64>) {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match n {
            Some(n) => lanes.insert(fence, n),
            None => lanes.remove(&fence),
        };
    }

    /// Forgets a worker.
    pub(crate) fn forget(&self, worker: WorkerId) {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|fence, _| fence.worker != worker);
    }
}

impl Store {
    /// Returns the number that a statement through the lane has to name.
    pub(crate) async fn lane_number(&self, fence: Fence) -> Result<i64> {
        match self.lanes.get(fence) {
            Some(n) => Ok(n),
            None => self.raise(fence).await,
        }
    }

    /// Raises the number of a lane: statements that were sent before find nothing any more.
    async fn raise(&self, fence: Fence) -> Result<i64> {
        let arguments = arguments!(uuid(fence.worker.0), fence.lane);
        let rows = self.session.ask(RAISE, arguments).await?;
        let row = rows.first().ok_or(Failure::WorkerDead(fence.worker))?;
        let n = sqlx::Row::try_get(row, "n")?;
        self.lanes.set(fence, Some(n));
        Ok(n)
    }

    /// Notes what an answer says of the lane that it came through, and passes it on.
    pub(crate) fn noted<T>(&self, fence: Fence, answer: Result<T>) -> Result<T> {
        if let Err(failure) = &answer
            && failure.kind() == Kind::Unclear
        {
            self.lanes.set(fence, None);
        }
        answer
    }
}
