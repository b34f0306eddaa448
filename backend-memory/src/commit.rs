//! The one place where an owned run changes.
//!
//! Invariants: a turn is checked whole before its first write, so that a verdict other than `Committed` wrote nothing.
//! A turn that only appends changes nothing of the run row that is shown, and gives no hint.

use longhaul_core::backend::{
    ArrivalBody, ArrivalKind, Hint, Message, RunUpdate, StartRun, TurnCommit, Verdict,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::{ArrivalNumber, BuildId, WorkerId, WorkflowId, WriteId};
use longhaul_core::status::Status;

use crate::store::{RunNumber, RunRow, Store};
use crate::workers;

/// Appends a turn to a run that `owner` owns; without one, to an open run that nobody owns.
pub(crate) fn commit(
    store: &mut Store,
    owner: Option<WorkerId>,
    mut commit: TurnCommit,
    now: Timestamp,
) -> Verdict {
    let Some(number) = store.number(&commit.run) else {
        return Verdict::Lost;
    };
    let judged = store.row(number).map(|row| judge(row, owner, &commit));
    if let Some(refused) = judged.unwrap_or(Some(Verdict::Lost)) {
        return refused;
    }
    if let Some(turn) = commit.turn.take() {
        store.append(number, turn, commit.write);
        write_effects(store, number, &mut commit, now);
        write_row(store, number, commit.update, None, now);
    } else {
        write_effects(store, number, &mut commit, now);
        write_row(store, number, commit.update, Some(commit.write), now);
    }
    Verdict::Committed
}

/// Tells the verdict on a turn that changes nothing; none when it is to be written.
fn judge(row: &RunRow, owner: Option<WorkerId>, commit: &TurnCommit) -> Option<Verdict> {
    let run = &row.record;
    if is_repeated(row, commit) {
        return Some(Verdict::Committed);
    }
    let is_owned = run.owner == owner && run.epoch == commit.epoch && run.segment == commit.segment;
    let turns = row.turns.len() as u64;
    let turn = commit.turn.as_ref();
    let is_open = !run.status.is_terminal();
    if !is_owned || !is_open || turn.is_some_and(|turn| turn.turn.0 != turns) {
        return Some(Verdict::Lost);
    }
    let read = commit.update.read();
    let is_unread = read.is_some_and(|read| run.arrivals > read);
    (is_unread && commit.update.needs_all_read()).then_some(Verdict::Unread)
}

/// Tells whether this very write was committed before.
fn is_repeated(row: &RunRow, commit: &TurnCommit) -> bool {
    let Some(turn) = &commit.turn else {
        return row.last_write == Some(commit.write);
    };
    let place = usize::try_from(turn.turn.0).unwrap_or(usize::MAX);
    let before = row.turns.get(place);
    row.record.segment == commit.segment
        && before.is_some_and(|before| before.write == Some(commit.write))
}

/// Writes all that a turn changes elsewhere.
fn write_effects(store: &mut Store, number: RunNumber, commit: &mut TurnCommit, now: Timestamp) {
    if commit.answers() {
        store.tell(Hint::Ended);
    }
    if !commit.data.is_empty() {
        store.change(number, |row| {
            for (key, value) in commit.data.drain(..) {
                match value {
                    Some(value) => row.data.insert(key, value),
                    None => row.data.remove(&key),
                };
            }
        });
    }
    for operation in &commit.withdraw {
        store.queues.withdraw(number, commit.segment, operation);
    }
    for mut attempt in commit.enqueue.drain(..) {
        attempt.run = commit.run.clone();
        store.queues.put(number, attempt, now);
        store.tell(Hint::Changed);
    }
    for subworkflow in &commit.subworkflows {
        start_subworkflow(store, &commit.run, subworkflow, now);
    }
    if !commit.outbox.is_empty() {
        store.tell(Hint::Changed);
    }
    store.outbox.extend(commit.outbox.drain(..));
}

/// Starts a subworkflow, or tells the run that its id is taken.
fn start_subworkflow(
    store: &mut Store,
    parent: &WorkflowId,
    subworkflow: &StartRun,
    now: Timestamp,
) {
    if store.insert(None, subworkflow, now) || is_own_child(store, subworkflow) {
        return;
    }
    let operation = subworkflow.parent_operation.as_ref();
    store.outbox.push_back(Message {
        to: parent.clone(),
        write: workers::new_write(),
        body: ArrivalBody {
            kind: ArrivalKind::SubworkflowClosed,
            name: operation.map(ToString::to_string).unwrap_or_default(),
            content: Vec::new(),
        },
    });
    store.tell(Hint::Changed);
}

/// Tells whether the run that has the id was started by the same operation with the same arguments.
fn is_own_child(store: &Store, subworkflow: &StartRun) -> bool {
    let identity = &subworkflow.identity;
    store.find(&identity.workflow_id).is_some_and(|row| {
        let run = &row.record;
        run.identity.parent == identity.parent
            && run.parent_operation == subworkflow.parent_operation
            && run.fingerprint == subworkflow.fingerprint
            && run.identity.workflow_type == identity.workflow_type
    })
}

/// Is what giving a run up writes into its row.
struct GivenUp {
    read: ArrivalNumber,
    status: Status,
    wake_at: Option<Timestamp>,
    blocked: Option<(String, BuildId)>,
}

/// Writes the run's row; `write` names a write that appended no turn.
fn write_row(
    store: &mut Store,
    number: RunNumber,
    update: RunUpdate,
    write: Option<WriteId>,
    now: Timestamp,
) {
    let (read, status, wake_at, blocked) = match update {
        RunUpdate::Append => {
            if write.is_some() {
                store.change(number, |row| row.last_write = write);
            }
            return;
        }
        RunUpdate::Drain { read, seal } => {
            store.change(number, |row| drain(row, read, seal, write, now));
            return;
        }
        RunUpdate::Park { read, wake_at } => (read, Status::Waiting, wake_at, None),
        RunUpdate::Release { read } => (read, Status::Waiting, Some(now), None),
        RunUpdate::Block {
            read,
            reason,
            build,
        } => (read, Status::Blocked, Some(now), Some((reason, build))),
        RunUpdate::Pause { read } => (read, Status::Paused, None, None),
        RunUpdate::End { read, status } => (read, status, None, None),
    };
    if wake_at.is_some() {
        store.tell(Hint::Changed);
    } else if status.is_terminal() || status == Status::Paused {
        store.tell(Hint::Ended);
    }
    let given_up = GivenUp {
        read,
        status,
        wake_at,
        blocked,
    };
    let before = store.row(number).map(|row| row.record.status);
    store.change(number, |row| give_up(row, given_up, write, now));
    if status.is_terminal() {
        store.queues.forget(number);
    } else if status == Status::Paused {
        store.queues.hold(number);
    } else if before == Some(Status::Paused) {
        store.queues.let_go(number, now);
        store.tell(Hint::Changed);
    }
}

fn drain(
    row: &mut RunRow,
    read: ArrivalNumber,
    seal: bool,
    write: Option<WriteId>,
    now: Timestamp,
) {
    let run = &mut row.record;
    run.read = run.read.max(read);
    if run.arrivals <= run.read {
        run.wake_at = None;
    }
    run.updated_at = now;
    row.is_sealed |= seal;
    row.last_write = write.or(row.last_write);
}

fn give_up(row: &mut RunRow, given_up: GivenUp, write: Option<WriteId>, now: Timestamp) {
    let run = &mut row.record;
    if run.owner.take().is_some() {
        run.lost = 0;
    }
    run.read = run.read.max(given_up.read);
    run.status = given_up.status;
    run.wake_at = given_up.wake_at;
    run.blocked = given_up.blocked;
    run.updated_at = now;
    row.is_sealed = false;
    row.lost_turns = row.turns.len();
    row.last_write = write.or(row.last_write);
    if given_up.status.is_terminal() {
        row.inbox = Vec::new();
        row.inbox_writes.clear();
        row.inbox_writes.shrink_to_fit();
    }
}
