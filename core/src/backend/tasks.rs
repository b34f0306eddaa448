//! Task queues: attempts that any worker which serves the queue may execute.

use async_trait::async_trait;

use super::{AttemptReport, ClaimRequest, QueuedAttempt, Reported, Result};
use crate::id::WorkerId;

/// Hands queued attempts to workers. They are put in by [`State::commit`](super::State::commit), and taken back from
/// the dead by [`State::take_over`](super::State::take_over): a claim belongs to its worker's lease.
#[async_trait]
pub trait Tasks: Send + Sync {
    /// Claims due attempts, in each queue higher priority first, then earlier due, then in the order they were put in.
    /// One without a time is due since it was put in.
    ///
    /// # Guarantees
    /// - An attempt is claimed by one worker.
    /// - No more than the free slots of its queue, and only tasks that the worker can run.
    /// - Attempts of finished runs are not handed out.
    /// - An attempt that is in its queue already, claimed or not, is not put in twice. Its run, segment, operation and
    ///   number are what it is known by.
    ///
    /// # Errors
    /// `WorkerDead` when the worker is not registered.
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<QueuedAttempt>>;

    /// Lists the attempts that the worker has claimed, in the order they were put in: for a worker that was not told
    /// what it claimed, as an answer was lost.
    ///
    /// # Errors
    /// Only when the backend cannot be reached.
    async fn claimed(&self, worker: WorkerId) -> Result<Vec<QueuedAttempt>>;

    /// Takes claimed attempts off their queues and puts their outcomes into inboxes, each both or neither; answers in
    /// order.
    ///
    /// # Guarantees
    /// - `Stale` when the worker no longer has the claim, the attempt was withdrawn, or the run is finished.
    /// - The same [`WriteId`](crate::id::WriteId) again is `Accepted` again and changes nothing, as long as the run's
    ///   segment is open. It is asked first: the claim is gone by then.
    /// - The arrival is a `TaskOutcome` that is named after the operation and has the report's content. A seal or a full
    ///   inbox does not refuse it.
    ///
    /// # Errors
    /// Only when the backend cannot be reached.
    async fn report(&self, reports: Vec<AttemptReport>) -> Result<Vec<Reported>>;
}
