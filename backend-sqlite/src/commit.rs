//! The one place where an owned run changes.
//!
//! Invariants: a turn is checked whole before its first write, so that a verdict other than `Committed` wrote nothing;
//! what SQLite itself refuses is undone by a savepoint. A turn that only appends touches no run row and needs no
//! savepoint, as it is one statement.

use longhaul_core::backend::{ArrivalBody, ArrivalKind, RunUpdate, StartRun, TurnCommit, Verdict};
use longhaul_core::clock::Timestamp;
use longhaul_core::history::StoredTurn;
use longhaul_core::id::{Epoch, Segment, WorkerId, WriteId};
use longhaul_core::status::Status;
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Result;
use crate::row::{self, RunNumber, optional_text, optional_worker, optional_write};
use crate::{events, state, takeover, tasks};

pub(crate) const STANDING: &str =
    "select number, segment, owner, epoch, arrivals, last_write, status from run where id = ?1";

pub(crate) const APPEND: &str = "
    insert into turn (run, segment, turn, first_event, write_id, record)
    select ?1, ?2, ?3, ?4, ?5, ?6
    where ?3 = 0 or exists (select 1 from turn where run = ?1 and segment = ?2 and turn = ?3 - 1)
    on conflict do nothing";

pub(crate) const REPEATED: &str =
    "select 1 from turn where run = ?1 and segment = ?2 and turn = ?3 and write_id = ?4";

pub(crate) const TURNS: &str =
    "select coalesce(max(turn) + 1, 0) from turn where run = ?1 and segment = ?2";

/// Appends turns to runs that `owner` owns, or without one to runs that nobody owns; answers in order.
pub(crate) fn commit(
    connection: &Connection,
    owner: Option<WorkerId>,
    turns: &[TurnCommit],
    now: Timestamp,
) -> Result<Vec<Verdict>> {
    if let Some(worker) = owner {
        takeover::require_worker(connection, worker, now)?;
    }
    let commit_one = |turn| {
        let committed = if is_plain(turn) {
            commit_turn(connection, owner, turn, now)
        } else {
            undoable(connection, || commit_turn(connection, owner, turn, now))
        };
        match committed {
            Err(failure) if failure.is_refusal() => Ok(Verdict::Refused(failure.to_string())),
            other => other,
        }
    };
    turns.iter().map(commit_one).collect()
}

/// Tells whether all that a turn writes is its own row.
fn is_plain(commit: &TurnCommit) -> bool {
    commit.update == RunUpdate::Append
        && commit.turn.is_some()
        && commit.data.is_empty()
        && commit.subworkflows.is_empty()
        && commit.enqueue.is_empty()
        && commit.withdraw.is_empty()
        && commit.outbox.is_empty()
}

fn undoable(connection: &Connection, work: impl FnOnce() -> Result<Verdict>) -> Result<Verdict> {
    connection.prepare_cached("savepoint turn")?.execute([])?;
    let done = work();
    if done.is_err() && !connection.is_autocommit() {
        connection.prepare_cached("rollback to turn")?.execute([])?;
    }
    if !connection.is_autocommit() {
        connection.prepare_cached("release turn")?.execute([])?;
    }
    done
}

fn commit_turn(
    connection: &Connection,
    owner: Option<WorkerId>,
    commit: &TurnCommit,
    now: Timestamp,
) -> Result<Verdict> {
    let Some(run) = standing(connection, commit)? else {
        return Ok(Verdict::Lost);
    };
    let is_owned = run.owner == owner
        && !run.status.is_terminal()
        && run.epoch == commit.epoch
        && run.segment == commit.segment;
    if is_owned && is_plain(commit) && append(connection, &run, commit)? {
        return Ok(Verdict::Committed);
    }
    if is_repeated(connection, &run, commit)? {
        return Ok(Verdict::Committed);
    }
    if !is_owned || !follows(connection, &run, commit.turn.as_ref())? {
        return Ok(Verdict::Lost);
    }
    let is_unread = commit
        .update
        .read()
        .is_some_and(|read| run.arrivals > read.0);
    if is_unread && commit.update.needs_all_read() {
        return Ok(Verdict::Unread);
    }
    if !append(connection, &run, commit)? {
        return Ok(Verdict::Lost);
    }
    write_effects(connection, &run, commit, now)?;
    write_row(connection, &run, commit, now)?;
    Ok(Verdict::Committed)
}

struct Standing {
    number: RunNumber,
    segment: Segment,
    owner: Option<WorkerId>,
    epoch: Epoch,
    arrivals: u64,
    last_write: Option<WriteId>,
    status: Status,
}

fn standing(connection: &Connection, commit: &TurnCommit) -> Result<Option<Standing>> {
    let found = connection
        .prepare_cached(STANDING)?
        .query_row([commit.run.as_str()], |row| {
            Ok(Standing {
                number: row.get(0)?,
                segment: Segment(row.get(1)?),
                owner: optional_worker(row, 2)?,
                epoch: Epoch(row.get(3)?),
                arrivals: row.get(4)?,
                last_write: optional_write(row, 5)?,
                status: row::status(row, 6)?,
            })
        })
        .optional()?;
    Ok(found)
}

/// Tells whether this very write was committed before.
fn is_repeated(connection: &Connection, run: &Standing, commit: &TurnCommit) -> Result<bool> {
    let Some(turn) = &commit.turn else {
        return Ok(run.last_write == Some(commit.write));
    };
    let found = connection.prepare_cached(REPEATED)?.exists(params![
        run.number,
        commit.segment.0,
        row::sought(turn.turn.0),
        commit.write.0.as_bytes()
    ])?;
    Ok(found)
}

/// Tells whether the turn before is the last one; what appends no turn follows anything.
fn follows(connection: &Connection, run: &Standing, turn: Option<&StoredTurn>) -> Result<bool> {
    match turn {
        Some(turn) => Ok(turns(connection, run)? == turn.turn.0),
        None => Ok(true),
    }
}

fn turns(connection: &Connection, run: &Standing) -> Result<u64> {
    let turns = connection
        .prepare_cached(TURNS)?
        .query_row(params![run.number, run.segment.0], |row| row.get(0))?;
    Ok(turns)
}

/// Inserts the turn, if there is one, after the turn before; tells whether it could.
fn append(connection: &Connection, run: &Standing, commit: &TurnCommit) -> Result<bool> {
    let Some(turn) = &commit.turn else {
        return Ok(true);
    };
    let inserted = connection.prepare_cached(APPEND)?.execute(params![
        run.number,
        commit.segment.0,
        row::sought(turn.turn.0),
        turn.first_event.0,
        commit.write.0.as_bytes(),
        turn.record
    ])?;
    Ok(inserted > 0)
}

fn write_effects(
    connection: &Connection,
    run: &Standing,
    commit: &TurnCommit,
    now: Timestamp,
) -> Result<()> {
    for (key, value) in &commit.data {
        match value {
            Some(value) => connection
                .prepare_cached(
                    "insert into data (run, key, value) values (?1, ?2, ?3)
                     on conflict (run, key) do update set value = excluded.value",
                )?
                .execute(params![run.number, key.as_str(), value.as_bytes()])?,
            None => connection
                .prepare_cached("delete from data where run = ?1 and key = ?2")?
                .execute(params![run.number, key.as_str()])?,
        };
    }
    for operation in &commit.withdraw {
        tasks::withdraw(connection, run.number, commit.segment, operation)?;
    }
    for attempt in &commit.enqueue {
        tasks::enqueue(connection, run.number, attempt, now)?;
    }
    for subworkflow in &commit.subworkflows {
        start_subworkflow(connection, commit, subworkflow, now)?;
    }
    for message in &commit.outbox {
        events::send(connection, &message.to, message.write, &message.body)?;
    }
    Ok(())
}

/// Starts a subworkflow, or tells the run that its id is taken.
fn start_subworkflow(
    connection: &Connection,
    commit: &TurnCommit,
    subworkflow: &StartRun,
    now: Timestamp,
) -> Result<()> {
    if state::start(connection, None, subworkflow, now)?.is_some()
        || is_own_child(connection, subworkflow)?
    {
        return Ok(());
    }
    let operation = subworkflow.parent_operation.as_ref();
    let refused = ArrivalBody {
        kind: ArrivalKind::SubworkflowClosed,
        name: operation.map(ToString::to_string).unwrap_or_default(),
        content: Vec::new(),
    };
    events::send(connection, &commit.run, takeover::new_write(), &refused)
}

/// Tells whether the run that has the id was started by the same operation with the same arguments.
fn is_own_child(connection: &Connection, subworkflow: &StartRun) -> Result<bool> {
    let operation = subworkflow
        .parent_operation
        .as_ref()
        .map(ToString::to_string);
    let is_own = connection
        .prepare_cached(
            "select parent, parent_operation, fingerprint, type from run where id = ?1",
        )?
        .query_row([subworkflow.identity.workflow_id.as_str()], |row| {
            let parent = subworkflow.identity.parent.as_ref();
            Ok(
                optional_text(row, 0)? == parent.map(|parent| parent.as_str())
                    && optional_text(row, 1)? == operation.as_deref()
                    && row.get::<_, [u8; 16]>(2)? == subworkflow.fingerprint
                    && row::text(row, 3)? == subworkflow.identity.workflow_type.as_str(),
            )
        })
        .optional()?;
    Ok(is_own.unwrap_or(false))
}

/// Is what giving a run up writes into its row.
#[derive(Default)]
struct GivenUp<'a> {
    status: &'static str,
    wake_at: Option<Timestamp>,
    blocked: Option<(&'a str, &'a str)>,
}

fn write_row(
    connection: &Connection,
    run: &Standing,
    commit: &TurnCommit,
    now: Timestamp,
) -> Result<()> {
    let given_up = match &commit.update {
        RunUpdate::Append => return remember(connection, run, commit),
        RunUpdate::Drain { seal, .. } => return drain(connection, run, commit, *seal, now),
        RunUpdate::Park { wake_at, .. } => GivenUp {
            status: Status::Waiting.as_str(),
            wake_at: *wake_at,
            ..GivenUp::default()
        },
        RunUpdate::Release { .. } => GivenUp {
            status: Status::Waiting.as_str(),
            wake_at: Some(now),
            ..GivenUp::default()
        },
        RunUpdate::Block { reason, build, .. } => GivenUp {
            status: Status::Blocked.as_str(),
            wake_at: Some(now),
            blocked: Some((reason, build.as_str())),
        },
        RunUpdate::Pause { .. } => GivenUp {
            status: Status::Paused.as_str(),
            ..GivenUp::default()
        },
        RunUpdate::End { status, .. } => GivenUp {
            status: status.as_str(),
            ..GivenUp::default()
        },
    };
    give_up(connection, run, commit, &given_up, now)?;
    match commit.update {
        RunUpdate::End { .. } => forget(connection, run),
        RunUpdate::Pause { .. } => tasks::hold(connection, run.number),
        _ if run.status == Status::Paused => tasks::let_go(connection, run.number, now),
        _ => Ok(()),
    }
}

/// Remembers a write that appended no turn and gives nothing up.
fn remember(connection: &Connection, run: &Standing, commit: &TurnCommit) -> Result<()> {
    if let Some(write) = write_without_turn(commit) {
        connection
            .prepare_cached("update run set last_write = ?2 where number = ?1")?
            .execute(params![run.number, write])?;
    }
    Ok(())
}

fn drain(
    connection: &Connection,
    run: &Standing,
    commit: &TurnCommit,
    seal: bool,
    now: Timestamp,
) -> Result<()> {
    connection
        .prepare_cached(
            "update run set read_to = max(read_to, ?2), sealed = max(sealed, ?3), last_write = coalesce(?4, last_write),
                 wake_at = case when arrivals > max(read_to, ?2) then wake_at end, updated_at = ?5
             where number = ?1",
        )?
        .execute(params![
            run.number,
            commit.update.read().unwrap_or_default().0,
            seal,
            write_without_turn(commit),
            now.as_micros()
        ])?;
    Ok(())
}

fn give_up(
    connection: &Connection,
    run: &Standing,
    commit: &TurnCommit,
    given_up: &GivenUp<'_>,
    now: Timestamp,
) -> Result<()> {
    connection
        .prepare_cached(
            "update run set owner = null, sealed = 0, lost = iif(owner is null, lost, 0), lost_turns = ?3, turns = ?3,
                 read_to = max(read_to, ?2), status = ?4, wake_at = ?5, blocked_reason = ?6, blocked_build = ?7,
                 last_write = coalesce(?8, last_write), updated_at = ?9
             where number = ?1",
        )?
        .execute(params![
            run.number,
            commit.update.read().unwrap_or_default().0,
            turns(connection, run)?,
            given_up.status,
            given_up.wake_at.map(Timestamp::as_micros),
            given_up.blocked.map(|(reason, _)| reason),
            given_up.blocked.map(|(_, build)| build),
            write_without_turn(commit),
            now.as_micros()
        ])?;
    Ok(())
}

fn write_without_turn(commit: &TurnCommit) -> Option<&[u8; 16]> {
    commit.turn.is_none().then(|| commit.write.0.as_bytes())
}

/// Removes what a finished run no longer needs.
fn forget(connection: &Connection, run: &Standing) -> Result<()> {
    connection
        .prepare_cached("delete from inbox where run = ?1")?
        .execute([run.number])?;
    connection
        .prepare_cached("delete from attempt where run = ?1")?
        .execute([run.number])?;
    connection
        .prepare_cached("delete from outcome where run = ?1")?
        .execute([run.number])?;
    Ok(())
}
