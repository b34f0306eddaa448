//! Re-running code over its history, and saying precisely where the two part.
//!
//! Invariants: the commands that follow each delivered event are compared with the recorded ones in order. Only behind
//! the last delivered event may the code ask for more than was recorded; that is new. Events that the code does not see
//! may stand anywhere. Whoever edits a run from outside may put an event behind one whose commands no owner has recorded
//! yet; they stand behind the edit then.

use crate::command::{Command, Shown};
use crate::engine::execution::{Execution, Stuck};
use crate::error::{Error, ErrorKind};
use crate::history::{Event, EventKind};
use crate::id::EventNumber;

/// Delivers `events` to a new execution; returns the commands that history does not hold yet.
pub(crate) fn replay(execution: &mut Execution, events: &[Event]) -> Result<Vec<Command>, Stuck> {
    let told: Vec<_> = events
        .iter()
        .enumerate()
        .filter(|(_, event)| !event.kind.is_silent())
        .collect();
    let mut rest = told.as_slice();
    let mut new = Vec::new();
    let mut carried = Vec::new();
    while let Some(((number, event), after)) = rest.split_first() {
        let asked = after
            .iter()
            .position(|(_, event)| !event.kind.is_command())
            .unwrap_or(after.len());
        let (recorded, mut next) = after.split_at(asked);
        let mut recorded: Vec<_> = recorded.iter().map(|(_, event)| *event).collect();
        foresee(execution, after);
        let mut commands = execution.deliver(EventNumber(*number as u64), event)?;
        if !carried.is_empty() {
            commands.splice(0..0, std::mem::take(&mut carried));
        }
        if execution.has_ended() {
            recorded.extend(behind_the_end(next));
            next = &[];
        }
        let may_ask_for_more = match next.first() {
            None => true,
            Some((_, event)) => is_edit(&event.kind),
        };
        let surplus = compare(*number, event, &recorded, commands, may_ask_for_more)?;
        if next.is_empty() {
            new = surplus;
        } else {
            carried = surplus;
        }
        rest = next;
    }
    Ok(new)
}

/// Tells whether an event may have come from an edit, and so before the commands of the event before it.
const fn is_edit(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::RunResumed { .. }
            | EventKind::CancelRequested { .. }
            | EventKind::RunTerminated { .. }
    )
}

/// Returns the commands among the rest of a history whose code has ended: what arrived meanwhile stands between them.
fn behind_the_end<'a>(rest: &[(usize, &'a Event)]) -> impl Iterator<Item = &'a Event> {
    let events = rest.iter().map(|(_, event)| *event);
    events.filter(|event| event.kind.is_command())
}

/// Hands out the values that were recorded of the event that is delivered next, also behind edits.
fn foresee(execution: &Execution, after: &[(usize, &Event)]) {
    let events = after.iter().map(|(_, event)| event);
    let of_this = events.take_while(|event| event.kind.is_command() || is_edit(&event.kind));
    for event in of_this {
        if let EventKind::ValueRecorded { operation, value } = &event.kind {
            execution
                .machine()
                .foresee(operation.clone(), value.clone());
        }
    }
}

fn compare(
    number: usize,
    event: &Event,
    recorded: &[&Event],
    mut commands: Vec<Command>,
    may_ask_for_more: bool,
) -> Result<Vec<Command>, Stuck> {
    let same = recorded
        .iter()
        .zip(&commands)
        .take_while(|(event, command)| command.matches(&event.kind))
        .count();
    let is_surplus = may_ask_for_more && same == recorded.len();
    if is_surplus || (same == recorded.len() && same == commands.len()) {
        return Ok(commands.split_off(same));
    }
    Err(difference(number, event, recorded, &commands, same))
}

fn difference(
    number: usize,
    event: &Event,
    recorded: &[&Event],
    commands: &[Command],
    same: usize,
) -> Stuck {
    let history = recorded
        .get(same)
        .map(|event| Shown(&event.kind).to_string());
    let code = commands.get(same).map(ToString::to_string);
    let message = match (&history, &code) {
        (Some(history), Some(code)) => format!(
            "history has {history} as number {} after event {number}; the code asked for {code} there",
            same + 1
        ),
        (Some(history), None) => {
            format!("history has {history} after event {number}; the code did not ask for it")
        }
        (None, Some(code)) => {
            format!("the code asked for {code} after event {number}; history does not have it")
        }
        (None, None) => "history and code differ".to_owned(),
    };
    let details = Difference {
        event: number,
        delivered: name(&event.kind),
        history: recorded
            .iter()
            .map(|event| Shown(&event.kind).to_string())
            .collect(),
        code: commands.iter().map(ToString::to_string).collect(),
    };
    Stuck(Error::new(ErrorKind::Nondeterminism, message).with_details(&details))
}

fn name(kind: &EventKind) -> String {
    match kind.operation() {
        Some(operation) => format!("`{operation}`"),
        None => match kind {
            EventKind::RunStarted(_) => "the start".to_owned(),
            EventKind::SignalReceived { signal, .. } => format!("signal `{signal}`"),
            _ => "another event".to_owned(),
        },
    }
}

#[derive(serde::Serialize)]
struct Difference {
    event: usize,
    delivered: String,
    history: Vec<String>,
    code: Vec<String>,
}
