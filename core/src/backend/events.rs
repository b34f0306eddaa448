//! What reaches a run from elsewhere, and hints that something did.

use async_trait::async_trait;

use super::{Arrival, ArriveRequest, Arrived, HintStream, Result};
use crate::id::{ArrivalNumber, WorkerId, WorkflowId};

/// Carries arrivals to runs.
///
/// # Cancel safety
/// Every method may be dropped at any await: what it asked for is then applied whole or not at all.
#[async_trait]
pub trait Events: Send + Sync {
    /// Puts arrivals into inboxes; answers in the order of the requests.
    ///
    /// # Guarantees
    /// - Arrivals of a run are numbered densely from 1 in the order of acceptance.
    /// - An accepted arrival sets `wake_at` to now unless it is earlier, whether the run is owned or not. So an unowned
    ///   run is due, and the next beat of an owner names the run. A paused run has no `wake_at`, and gets none.
    /// - The same [`WriteId`](crate::id::WriteId) again gives the first answer's number and changes nothing, as long as
    ///   the segment is open.
    /// - A finished run refuses, repeated arrivals too. A repeated arrival is answered also by a sealed run and by a full
    ///   inbox.
    /// - What has no sender to ask again is never `Sealed` or `Full`: messages of the outbox, outcomes of queued
    ///   attempts, and attempts that were lost. They do not come through this method.
    ///
    /// # Errors
    /// Only when the backend cannot be reached.
    async fn arrive(&self, arrivals: Vec<ArriveRequest>) -> Result<Vec<Arrived>>;

    /// Reads arrivals of owned runs after the given numbers; runs that the worker does not own are left out, and those
    /// with nothing to read may be.
    ///
    /// # Errors
    /// Only when the backend cannot be reached.
    async fn inbox(
        &self,
        worker: WorkerId,
        runs: Vec<(WorkflowId, ArrivalNumber)>,
    ) -> Result<Vec<(WorkflowId, Vec<Arrival>)>>;

    /// Moves up to `limit` messages from the outbox to inboxes and returns how many it moved. A message to a run that is
    /// finished or unknown is dropped, and counts as moved.
    ///
    /// # Guarantees
    /// - Each message arrives once, in the order of one sender's commits: leaving the outbox and coming into the inbox
    ///   are one write, or the inbox knows the message by its [`WriteId`](crate::id::WriteId).
    ///
    /// # Errors
    /// Only when the backend cannot be reached.
    async fn deliver(&self, limit: usize) -> Result<usize>;

    /// Opens a stream of hints that starts now.
    fn hints(&self) -> Box<dyn HintStream>;
}
