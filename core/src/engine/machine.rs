//! The state that a run's code and the engine share: operations, mailbox, data, time and chance.
//!
//! Invariants: an operation gets its key when it is constructed and is asked for when it is first polled; one that was
//! never polled uses up its number and records nothing. One that is first polled in a shield outlives a cancel. A signal
//! stays in the mailbox until a receive polls it out. While the machine is torn down, dropped operations ask for nothing.
//! The lock is never held while a waker is called.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::clock::{BoxFuture, Timestamp};
use crate::command::Command;
use crate::engine::chance::{Rng, Use};
use crate::engine::live::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::history::{EventKind, OperationKey, OperationKind, Outcome, RunStarted};
use crate::id::{DataKey, EventNumber, Segment};
use crate::identity::WorkflowIdentity;
use crate::map::Map;
use crate::options::{Limits, TaskOptions};
use crate::payload::{Binding, CodecChain, Payload};

/// Is how an operation ended.
#[derive(Debug, Clone)]
pub(crate) enum Resolution {
    /// A task, step or subworkflow ended.
    Outcome(Outcome),
    /// The time was up.
    Fired,
    /// The run was cancelled.
    Cancelled(String),
}

/// Is what one run's code and the engine share.
pub(crate) struct Machine {
    pub(crate) identity: WorkflowIdentity,
    pub(crate) segment: Segment,
    pub(crate) codecs: CodecChain,
    pub(crate) limits: Limits,
    pub(crate) task_options: Option<TaskOptions>,
    pub(crate) hash_key: [u8; 16],
    seed: [u8; 32],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    now: Timestamp,
    /// Counts the events of the history up to the one that is being handled.
    events: u64,
    replaying: bool,
    torn_down: bool,
    uses: Map<OperationKind, Map<Arc<str>, u32>>,
    chance: Map<u8, u32>,
    positions: u64,
    slots: Map<OperationKey, Slot>,
    open: usize,
    commands: Vec<Command>,
    mailbox: Map<Arc<str>, VecDeque<Payload>>,
    data: Arc<BTreeMap<DataKey, Payload>>,
    recorded: Map<OperationKey, Payload>,
    steps: Map<OperationKey, BoxFuture<'static, Outcome>>,
    /// Futures of steps that nobody will poll, to be dropped without the lock: they are the user's.
    discarded: Vec<BoxFuture<'static, Outcome>>,
    cancelled: Option<String>,
    /// Wake what waits for a cancel, in the order in which it began to.
    awaiting_cancel: BTreeMap<u64, Waker>,
    /// How many shields are being polled.
    shields: u32,
    fault: Option<Error>,
}

struct Slot {
    position: u64,
    phase: Phase,
    is_shielded: bool,
    waker: Option<Waker>,
}

enum Phase {
    Constructed,
    Open,
    Resolved(Resolution),
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("run", &self.identity.workflow_id)
            .finish_non_exhaustive()
    }
}

impl Machine {
    pub(crate) fn new(started: &RunStarted, segment: Segment, settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            identity: started.identity.clone(),
            segment,
            codecs: settings.codecs.clone(),
            limits: settings.limits.clone(),
            hash_key: settings.hash_key,
            task_options: started.task.clone(),
            seed: started.seed,
            state: Mutex::new(State {
                replaying: true,
                ..State::default()
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // --- for operations -------------------------------------------------------------------------------------------

    /// Gives a new operation its key.
    pub(crate) fn construct(&self, kind: OperationKind, name: &str) -> OperationKey {
        let mut state = self.state();
        let uses = state.uses.entry(kind).or_default();
        let (name, nth) = match uses.get_key_value(name) {
            Some((name, nth)) => (Arc::clone(name), nth + 1),
            None => (Arc::from(name), 1),
        };
        uses.insert(Arc::clone(&name), nth);
        let key = OperationKey { kind, name, nth };
        let position = state.positions;
        state.positions += 1;
        let slot = Slot {
            position,
            phase: Phase::Constructed,
            is_shielded: false,
            waker: None,
        };
        state.slots.insert(key.clone(), slot);
        key
    }

    /// Asks for the operation at its first poll; takes its resolution when there is one, else keeps the waker.
    pub(crate) fn poll(
        &self,
        key: &OperationKey,
        waker: &Waker,
        ask: impl FnOnce(Timestamp) -> Option<Command>,
    ) -> Option<Resolution> {
        let mut state = self.state();
        let (now, open, is_shielded) = (state.now, state.open, state.shields > 0);
        let slot = state.slots.get_mut(key)?;
        match &mut slot.phase {
            Phase::Constructed => {
                slot.phase = Phase::Open;
                slot.is_shielded = is_shielded;
                slot.waker = Some(waker.clone());
                state.open += 1;
                if open >= self.limits.open_operations_max {
                    let limit = self.limits.open_operations_max;
                    state.fail(Error::new(
                        ErrorKind::LimitExceeded,
                        format!("more than {limit} operations are open at once"),
                    ));
                }
                if let Some(command) = ask(now) {
                    state.commands.push(command);
                }
                None
            }
            Phase::Open => {
                slot.waker = Some(waker.clone());
                None
            }
            Phase::Resolved(resolution) => {
                let resolution = resolution.clone();
                state.slots.remove(key);
                Some(resolution)
            }
        }
    }

    /// Polls for a signal: takes the oldest one in the mailbox, unless the wait is over.
    pub(crate) fn poll_receive(
        &self,
        key: &OperationKey,
        waker: &Waker,
        ask: impl FnOnce(Timestamp) -> Command,
    ) -> Option<Result<Payload, Resolution>> {
        if let Some(payload) = self.state().take_signal(key) {
            return Some(Ok(payload));
        }
        self.poll(key, waker, |now| Some(ask(now))).map(Err)
    }

    /// Lets operations that are first polled until [`Machine::leave_shield`] outlive a cancel.
    pub(crate) fn enter_shield(&self) {
        self.state().shields += 1;
    }

    pub(crate) fn leave_shield(&self) {
        self.state().shields -= 1;
    }

    /// Returns why the run was cancelled; keeps the waker when it was not, in a place that is given back.
    pub(crate) fn poll_cancelled(&self, place: &mut Option<u64>, waker: &Waker) -> Option<String> {
        let mut state = self.state();
        if state.cancelled.is_none() {
            let place = *place.get_or_insert(state.positions);
            state.positions = state.positions.max(place + 1);
            state.awaiting_cancel.insert(place, waker.clone());
        }
        state.cancelled.clone()
    }

    /// Forgets who waited for a cancel.
    pub(crate) fn leave_cancelled(&self, place: u64) {
        self.state().awaiting_cancel.remove(&place);
    }

    /// Makes an operation that is over as soon as it was asked for.
    pub(crate) fn finish(&self, key: &OperationKey) {
        let mut state = self.state();
        if let Some(slot) = state.slots.remove(key)
            && matches!(slot.phase, Phase::Open)
        {
            state.open -= 1;
        }
    }

    /// Forgets an operation that the code dropped; asks for its cancellation when it was open.
    pub(crate) fn drop_operation(&self, key: &OperationKey) {
        let mut state = self.state();
        let Some(slot) = state.slots.remove(key) else {
            return;
        };
        if matches!(slot.phase, Phase::Open) {
            state.open -= 1;
            state.discard_step(key);
            if !state.torn_down {
                state.commands.push(Command::Cancel {
                    operation: key.clone(),
                });
            }
        }
        drop_discarded(state);
    }

    /// Keeps the future of a step until the worker takes it.
    pub(crate) fn keep_step(&self, key: &OperationKey, step: BoxFuture<'static, Outcome>) {
        self.state().steps.insert(key.clone(), step);
    }

    /// Asks for something that has no operation to wait for.
    pub(crate) fn ask(&self, command: Command) {
        self.state().commands.push(command);
    }

    /// Returns the recorded value of an operation when the history holds it, and asks to record a new one otherwise.
    pub(crate) fn record(
        &self,
        key: OperationKey,
        make: impl FnOnce() -> Result<Payload>,
    ) -> Result<Payload> {
        let known = {
            let mut state = self.state();
            state.slots.remove(&key);
            state.recorded.remove(&key)
        };
        let value = match known {
            Some(value) => value,
            None => make()?,
        };
        self.ask(Command::Record {
            operation: key,
            value: value.clone(),
        });
        Ok(value)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.state().now
    }

    /// Counts the events of the history up to the one that is being handled.
    pub(crate) fn history_len(&self) -> u64 {
        self.state().events
    }

    /// Tells whether the code is being dropped, and may ask for nothing more.
    pub(crate) fn is_torn_down(&self) -> bool {
        self.state().torn_down
    }

    pub(crate) fn is_replaying(&self) -> bool {
        self.state().replaying
    }

    pub(crate) fn rng(&self, sort: Use) -> Rng {
        let mut state = self.state();
        let nth = state.chance.entry(sort as u8).or_default();
        *nth += 1;
        Rng::new(self.seed, sort, *nth)
    }

    pub(crate) fn data(&self, key: &DataKey) -> Option<Payload> {
        self.state().data.get(key).cloned()
    }

    pub(crate) fn set_data(&self, key: DataKey, value: Option<Payload>) {
        let mut state = self.state();
        let data = Arc::make_mut(&mut state.data);
        match &value {
            Some(value) => data.insert(key.clone(), value.clone()),
            None => data.remove(&key),
        };
        state.commands.push(Command::SetData { key, value });
    }

    /// Returns the data as it is now.
    pub(crate) fn data_snapshot(&self) -> Arc<BTreeMap<DataKey, Payload>> {
        Arc::clone(&self.state().data)
    }

    /// Ends the run with `error`, whatever its code does next.
    pub(crate) fn fail(&self, error: Error) {
        self.state().fail(error);
    }

    /// Checks the size of a payload and applies the codecs.
    pub(crate) fn seal(&self, payload: Payload, kind: &str, key: &str) -> Result<Payload> {
        check_payload(&payload, &self.limits, kind, key)?;
        self.codecs.encode(payload, &self.binding(kind, key))
    }

    /// Undoes [`Machine::seal`].
    pub(crate) fn unseal(&self, payload: Payload, kind: &str, key: &str) -> Result<Payload> {
        self.codecs.decode(payload, &self.binding(kind, key))
    }

    fn binding<'a>(&'a self, kind: &'a str, key: &'a str) -> Binding<'a> {
        Binding {
            run: &self.identity.workflow_id,
            kind,
            key,
        }
    }

    // --- for the engine -------------------------------------------------------------------------------------------

    /// Takes an event in and returns the wakers of the operations that it resolves, in the order of their positions.
    pub(crate) fn apply(
        &self,
        number: EventNumber,
        at: Timestamp,
        event: &EventKind,
    ) -> Vec<Waker> {
        let mut state = self.state();
        state.now = at;
        state.events = number.0 + 1;
        let wakers = match event {
            EventKind::TaskCompleted {
                operation, result, ..
            } => state.resolve(operation, Resolution::Outcome(Ok(result.clone()))),
            EventKind::TaskFailed {
                operation, error, ..
            } => state.resolve(operation, Resolution::Outcome(Err(error.clone()))),
            EventKind::SubworkflowClosed { operation, outcome } => {
                state.resolve(operation, Resolution::Outcome(outcome.clone()))
            }
            EventKind::TimerFired { operation } => state.resolve(operation, Resolution::Fired),
            EventKind::SignalReceived {
                signal, payload, ..
            } => state.receive(signal.as_str(), payload.clone()),
            EventKind::RunResumed { .. } => state.end_pauses(),
            EventKind::CancelRequested { reason } => {
                state.cancelled = Some(reason.clone());
                let mut wakers = state.cancel_open();
                wakers.extend(std::mem::take(&mut state.awaiting_cancel).into_values());
                wakers
            }
            _ => Vec::new(),
        };
        drop_discarded(state);
        wakers
    }

    /// Resolves what the code asked for after a cancel; it was pending once.
    pub(crate) fn resolve_cancelled(&self) -> Vec<Waker> {
        let mut state = self.state();
        if state.cancelled.is_none() {
            return Vec::new();
        }
        state.cancel_open()
    }

    pub(crate) fn cancel_reason(&self) -> Option<String> {
        self.state().cancelled.clone()
    }

    pub(crate) fn take_commands(&self) -> Vec<Command> {
        std::mem::take(&mut self.state().commands)
    }

    pub(crate) fn take_fault(&self) -> Option<Error> {
        self.state().fault.take()
    }

    pub(crate) fn take_step(&self, key: &OperationKey) -> Option<BoxFuture<'static, Outcome>> {
        self.state().steps.remove(key)
    }

    /// Tells whether the code waits for something that the engine will tell it.
    pub(crate) fn has_open_operations(&self) -> bool {
        let state = self.state();
        state.open > 0 || !state.awaiting_cancel.is_empty()
    }

    /// Tells whether an operation is there that outlives a cancel.
    pub(crate) fn is_shielded(&self, key: &OperationKey) -> bool {
        let state = self.state();
        state.slots.get(key).is_some_and(|slot| slot.is_shielded)
    }

    pub(crate) fn foresee(&self, key: OperationKey, value: Payload) {
        self.state().recorded.insert(key, value);
    }

    pub(crate) fn go_live(&self) {
        self.state().replaying = false;
    }

    /// Lets dropped operations ask for nothing from now on.
    pub(crate) fn tear_down(&self) {
        self.state().torn_down = true;
    }
}

impl State {
    fn fail(&mut self, error: Error) {
        self.fault.get_or_insert(error);
    }

    fn discard_step(&mut self, key: &OperationKey) {
        self.discarded.extend(self.steps.remove(key));
    }

    fn resolve(&mut self, key: &OperationKey, resolution: Resolution) -> Vec<Waker> {
        self.discard_step(key);
        match self.slots.get_mut(key) {
            Some(slot) if matches!(slot.phase, Phase::Open) => {
                slot.phase = Phase::Resolved(resolution);
                self.open -= 1;
                slot.waker.take().into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    fn receive(&mut self, signal: &str, payload: Payload) -> Vec<Waker> {
        match self.mailbox.get_mut(signal) {
            Some(waiting) => waiting.push_back(payload),
            None => {
                self.mailbox
                    .insert(Arc::from(signal), VecDeque::from([payload]));
            }
        }
        let mut wakers: Vec<_> = self
            .slots
            .iter()
            .filter(|(key, _)| key.kind == OperationKind::Receive && &*key.name == signal)
            .filter_map(|(_, slot)| Some((slot.position, slot.waker.clone()?)))
            .collect();
        wakers.sort_by_key(|(position, _)| *position);
        wakers.into_iter().map(|(_, waker)| waker).collect()
    }

    fn end_pauses(&mut self) -> Vec<Waker> {
        let is_pause = |(key, slot): &(&OperationKey, &Slot)| {
            key.kind == OperationKind::Pause && matches!(slot.phase, Phase::Open)
        };
        let open = self.slots.iter().filter(is_pause);
        let mut open: Vec<_> = open
            .map(|(key, slot)| (slot.position, key.clone()))
            .collect();
        open.sort_by_key(|(position, _)| *position);
        open.into_iter()
            .flat_map(|(_, key)| self.resolve(&key, Resolution::Fired))
            .collect()
    }

    fn take_signal(&mut self, key: &OperationKey) -> Option<Payload> {
        let slot = self.slots.get(key)?;
        let is_shielded = match slot.phase {
            Phase::Resolved(_) => return None,
            Phase::Constructed => self.shields > 0,
            Phase::Open => slot.is_shielded,
        };
        if self.cancelled.is_some() && !is_shielded {
            return None;
        }
        let payload = self.mailbox.get_mut(&key.name)?.pop_front()?;
        if matches!(slot.phase, Phase::Open) {
            self.open -= 1;
        }
        self.slots.remove(key);
        self.commands.push(Command::TakeSignal {
            operation: key.clone(),
        });
        Some(payload)
    }

    fn cancel_open(&mut self) -> Vec<Waker> {
        let reason = self.cancelled.clone().unwrap_or_default();
        let mut wakers = Vec::new();
        for slot in self.slots.values_mut() {
            if matches!(slot.phase, Phase::Open) && !slot.is_shielded {
                slot.phase = Phase::Resolved(Resolution::Cancelled(reason.clone()));
                self.open -= 1;
                wakers.extend(slot.waker.take().map(|waker| (slot.position, waker)));
            }
        }
        wakers.sort_by_key(|(position, _)| *position);
        wakers.into_iter().map(|(_, waker)| waker).collect()
    }
}

/// Lets go of the state, and then of what was discarded; a panic in a destructor of user code ends here.
fn drop_discarded(mut state: MutexGuard<'_, State>) {
    let discarded = std::mem::take(&mut state.discarded);
    drop(state);
    for step in discarded {
        drop(catch_unwind(AssertUnwindSafe(|| drop(step))));
    }
}

/// Refuses a payload over the limit.
pub(crate) fn check_payload(
    payload: &Payload,
    limits: &Limits,
    kind: &str,
    key: &str,
) -> Result<()> {
    if payload.len() <= limits.payload_bytes_max {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::LimitExceeded,
        format!(
            "{kind} of `{key}` has {} bytes; the limit is {} (pass a reference to large data instead)",
            payload.len(),
            limits.payload_bytes_max
        ),
    ))
}

/// Refuses too many tags, and those that are no names.
pub(crate) fn check_tags(tags: &[(String, String)], limits: &Limits) -> Result<()> {
    if tags.len() > limits.tags_max {
        return Err(Error::new(
            ErrorKind::LimitExceeded,
            format!(
                "{} tags were given; the limit is {}",
                tags.len(),
                limits.tags_max
            ),
        ));
    }
    for (key, value) in tags {
        crate::id::check_name("tag", key)?;
        if !value.is_empty() {
            crate::id::check_name("value of a tag", value)?;
        }
    }
    Ok(())
}
