//! Turns and runs as the columns of statements.
//!
//! Invariants: the order of what is added here is that of the places in `sql/`. Effects name their turns by the place in
//! the group, from 1.

use std::collections::BTreeMap;

use longhaul_core::backend::{RunUpdate, StartRun, TurnCommit};
use longhaul_core::clock::Timestamp;
use longhaul_core::history::StoredTurn;
use longhaul_core::status::Status;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;

use crate::Store;
use crate::error::Result;
use crate::lanes::Fence;
use crate::row::{kept, stored, uuid};
use crate::session::arguments;

/// Makes the arguments of the statement for a lone turn.
pub(crate) fn one(store: &Store, fence: Fence, n: i64, turn: &TurnCommit) -> Result<PgArguments> {
    let record = turn.turn.as_ref();
    Ok(arguments!(
        store.clock.given(),
        uuid(fence.worker.0),
        fence.lane,
        n,
        turn.run.as_str(),
        i64::from(turn.segment.0),
        stored(turn.epoch.0),
        uuid(turn.write.0),
        record.map(|turn| stored(turn.turn.0)),
        record.map(|turn| kept(turn.first_event.0)).transpose()?,
        record.map(|turn| turn.record.as_slice()),
    ))
}

/// Makes the arguments that every statement of a group begins with. Without a fence nobody owns the runs.
pub(crate) fn columns(
    store: &Store,
    fence: Option<(Fence, i64)>,
    turns: &[&TurnCommit],
) -> Result<PgArguments> {
    fn each<'a, T>(turns: &[&'a TurnCommit], of: impl Fn(&'a TurnCommit) -> T) -> Vec<T> {
        turns.iter().map(|turn| of(turn)).collect()
    }
    let first_event = |turn: &StoredTurn| kept(turn.first_event.0);
    let first_events = turns
        .iter()
        .map(|turn| turn.turn.as_ref().map(first_event).transpose());
    Ok(arguments!(
        store.clock.given(),
        fence.map(|(fence, _)| uuid(fence.worker.0)),
        fence.map(|(fence, _)| fence.lane),
        fence.map(|(_, n)| n),
        each(turns, |turn| turn.run.as_str()),
        each(turns, |turn| i64::from(turn.segment.0)),
        each(turns, |turn| stored(turn.epoch.0)),
        each(turns, |turn| uuid(turn.write.0)),
        each(turns, |turn| turn
            .turn
            .as_ref()
            .map(|turn| stored(turn.turn.0))),
        first_events.collect::<Result<Vec<_>>>()?,
        each(turns, |turn| turn
            .turn
            .as_ref()
            .map(|turn| turn.record.as_slice())),
    ))
}

/// Adds what becomes of the row of a lone run.
pub(crate) fn update(arguments: PgArguments, turn: &TurnCommit) -> Result<PgArguments> {
    fn add(mut arguments: PgArguments, update: &RunUpdate) -> Result<PgArguments, BoxDynError> {
        use sqlx::Arguments as _;
        arguments.add(action(update))?;
        arguments.add(read(update))?;
        arguments.add(seals(update))?;
        arguments.add(wake_at(update))?;
        arguments.add(status(update))?;
        arguments.add(reason(update))?;
        arguments.add(build(update))?;
        Ok(arguments)
    }
    Ok(add(arguments, &turn.update).map_err(sqlx::Error::Encode)?)
}

/// Adds what becomes of the rows of the runs.
pub(crate) fn updates(arguments: PgArguments, turns: &[&TurnCommit]) -> Result<PgArguments> {
    fn add(mut arguments: PgArguments, updates: &[&RunUpdate]) -> Result<PgArguments, BoxDynError> {
        use sqlx::Arguments as _;
        fn each<'a, T>(updates: &[&'a RunUpdate], of: impl Fn(&'a RunUpdate) -> T) -> Vec<T> {
            updates.iter().map(|update| of(update)).collect()
        }
        arguments.add(each(updates, action))?;
        arguments.add(each(updates, read))?;
        arguments.add(each(updates, seals))?;
        arguments.add(each(updates, wake_at))?;
        arguments.add(each(updates, status))?;
        arguments.add(each(updates, reason))?;
        arguments.add(each(updates, build))?;
        Ok(arguments)
    }
    let updates: Vec<&RunUpdate> = turns.iter().map(|turn| &turn.update).collect();
    Ok(add(arguments, &updates).map_err(sqlx::Error::Encode)?)
}

const fn action(update: &RunUpdate) -> &'static str {
    match update {
        RunUpdate::Append => "append",
        RunUpdate::Drain { .. } => "drain",
        RunUpdate::Park { .. } => "park",
        RunUpdate::Release { .. } => "release",
        RunUpdate::Block { .. } => "block",
        RunUpdate::Pause { .. } => "pause",
        RunUpdate::End { .. } => "end",
    }
}

fn read(update: &RunUpdate) -> i64 {
    stored(update.read().unwrap_or_default().0)
}

const fn seals(update: &RunUpdate) -> bool {
    matches!(update, RunUpdate::Drain { seal: true, .. })
}

fn wake_at(update: &RunUpdate) -> Option<i64> {
    match update {
        RunUpdate::Park { wake_at, .. } => wake_at.map(Timestamp::as_micros),
        _ => None,
    }
}

fn status(update: &RunUpdate) -> Option<&'static str> {
    match update {
        RunUpdate::Append | RunUpdate::Drain { .. } => None,
        RunUpdate::Park { .. } | RunUpdate::Release { .. } => Some(Status::Waiting.as_str()),
        RunUpdate::Block { .. } => Some(Status::Blocked.as_str()),
        RunUpdate::Pause { .. } => Some(Status::Paused.as_str()),
        RunUpdate::End { status, .. } => Some(status.as_str()),
    }
}

fn reason(update: &RunUpdate) -> Option<String> {
    match update {
        RunUpdate::Block { reason, .. } => Some(reason.replace('\0', "\u{FFFD}")),
        _ => None,
    }
}

fn build(update: &RunUpdate) -> Option<&str> {
    match update {
        RunUpdate::Block { build, .. } => Some(build.as_str()),
        _ => None,
    }
}

/// Adds what turns change elsewhere; each row names its turn by the place in the group, from 1.
pub(crate) fn effects(mut arguments: PgArguments, turns: &[&TurnCommit]) -> Result<PgArguments> {
    add_data(&mut arguments, turns)
        .and_then(|()| add_attempts(&mut arguments, turns))
        .and_then(|()| add_messages_place(&mut arguments, turns))
        .map_err(sqlx::Error::Encode)?;
    Ok(arguments)
}

type Added = Result<(), BoxDynError>;

/// Pairs things of turns with the places of their turns.
fn of_members<'a, T: 'a>(
    turns: &'a [&'a TurnCommit],
    of: impl Fn(&'a TurnCommit) -> &'a [T],
) -> (Vec<i64>, Vec<&'a T>) {
    let with_place =
        |(place, turn): (i64, &&'a TurnCommit)| of(turn).iter().map(move |thing| (place, thing));
    (1..).zip(turns).flat_map(with_place).unzip()
}

fn add_data(arguments: &mut PgArguments, turns: &[&TurnCommit]) -> Added {
    use sqlx::Arguments as _;
    let mut last = BTreeMap::new();
    for (place, turn) in (1_i64..).zip(turns) {
        for (key, value) in &turn.data {
            last.insert(
                (place, key.as_str()),
                value.as_ref().map(|value| value.as_bytes()),
            );
        }
    }
    let (keys, values): (Vec<_>, Vec<_>) = last.into_iter().unzip();
    let (places, keys): (Vec<i64>, Vec<&str>) = keys.into_iter().unzip();
    arguments.add(places)?;
    arguments.add(keys)?;
    arguments.add(values)?;
    Ok(())
}

fn add_attempts(arguments: &mut PgArguments, turns: &[&TurnCommit]) -> Added {
    use sqlx::Arguments as _;
    let (places, operations) = of_members(turns, |turn| &turn.withdraw);
    arguments.add(places)?;
    arguments.add(
        operations
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
    )?;
    let (places, attempts) = of_members(turns, |turn| &turn.enqueue);
    arguments.add(places)?;
    arguments.add(
        attempts
            .iter()
            .map(|one| i64::from(one.segment.0))
            .collect::<Vec<_>>(),
    )?;
    arguments.add(
        attempts
            .iter()
            .map(|one| one.operation.to_string())
            .collect::<Vec<_>>(),
    )?;
    arguments.add(
        attempts
            .iter()
            .map(|one| i64::from(one.attempt))
            .collect::<Vec<_>>(),
    )?;
    arguments.add(
        attempts
            .iter()
            .map(|one| one.queue.as_str())
            .collect::<Vec<_>>(),
    )?;
    arguments.add(
        attempts
            .iter()
            .map(|one| one.task.as_str())
            .collect::<Vec<_>>(),
    )?;
    arguments.add(attempts.iter().map(|one| one.priority).collect::<Vec<_>>())?;
    let due = attempts.iter().map(|one| one.due.map(Timestamp::as_micros));
    arguments.add(due.collect::<Vec<_>>())?;
    arguments.add(
        attempts
            .iter()
            .map(|one| one.content.as_slice())
            .collect::<Vec<_>>(),
    )?;
    Ok(())
}

fn add_messages_place(arguments: &mut PgArguments, turns: &[&TurnCommit]) -> Added {
    use sqlx::Arguments as _;
    let (places, children) = of_members(turns, |turn| &turn.subworkflows);
    arguments.add(places)?;
    add_runs(arguments, &children)?;
    add_tags(arguments, &children)?;
    let (places, messages) = of_members(turns, |turn| &turn.outbox);
    arguments.add(places)?;
    arguments.add(
        messages
            .iter()
            .map(|one| one.to.as_str())
            .collect::<Vec<_>>(),
    )?;
    arguments.add(
        messages
            .iter()
            .map(|one| uuid(one.write.0))
            .collect::<Vec<_>>(),
    )?;
    arguments.add(
        messages
            .iter()
            .map(|one| one.body.kind.as_str())
            .collect::<Vec<_>>(),
    )?;
    arguments.add(
        messages
            .iter()
            .map(|one| one.body.name.as_str())
            .collect::<Vec<_>>(),
    )?;
    arguments.add(
        messages
            .iter()
            .map(|one| one.body.content.as_slice())
            .collect::<Vec<_>>(),
    )?;
    Ok(())
}

/// Adds what a lone run to start is.
pub(crate) fn add_run(arguments: &mut PgArguments, run: &StartRun) -> Added {
    use sqlx::Arguments as _;
    let identity = &run.identity;
    arguments.add(identity.workflow_id.as_str())?;
    arguments.add(run.kind.as_str())?;
    arguments.add(identity.workflow_type.as_str())?;
    arguments.add(run.route.as_str())?;
    arguments.add(i32::from(run.partition))?;
    arguments.add(run.fingerprint.as_slice())?;
    arguments.add(identity.parent.as_ref().map(|parent| parent.as_str()))?;
    arguments.add(identity.root.as_str())?;
    arguments.add(run.parent_operation.as_ref().map(ToString::to_string))?;
    arguments.add(run.record.as_slice())?;
    Ok(())
}

/// Adds the ten columns of runs to start.
pub(crate) fn add_runs(arguments: &mut PgArguments, runs: &[&StartRun]) -> Added {
    use sqlx::Arguments as _;
    let identities = || runs.iter().map(|run| &run.identity);
    arguments.add(
        identities()
            .map(|one| one.workflow_id.as_str())
            .collect::<Vec<_>>(),
    )?;
    let kinds = runs.iter().map(|run| run.kind.as_str());
    arguments.add(kinds.collect::<Vec<_>>())?;
    arguments.add(
        identities()
            .map(|one| one.workflow_type.as_str())
            .collect::<Vec<_>>(),
    )?;
    arguments.add(
        runs.iter()
            .map(|run| run.route.as_str())
            .collect::<Vec<_>>(),
    )?;
    arguments.add(
        runs.iter()
            .map(|run| i32::from(run.partition))
            .collect::<Vec<_>>(),
    )?;
    arguments.add(
        runs.iter()
            .map(|run| run.fingerprint.as_slice())
            .collect::<Vec<_>>(),
    )?;
    let parents = identities().map(|one| one.parent.as_ref().map(|parent| parent.as_str()));
    arguments.add(parents.collect::<Vec<_>>())?;
    arguments.add(
        identities()
            .map(|one| one.root.as_str())
            .collect::<Vec<_>>(),
    )?;
    let operations = runs
        .iter()
        .map(|run| run.parent_operation.as_ref().map(ToString::to_string));
    arguments.add(operations.collect::<Vec<_>>())?;
    arguments.add(
        runs.iter()
            .map(|run| run.record.as_slice())
            .collect::<Vec<_>>(),
    )?;
    Ok(())
}

/// Adds the four columns of their tags; each names its run by the place among the runs, from 1.
pub(crate) fn add_tags(arguments: &mut PgArguments, runs: &[&StartRun]) -> Added {
    use sqlx::Arguments as _;
    let mut places: Vec<i64> = Vec::new();
    let mut positions: Vec<i32> = Vec::new();
    let (mut names, mut values): (Vec<&str>, Vec<&str>) = Default::default();
    for (place, run) in (1..).zip(runs) {
        for (position, (name, value)) in (0..).zip(&run.tags) {
            places.push(place);
            positions.push(position);
            names.push(name);
            values.push(value);
        }
    }
    arguments.add(places)?;
    arguments.add(positions)?;
    arguments.add(names)?;
    arguments.add(values)?;
    Ok(())
}
