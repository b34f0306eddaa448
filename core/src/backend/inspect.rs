//! The read side: what is there, for clients, tools and tests.

use async_trait::async_trait;

use super::{
    HistoryRequest, ListRequest, QueueRecord, Result, RunFilter, RunRecord, RunState, WorkerRecord,
};
use crate::history::StoredTurn;
use crate::id::{DataKey, WorkflowId};
use crate::payload::Payload;

/// Reads without changing anything.
#[async_trait]
pub trait Inspect: Send + Sync {
    /// Returns the row of a run.
    ///
    /// # Errors
    /// `Corrupt` when it cannot be read.
    async fn run(&self, run: &WorkflowId) -> Result<Option<RunRecord>>;

    /// Returns how runs stand, in the order asked for; none for an unknown run.
    ///
    /// # Errors
    /// `Corrupt` when one cannot be read.
    async fn states(&self, runs: &[WorkflowId]) -> Result<Vec<Option<RunState>>>;

    /// Returns a page of runs in the order of their ids (by bytes).
    ///
    /// # Guarantees
    /// - Paging by the last id misses no run that was there all the time, also when others are started meanwhile.
    ///
    /// # Errors
    /// `Invalid` when the limit is 0 or above the largest page.
    async fn list(&self, request: ListRequest) -> Result<Vec<RunRecord>>;

    /// Counts runs.
    ///
    /// # Errors
    /// Only when the backend cannot be reached.
    async fn count(&self, filter: &RunFilter) -> Result<u64>;

    /// Returns a page of a history in the order of its turns; nothing for a segment that was never opened.
    ///
    /// # Errors
    /// `NotFound` for an unknown run, `Invalid` for a bad limit.
    async fn history(&self, request: HistoryRequest) -> Result<Vec<StoredTurn>>;

    /// Returns a value of the workflow data of a run.
    ///
    /// # Errors
    /// `NotFound` for an unknown run.
    async fn data(&self, run: &WorkflowId, key: &DataKey) -> Result<Option<Payload>>;

    /// Returns all workflow data of a run, in the order of its keys.
    ///
    /// # Errors
    /// `NotFound` for an unknown run.
    async fn all_data(&self, run: &WorkflowId) -> Result<Vec<(DataKey, Payload)>>;

    /// Returns the registered workers in the order of their ids.
    ///
    /// # Errors
    /// Only when the backend cannot be reached.
    async fn workers(&self) -> Result<Vec<WorkerRecord>>;

    /// Returns the task queues that hold something, in the order of their names.
    ///
    /// # Errors
    /// Only when the backend cannot be reached.
    async fn queues(&self) -> Result<Vec<QueueRecord>>;
}
