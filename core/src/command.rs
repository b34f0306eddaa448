//! What workflow code asks the engine for, in the order in which it asks.
//!
//! Pure data. Replay compares commands with recorded events by [`Command::matches`]: recorded arguments, durations and
//! values win and are not compared.

use std::sync::Arc;

use std::fmt;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::history::{EventKind, OperationKey, Placement};
use crate::id::{DataKey, TaskName, WorkflowId, WorkflowType};
use crate::identity::RunKind;
use crate::options::{ClosePolicy, TaskOptions};
use crate::payload::Payload;

/// Is one thing that workflow code asked for.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    /// Run a task.
    StartTask {
        operation: OperationKey,
        task: TaskName,
        arguments: Payload,
        options: Arc<TaskOptions>,
        placement: Placement,
    },
    /// Run the step that the machine holds under this key.
    StartStep { operation: OperationKey },
    /// Wake the operation when it is due.
    StartTimer {
        operation: OperationKey,
        due: Timestamp,
    },
    /// Note that the code waits for a signal.
    AwaitSignal {
        operation: OperationKey,
        due: Option<Timestamp>,
    },
    /// Note that a wait took a signal.
    TakeSignal { operation: OperationKey },
    /// Start a run below this one.
    StartSubworkflow(Box<StartSubworkflow>),
    /// Forget an operation that was open.
    Cancel { operation: OperationKey },
    /// Change workflow data.
    SetData {
        key: DataKey,
        value: Option<Payload>,
    },
    /// Keep a value.
    Record {
        operation: OperationKey,
        value: Payload,
    },
    /// Pause the run.
    Pause {
        operation: OperationKey,
        reason: String,
    },
    /// End with a result.
    Complete { result: Payload },
    /// End with an error.
    Fail { error: Error },
    /// End because a cancel was asked for.
    EndCancelled { reason: String },
}

/// Says which run to start below this one.
#[derive(Debug, Clone)]
pub(crate) struct StartSubworkflow {
    pub(crate) operation: OperationKey,
    pub(crate) workflow_id: WorkflowId,
    pub(crate) workflow_type: WorkflowType,
    pub(crate) kind: RunKind,
    pub(crate) version: u32,
    pub(crate) arguments: Payload,
    pub(crate) task: Option<TaskOptions>,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) close_policy: ClosePolicy,
    pub(crate) seed: [u8; 32],
}

impl Command {
    /// Tells whether `recorded` is what this command left in history.
    pub(crate) fn matches(&self, recorded: &EventKind) -> bool {
        match (self, recorded) {
            (
                Self::StartTask { operation, .. },
                EventKind::TaskScheduled {
                    operation: recorded,
                    ..
                },
            )
            | (
                Self::StartStep { operation },
                EventKind::StepStarted {
                    operation: recorded,
                },
            )
            | (
                Self::StartTimer { operation, .. },
                EventKind::TimerStarted {
                    operation: recorded,
                    ..
                },
            )
            | (
                Self::AwaitSignal { operation, .. },
                EventKind::SignalAwaited {
                    operation: recorded,
                    ..
                },
            )
            | (
                Self::TakeSignal { operation },
                EventKind::SignalTaken {
                    operation: recorded,
                },
            )
            | (
                Self::Cancel { operation },
                EventKind::OperationCancelled {
                    operation: recorded,
                },
            )
            | (
                Self::Pause { operation, .. },
                EventKind::PauseStarted {
                    operation: recorded,
                    ..
                },
            )
            | (
                Self::Record { operation, .. },
                EventKind::ValueRecorded {
                    operation: recorded,
                    ..
                },
            ) => operation == recorded,
            (
                Self::StartSubworkflow(start),
                EventKind::SubworkflowStarted {
                    operation: recorded,
                    ..
                },
            ) => start.operation == *recorded,
            (Self::SetData { key, .. }, EventKind::DataSet { key: recorded, .. }) => {
                key == recorded
            }
            (Self::Complete { .. }, EventKind::RunCompleted { .. })
            | (Self::Fail { .. }, EventKind::RunFailed { .. })
            | (Self::EndCancelled { .. }, EventKind::RunCancelled { .. }) => true,
            _ => false,
        }
    }

    /// Returns the operation that it asks for.
    pub(crate) fn operation(&self) -> Option<&OperationKey> {
        match self {
            Self::StartTask { operation, .. }
            | Self::StartStep { operation }
            | Self::StartTimer { operation, .. }
            | Self::AwaitSignal { operation, .. }
            | Self::Pause { operation, .. } => Some(operation),
            Self::StartSubworkflow(start) => Some(&start.operation),
            Self::TakeSignal { .. }
            | Self::Cancel { .. }
            | Self::SetData { .. }
            | Self::Record { .. }
            | Self::Complete { .. }
            | Self::Fail { .. }
            | Self::EndCancelled { .. } => None,
        }
    }

    /// Turns the command into the event that records it.
    pub(crate) fn into_event(self) -> EventKind {
        match self {
            Self::StartTask {
                operation,
                task,
                arguments,
                options,
                placement,
            } => EventKind::TaskScheduled {
                operation,
                task,
                arguments,
                options,
                placement,
            },
            Self::StartStep { operation } => EventKind::StepStarted { operation },
            Self::StartTimer { operation, due } => EventKind::TimerStarted { operation, due },
            Self::AwaitSignal { operation, due } => EventKind::SignalAwaited { operation, due },
            Self::TakeSignal { operation } => EventKind::SignalTaken { operation },
            Self::StartSubworkflow(start) => EventKind::SubworkflowStarted {
                operation: start.operation,
                workflow_id: start.workflow_id,
                workflow_type: start.workflow_type,
                close_policy: start.close_policy,
            },
            Self::Cancel { operation } => EventKind::OperationCancelled { operation },
            Self::SetData { key, value } => EventKind::DataSet { key, value },
            Self::Record { operation, value } => EventKind::ValueRecorded { operation, value },
            Self::Pause { operation, reason } => EventKind::PauseStarted { operation, reason },
            Self::Complete { result } => EventKind::RunCompleted { result },
            Self::Fail { error } => EventKind::RunFailed { error },
            Self::EndCancelled { reason } => EventKind::RunCancelled { reason },
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown(&self.clone().into_event()).fmt(f)
    }
}

/// Shows what an event of the workflow's code asked for, in words for people.
pub(crate) struct Shown<'a>(pub(crate) &'a EventKind);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            EventKind::OperationCancelled { operation } => write!(f, "drop of `{operation}`"),
            EventKind::SignalTaken { operation } => write!(f, "signal taken by `{operation}`"),
            EventKind::DataSet { key, .. } => write!(f, "`set {key}`"),
            EventKind::RunCompleted { .. } => f.write_str("end with a result"),
            EventKind::RunFailed { .. } => f.write_str("end with an error"),
            EventKind::RunCancelled { .. } => f.write_str("end after a cancel"),
            EventKind::TimerStarted { operation, due } => {
                write!(f, "`{operation}` due {due}")
            }
            other => match other.operation() {
                Some(operation) => write!(f, "`{operation}`"),
                None => write!(f, "{other:?}"),
            },
        }
    }
}
