//! The user's own SQL in one transaction with what the store records: an optional part of the contract.
//!
//! Invariants: an outcome is recorded once per operation, whichever attempt commits first, and only while its segment is
//! the run's open one. Neither an ownership nor an epoch is asked for: the outcome's row alone decides. A connection
//! travels as `dyn Any`, so that no type of a driver stands here.

use std::any::{Any, TypeId};
use std::time::Duration;

use async_trait::async_trait;

use super::{Result, RunRecord, StartRun};
use crate::history::OperationKey;
use crate::id::{Route, Segment, WorkflowId, WorkflowType};
use crate::identity::RunKind;
use crate::status::Status;

/// Is a connection to the store, of the type that [`Transactions::connection_type`] names.
pub type AnyConnection = dyn Any + Send;

/// Is the type of a store's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionType {
    /// Identifies it.
    pub id: TypeId,
    /// Is its name, for messages.
    pub name: &'static str,
}

impl ConnectionType {
    /// Returns the type `T`.
    #[must_use]
    pub fn of<T: Any + Send>() -> Self {
        Self {
            id: TypeId::of::<T>(),
            name: std::any::type_name::<T>(),
        }
    }
}

/// Names what an outcome belongs to. It names no attempt: the first that commits wins.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OutcomeKey {
    /// The run.
    pub run: WorkflowId,
    /// Its segment.
    pub segment: Segment,
    /// The operation.
    pub operation: OperationKey,
}

/// Answers a start inside the user's transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartedInside {
    /// The run comes with the commit of the transaction.
    New,
    /// A run with this id exists, or comes with the same transaction.
    Exists(ExistingRun),
}

/// Is what tells a repeated start from another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingRun {
    /// What it executes.
    pub kind: RunKind,
    /// Its type.
    pub workflow_type: WorkflowType,
    /// Hash of its arguments.
    pub fingerprint: [u8; 16],
    /// Where it stands.
    pub status: Status,
}

impl From<&RunRecord> for ExistingRun {
    fn from(run: &RunRecord) -> Self {
        Self {
            kind: run.kind,
            workflow_type: run.identity.workflow_type.clone(),
            fingerprint: run.fingerprint,
            status: run.status,
        }
    }
}

/// Answers the beginning of a transaction.
pub enum Begun {
    /// An outcome stands already; nothing is open.
    Recorded(Vec<u8>),
    /// Nothing stands yet; here is the transaction.
    Open(Box<dyn Transaction>),
}

impl std::fmt::Debug for Begun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Recorded(_) => "Recorded",
            Self::Open(_) => "Open",
        })
    }
}

/// Answers the end of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finished {
    /// The user's SQL and the outcome are committed.
    Recorded,
    /// Another attempt was first: all of this transaction was rolled back, and here is what stands.
    Adopted(Vec<u8>),
}

/// Runs the user's SQL and the store's own in one transaction.
///
/// A store that has no transactions to share has none of this: [`Backend::transactions`](super::Backend::transactions)
/// returns `None`, and workers with transactional tasks refuse to start on it.
#[async_trait]
pub trait Transactions: Send + Sync {
    /// Returns the type of the connections that users hold and that their tasks are given.
    fn connection_type(&self) -> ConnectionType;

    /// Returns how long a transaction may be open for the user's code; `None` for as long as its attempt may take.
    ///
    /// A store with one writer sets it: everybody else waits meanwhile.
    fn body_limit(&self) -> Option<Duration> {
        None
    }

    /// Starts a run inside the transaction that the user has open on `connection`: unowned and due, as
    /// [`State::start`](super::State::start) does without a lane.
    ///
    /// # Guarantees
    /// - The run and its turn 0 are there after the user's commit, and nothing of them after a rollback.
    /// - An id that is taken raises no error inside the transaction, which could go on otherwise on no store where an
    ///   error aborts it; a run of the same transaction counts as well.
    /// - A dropped call has left the run there whole, or nothing of it, whatever becomes of the transaction.
    /// - A connection to another database is `Invalid`, and nothing was written there.
    ///
    /// # Errors
    /// `Invalid` when the connection is of another type, or leads to another store; `Unavailable` when the database
    /// refuses a statement, or the transaction's isolation hides who has the id.
    async fn start_in(
        &self,
        connection: &mut AnyConnection,
        run: StartRun,
    ) -> Result<StartedInside>;

    /// Tells other processes that runs of `route` are due, after a commit that started one. Hints may be lost.
    async fn hint(&self, route: &Route);

    /// Begins a transaction for the user's code, unless an outcome stands already.
    ///
    /// # Cancel safety
    /// Dropped at any await, it leaves nothing open.
    ///
    /// # Errors
    /// `NotFound` or `Finished` when the segment is not the open one of a run; `Unavailable` when nothing could be begun.
    /// Nothing was applied in any case, so it can be asked again.
    async fn begin(&self, operation: OutcomeKey) -> Result<Begun>;

    /// Returns the outcome that stands, once no earlier [`Transaction::finish`] of that operation can change the answer:
    /// one whose commit was not answered is waited for, or known to be over.
    ///
    /// # Errors
    /// Only when the backend cannot be reached.
    async fn recorded(&self, operation: &OutcomeKey) -> Result<Option<Vec<u8>>>;
}

/// Is a transaction that is open for the user's code. Dropped before its end it is rolled back: none outlives the future
/// that holds it.
#[async_trait]
pub trait Transaction: Send {
    /// Returns the connection, for the user's SQL.
    fn connection(&mut self) -> &mut AnyConnection;

    /// Records the outcome as the last statement and commits.
    ///
    /// # Guarantees
    /// - The user's SQL and the outcome stand together, or nothing of either does.
    /// - Where an outcome stands already, everything is rolled back and that one is the answer.
    /// - Nothing is recorded for a segment that is no longer the run's open one, whose outcomes are gone: an attempt that
    ///   was paused for longer than its run lived would do its work a second time.
    ///
    /// # Errors
    /// `Unclear` when the commit was sent and not answered: ask [`Transactions::recorded`] until that is answered. Every
    /// other kind says that all was rolled back: `Finished` as the run has ended, `Invalid` as the user's code ended the
    /// transaction or the database refuses what it wrote, `Unavailable` for the rest.
    async fn finish(self: Box<Self>, outcome: Vec<u8>) -> Result<Finished>;
}
