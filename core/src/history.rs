//! The append-only log of a run: events in the past tense, one stored record per turn.
//!
//! Invariants: the first event of a segment is `RunStarted`, the last of a finished one is terminal. Variants and fields
//! are only ever added, at the end, and fields with a default.

mod compact;
#[cfg(test)]
mod golden;
mod record;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::{
    ArrivalNumber, DataKey, EventNumber, Segment, SignalName, TaskName, TurnNumber, WorkflowId,
    WorkflowType,
};
use crate::identity::{RunKind, WorkflowIdentity};
use crate::options::{ClosePolicy, TaskOptions};
use crate::payload::Payload;

pub use self::record::{RECORD_FORMAT, decode_record, encode_record};

/// Sorts operations; part of what identifies one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OperationKind {
    /// An invocation of a task.
    Task,
    /// A task written inline with `ctx.step`.
    Step,
    /// A timer of `ctx.sleep`, `ctx.sleep_until` or `ctx.timeout`.
    Timer,
    /// A wait for a signal.
    Receive,
    /// A subworkflow.
    Subworkflow,
    /// A recorded value.
    Record,
    /// A pause that the workflow asked for.
    Pause,
}

impl OperationKind {
    const ALL: [Self; 7] = [
        Self::Task,
        Self::Step,
        Self::Timer,
        Self::Receive,
        Self::Subworkflow,
        Self::Record,
        Self::Pause,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Step => "step",
            Self::Timer => "timer",
            Self::Receive => "receive",
            Self::Subworkflow => "workflow",
            Self::Record => "record",
            Self::Pause => "pause",
        }
    }
}

/// Identifies an operation within a segment: its kind, its name, and the how-manyth of those it is, from 1.
///
/// It prints as `task:charge#2`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OperationKey {
    /// What sort of operation it is.
    pub kind: OperationKind,
    /// The task, signal, workflow type or purpose.
    pub name: Arc<str>,
    /// Which use of that name, from 1.
    pub nth: u32,
}

impl OperationKey {
    /// Makes a key.
    #[must_use]
    pub fn new(kind: OperationKind, name: impl Into<Arc<str>>, nth: u32) -> Self {
        Self {
            kind,
            name: name.into(),
            nth,
        }
    }

    /// Reads a key from the form that it prints; none when it is no such text.
    ///
    /// The name may have `:` and `#` in it.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let (name, nth) = rest.rsplit_once('#')?;
        let mut kinds = OperationKind::ALL.into_iter();
        let kind = kinds.find(|known| known.as_str() == kind)?;
        Some(Self::new(kind, name, nth.parse().ok()?))
    }
}

impl fmt::Display for OperationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}#{}", self.kind.as_str(), self.name, self.nth)
    }
}

impl fmt::Debug for OperationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Says where an invocation runs; decided once, when it is scheduled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Placement {
    /// In the worker that owns the run.
    Local,
    /// In any worker that serves the task's queue.
    Queued,
    /// In any worker that has the task, as the one that owns the run had too much to do.
    Spilled,
}

impl Placement {
    /// Tells whether attempts go through a task queue of the backend.
    #[must_use]
    pub const fn is_queued(&self) -> bool {
        matches!(self, Self::Queued | Self::Spilled)
    }
}

/// Is how a run or an operation ended.
pub type Outcome = std::result::Result<Payload, Error>;

/// Is everything that the first event of a segment says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunStarted {
    /// Who the run is.
    pub identity: WorkflowIdentity,
    /// What it executes.
    pub kind: RunKind,
    /// The version that `#[workflow(version = N)]` gave; 0 when it gave none.
    pub version: u32,
    /// The encoded arguments.
    pub arguments: Payload,
    /// The options of a task started alone.
    pub task: Option<TaskOptions>,
    /// Feeds all chance of the segment.
    #[serde(with = "record::seed")]
    pub seed: [u8; 32],
    /// The segment and event that this one goes on from.
    pub continued_from: Option<(Segment, EventNumber)>,
    /// The segment of the parent that started the run; the first for a run without parent.
    pub parent_segment: Segment,
}

impl RunStarted {
    /// Makes the first event of a run's first segment.
    #[must_use]
    pub fn new(
        identity: WorkflowIdentity,
        kind: RunKind,
        arguments: Payload,
        seed: [u8; 32],
    ) -> Self {
        Self {
            identity,
            kind,
            version: 0,
            arguments,
            task: None,
            seed,
            continued_from: None,
            parent_segment: Segment::FIRST,
        }
    }
}

/// Is one entry of a history: what happened, and when by the owner's stamp.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When the owner took it into history; never before the event before it.
    pub at: Timestamp,
    /// What happened.
    pub kind: EventKind,
}

/// Lists what can happen to a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EventKind {
    /// The segment began.
    RunStarted(Box<RunStarted>),
    /// The workflow asked for a task.
    TaskScheduled {
        /// The operation.
        operation: OperationKey,
        /// The task to run.
        task: TaskName,
        /// Its encoded arguments.
        arguments: Payload,
        /// Its options.
        #[serde(with = "record::options")]
        options: Arc<TaskOptions>,
        /// Where it runs.
        placement: Placement,
    },
    /// An attempt failed and another follows.
    AttemptFailed {
        /// The operation.
        operation: OperationKey,
        /// Which attempt, from 1.
        attempt: u32,
        /// Why.
        error: Error,
        /// When the next one may start.
        retry_at: Timestamp,
    },
    /// An attempt is about to start; recorded only once several before it were lost with their workers.
    AttemptStarted {
        /// The operation.
        operation: OperationKey,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// The worker of an attempt died before its outcome was recorded.
    AttemptLost {
        /// The operation.
        operation: OperationKey,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// The run is about to be replayed alone, as several workers in a row died while they held it.
    RecoveryStarted,
    /// The run was replayed, and its worker lived.
    Recovered,
    /// A task or a step ended with a result.
    TaskCompleted {
        /// The operation.
        operation: OperationKey,
        /// Which attempt, from 1.
        attempt: u32,
        /// The encoded result.
        result: Payload,
    },
    /// A task or a step failed for good.
    TaskFailed {
        /// The operation.
        operation: OperationKey,
        /// Which attempt, from 1.
        attempt: u32,
        /// Why.
        error: Error,
    },
    /// The workflow ran a step inline.
    StepStarted {
        /// The operation.
        operation: OperationKey,
    },
    /// The workflow started a timer.
    TimerStarted {
        /// The operation.
        operation: OperationKey,
        /// When it is due.
        due: Timestamp,
    },
    /// A timer, or the time limit of a wait, was due.
    TimerFired {
        /// The operation.
        operation: OperationKey,
    },
    /// The workflow began to wait for a signal.
    SignalAwaited {
        /// The operation.
        operation: OperationKey,
        /// When the wait gives up.
        due: Option<Timestamp>,
    },
    /// A signal was taken from the inbox.
    SignalReceived {
        /// Its name.
        signal: SignalName,
        /// Its number in the inbox.
        arrival: ArrivalNumber,
        /// Its encoded value.
        payload: Payload,
        /// When the backend accepted it.
        accepted_at: Timestamp,
    },
    /// A wait took the oldest signal of its name.
    SignalTaken {
        /// The operation.
        operation: OperationKey,
    },
    /// The workflow started a subworkflow.
    SubworkflowStarted {
        /// The operation.
        operation: OperationKey,
        /// The new run.
        workflow_id: WorkflowId,
        /// Its type.
        workflow_type: WorkflowType,
        /// What happens to it when this run ends.
        close_policy: ClosePolicy,
    },
    /// A subworkflow ended.
    SubworkflowClosed {
        /// The operation.
        operation: OperationKey,
        /// How.
        outcome: Outcome,
    },
    /// The workflow dropped an operation that was open, such as the loser of a race.
    OperationCancelled {
        /// The operation.
        operation: OperationKey,
    },
    /// The workflow changed its data; `None` removes the key.
    DataSet {
        /// The key.
        key: DataKey,
        /// The encoded value.
        value: Option<Payload>,
    },
    /// The workflow recorded a value.
    ValueRecorded {
        /// The operation.
        operation: OperationKey,
        /// The encoded value.
        value: Payload,
    },
    /// Someone asked the run to end; every open operation ends with an error.
    CancelRequested {
        /// Why.
        reason: String,
    },
    /// The run ended with a result.
    RunCompleted {
        /// The encoded result.
        result: Payload,
    },
    /// The run ended with an error.
    RunFailed {
        /// The error.
        error: Error,
    },
    /// The run ended after a cancel.
    RunCancelled {
        /// Why it was cancelled.
        reason: String,
    },
    /// The run was ended without running its code.
    RunTerminated {
        /// Why.
        reason: String,
    },
    /// Someone paused the run: nothing new starts, and nothing more is told to the code until it is resumed.
    RunPaused {
        /// Why.
        reason: String,
        /// What becomes of its timers meanwhile.
        timers: PausedTimers,
    },
    /// The workflow paused itself.
    PauseStarted {
        /// The operation, which ends when the run is resumed.
        operation: OperationKey,
        /// Why.
        reason: String,
    },
    /// Someone resumed the run.
    RunResumed {
        /// Why.
        reason: String,
    },
    /// Someone moved a timer, or the time limit of a wait.
    TimerMoved {
        /// The operation.
        operation: OperationKey,
        /// When it is due now.
        due: Timestamp,
        /// Why.
        reason: String,
    },
    /// An attempt ended while the run is paused; what becomes of the operation is decided after the resume.
    OutcomeKept {
        /// The operation.
        operation: OperationKey,
        /// Which attempt, from 1.
        attempt: u32,
        /// What it came to.
        outcome: Outcome,
    },
}

/// Says what becomes of the timers of a run while it is paused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PausedTimers {
    /// They run on: what comes due is told to the workflow once the run is resumed.
    #[default]
    RunOn,
    /// They stand still: once the run is resumed, as much of each is left as when it was paused.
    StandStill,
}

impl EventKind {
    /// Tells whether the event came from the workflow's code rather than to it.
    #[must_use]
    pub const fn is_command(&self) -> bool {
        matches!(
            self,
            Self::TaskScheduled { .. }
                | Self::StepStarted { .. }
                | Self::TimerStarted { .. }
                | Self::SignalAwaited { .. }
                | Self::SignalTaken { .. }
                | Self::SubworkflowStarted { .. }
                | Self::OperationCancelled { .. }
                | Self::DataSet { .. }
                | Self::ValueRecorded { .. }
                | Self::RunCompleted { .. }
                | Self::RunFailed { .. }
                | Self::RunCancelled { .. }
                | Self::PauseStarted { .. }
        )
    }

    /// Tells whether the event is for the record only: the workflow's code does not see it.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        matches!(
            self,
            Self::AttemptFailed { .. }
                | Self::AttemptStarted { .. }
                | Self::AttemptLost { .. }
                | Self::RecoveryStarted
                | Self::Recovered
                | Self::RunPaused { .. }
                | Self::TimerMoved { .. }
                | Self::OutcomeKept { .. }
        )
    }

    /// Tells whether nothing may follow in its segment.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::RunCompleted { .. }
                | Self::RunFailed { .. }
                | Self::RunCancelled { .. }
                | Self::RunTerminated { .. }
        )
    }

    /// Returns the operation it is about.
    #[must_use]
    pub const fn operation(&self) -> Option<&OperationKey> {
        match self {
            Self::TaskScheduled { operation, .. }
            | Self::AttemptFailed { operation, .. }
            | Self::AttemptStarted { operation, .. }
            | Self::AttemptLost { operation, .. }
            | Self::TaskCompleted { operation, .. }
            | Self::TaskFailed { operation, .. }
            | Self::StepStarted { operation }
            | Self::TimerStarted { operation, .. }
            | Self::TimerFired { operation }
            | Self::SignalAwaited { operation, .. }
            | Self::SignalTaken { operation }
            | Self::SubworkflowStarted { operation, .. }
            | Self::SubworkflowClosed { operation, .. }
            | Self::OperationCancelled { operation }
            | Self::PauseStarted { operation, .. }
            | Self::TimerMoved { operation, .. }
            | Self::OutcomeKept { operation, .. }
            | Self::ValueRecorded { operation, .. } => Some(operation),
            Self::RunStarted(_)
            | Self::RecoveryStarted
            | Self::Recovered
            | Self::SignalReceived { .. }
            | Self::DataSet { .. }
            | Self::CancelRequested { .. }
            | Self::RunCompleted { .. }
            | Self::RunFailed { .. }
            | Self::RunCancelled { .. }
            | Self::RunTerminated { .. }
            | Self::RunPaused { .. }
            | Self::RunResumed { .. } => None,
        }
    }
}

/// Is one turn as it is stored: opaque bytes to a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTurn {
    /// Which turn of the segment.
    pub turn: TurnNumber,
    /// The number of its first event.
    pub first_event: EventNumber,
    /// The encoded events.
    pub record: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operation_of_each_kind_reads_what_it_prints() {
        for kind in OperationKind::ALL {
            let key = OperationKey::new(kind, "a:b#c", 7);
            assert_eq!(OperationKey::from_stored(&key.to_string()), Some(key));
        }
        for wrong in ["teleport:x#1", "task:x", "x#1", "task:x#", "task:x#-1"] {
            assert_eq!(OperationKey::from_stored(wrong), None, "{wrong}");
        }
    }
}
