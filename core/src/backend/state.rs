//! Who owns which run, and the one place where an owned run changes.

use async_trait::async_trait;

use super::{
    AcquireRequest, AcquiredRun, Beat, BeatRequest, JoinRequest, Lane, Result, StartRun, Started,
    TakeOverRequest, TakenOver, TurnCommit, Verdict,
};
use crate::id::{Epoch, WorkerId, WorkflowId};

/// Starts, owns and advances runs.
///
/// # Cancel safety
/// Every method may be dropped at any await: what it asked for is then applied whole or not at all.
#[async_trait]
pub trait State: Send + Sync {
    /// Registers a worker with a lease that starts now.
    ///
    /// # Guarantees
    /// - Asking again with the same id extends the lease and changes nothing else.
    ///
    /// # Errors
    /// `WorkerDead` when that id was declared dead in the last 30 days or more; each start of a worker draws a new one.
    async fn join(&self, request: JoinRequest) -> Result<()>;

    /// Extends the lease if asked to and tells what there is to do.
    ///
    /// # Guarantees
    /// - A worker that was declared dead gets `WorkerDead`, also when its lease was not over.
    /// - Runs blocked by the asking build are not counted as due.
    /// - Reads only, when no extension is asked for.
    /// - A worker that is not registered, as it never joined or left, gets `WorkerDead` too.
    /// - Peers are the other workers that joined with a task and are not among the dead of the same answer.
    ///
    /// # Errors
    /// `WorkerDead`.
    async fn beat(&self, request: BeatRequest) -> Result<Beat>;

    /// Takes a worker off the register. Runs and attempts that it still has are freed as after its death. Its id is not
    /// used again; a backend may refuse it or not.
    ///
    /// # Errors
    /// Only when the backend cannot be reached; a worker that is not registered is no error.
    async fn leave(&self, worker: WorkerId) -> Result<()>;

    /// Declares workers dead whose lease is over (or whose file lock is free), and frees what they had.
    ///
    /// # Guarantees
    /// - A lease is over when the clock is past its end; until somebody takes over, its worker may go on and extend it.
    ///   Any request of a worker whose lease is not over may extend it as well.
    /// - A forced worker that is not registered is passed over.
    /// - A freed run is due now and unsealed, its status and epoch are as they were, its `lost` count has grown by one,
    ///   or is 1 when it appended a turn since it was last lost or given up (turn 0, which comes with the start, is none).
    /// - A freed attempt leaves its queue and reaches its run as an `AttemptLost` arrival. The backend makes up its name,
    ///   as nobody asks again.
    /// - Nothing that the dead worker asks for later is accepted.
    ///
    /// # Errors
    /// Only when the backend cannot be reached.
    async fn take_over(&self, request: TakeOverRequest) -> Result<TakenOver>;

    /// Starts runs; answers in the order of the requests.
    ///
    /// With a lane, its worker owns the new runs in epoch 1 (status `Running`); without one they are due now
    /// (`Pending`, epoch 0).
    ///
    /// # Guarantees
    /// - One run per id, whoever asks, however often and at the same time.
    /// - The record of turn 0 is stored with the run; its first event has number 0.
    ///
    /// # Errors
    /// `WorkerDead` when the lane's worker is not registered.
    async fn start(&self, lane: Option<Lane>, runs: Vec<StartRun>) -> Result<Vec<Started>>;

    /// Takes ownership of due runs that the worker can execute, oldest due first.
    ///
    /// # Guarantees
    /// - A run is taken by one worker; its epoch grows by one, its status is `Running`, its `wake_at` and what it says
    ///   of being blocked are cleared, its seal is lifted.
    /// - A run that the build blocked is not taken.
    /// - History and inbox are those at the moment of taking, or later.
    ///
    /// # Errors
    /// `WorkerDead` when the lane's worker is not registered.
    async fn acquire(&self, request: AcquireRequest) -> Result<Vec<AcquiredRun>>;

    /// Reads a run that the worker owns anew, with history and unread arrivals; none when it does not own it in `epoch`.
    ///
    /// # Errors
    /// Only when the backend cannot be reached.
    async fn reload(
        &self,
        worker: WorkerId,
        run: &WorkflowId,
        epoch: Epoch,
    ) -> Result<Option<AcquiredRun>>;

    /// Lists the runs that the worker owns, with their epochs, in the order of their ids: for a worker that was not told
    /// what it came to own, as an answer was lost.
    ///
    /// # Errors
    /// Only when the backend cannot be reached.
    async fn owned(&self, worker: WorkerId) -> Result<Vec<(WorkflowId, Epoch)>>;

    /// Appends turns to owned runs; answers in the order of the requests. A run occurs at most once.
    ///
    /// # Guarantees
    /// - Each turn is applied whole or not at all, and a bad one spoils no other.
    /// - A turn whose [`WriteId`](crate::id::WriteId) was committed already in this run is `Committed` again and changes
    ///   nothing, also when the ownership has ended since. One that appends no turn is known until the run's next one of
    ///   that kind. This is asked first: the turn would be `Lost` otherwise.
    /// - `Lost` unless the lane's worker owns the run in that segment and epoch and the turn before is the last one.
    /// - `Park` and `End` are `Unread` when the run has arrivals after the last one read.
    /// - After `Pause` the run is `Paused`: it is never due and never acquired, whatever arrives, and its queued attempts
    ///   that nobody has claimed are neither handed out nor counted until another update follows; then they are where
    ///   they were.
    /// - `Append` changes nothing of the run row that is shown. Every other update raises `read`, which never goes back.
    /// - `Drain` clears `wake_at` when nothing is unread, and leaves it otherwise.
    /// - After `Park` the run is `Waiting`, after `Release` `Waiting` and due now, after `Block` `Blocked` and due now
    ///   for other builds, after `End` finished and never due; in each case unowned, unsealed, with `lost` 0.
    /// - A seal outlasts later drains, with or without a seal of their own.
    /// - Attempts are withdrawn before those of the turn are put in.
    /// - Workflow data and messages in the outbox outlive the end; queued attempts do not.
    ///
    /// # Errors
    /// `WorkerDead` when the lane's worker is not registered; then nothing was written, unless the same write was
    /// committed before.
    async fn commit(&self, lane: Lane, turns: Vec<TurnCommit>) -> Result<Vec<Verdict>>;

    /// Appends turns to open runs that nobody owns, for those who control them from outside; answers in the order of the
    /// requests. A run occurs at most once. Each turn appends an event and gives the run up (see
    /// [`RunUpdate::gives_up`](super::RunUpdate::gives_up)); another one may be refused or not.
    ///
    /// # Guarantees
    /// - As [`State::commit`], with two differences: `Lost` unless nobody owns the run, it is open, stands in that segment
    ///   and epoch, and the turn before is the last one; and `lost` stays as it is, as no owner has seen the losses yet.
    /// - Of several edits of one run at the same time one is committed, and none while a worker acquires it.
    ///
    /// # Errors
    /// Only when the backend cannot be reached.
    async fn edit(&self, turns: Vec<TurnCommit>) -> Result<Vec<Verdict>>;
}
