//! A run that its owner advances: inputs in, a draft of the next turn out.
//!
//! Pure: the shell hands in what arrived together with the time, commits the drafts, and starts what they name after
//! the commit. Invariants: a draft's events are `event, its commands, event, its commands`; the time of an event is
//! never before that of the event before it, and of a timer never before it was due; an outcome is taken for the
//! attempt that is open and no other.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::Hasher as _;
use std::sync::Arc;

use siphasher::sip128::{Hasher128 as _, SipHasher24};

use crate::backend::{
    AcquiredRun, Arrival, ArrivalBody, ArrivalKind, Message, QueuedAttempt, RunRecord, StartRun,
};
use crate::clock::Timestamp;
use crate::command::{Command, StartSubworkflow};
use crate::engine::execution::{Execution, ForeignWake, Program, Stuck};
use crate::engine::ledger::{Ledger, Open};
use crate::engine::machine::Machine;
use crate::engine::messages::{
    self, AttemptContent, ClosedContent, ControlContent, OutcomeContent,
};
use crate::engine::replay::replay;
use crate::error::{Error, ErrorKind, Result};
use crate::history::{
    Event, EventKind, OperationKey, Outcome, Placement, RunStarted, decode_record, encode_record,
};
use crate::id::{
    ArrivalNumber, DataKey, Epoch, EventNumber, QueueName, Route, Segment, SignalName, TurnNumber,
    Uuid, WorkflowId, WriteId,
};
use crate::identity::{RunKind, WorkflowIdentity};
use crate::options::{ClosePolicy, Limits};
use crate::payload::{CodecChain, Payload};
use crate::retry::{LOST_ATTEMPTS_MAX, LOST_OWNERSHIPS_MAX, TRACED_FROM_LOST};
use crate::status::Status;

/// Is what all runs of a worker share.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) hash_key: [u8; 16],
    pub(crate) limits: Limits,
    pub(crate) codecs: CodecChain,
}

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

    /// Tells whether all it says is that one local task was scheduled, which may start before the turn is written.
    pub(crate) fn only_schedules_one_local_task(&self) -> bool {
        matches!(
            self.events.as_slice(),
            [Event {
                kind: EventKind::TaskScheduled {
                    placement: Placement::Local,
                    ..
                },
                ..
            }]
        )
    }
}

/// Says why a run cannot be taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The code does not fit, or cannot go on; the run is blocked for this build.
    Blocked(Error),
}

/// Holds one owned run.
pub(crate) struct Live {
    pub(crate) id: WorkflowId,
    pub(crate) identity: WorkflowIdentity,
    pub(crate) segment: Segment,
    pub(crate) epoch: Epoch,
    pub(crate) partition: u16,
    parent_operation: Option<OperationKey>,
    parent_segment: Segment,
    settings: Arc<Settings>,
    execution: Execution,
    ledger: Ledger,
    next_turn: TurnNumber,
    next_event: EventNumber,
    read: ArrivalNumber,
    committed_read: ArrivalNumber,
    writes: u64,
    handed_out: BTreeSet<OperationKey>,
    draft: Draft,
    stuck: Option<Stuck>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("id", &self.id)
            .field("epoch", &self.epoch)
            .field("next_turn", &self.next_turn)
            .finish_non_exhaustive()
    }
}

/// Is what a shell needs to take a run up.
pub(crate) struct TakeUp<'a> {
    pub(crate) settings: Arc<Settings>,
    pub(crate) program: &'a Program,
    pub(crate) foreign: ForeignWake,
}

impl Live {
    /// Takes up a run that the worker just came to own, or one whose last turn was undone (`undone`: the count of its
    /// writes so far and the attempts that still run).
    pub(crate) fn take_up(
        acquired: &AcquiredRun,
        how: &TakeUp<'_>,
        now: Timestamp,
        undone: Option<(u64, BTreeSet<OperationKey>)>,
    ) -> Result<Self, Refusal> {
        let run = &acquired.run;
        let events = read_history(acquired).map_err(Refusal::Blocked)?;
        let Some(EventKind::RunStarted(started)) = events.first().map(|event| &event.kind) else {
            return Err(Refusal::Blocked(Error::new(
                ErrorKind::Corrupt,
                format!(
                    "history of run `{}` does not begin with its start",
                    run.identity.workflow_id
                ),
            )));
        };
        let mut live = Self::new(run, started, how);
        live.next_turn = TurnNumber(acquired.turns.len() as u64);
        live.next_event = EventNumber(events.len() as u64);
        let is_undone = undone.is_some();
        if let Some((writes, running)) = undone {
            live.writes = writes;
            live.handed_out = running;
        } else if run.lost >= LOST_OWNERSHIPS_MAX {
            return Err(Refusal::Blocked(Error::new(
                ErrorKind::Bug,
                format!(
                    "{} workers in a row died while they held this run",
                    run.lost
                ),
            )));
        }
        for event in &events {
            live.ledger.fold(event);
        }
        let commands =
            replay(&mut live.execution, &events).map_err(|stuck| Refusal::Blocked(stuck.0))?;
        live.execution.machine().go_live();
        let at = live.ledger.at();
        live.record_commands(at, commands);
        if run.lost > 0 && !is_undone {
            live.give_up_lost_attempts(now)?;
        }
        live.restart_attempts();
        for arrival in &acquired.inbox {
            live.take(Input::Arrival(arrival.clone()), now);
        }
        Ok(live)
    }

    /// Takes up a run that this worker just started: nothing is read.
    pub(crate) fn begin(run: &RunRecord, first: &Event, how: &TakeUp<'_>) -> Result<Self, Refusal> {
        let EventKind::RunStarted(started) = &first.kind else {
            return Err(Refusal::Blocked(Error::new(
                ErrorKind::Bug,
                "a start is not one",
            )));
        };
        let mut live = Self::new(run, started, how);
        live.next_turn = TurnNumber(1);
        live.next_event = EventNumber(1);
        live.ledger.fold(first);
        live.execution.machine().go_live();
        match live.execution.deliver(first) {
            Ok(commands) => live.record_commands(first.at, commands),
            Err(stuck) => return Err(Refusal::Blocked(stuck.0)),
        }
        Ok(live)
    }

    fn new(run: &RunRecord, started: &RunStarted, how: &TakeUp<'_>) -> Self {
        let machine = Machine::new(
            started,
            run.segment,
            how.settings.codecs.clone(),
            how.settings.limits.clone(),
        );
        Self {
            id: run.identity.workflow_id.clone(),
            identity: run.identity.clone(),
            segment: run.segment,
            epoch: run.epoch,
            partition: run.partition,
            parent_operation: run.parent_operation.clone(),
            parent_segment: started.parent_segment,
            settings: Arc::clone(&how.settings),
            execution: Execution::new(
                machine,
                how.program,
                started.arguments.clone(),
                Arc::clone(&how.foreign),
            ),
            ledger: Ledger::default(),
            next_turn: TurnNumber(0),
            next_event: EventNumber(0),
            read: run.read,
            committed_read: run.read,
            writes: 0,
            handed_out: BTreeSet::new(),
            draft: Draft::default(),
            stuck: None,
        }
    }

    // --- questions ------------------------------------------------------------------------------------------------

    pub(crate) fn machine(&self) -> &Arc<Machine> {
        self.execution.machine()
    }

    pub(crate) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) const fn draft(&self) -> &Draft {
        &self.draft
    }

    pub(crate) const fn read(&self) -> ArrivalNumber {
        self.read
    }

    /// Returns the last arrival that a committed turn took in.
    pub(crate) const fn committed_read(&self) -> ArrivalNumber {
        self.committed_read
    }

    /// Takes note that a turn which read so far was committed.
    pub(crate) fn note_committed(&mut self, read: ArrivalNumber) {
        self.committed_read = self.committed_read.max(read);
    }

    pub(crate) const fn next_turn(&self) -> TurnNumber {
        self.next_turn
    }

    pub(crate) const fn next_event(&self) -> EventNumber {
        self.next_event
    }

    /// Says why the code cannot go on, if so.
    pub(crate) const fn stuck(&self) -> Option<&Stuck> {
        self.stuck.as_ref()
    }

    /// Returns when the run is due next.
    pub(crate) fn wake_at(&self) -> Option<Timestamp> {
        self.ledger.first_due().map(|(due, _)| *due)
    }

    /// Tells whether nothing of the run happens in this process.
    pub(crate) fn is_idle(&self) -> bool {
        self.handed_out.is_empty()
    }

    /// Tells whether the run waits for timers alone.
    pub(crate) fn waits_for_timers_only(&self) -> bool {
        self.is_idle()
            && self.wake_at().is_some()
            && self
                .ledger
                .open()
                .all(|(_, open)| matches!(open, Open::Timer))
    }

    /// Counts the writes of this ownership.
    pub(crate) const fn writes(&self) -> u64 {
        self.writes
    }

    // --- turns ----------------------------------------------------------------------------------------------------

    /// Takes something in; the draft grows by what it causes. A run that ended or is stuck takes nothing: what arrived
    /// stays unread, so that the turn is refused or the next owner finds it.
    pub(crate) fn take(&mut self, input: Input, now: Timestamp) {
        if self.draft.ended.is_some() || self.stuck.is_some() {
            return;
        }
        self.draft.inputs.push(input.clone());
        match input {
            Input::Arrival(arrival) => self.take_arrival(arrival, now),
            Input::Outcome {
                operation,
                attempt,
                outcome,
            } => {
                self.handed_out.remove(&operation);
                self.draft.start.retain(|waiting| *waiting != operation);
                self.take_outcome(operation, attempt, outcome, now);
            }
            Input::Starting { operation, attempt } => self.take_starting(operation, attempt, now),
            Input::Due => self.take_due(now),
        }
    }

    /// Hands out the draft and the number of the turn's first event, and makes room for the next one.
    pub(crate) fn hand_out_draft(&mut self) -> Draft {
        let draft = std::mem::take(&mut self.draft);
        if !draft.events.is_empty() {
            self.next_turn = self.next_turn.next();
            self.next_event.0 += draft.events.len() as u64;
        }
        self.writes += 1;
        draft
    }

    /// Forgets what was not committed; the run can then only be given up.
    pub(crate) fn drop_draft(&mut self) {
        self.draft = Draft::default();
        self.read = self.committed_read;
    }

    /// Counts a write that is not the draft's.
    pub(crate) fn count_write(&mut self) {
        self.writes += 1;
    }

    /// Takes the attempts out of the draft that are started before it is committed.
    pub(crate) fn take_starts(&mut self) -> Vec<OperationKey> {
        std::mem::take(&mut self.draft.start)
    }

    /// Names the next write: unique for run, segment, ownership and count.
    pub(crate) fn write_id(&self) -> WriteId {
        self.derive_id(b"turn", self.writes)
    }

    /// Notes that local attempts ended without an outcome, as their worker stops.
    pub(crate) fn abandon_attempts(&mut self, now: Timestamp) {
        for operation in std::mem::take(&mut self.handed_out) {
            if let Some(attempt) = self.attempt_of(&operation) {
                self.push(now, EventKind::AttemptLost { operation, attempt });
            }
        }
    }

    fn take_arrival(&mut self, arrival: Arrival, now: Timestamp) {
        if arrival.number <= self.read {
            return;
        }
        let number = arrival.number;
        match self.take_body(arrival, now) {
            Ok(()) => {
                self.read = number;
                self.draft.drains = true;
            }
            Err(error) => self.stuck = Some(Stuck(error)),
        }
    }

    fn take_body(&mut self, arrival: Arrival, now: Timestamp) -> Result<()> {
        let ArrivalBody {
            kind,
            name,
            content,
        } = arrival.body;
        match kind {
            ArrivalKind::Signal => self.deliver(
                now,
                EventKind::SignalReceived {
                    signal: SignalName::from_stored(name),
                    arrival: arrival.number,
                    payload: Payload::from_bytes(content),
                    accepted_at: arrival.accepted_at,
                },
            ),
            ArrivalKind::TaskOutcome => {
                let ended: OutcomeContent = messages::decode(&content)?;
                if ended.segment == self.segment {
                    self.take_outcome(ended.operation, ended.attempt, ended.outcome, now);
                }
            }
            ArrivalKind::AttemptLost => self.take_lost(&name, &content, now),
            ArrivalKind::SubworkflowClosed if content.is_empty() => {
                self.take_refused_subworkflow(&name, now);
            }
            ArrivalKind::SubworkflowClosed => {
                let closed: ClosedContent = messages::decode(&content)?;
                let is_open = self.ledger.get(&closed.operation).is_some();
                if closed.segment == self.segment && is_open {
                    self.deliver(
                        now,
                        EventKind::SubworkflowClosed {
                            operation: closed.operation,
                            outcome: closed.outcome,
                        },
                    );
                }
            }
            ArrivalKind::Control => self.take_control(messages::decode(&content)?, now),
        }
        Ok(())
    }

    fn take_lost(&mut self, name: &str, content: &[u8], now: Timestamp) {
        let Ok(attempt) = <[u8; 4]>::try_from(content).map(u32::from_be_bytes) else {
            return;
        };
        let Some(operation) = self.open_operation(name) else {
            return;
        };
        if self.attempt_of(&operation) != Some(attempt) {
            return;
        }
        self.push(
            now,
            EventKind::AttemptLost {
                operation: operation.clone(),
                attempt,
            },
        );
        match self.check_lost(&operation) {
            Ok(()) => self.place(&operation),
            Err(Refusal::Blocked(error)) => self.stuck = Some(Stuck(error)),
        }
    }

    fn take_refused_subworkflow(&mut self, name: &str, now: Timestamp) {
        let Some(operation) = self.open_operation(name) else {
            return;
        };
        let Some(Open::Subworkflow(child, _)) = self.ledger.get(&operation) else {
            return;
        };
        let error = Error::new(
            ErrorKind::AlreadyExists,
            format!("subworkflow `{child}` was not started: another run has this id"),
        );
        let outcome = Err(error);
        self.deliver(now, EventKind::SubworkflowClosed { operation, outcome });
    }

    fn open_operation(&self, name: &str) -> Option<OperationKey> {
        self.ledger
            .open()
            .map(|(operation, _)| operation)
            .find(|operation| operation.to_string() == name)
            .cloned()
    }

    fn take_control(&mut self, control: ControlContent, now: Timestamp) {
        match control {
            ControlContent::Cancel { reason } => {
                self.close_subworkflows();
                self.withdraw_all();
                self.deliver(now, EventKind::CancelRequested { reason });
            }
            ControlContent::Terminate { reason } => {
                self.close_subworkflows();
                self.withdraw_all();
                self.push(now, EventKind::RunTerminated { reason });
                self.end(Status::Terminated, &terminated());
            }
        }
    }

    fn take_outcome(
        &mut self,
        operation: OperationKey,
        attempt: u32,
        outcome: Outcome,
        now: Timestamp,
    ) {
        if self.attempt_of(&operation) != Some(attempt) {
            return;
        }
        let error = match outcome {
            Ok(result) => {
                let completed = EventKind::TaskCompleted {
                    operation,
                    attempt,
                    result,
                };
                return self.deliver(now, completed);
            }
            Err(error) => error,
        };
        let delay = self
            .ledger
            .task(&operation)
            .and_then(|task| task.options.retry.next_delay(task.failed + 1, &error));
        let Some(delay) = delay else {
            let failed = EventKind::TaskFailed {
                operation,
                attempt,
                error,
            };
            return self.deliver(now, failed);
        };
        let retry_at = self.stamp(now).after(delay);
        self.push(
            now,
            EventKind::AttemptFailed {
                operation: operation.clone(),
                attempt,
                error,
                retry_at,
            },
        );
        self.place_if_queued(&operation);
    }

    fn take_starting(&mut self, operation: OperationKey, attempt: u32, now: Timestamp) {
        if self.attempt_of(&operation) == Some(attempt) {
            self.draft.release.push(operation.clone());
            self.push(now, EventKind::AttemptStarted { operation, attempt });
        }
    }

    fn take_due(&mut self, now: Timestamp) {
        while let Some((due, operation)) = self.ledger.first_due().cloned() {
            if due > now || self.draft.ended.is_some() || self.stuck.is_some() {
                return;
            }
            if self.ledger.task(&operation).is_some() {
                self.ledger.started(&operation);
                self.hand_out(operation);
            } else {
                self.deliver(now.max(due), EventKind::TimerFired { operation });
            }
        }
    }

    fn deliver(&mut self, now: Timestamp, kind: EventKind) {
        let event = self.push(now, kind);
        match self.execution.deliver(&event) {
            Ok(commands) => self.record_commands(event.at, commands),
            Err(stuck) => self.stuck = Some(stuck),
        }
    }

    fn push(&mut self, now: Timestamp, kind: EventKind) -> Event {
        let event = Event {
            at: self.stamp(now),
            kind,
        };
        self.ledger.fold(&event);
        self.draft.events.push(event.clone());
        event
    }

    fn stamp(&self, now: Timestamp) -> Timestamp {
        now.max(self.ledger.at())
    }

    fn record_commands(&mut self, at: Timestamp, commands: Vec<Command>) {
        for command in commands {
            self.record_command(at, command);
        }
        let events = self.ledger.events();
        if events > self.settings.limits.history_events_max && self.draft.ended.is_none() {
            let limit = self.settings.limits.history_events_max;
            let error = Error::new(
                ErrorKind::LimitExceeded,
                format!("the history has {events} events; the limit is {limit}"),
            );
            self.push(
                at,
                EventKind::RunFailed {
                    error: error.clone(),
                },
            );
            self.withdraw_all();
            self.end(Status::Failed, &Err(error));
        }
    }

    fn record_command(&mut self, at: Timestamp, command: Command) {
        self.prepare(at, &command);
        let ended = match &command {
            Command::Complete { result } => Some((Status::Completed, Ok(result.clone()))),
            Command::Fail { error } => Some((Status::Failed, Err(error.clone()))),
            Command::EndCancelled { reason } => Some((Status::Cancelled, Err(cancelled(reason)))),
            _ => None,
        };
        if ended.is_some() {
            self.close_subworkflows();
            self.withdraw_all();
        }
        let event = self.push(at, command.into_event());
        if let Some((status, outcome)) = ended {
            return self.end(status, &outcome);
        }
        match event.kind {
            EventKind::TaskScheduled { operation, .. } | EventKind::StepStarted { operation } => {
                self.place(&operation);
            }
            _ => {}
        }
    }

    /// Does what must be known before the command's event is folded.
    fn prepare(&mut self, at: Timestamp, command: &Command) {
        match command {
            Command::Cancel { operation } => self.drop_operation(operation),
            Command::SetData { key, value } => {
                self.draft.data.retain(|(known, _)| known != key);
                self.draft.data.push((key.clone(), value.clone()));
            }
            Command::StartSubworkflow(start) => match self.subworkflow(at, start) {
                Ok(run) => self.draft.subworkflows.push(run),
                Err(error) => self.stuck = Some(Stuck(error)),
            },
            _ => {}
        }
    }

    fn drop_operation(&mut self, operation: &OperationKey) {
        match self.ledger.get(operation) {
            Some(Open::Task(task)) if task.placement == Placement::Queued => {
                self.draft.withdraw.push(operation.clone());
            }
            Some(Open::Subworkflow(child, policy)) => {
                let (child, policy) = (child.clone(), *policy);
                self.close_subworkflow(&child, policy, "its parent dropped it");
            }
            _ => {}
        }
        self.draft.start.retain(|started| started != operation);
        if self.handed_out.remove(operation) {
            self.draft.stop.push(operation.clone());
        }
    }

    fn withdraw_all(&mut self) {
        let queued: Vec<_> = self
            .ledger
            .open()
            .filter(
                |(_, open)| matches!(open, Open::Task(task) if task.placement == Placement::Queued),
            )
            .map(|(operation, _)| operation.clone())
            .collect();
        self.draft.withdraw.extend(queued);
        self.draft.start.clear();
        self.draft.stop.extend(std::mem::take(&mut self.handed_out));
    }

    fn close_subworkflows(&mut self) {
        let children: Vec<_> = self
            .ledger
            .open()
            .filter_map(|(_, open)| match open {
                Open::Subworkflow(child, policy) => Some((child.clone(), *policy)),
                _ => None,
            })
            .collect();
        for (child, policy) in children {
            self.close_subworkflow(&child, policy, "its parent ended");
        }
    }

    fn close_subworkflow(&mut self, child: &WorkflowId, policy: ClosePolicy, why: &str) {
        let reason = why.to_owned();
        let control = match policy {
            ClosePolicy::Abandon => return,
            ClosePolicy::Cancel => ControlContent::Cancel { reason },
            ClosePolicy::Terminate => ControlContent::Terminate { reason },
        };
        self.send(child.clone(), ArrivalKind::Control, "close", &control);
    }

    fn end(&mut self, status: Status, outcome: &Outcome) {
        self.draft.ended = Some(status);
        let (Some(parent), Some(operation)) =
            (self.identity.parent.clone(), self.parent_operation.clone())
        else {
            return;
        };
        let name = operation.to_string();
        let closed = ClosedContent {
            segment: self.parent_segment,
            operation,
            outcome: outcome.clone(),
        };
        self.send(parent, ArrivalKind::SubworkflowClosed, &name, &closed);
    }

    fn send<T: serde::Serialize>(
        &mut self,
        to: WorkflowId,
        kind: ArrivalKind,
        name: &str,
        content: &T,
    ) {
        match messages::encode(content) {
            Ok(content) => {
                let nth = (self.writes << 20) + self.draft.outbox.len() as u64;
                self.draft.outbox.push(Message {
                    to,
                    write: self.derive_id(b"message", nth),
                    body: ArrivalBody {
                        kind,
                        name: name.to_owned(),
                        content,
                    },
                });
            }
            Err(error) => self.stuck = Some(Stuck(error)),
        }
    }

    /// Gives the open attempt of an operation to where it runs.
    fn place(&mut self, operation: &OperationKey) {
        match self.ledger.get(operation) {
            Some(Open::Task(task)) if task.placement == Placement::Queued => {
                self.place_if_queued(operation);
            }
            Some(Open::Task(task)) if task.not_before.is_none() => self.hand_out(operation.clone()),
            Some(Open::Step(_)) => self.hand_out(operation.clone()),
            _ => {}
        }
    }

    fn place_if_queued(&mut self, operation: &OperationKey) {
        let Some(task) = self.ledger.task(operation) else {
            return;
        };
        if task.placement != Placement::Queued {
            return;
        }
        let content = AttemptContent {
            identity: self.identity.clone(),
            arguments: task.arguments.clone(),
            options: (*task.options).clone(),
        };
        let queue = task.options.queue.clone();
        let attempt = QueuedAttempt {
            run: self.id.clone(),
            segment: self.segment,
            operation: operation.clone(),
            attempt: task.attempt(),
            queue: queue.unwrap_or_else(|| QueueName::from_stored("default")),
            task: task.task.clone(),
            priority: task.options.priority,
            due: task.not_before,
            content: messages::encode(&content).unwrap_or_default(),
        };
        self.draft.enqueue.push(attempt);
    }

    fn hand_out(&mut self, operation: OperationKey) {
        self.handed_out.insert(operation.clone());
        self.draft.start.push(operation);
    }

    fn attempt_of(&self, operation: &OperationKey) -> Option<u32> {
        match self.ledger.get(operation) {
            Some(Open::Task(task)) => Some(task.attempt()),
            Some(Open::Step(step)) => Some(1 + step.lost),
            _ => None,
        }
    }

    // --- taking up ------------------------------------------------------------------------------------------------

    /// Notes the attempts that died with the owner before. One that was waiting for its time had not started.
    fn give_up_lost_attempts(&mut self, now: Timestamp) -> Result<(), Refusal> {
        let lost: Vec<_> = self
            .ledger
            .open()
            .filter(|(_, open)| match open {
                Open::Task(task) => {
                    task.placement == Placement::Local
                        && task.not_before.is_none_or(|not_before| not_before <= now)
                        && may_have_started(task.lost, task.is_started)
                }
                Open::Step(step) => may_have_started(step.lost, step.is_started),
                _ => false,
            })
            .map(|(operation, _)| operation.clone())
            .filter(|operation| !self.handed_out.contains(operation))
            .collect();
        for operation in lost {
            if let Some(attempt) = self.attempt_of(&operation) {
                self.push(
                    now,
                    EventKind::AttemptLost {
                        operation: operation.clone(),
                        attempt,
                    },
                );
                self.check_lost(&operation)?;
            }
        }
        Ok(())
    }

    /// Tells whether the start of the open attempt of an operation must be recorded before it.
    pub(crate) fn is_traced(&self, operation: &OperationKey) -> bool {
        self.lost_of(operation) >= TRACED_FROM_LOST
    }

    fn lost_of(&self, operation: &OperationKey) -> u32 {
        match self.ledger.get(operation) {
            Some(Open::Task(task)) => task.lost,
            Some(Open::Step(step)) => step.lost,
            _ => 0,
        }
    }

    fn check_lost(&self, operation: &OperationKey) -> Result<(), Refusal> {
        let lost = self.lost_of(operation);
        if lost < LOST_ATTEMPTS_MAX {
            return Ok(());
        }
        Err(Refusal::Blocked(Error::new(
            ErrorKind::Bug,
            format!("{lost} attempts of `{operation}` were lost with their workers"),
        )))
    }

    /// Starts again what runs here and is not running.
    fn restart_attempts(&mut self) {
        let idle: Vec<_> = self
            .ledger
            .open()
            .filter(|(operation, open)| {
                let is_local = match open {
                    Open::Task(task) => {
                        task.placement == Placement::Local && task.not_before.is_none()
                    }
                    Open::Step(_) => true,
                    _ => false,
                };
                is_local && !self.handed_out.contains(*operation)
            })
            .map(|(operation, _)| operation.clone())
            .collect();
        for operation in idle {
            self.hand_out(operation);
        }
        self.handed_out
            .retain(|operation| self.ledger.get(operation).is_some());
    }

    // --- subworkflows ---------------------------------------------------------------------------------------------

    fn subworkflow(&self, at: Timestamp, start: &StartSubworkflow) -> Result<StartRun> {
        let identity = self
            .identity
            .child(start.workflow_id.clone(), start.workflow_type.clone());
        let mut started = RunStarted::new(
            identity.clone(),
            start.kind,
            start.arguments.clone(),
            start.seed,
        );
        started.version = start.version;
        started.task.clone_from(&start.task);
        started.parent_segment = self.segment;
        let first = Event {
            at,
            kind: EventKind::RunStarted(Box::new(started)),
        };
        Ok(StartRun {
            identity,
            kind: start.kind,
            route: route_of(start.kind, start.workflow_type.as_str()),
            partition: self.partition,
            fingerprint: fingerprint(&self.settings.hash_key, &start.arguments),
            tags: start.tags.clone(),
            record: encode_record(&[first])?,
            parent_operation: Some(start.operation.clone()),
        })
    }

    fn derive_id(&self, purpose: &[u8], nth: u64) -> WriteId {
        let mut hasher = SipHasher24::new_with_key(&self.settings.hash_key);
        hasher.write(purpose);
        hasher.write(self.id.as_str().as_bytes());
        hasher.write_u32(self.segment.0);
        hasher.write_u64(self.epoch.0);
        hasher.write_u64(nth);
        WriteId(Uuid::from_random_bytes(hasher.finish128().as_bytes()))
    }
}

/// Tells whether an attempt whose worker died can have run.
const fn may_have_started(lost: u32, is_started: bool) -> bool {
    is_started || lost < TRACED_FROM_LOST
}

fn read_history(acquired: &AcquiredRun) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    for (at, turn) in acquired.turns.iter().enumerate() {
        if turn.turn.0 != at as u64 || turn.first_event.0 != events.len() as u64 {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!(
                    "history of run `{}` has a gap at turn {at}",
                    acquired.run.identity.workflow_id
                ),
            ));
        }
        events.append(&mut decode_record(&turn.record)?);
    }
    Ok(events)
}

/// Returns who can execute a run of this kind and type.
pub(crate) fn route_of(kind: RunKind, workflow_type: &str) -> Route {
    match kind {
        RunKind::Workflow => Route::from_stored(workflow_type),
        RunKind::Task => Route::from_stored(format!("task:{workflow_type}")),
    }
}

/// Hashes arguments, so that a repeated start can be told from another one without showing them.
///
/// Source: SipHash-2-4 with 128 bits, J.-P. Aumasson and D. J. Bernstein, 2012, over canonical JSON.
pub(crate) fn fingerprint(key: &[u8; 16], arguments: &Payload) -> [u8; 16] {
    let mut hasher = SipHasher24::new_with_key(key);
    match crate::payload::canonical_json(arguments) {
        Ok(canonical) => hasher.write(&canonical),
        Err(_) => hasher.write(arguments.as_bytes()),
    }
    hasher.finish128().as_bytes()
}

/// Makes the id of a subworkflow that the user did not name; one that would be too long ends in a hash.
pub(crate) fn subworkflow_id(
    parent: &WorkflowId,
    segment: Segment,
    operation: &OperationKey,
) -> WorkflowId {
    let id = format!("{parent}/{segment}/{}#{}", operation.name, operation.nth);
    if id.chars().count() <= crate::id::NAME_CHARACTERS_MAX {
        return WorkflowId::from_stored(id);
    }
    let mut hasher = SipHasher24::new();
    hasher.write(id.as_bytes());
    let hash = Uuid::from_random_bytes(hasher.finish128().as_bytes());
    let kept: String = id.chars().take(200).collect();
    WorkflowId::from_stored(format!("{kept}~{hash}"))
}

fn cancelled(reason: &str) -> Error {
    Error::new(
        ErrorKind::Cancelled,
        format!("the run was cancelled: {reason}"),
    )
}

fn terminated() -> Outcome {
    Err(Error::new(ErrorKind::Terminated, "the run was terminated"))
}
