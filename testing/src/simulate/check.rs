//! The promises, held against what is stored in the end.
//!
//! Invariants: nothing here asks the engine, except for the replay of whole histories.

use std::collections::{BTreeMap, HashMap};

use longhaul_core::backend::RunRecord;
use longhaul_core::client::Client;
use longhaul_core::clock::Timestamp;
use longhaul_core::history::{
    Event, EventKind, OperationKey, PausedTimers, StoredTurn, decode_record,
};
use longhaul_core::registry::Registration;
use longhaul_core::status::Status;
use serde_json::Value;

use super::evaluate::{self, Outside};
use super::program::{NAMES, Program, Step};
use super::record::{Log, Seen};
use super::scenario::Control;
use super::workflow::Effect;

/// Is everything known of one run in the end.
pub(crate) struct Ended<'a> {
    pub(crate) record: &'a RunRecord,
    pub(crate) turns: &'a [StoredTurn],
    pub(crate) program: &'a Program,
    /// The signals that were acknowledged: name, and the number of the last one.
    pub(crate) acknowledged: &'a BTreeMap<&'static str, u64>,
    pub(crate) data: Vec<(String, Value)>,
    pub(crate) effects: &'a [Effect],
    pub(crate) is_calm: bool,
    /// What was done to it from outside.
    pub(crate) controls: Vec<Control>,
}

impl Ended<'_> {
    fn was_told_to(&self, what: Control) -> bool {
        self.controls.contains(&what)
    }
}

/// Checks one run; violations go to the log.
pub(crate) fn run(log: &mut Log, client: &Client, code: Registration, ended: &Ended<'_>) {
    let id = ended.record.identity.workflow_id.clone();
    let mut found = Vec::new();
    let mut say = |promise, what: String| found.push((promise, format!("`{id}`: {what}")));
    let empty = Seen::default();
    let seen = log.runs.get(&id).unwrap_or(&empty);
    let Some(events) = dense(ended.turns, seen, &mut say) else {
        found
            .into_iter()
            .for_each(|(promise, what)| log.violated(promise, what));
        return;
    };
    one_end(ended.record, &events, &mut say);
    if let Err(error) = client.check_replay(code, &events) {
        say("P3", format!("{error:#}"));
    }
    timers(&events, seen, &mut say);
    pauses(&events, &mut say);
    signals(&events, ended, &mut say);
    attempts(&events, ended, &mut say);
    outcome(&events, ended, &mut say);
    found
        .into_iter()
        .for_each(|(promise, what)| log.violated(promise, what));
}

type Say<'a> = &'a mut dyn FnMut(&'static str, String);

/// P2: turns are dense and those that were committed; returns the events.
fn dense(turns: &[StoredTurn], seen: &Seen, say: Say<'_>) -> Option<Vec<Event>> {
    let mut events = Vec::new();
    for (at, turn) in turns.iter().enumerate() {
        if turn.turn.0 != at as u64 || turn.first_event.0 != events.len() as u64 {
            say("P2", format!("turn {} stands at {at}", turn.turn));
            return None;
        }
        match decode_record(&turn.record) {
            Ok(mut decoded) => events.append(&mut decoded),
            Err(error) => {
                say("P2", format!("turn {at}: {error}"));
                return None;
            }
        }
    }
    let stored: Vec<_> = turns.iter().map(|turn| &turn.record).collect();
    let committed: Vec<_> = seen.turns.iter().map(|(_, record)| record).collect();
    if stored != committed {
        say(
            "P1",
            format!(
                "{} turns were committed, {} are stored",
                committed.len(),
                stored.len()
            ),
        );
        return None;
    }
    Some(events)
}

fn one_end(record: &RunRecord, events: &[Event], say: Say<'_>) {
    let ends = events
        .iter()
        .filter(|event| event.kind.is_terminal())
        .count();
    let is_last = events.last().is_some_and(|event| event.kind.is_terminal());
    if ends != 1 || !is_last {
        say(
            "P2",
            format!("{ends} terminal events; the last event is one: {is_last}"),
        );
    }
    let fits = match events.last().map(|event| &event.kind) {
        Some(EventKind::RunCompleted { .. }) => record.status == Status::Completed,
        Some(EventKind::RunFailed { .. }) => record.status == Status::Failed,
        Some(EventKind::RunCancelled { .. }) => record.status == Status::Cancelled,
        _ => record.status == Status::Terminated,
    };
    if !fits {
        say(
            "P2",
            format!("status {} does not fit the history", record.status),
        );
    }
    for pair in events.windows(2) {
        if let [before, after] = pair
            && after.at < before.at
        {
            say(
                "P2",
                format!("time goes back from {} to {}", before.at, after.at),
            );
        }
    }
}

/// P8: timers fire once, when they are due by the store's clock.
fn timers(events: &[Event], seen: &Seen, say: Say<'_>) {
    let mut dues: HashMap<&OperationKey, Timestamp> = HashMap::new();
    let mut stopped_at = None;
    let mut stored_at = seen.turns.iter().flat_map(|(at, record)| {
        let count = decode_record(record).map(|events| events.len());
        std::iter::repeat_n(*at, count.unwrap_or_default())
    });
    for event in events {
        let stored = stored_at.next().unwrap_or_default();
        match &event.kind {
            EventKind::TimerStarted { operation, due }
            | EventKind::SignalAwaited {
                operation,
                due: Some(due),
            } => {
                dues.insert(operation, *due);
            }
            EventKind::OperationCancelled { operation } | EventKind::SignalTaken { operation } => {
                dues.remove(operation);
            }
            EventKind::TimerMoved { operation, due, .. } => {
                dues.insert(operation, *due);
            }
            EventKind::RunPaused {
                timers: PausedTimers::StandStill,
                ..
            } => stopped_at = Some(event.at),
            EventKind::RunResumed { .. } => {
                if let Some(stopped_at) = stopped_at.take() {
                    let by = event.at.since(stopped_at);
                    dues.values_mut().for_each(|due| *due = due.after(by));
                }
            }
            EventKind::TimerFired { operation } => match dues.remove(operation) {
                None => say("P8", format!("{operation} fired, and was not due")),
                Some(due) if stored < due || event.at < due => say(
                    "P8",
                    format!("{operation} was due at {due} and fired at {stored}"),
                ),
                Some(_) => {}
            },
            _ => {}
        }
    }
}

/// P10: while a run is paused nothing is told to its code, and nothing new of it starts.
fn pauses(events: &[Event], say: Say<'_>) {
    let mut is_paused = false;
    for (at, event) in events.iter().enumerate() {
        match &event.kind {
            EventKind::RunPaused { .. } => is_paused = true,
            EventKind::RunResumed { .. } | EventKind::CancelRequested { .. } => is_paused = false,
            // What was not read when the run was terminated is noted before its end.
            EventKind::SignalReceived { .. } | EventKind::RunTerminated { .. } => {}
            told if is_paused && !told.is_silent() => {
                say(
                    "P10",
                    format!("event {at} came while it was paused: {told:?}"),
                );
            }
            _ => {}
        }
    }
}

/// P7: signals arrive once, in order, and those that were acknowledged arrive.
fn signals(events: &[Event], ended: &Ended<'_>, say: Say<'_>) {
    let mut arrived: BTreeMap<&str, u64> = BTreeMap::new();
    for event in events {
        if let EventKind::SignalReceived {
            signal, payload, ..
        } = &event.kind
        {
            let next = arrived.entry(signal.as_str()).or_default();
            let number: u64 = payload.decode().unwrap_or(u64::MAX);
            if number != *next {
                say(
                    "P7",
                    format!("signal `{signal}` {number} came where {next} is next"),
                );
            }
            *next += 1;
        }
    }
    // A terminate does not wait for what is unread.
    if ended.record.status == Status::Terminated {
        return;
    }
    for (name, count) in ended.acknowledged {
        let came = arrived.get(name).copied().unwrap_or_default();
        if came < *count {
            say(
                "P7",
                format!("{count} signals `{name}` were acknowledged, {came} came"),
            );
        }
    }
}

/// P6: each attempt is counted, runs once, and is followed by as many as the policy says.
fn attempts(events: &[Event], ended: &Ended<'_>, say: Say<'_>) {
    let mut counts: HashMap<&OperationKey, Count> = HashMap::new();
    for event in events {
        match &event.kind {
            EventKind::TaskScheduled {
                operation, options, ..
            } => {
                let count = Count {
                    retries: options.retry.retries,
                    ..Count::default()
                };
                counts.insert(operation, count);
            }
            EventKind::AttemptFailed {
                operation,
                attempt,
                retry_at,
                ..
            } => {
                if let Some(count) = counts.get_mut(operation) {
                    count.check(operation, *attempt, say);
                    count.failed += 1;
                    count.not_before.push((attempt + 1, *retry_at));
                }
            }
            EventKind::AttemptLost { operation, attempt } => {
                if let Some(count) = counts.get_mut(operation) {
                    count.check(operation, *attempt, say);
                    count.lost += 1;
                }
            }
            EventKind::TaskCompleted {
                operation,
                attempt,
                result,
            } => {
                if let Some(count) = counts.get_mut(operation) {
                    count.check(operation, *attempt, say);
                    count.end(operation, say);
                    recorded(ended, operation, *attempt, result.decode().ok(), say);
                }
            }
            EventKind::TaskFailed {
                operation,
                attempt,
                error,
            } => {
                if let Some(count) = counts.get_mut(operation) {
                    count.check(operation, *attempt, say);
                    count.end(operation, say);
                    if error.is_retryable() && count.failed != count.retries {
                        let what = format!("{operation} was retried {} times", count.failed);
                        say("P6", format!("{what}; the policy says {}", count.retries));
                    }
                }
            }
            _ => {}
        }
    }
    let first = first_task(events);
    for (operation, count) in &counts {
        executions(ended, operation, count, first == Some(*operation), say);
    }
}

#[derive(Debug, Default)]
struct Count {
    retries: u32,
    failed: u32,
    lost: u32,
    ended: bool,
    not_before: Vec<(u32, Timestamp)>,
}

impl Count {
    fn check(&self, operation: &OperationKey, attempt: u32, say: Say<'_>) {
        let expected = 1 + self.failed + self.lost;
        if attempt != expected {
            say(
                "P6",
                format!("attempt {attempt} of {operation} is number {expected}"),
            );
        }
    }

    fn end(&mut self, operation: &OperationKey, say: Say<'_>) {
        if std::mem::replace(&mut self.ended, true) {
            say("P2", format!("{operation} ended twice"));
        }
    }
}

/// The recorded result is what that attempt gave.
fn recorded(
    ended: &Ended<'_>,
    operation: &OperationKey,
    attempt: u32,
    nonce: Option<u64>,
    say: Say<'_>,
) {
    let Some(nonce) = nonce.filter(|_| &*operation.name == "simulated.act") else {
        return;
    };
    let is_it = |effect: &&Effect| effect.nonce == nonce && effect.attempt == attempt;
    if !executed(ended, operation).any(|effect| is_it(&effect)) {
        say(
            "P3",
            format!("{operation} has a result that attempt {attempt} did not give"),
        );
    }
}

fn executed<'a>(
    ended: &'a Ended<'_>,
    operation: &OperationKey,
) -> impl Iterator<Item = &'a Effect> {
    let key = format!("{}/1/{operation}", ended.record.identity.workflow_id);
    ended
        .effects
        .iter()
        .filter(move |effect| effect.operation == key)
}

/// Returns the task that may have been started before its record was written.
fn first_task(events: &[Event]) -> Option<&OperationKey> {
    let mut told = events
        .iter()
        .skip(1)
        .filter(|event| !event.kind.is_silent());
    match told.next().map(|event| &event.kind) {
        Some(EventKind::TaskScheduled { operation, .. }) => Some(operation),
        _ => None,
    }
}

fn executions(
    ended: &Ended<'_>,
    operation: &OperationKey,
    count: &Count,
    is_first: bool,
    say: Say<'_>,
) {
    let mut times: BTreeMap<u32, u32> = BTreeMap::new();
    for effect in executed(ended, operation) {
        *times.entry(effect.attempt).or_default() += 1;
        let too_early = count
            .not_before
            .iter()
            .any(|(attempt, time)| *attempt == effect.attempt && effect.began < *time);
        if too_early {
            say("P8", format!("{operation} was retried before its time"));
        }
    }
    for (attempt, times) in &times {
        if *times > 1 && !(is_first && *attempt == 1) {
            say(
                "P6",
                format!("attempt {attempt} of {operation} ran {times} times"),
            );
        }
    }
    let most = 1 + count.failed + count.lost;
    let ran: u32 = times.values().sum();
    if times.keys().any(|attempt| *attempt > most) {
        say(
            "P6",
            format!("{operation} ran an attempt beyond its {most}"),
        );
    }
    if ended.is_calm && (count.lost > 0 || ran > most) {
        say(
            "P6",
            format!("{operation} ran {ran} times though nothing went wrong"),
        );
    }
}

/// The result is what the evaluator says, and the data is the run's own.
fn outcome(events: &[Event], ended: &Ended<'_>, say: Say<'_>) {
    let id = ended.record.identity.workflow_id.as_str();
    let outside = Outside {
        effects: ended.effects,
    };
    match events.last().map(|event| &event.kind) {
        Some(EventKind::RunCompleted { result }) if !ended.program.fails => {
            let seen: Value = result.decode().unwrap_or_default();
            if let Err(why) = evaluate::check(ended.program, id, &seen, &outside) {
                say("result", why);
            }
            last_data(ended, say);
        }
        Some(EventKind::RunFailed { error })
            if ended.program.fails && error.message() == "as the program says" => {}
        Some(EventKind::RunCancelled { .. })
            if ended.record.identity.parent.is_some() || ended.was_told_to(Control::Cancel) => {}
        Some(EventKind::RunTerminated { .. }) if ended.was_told_to(Control::Terminate) => {}
        Some(other) => say("result", format!("it ended as {other:?}")),
        None => {}
    }
    let is_foreign = |value: &Value| {
        let owner = value.as_str().and_then(|text| text.split_once(' '));
        owner.is_none_or(|(owner, _)| owner != id)
    };
    for (key, value) in ended.data.iter().filter(|(_, value)| is_foreign(value)) {
        say("P9", format!("data `{key}` is {value}"));
    }
}

/// What the run set last is what its data shows.
fn last_data(ended: &Ended<'_>, say: Say<'_>) {
    let id = &ended.record.identity.workflow_id;
    let mut last: BTreeMap<&str, String> = BTreeMap::new();
    for step in &ended.program.steps {
        if let Step::Put(key, value) = step {
            let name = NAMES.get(*key).copied().unwrap_or_default();
            last.insert(name, format!("{id} {value}"));
        }
    }
    for (key, value) in last {
        let stored = ended.data.iter().find(|(name, _)| name == key);
        let shown = stored.and_then(|(_, stored)| stored.as_str());
        if shown != Some(value.as_str()) {
            say(
                "P9",
                format!("data `{key}` is {stored:?}; it was set to `{value}`"),
            );
        }
    }
}
