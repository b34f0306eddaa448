//! A run that its owner advances: inputs in, a draft of the next turn out.
//!
//! Pure: the shell hands in what arrived together with the time, commits the drafts, and starts what they name after
//! the commit. Invariants: a draft's events are `event, its commands, event, its commands`; the time of an event is
//! never before that of the event before it, and of a timer never before it was due; an outcome is taken for the
//! attempt that is open and no other.

mod draft;
mod effects;
mod inputs;
mod pausing;
mod recovery;
mod room;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

pub(crate) use self::draft::{Draft, Input};
pub(crate) use self::recovery::{Approach, approach};
pub(crate) use self::room::Room;
use crate::backend::{AcquiredRun, Arrival, RunRecord};
use crate::clock::Timestamp;
use crate::command::Command;
use crate::engine::execution::{Execution, ForeignWake, Program, Stuck};
use crate::engine::identifiers;
use crate::engine::ledger::{Ledger, Open};
use crate::engine::machine::Machine;
use crate::engine::replay::replay;
use crate::error::{Error, ErrorKind, Result};
use crate::history::{Event, EventKind, OperationKey, RunStarted, decode_record};
use crate::id::{ArrivalNumber, Epoch, EventNumber, Segment, TurnNumber, WorkflowId, WriteId};
use crate::identity::WorkflowIdentity;
use crate::options::Limits;
use crate::payload::CodecChain;
use crate::sabotage::{self, Sabotage};
use crate::status::Status;

/// Is what all runs of a worker share.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) hash_key: [u8; 16],
    pub(crate) limits: Limits,
    pub(crate) codecs: CodecChain,
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
    room: Room,
    draft: Draft,
    /// Room for the draft after this one.
    spare: Draft,
    stuck: Option<Stuck>,
    /// What arrived while the run is paused.
    kept: Vec<Arrival>,
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
    /// What the writes of this take-up are counted from; no two take-ups of a worker share a number.
    pub(crate) first_write: u64,
    /// How many tasks its owner has room for.
    pub(crate) room: Room,
}

impl Live {
    /// Takes up a run that the worker just came to own, or one whose last turn was undone (`undone`: the
    /// attempts that still run).
    pub(crate) fn take_up(
        acquired: &AcquiredRun,
        how: &TakeUp<'_>,
        now: Timestamp,
        undone: Option<BTreeSet<OperationKey>>,
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
        live.ledger = Ledger::unsure();
        live.next_turn = TurnNumber(acquired.turns.len() as u64);
        live.next_event = EventNumber(events.len() as u64);
        let is_undone = undone.is_some();
        live.handed_out = undone.unwrap_or_default();
        for event in &events {
            live.ledger.fold(event);
        }
        for running in &live.handed_out {
            live.ledger.started(running);
        }
        let commands =
            replay(&mut live.execution, &events).map_err(|stuck| Refusal::Blocked(stuck.0))?;
        live.execution.machine().go_live();
        live.settle_ledger(&events);
        if matches!(events.last(), Some(event) if event.kind == EventKind::RecoveryStarted) {
            live.push(now, EventKind::Recovered);
        }
        let at = live.ledger.at();
        live.record_commands(at, commands);
        if !live.is_paused() {
            live.take_kept_outcomes(now);
        }
        if live.draft.ended.is_none() {
            if run.lost > 0 && !is_undone {
                live.give_up_lost_attempts(now)?;
                live.fire_timers_again(now, &events);
            }
            live.restart_attempts();
        }
        for arrival in &acquired.inbox {
            if live.draft.ended.is_some() {
                live.read_past_the_end(arrival);
            } else {
                live.take(Input::Arrival(arrival.clone()), now);
            }
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
        match live.execution.deliver(EventNumber(0), first) {
            Ok(commands) => live.record_commands(first.at, commands),
            Err(stuck) => return Err(Refusal::Blocked(stuck.0)),
        }
        Ok(live)
    }

    fn new(run: &RunRecord, started: &RunStarted, how: &TakeUp<'_>) -> Self {
        let machine = Machine::new(started, run.segment, &how.settings);
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
            writes: how.first_write,
            handed_out: BTreeSet::new(),
            room: how.room,
            draft: Draft::default(),
            spare: Draft::default(),
            stuck: None,
            kept: Vec::new(),
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
        let first = self.ledger.first_due().map(|(due, _)| *due);
        first.filter(|_| !self.is_paused())
    }

    /// Tells whether nothing of the run happens in this process.
    pub(crate) fn is_idle(&self) -> bool {
        self.handed_out.is_empty()
    }

    /// Counts what of the run happens in this process, or will once the draft is committed.
    pub(crate) fn handed_out(&self) -> usize {
        self.handed_out.len()
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

    // --- turns ----------------------------------------------------------------------------------------------------

    /// Says how many tasks the owner has room for from now on.
    pub(crate) const fn set_room(&mut self, room: Room) {
        self.room = room;
    }

    /// Takes something in; the draft grows by what it causes. A run that ended or is stuck takes nothing: what arrived
    /// stays unread, so that the turn is refused or the next owner finds it.
    pub(crate) fn take(&mut self, input: Input, now: Timestamp) {
        if self.draft.ended.is_some() || self.stuck.is_some() {
            return;
        }
        self.draft.inputs.push(input.clone());
        match input {
            Input::Arrival(arrival)
                if self.is_paused() && !sabotage::makes(Sabotage::TellWhilePaused) =>
            {
                self.take_while_paused(arrival, now);
            }
            Input::Arrival(arrival) => self.take_arrival(arrival, now),
            Input::Outcome {
                operation,
                attempt,
                outcome,
            } => {
                self.handed_out.remove(&operation);
                self.draft.start.retain(|waiting| *waiting != operation);
                if self.is_paused() {
                    self.keep_outcome(operation, attempt, outcome, now);
                } else {
                    self.take_outcome(operation, attempt, outcome, now);
                }
            }
            Input::Starting { operation, attempt } => self.take_starting(operation, attempt, now),
            Input::Abandoned { operation, attempt } => {
                self.take_abandoned(operation, attempt, now);
            }
            Input::Due => self.take_due(now),
        }
    }

    /// Hands out the draft and the number of the turn's first event, and makes room for the next one.
    pub(crate) fn hand_out_draft(&mut self) -> Draft {
        let draft = std::mem::replace(&mut self.draft, std::mem::take(&mut self.spare));
        if !draft.events.is_empty() {
            self.next_turn = self.next_turn.next();
            self.next_event.0 += draft.events.len() as u64;
        }
        self.writes += 1;
        draft
    }

    /// Takes back a draft that was committed and acted upon, for its room.
    pub(crate) fn take_back(&mut self, draft: Draft) {
        self.spare = draft.emptied();
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

    fn derive_id(&self, purpose: &[u8], number: u64) -> WriteId {
        let key = &self.settings.hash_key;
        identifiers::write_id(key, &self.id, self.segment, self.epoch, purpose, number)
    }

    fn deliver(&mut self, now: Timestamp, kind: EventKind) {
        let number = EventNumber(self.ledger.events());
        let event = self.push(now, kind);
        match self.execution.deliver(number, &event) {
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

    /// Does what a wrong engine would after a takeover.
    fn fire_timers_again(&mut self, now: Timestamp, events: &[Event]) {
        let is_fired = |event: &&Event| matches!(event.kind, EventKind::TimerFired { .. });
        if sabotage::makes(Sabotage::FireTimersAgain)
            && let Some(fired) = events.iter().rfind(is_fired)
        {
            self.push(now, fired.kind.clone());
        }
    }

    fn stamp(&self, now: Timestamp) -> Timestamp {
        now.max(self.ledger.at())
    }

    /// Asks the replayed code what outlives a cancel. One that was edited in has not been acted upon yet.
    fn settle_ledger(&mut self, events: &[Event]) {
        let machine = Arc::clone(self.execution.machine());
        let mut settled = self.ledger.clone();
        settled.settle(|operation| machine.is_shielded(operation));
        let is_edit = |event: &Event| matches!(event.kind, EventKind::CancelRequested { .. });
        if events.last().is_some_and(is_edit) {
            let doomed: Vec<_> = self
                .ledger
                .open()
                .map(|(operation, _)| operation.clone())
                .filter(|operation| settled.get(operation).is_none())
                .collect();
            for operation in doomed {
                self.drop_operation(&operation, "its parent was cancelled");
            }
        }
        self.ledger = settled;
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
                format!(
                    "the history has {events} events; the limit is {limit}. Divide the work among subworkflows, or \
                     start the next run with what is left when `ctx.history_len()` nears the limit"
                ),
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
