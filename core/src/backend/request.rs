//! The requests and answers of the contract, one struct each.
//!
//! Data only. Records of turns and bodies of arrivals are opaque bytes to a backend.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::history::{OperationKey, StoredTurn};
use crate::id::{
    ArrivalNumber, BuildId, DataKey, Epoch, QueueName, Route, Segment, TaskName, TurnNumber,
    WorkerId, WorkflowId, WorkflowType, WriteId,
};
use crate::identity::{RunKind, WorkflowIdentity};
use crate::payload::Payload;
use crate::status::Status;

/// Is the number of partitions of a store that does not say otherwise.
pub const PARTITIONS_DEFAULT: u16 = 16;

/// Is the largest page that an inspection returns.
pub const PAGE_MAX: usize = 1_000;

/// Tells what was fixed when a store was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreInfo {
    /// Keys the hashes that compare arguments; drawn at random when the store was made.
    pub hash_key: [u8; 16],
    /// How many partitions runs are spread over.
    pub partitions: u16,
}

/// Names one stream of statements of a worker; a lane has one request in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane {
    /// The worker.
    pub worker: WorkerId,
    /// Which of its lanes.
    pub number: u16,
}

/// Says what a worker can execute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serves {
    /// Routes of runs.
    pub routes: Vec<Route>,
    /// Tasks that it can run from queues.
    pub tasks: Vec<TaskName>,
    /// Queues that it takes tasks from.
    pub queues: Vec<QueueName>,
    /// Its build; a run that this build blocked is not due for it.
    pub build: BuildId,
}

/// Registers a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// Its new id.
    pub worker: WorkerId,
    /// How long it owns its runs after each extension.
    pub lease: Duration,
    /// How many lanes it commits through.
    pub lanes: u16,
    /// What it can execute; stored, so that tools without the code know it.
    pub serves: Serves,
    /// A name for people: host and process.
    pub label: String,
}

/// Asks once a second for everything a worker needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeatRequest {
    /// The worker.
    pub worker: WorkerId,
    /// The lease counted from now, if it is to be extended.
    pub extend: Option<Duration>,
    /// What it can execute.
    pub serves: Serves,
}

/// Answers a beat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beat {
    /// Runs of this worker that have arrivals after the last one that their row says was read.
    pub arrivals: Vec<WorkflowId>,
    /// What nobody owns and is due.
    pub due: Due,
    /// How many queued tasks could be claimed now, at most [`PAGE_MAX`].
    pub claimable: usize,
    /// When the next queued task can be claimed that cannot be yet.
    pub next_claimable: Option<Timestamp>,
    /// Workers on the register that are dead: their lease is over, or their file lock is free. The one that asks may be
    /// among them.
    pub dead: Vec<WorkerId>,
    /// Whether messages to other runs wait in the outbox.
    pub outbox: bool,
    /// How many runs the worker owns.
    pub owned: usize,
    /// How many attempts the worker has claimed and not reported.
    pub claimed: usize,
    /// How many other workers on the register are alive and can run tasks: those that are not among the dead and joined
    /// with at least one task.
    pub peers: usize,
}

/// Counts runs that nobody owns and some worker could take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// How many are due now, at most [`PAGE_MAX`].
    pub now: usize,
    /// When the next one is due that is not yet.
    pub next: Option<Timestamp>,
}

/// Starts a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartRun {
    /// Who it is.
    pub identity: WorkflowIdentity,
    /// What it executes.
    pub kind: RunKind,
    /// Who can execute it.
    pub route: Route,
    /// Its partition, from the root's id.
    pub partition: u16,
    /// Hash of the arguments, to tell a repeated start from another one.
    pub fingerprint: [u8; 16],
    /// For listing and searching.
    pub tags: Vec<(String, String)>,
    /// The record of turn 0.
    pub record: Vec<u8>,
    /// The operation of the parent that started it.
    pub parent_operation: Option<OperationKey>,
}

/// Answers a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// The run is new. When a lane was named, its worker owns it in epoch 1.
    New,
    /// A run with this id exists; here it is.
    Exists(Box<RunRecord>),
}

/// Asks for runs to own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcquireRequest {
    /// The lane that asks.
    pub lane: Lane,
    /// What the worker can execute.
    pub serves: Serves,
    /// The most runs to take.
    pub limit: usize,
}

/// Is a run that a worker just came to own, with all it needs to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcquiredRun {
    /// The run; its epoch is the new one.
    pub run: RunRecord,
    /// The history of its newest segment.
    pub turns: Vec<StoredTurn>,
    /// What it has not read yet, in order.
    pub inbox: Vec<Arrival>,
}

/// Appends to an owned run and says what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnCommit {
    /// The run.
    pub run: WorkflowId,
    /// Its segment.
    pub segment: Segment,
    /// The ownership it was made under.
    pub epoch: Epoch,
    /// Names this write over all its retries.
    pub write: WriteId,
    /// The turn to append; none for a park or a release that adds no event.
    pub turn: Option<StoredTurn>,
    /// What becomes of the run row.
    pub update: RunUpdate,
    /// Data that changed; `None` removes a key.
    pub data: Vec<(DataKey, Option<Payload>)>,
    /// Subworkflows to start: with the turn, or where they live elsewhere through the outbox, which is emptied of them before the
    /// answer if nothing goes wrong. One whose id is taken by another run is refused through the outbox, by a
    /// `SubworkflowClosed` without content that is named after its operation; the backend makes up the message's
    /// [`WriteId`]. The same one, by parent, operation, type and fingerprint, is there already and not refused.
    pub subworkflows: Vec<StartRun>,
    /// Attempts to put into task queues.
    pub enqueue: Vec<QueuedAttempt>,
    /// Operations whose queued attempts are no longer wanted.
    pub withdraw: Vec<OperationKey>,
    /// Messages to other runs, put into the outbox.
    pub outbox: Vec<Message>,
}

impl TurnCommit {
    /// Tells whether the turn answers an update, which somebody waits for.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.data.iter().any(|(key, _)| key.is_answer())
    }
}

/// Says what a turn does to its run row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunUpdate {
    /// Nothing: the row is not touched.
    Append,
    /// Marks arrivals up to `read` as read; `seal` refuses new ones until the run parks, ends or changes hands.
    Drain {
        /// The last arrival that the turn took in.
        read: ArrivalNumber,
        /// Whether new arrivals are refused as [`Arrived::Sealed`].
        seal: bool,
    },
    /// Gives the run up until `wake_at` or an arrival. Refused when something is unread.
    Park {
        /// The last arrival that was read.
        read: ArrivalNumber,
        /// When it is due again.
        wake_at: Option<Timestamp>,
    },
    /// Gives the run up as it is, to be taken by another worker at once; unread arrivals stay.
    Release {
        /// The last arrival that was read.
        read: ArrivalNumber,
    },
    /// Gives the run up for every worker of this build. Unread arrivals stay.
    Block {
        /// The last arrival that was read.
        read: ArrivalNumber,
        /// Why, as shown to people.
        reason: String,
        /// The build that cannot go on.
        build: BuildId,
    },
    /// Gives the run up until somebody lifts the pause with [`State::edit`](super::State::edit). Nothing makes it due
    /// until then, and its queued attempts are not handed out; unread arrivals stay.
    Pause {
        /// The last arrival that was read.
        read: ArrivalNumber,
    },
    /// Ends the run. Refused when something is unread.
    End {
        /// The last arrival that was read.
        read: ArrivalNumber,
        /// A terminal status.
        status: Status,
    },
}

impl RunUpdate {
    /// Tells whether it is refused when an arrival is unread.
    #[must_use]
    pub const fn needs_all_read(&self) -> bool {
        matches!(self, Self::Park { .. } | Self::End { .. })
    }

    /// Tells whether it ends the ownership.
    #[must_use]
    pub const fn gives_up(&self) -> bool {
        !matches!(self, Self::Append | Self::Drain { .. })
    }

    /// Returns the last arrival that was read, where it says so.
    #[must_use]
    pub const fn read(&self) -> Option<ArrivalNumber> {
        match self {
            Self::Append => None,
            Self::Drain { read, .. }
            | Self::Park { read, .. }
            | Self::Release { read }
            | Self::Pause { read }
            | Self::Block { read, .. }
            | Self::End { read, .. } => Some(*read),
        }
    }
}

/// Answers one turn of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is durable, by this request or by an earlier one with the same [`WriteId`].
    Committed,
    /// Nothing was written: the run has arrivals after the last one read.
    Unread,
    /// Nothing was written: the worker does not own the run in that epoch, or the turn before is not the last one.
    Lost,
    /// Nothing was written: the store cannot hold this turn.
    Refused(String),
}

/// Is a message from one run to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The run it goes to.
    pub to: WorkflowId,
    /// Names the message, so that it arrives once.
    pub write: WriteId,
    /// What it says.
    pub body: ArrivalBody,
}

/// Puts something into the inbox of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArriveRequest {
    /// The run.
    pub run: WorkflowId,
    /// Names the arrival; one that the run has already is answered as before.
    pub write: WriteId,
    /// What arrives.
    pub body: ArrivalBody,
    /// The most unread arrivals that the run may have.
    pub inbox_max: u64,
}

/// Answers an arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrived {
    /// It is durable.
    Accepted {
        /// Its number in the inbox.
        number: ArrivalNumber,
        /// Who owns the run now.
        owner: Option<WorkerId>,
        /// When it was accepted.
        accepted_at: Timestamp,
    },
    /// The run is about to end or park and takes arrivals again right after; ask again.
    Sealed,
    /// The run has as many unread arrivals as it may.
    Full,
    /// The run is finished.
    Finished(Status),
    /// There is no such run.
    Unknown,
}

/// Is something that reached a run from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Its number in the inbox.
    pub number: ArrivalNumber,
    /// When the backend accepted it.
    pub accepted_at: Timestamp,
    /// What it is.
    pub body: ArrivalBody,
}

/// Says what arrived. Only core reads `content`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrivalBody {
    /// What sort of arrival it is.
    pub kind: ArrivalKind,
    /// The signal's name, or the operation it is about, as text.
    pub name: String,
    /// Its encoded content.
    pub content: Vec<u8>,
}

/// Sorts arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ArrivalKind {
    /// A signal.
    Signal,
    /// How an attempt in a task queue ended; `content` is an encoded outcome.
    TaskOutcome,
    /// The worker of an attempt in a task queue died; made by the backend, `content` is the attempt in four
    /// big-endian bytes.
    AttemptLost,
    /// How a subworkflow ended. Without content: made by the backend, as the subworkflow's id belongs to another run.
    SubworkflowClosed,
    /// A request to cancel, pause and the like.
    Control,
}

impl ArrivalKind {
    /// Lists all kinds.
    pub const ALL: [Self; 5] = [
        Self::Signal,
        Self::TaskOutcome,
        Self::AttemptLost,
        Self::SubworkflowClosed,
        Self::Control,
    ];

    /// Returns the name as it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::TaskOutcome => "task_outcome",
            Self::AttemptLost => "attempt_lost",
            Self::SubworkflowClosed => "subworkflow_closed",
            Self::Control => "control",
        }
    }

    /// Finds the kind of a stored name.
    #[must_use]
    pub fn from_stored(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Is one attempt in a task queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedAttempt {
    /// The run that asked for it.
    pub run: WorkflowId,
    /// The run's segment.
    pub segment: Segment,
    /// The operation.
    pub operation: OperationKey,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The queue.
    pub queue: QueueName,
    /// The task.
    pub task: TaskName,
    /// Higher goes first.
    pub priority: i16,
    /// When it may be claimed; at once when none is given.
    pub due: Option<Timestamp>,
    /// What its worker needs, encoded by core.
    pub content: Vec<u8>,
}

/// Asks for attempts to execute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRequest {
    /// The worker.
    pub worker: WorkerId,
    /// Queues, each with its free slots.
    pub queues: Vec<(QueueName, usize)>,
    /// Tasks that the worker can run.
    pub tasks: Vec<TaskName>,
}

/// Says that a claimed attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptReport {
    /// The worker that claimed it.
    pub worker: WorkerId,
    /// The run.
    pub run: WorkflowId,
    /// The run's segment.
    pub segment: Segment,
    /// The operation.
    pub operation: OperationKey,
    /// Which attempt.
    pub attempt: u32,
    /// The arrival's name for the run's inbox.
    pub write: WriteId,
    /// The encoded outcome.
    pub content: Vec<u8>,
}

/// Answers a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reported {
    /// The outcome is in the run's inbox.
    Accepted {
        /// Who owns the run now.
        owner: Option<WorkerId>,
    },
    /// The claim is another's, or the attempt is no longer wanted; nothing was written.
    Stale,
}

/// Takes over from workers that are dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakeOverRequest {
    /// Declares these dead although their lease is not over; for operators and tests.
    pub force: Vec<WorkerId>,
}

/// Answers a takeover.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TakenOver {
    /// Workers that were declared dead.
    pub workers: Vec<WorkerId>,
    /// How many runs were freed.
    pub runs: usize,
    /// How many queued attempts were given up.
    pub attempts: usize,
}

/// Is the row of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// Who it is.
    pub identity: WorkflowIdentity,
    /// What it executes.
    pub kind: RunKind,
    /// Its newest segment.
    pub segment: Segment,
    /// Who can execute it.
    pub route: Route,
    /// Its partition.
    pub partition: u16,
    /// Where it stands.
    pub status: Status,
    /// Who owns it.
    pub owner: Option<WorkerId>,
    /// How many ownerships it has had.
    pub epoch: Epoch,
    /// The number of its newest arrival.
    pub arrivals: ArrivalNumber,
    /// The last arrival that was read.
    pub read: ArrivalNumber,
    /// When it is due. While somebody owns it: when something arrived that a drain has not taken in.
    pub wake_at: Option<Timestamp>,
    /// How many ownerships in a row were lost without progress; 0 when the last one was given up in order.
    pub lost: u32,
    /// Why it is blocked, and by which build.
    pub blocked: Option<(String, BuildId)>,
    /// Hash of its arguments.
    pub fingerprint: [u8; 16],
    /// For listing and searching.
    pub tags: Vec<(String, String)>,
    /// The operation of its parent that started it.
    pub parent_operation: Option<OperationKey>,
    /// When it was started.
    pub created_at: Timestamp,
    /// When its row was last written.
    pub updated_at: Timestamp,
}

/// Is what a waiting client needs to know of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunState {
    /// Where it stands.
    pub status: Status,
    /// Its newest segment.
    pub segment: Segment,
    /// Why it is blocked.
    pub blocked: Option<String>,
    /// The last turn of a finished run, whose last event is terminal.
    pub last_turn: Option<StoredTurn>,
}

/// Chooses runs; an empty filter chooses all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only of these states.
    pub statuses: Vec<Status>,
    /// Only of this type.
    pub workflow_type: Option<WorkflowType>,
    /// Only workflows or only tasks.
    pub kind: Option<RunKind>,
    /// Only with all of these tags.
    pub tags: Vec<(String, String)>,
    /// Only started by this run.
    pub parent: Option<WorkflowId>,
    /// Only in the tree of this run.
    pub root: Option<WorkflowId>,
    /// Only ids that begin so.
    pub id_prefix: Option<String>,
}

/// Asks for a page of runs in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRequest {
    /// Which runs.
    pub filter: RunFilter,
    /// The last id of the page before.
    pub after: Option<WorkflowId>,
    /// The most runs to return, at most [`PAGE_MAX`].
    pub limit: usize,
}

/// Is a worker as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRecord {
    /// Its id.
    pub worker: WorkerId,
    /// A name for people.
    pub label: String,
    /// What it can execute.
    pub serves: Serves,
    /// When its lease is over.
    pub lease_until: Timestamp,
    /// How many runs it owns.
    pub runs: usize,
}

/// Is a task queue as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRecord {
    /// Its name.
    pub queue: QueueName,
    /// Attempts that wait.
    pub waiting: usize,
    /// Attempts that a worker has claimed.
    pub claimed: usize,
}

/// Asks for a page of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRequest {
    /// The run.
    pub run: WorkflowId,
    /// Its segment; the newest when none is given.
    pub segment: Option<Segment>,
    /// The first turn to return.
    pub from: TurnNumber,
    /// The most turns to return, at most [`PAGE_MAX`].
    pub limit: usize,
}
