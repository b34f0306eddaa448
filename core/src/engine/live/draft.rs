//! What a run takes in, and the next turn that grows from it.

use crate::backend::{Arrival, Message, QueuedAttempt, StartRun};
use crate::history::{Event, EventKind, OperationKey, Outcome, Placement};
use crate::id::{DataKey, TaskName};
use crate::payload::Payload;
use crate::status::Status;

/// Is the most events that room is kept for.
const EVENTS_KEPT: usize = 64;

/// Is something that a run takes in.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// From the inbox.
    Arrival(Arrival),
    /// From an attempt that ran here.
    Outcome {
        operation: OperationKey,
        attempt: u32,
        outcome: Outcome,
    },
    /// An attempt has its slot and waits for the record of its start.
    Starting {
        operation: OperationKey,
        attempt: u32,
    },
    /// An attempt here was stopped without an outcome, as its worker stops.
    Abandoned {
        operation: OperationKey,
        attempt: u32,
    },
    /// The time has come for what is due.
    Due,
}

/// Is the next turn in the making, with what it causes once it is durable.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) events: Vec<Event>,
    pub(crate) data: Vec<(DataKey, Option<Payload>)>,
    pub(crate) subworkflows: Vec<StartRun>,
    pub(crate) enqueue: Vec<QueuedAttempt>,
    pub(crate) withdraw: Vec<OperationKey>,
    pub(crate) outbox: Vec<Message>,
    /// Attempts to start here.
    pub(crate) start: Vec<OperationKey>,
    /// Attempts that wait for the record of their start.
    pub(crate) release: Vec<OperationKey>,
    /// Attempts to stop here.
    pub(crate) stop: Vec<OperationKey>,
    /// Whether arrivals were taken in.
    pub(crate) drains: bool,
    /// How the run ended.
    pub(crate) ended: Option<Status>,
    /// What was taken in, to be taken in again if the turn is undone.
    pub(crate) inputs: Vec<Input>,
}

impl Draft {
    /// Tells whether there is nothing to commit.
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty() && !self.drains
    }

    /// Forgets everything and keeps the room for as much again, unless it was uncommonly much.
    pub(crate) fn emptied(mut self) -> Self {
        if self.events.capacity() > EVENTS_KEPT {
            return Self::default();
        }
        self.events.clear();
        self.start.clear();
        self.inputs.clear();
        Self {
            events: self.events,
            start: self.start,
            inputs: self.inputs,
            ..Self::default()
        }
    }

    /// Returns the local task whose scheduling is all that it says, which may start before the turn is written.
    pub(crate) fn only_local_task(&self) -> Option<&TaskName> {
        match self.events.as_slice() {
            [
                Event {
                    kind:
                        EventKind::TaskScheduled {
                            placement: Placement::Local,
                            task,
                            ..
                        },
                    ..
                },
            ] => Some(task),
            _ => None,
        }
    }
}
