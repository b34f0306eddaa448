//! The one place where an owned run changes.
//!
//! Invariants: a group of turns is one statement, which commits each whole or not at all; a lone turn that only appends
//! has a statement of its own. Why a turn was not committed is read in a new snapshot. One that the store cannot hold
//! is found by halving, and refused alone.

use std::collections::{BTreeMap, BTreeSet};

use longhaul_core::backend::{Lane, RunUpdate, StartRun, TurnCommit, Verdict};
use longhaul_core::clock::Timestamp;
use longhaul_core::history::StoredTurn;
use longhaul_core::id::{Epoch, Segment, WorkerId, WriteId};
use longhaul_core::status::Status;
use sqlx::Row;
use sqlx::postgres::{PgArguments, PgRow};

use crate::Store;
use crate::error::{Failure, Result};
use crate::lanes::Fence;
use crate::row::{self, kept, kind_name, stored, uuid};
use crate::session::{arguments, insist};

macro_rules! part {
    ($name:literal) => {
        include_str!(concat!("sql/", $name, ".sql"))
    };
}

pub(crate) const APPEND_ONE: &str = concat!(part!("fence"), part!("append_one"));
pub(crate) const APPEND_MANY: &str = concat!(part!("fence"), part!("append_many"));
pub(crate) const SETTLE: &str = concat!(part!("fence"), part!("asked"), part!("done"));
pub(crate) const WRITE: &str = concat!(
    part!("fence"),
    part!("asked"),
    part!("effects"),
    part!("done")
);
pub(crate) const JUDGE: &str = part!("judge");

/// Is how often a turn is tried whose row somebody holds.
const TRIES: usize = 20;

/// Appends turns to runs that the lane's worker owns; answers in order.
pub(crate) async fn commit(
    store: &Store,
    lane: Lane,
    turns: &[TurnCommit],
) -> Result<Vec<Verdict>> {
    let fence = Fence::of(lane);
    let mut verdicts = BTreeMap::new();
    let all: Vec<usize> = (0..turns.len()).collect();
    let mut held = write_halving(store, fence, turns, all, &mut verdicts).await?;
    for _ in 0..TRIES {
        for member in std::mem::take(&mut held) {
            held.extend(write_halving(store, fence, turns, vec![member], &mut verdicts).await?);
        }
        if held.is_empty() {
            return Ok(verdicts.into_values().collect());
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    Err(Failure::Held)
}

/// Writes a group, or what of it the store can hold; returns the turns whose rows somebody held.
async fn write_halving(
    store: &Store,
    fence: Fence,
    turns: &[TurnCommit],
    group: Vec<usize>,
    verdicts: &mut BTreeMap<usize, Verdict>,
) -> Result<Vec<usize>> {
    let mut held = Vec::new();
    let mut groups = vec![group];
    while let Some(mut group) = groups.pop() {
        if group.is_empty() {
            continue;
        }
        match insist(|| write(store, fence, turns, &group)).await {
            Ok(done) => {
                verdicts.extend(done.iter().map(|member| (*member, Verdict::Committed)));
                group.retain(|member| !done.contains(member));
                held.extend(judge(store, fence, turns, &group, verdicts).await?);
            }
            Err(failure) if failure.is_refusal() && group.len() == 1 => {
                let refused = Verdict::Refused(failure.to_string());
                verdicts.extend(group.iter().map(|member| (*member, refused.clone())));
            }
            Err(failure) if failure.is_refusal() => {
                let half = group.split_off(group.len() / 2);
                groups.extend([group, half]);
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(held)
}

/// Sends a group in the smallest statement that can write it; returns the turns that were committed.
async fn write(
    store: &Store,
    fence: Fence,
    turns: &[TurnCommit],
    group: &[usize],
) -> Result<BTreeSet<usize>> {
    let n = store.lane_number(fence).await?;
    let members: Vec<&TurnCommit> = group.iter().filter_map(|at| turns.get(*at)).collect();
    let (text, arguments) = match members.as_slice() {
        [turn] if is_plain(turn) => (APPEND_ONE, one(store, fence, n, turn)?),
        many if many.iter().all(|turn| is_plain(turn)) => {
            (APPEND_MANY, columns(store, fence, n, many)?)
        }
        many if many.iter().all(|turn| has_no_effects(turn)) => {
            (SETTLE, updates(columns(store, fence, n, many)?, many)?)
        }
        many => {
            let arguments = updates(columns(store, fence, n, many)?, many)?;
            (WRITE, effects(arguments, many)?)
        }
    };
    let answer = store.noted(fence, store.session.ask(text, arguments).await)?;
    let mut done = BTreeSet::new();
    for row in &answer {
        let place = row::count(row, "member")?;
        done.extend(group.get(place - 1));
    }
    Ok(done)
}

fn is_plain(turn: &TurnCommit) -> bool {
    turn.update == RunUpdate::Append && turn.turn.is_some() && has_no_effects(turn)
}

fn has_no_effects(turn: &TurnCommit) -> bool {
    turn.data.is_empty()
        && turn.subworkflows.is_empty()
        && turn.enqueue.is_empty()
        && turn.withdraw.is_empty()
        && turn.outbox.is_empty()
}

/// Tells whether turns concern anybody but the owner of their runs: a warm step wakes nobody.
pub(crate) fn concerns_others(turns: &[TurnCommit]) -> bool {
    turns.iter().any(|turn| {
        turn.update.gives_up()
            || !turn.subworkflows.is_empty()
            || !turn.enqueue.is_empty()
            || !turn.outbox.is_empty()
    })
}

fn one(store: &Store, fence: Fence, n: i64, turn: &TurnCommit) -> Result<PgArguments> {
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

/// Makes the arguments that every statement of a group begins with.
fn columns(store: &Store, fence: Fence, n: i64, turns: &[&TurnCommit]) -> Result<PgArguments> {
    fn each<'a, T>(turns: &[&'a TurnCommit], of: impl Fn(&'a TurnCommit) -> T) -> Vec<T> {
        turns.iter().map(|turn| of(turn)).collect()
    }
    let first_event = |turn: &StoredTurn| kept(turn.first_event.0);
    let first_events = turns
        .iter()
        .map(|turn| turn.turn.as_ref().map(first_event).transpose());
    Ok(arguments!(
        store.clock.given(),
        uuid(fence.worker.0),
        fence.lane,
        n,
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

/// Adds what becomes of the rows of the runs.
fn updates(mut arguments: PgArguments, turns: &[&TurnCommit]) -> Result<PgArguments> {
    let mut add = |turns: &[&TurnCommit]| -> Result<(), sqlx::error::BoxDynError> {
        use sqlx::Arguments as _;
        let each = |of: fn(&RunUpdate) -> &'static str| -> Vec<&'static str> {
            turns.iter().map(|turn| of(&turn.update)).collect()
        };
        let updates = || turns.iter().map(|turn| &turn.update);
        arguments.add(each(action))?;
        let reads = updates().map(|update| stored(update.read().unwrap_or_default().0));
        arguments.add(reads.collect::<Vec<_>>())?;
        let seals = updates().map(|update| matches!(update, RunUpdate::Drain { seal: true, .. }));
        arguments.add(seals.collect::<Vec<_>>())?;
        let wakes = updates().map(|update| wake_at(update).map(Timestamp::as_micros));
        arguments.add(wakes.collect::<Vec<_>>())?;
        arguments.add(updates().map(status).collect::<Vec<_>>())?;
        let reasons = updates()
            .map(|update| block(update).map(|(reason, _)| reason.replace('\0', "\u{FFFD}")));
        arguments.add(reasons.collect::<Vec<_>>())?;
        let builds = updates().map(|update| block(update).map(|(_, build)| build));
        arguments.add(builds.collect::<Vec<_>>())?;
        Ok(())
    };
    add(turns).map_err(sqlx::Error::Encode)?;
    Ok(arguments)
}

const fn action(update: &RunUpdate) -> &'static str {
    match update {
        RunUpdate::Append => "append",
        RunUpdate::Drain { .. } => "drain",
        RunUpdate::Park { .. } => "park",
        RunUpdate::Release { .. } => "release",
        RunUpdate::Block { .. } => "block",
        RunUpdate::End { .. } => "end",
    }
}

const fn wake_at(update: &RunUpdate) -> Option<Timestamp> {
    match update {
        RunUpdate::Park { wake_at, .. } => *wake_at,
        _ => None,
    }
}

fn status(update: &RunUpdate) -> Option<&'static str> {
    match update {
        RunUpdate::Append | RunUpdate::Drain { .. } => None,
        RunUpdate::Park { .. } | RunUpdate::Release { .. } => Some(Status::Waiting.as_str()),
        RunUpdate::Block { .. } => Some(Status::Blocked.as_str()),
        RunUpdate::End { status, .. } => Some(status.as_str()),
    }
}

fn block(update: &RunUpdate) -> Option<(&str, &str)> {
    match update {
        RunUpdate::Block { reason, build, .. } => Some((reason, build.as_str())),
        _ => None,
    }
}

/// Adds what turns change elsewhere; each row names its turn by the place in the group, from 1.
fn effects(mut arguments: PgArguments, turns: &[&TurnCommit]) -> Result<PgArguments> {
    add_data(&mut arguments, turns)
        .and_then(|()| add_attempts(&mut arguments, turns))
        .and_then(|()| add_messages_place(&mut arguments, turns))
        .map_err(sqlx::Error::Encode)?;
    Ok(arguments)
}

type Added = Result<(), sqlx::error::BoxDynError>;

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

/// Adds the ten columns of runs to start.
pub(crate) fn add_runs(arguments: &mut PgArguments, runs: &[&StartRun]) -> Added {
    use sqlx::Arguments as _;
    let identities = || runs.iter().map(|run| &run.identity);
    arguments.add(
        identities()
            .map(|one| one.workflow_id.as_str())
            .collect::<Vec<_>>(),
    )?;
    let kinds = runs.iter().map(|run| kind_name(run.kind));
    arguments.add(kinds.collect::<Result<Vec<_>>>()?)?;
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

/// Finds out why turns were not committed; returns those that nothing is wrong with.
async fn judge(
    store: &Store,
    fence: Fence,
    turns: &[TurnCommit],
    group: &[usize],
    verdicts: &mut BTreeMap<usize, Verdict>,
) -> Result<Vec<usize>> {
    if group.is_empty() {
        return Ok(Vec::new());
    }
    let members: Vec<&TurnCommit> = group.iter().filter_map(|at| turns.get(*at)).collect();
    let number = |turn: &&TurnCommit| turn.turn.as_ref().map(|turn| stored(turn.turn.0));
    let arguments = arguments!(
        uuid(fence.worker.0),
        fence.lane,
        members
            .iter()
            .map(|turn| turn.run.as_str())
            .collect::<Vec<_>>(),
        members
            .iter()
            .map(|turn| i64::from(turn.segment.0))
            .collect::<Vec<_>>(),
        members.iter().map(number).collect::<Vec<_>>(),
    );
    let rows = store.session.ask(JUDGE, arguments).await?;
    let mut held = Vec::new();
    for ((row, member), turn) in rows.iter().zip(group).zip(members) {
        let n: Option<i64> = row.try_get("n")?;
        let n = n.ok_or(Failure::WorkerDead(fence.worker))?;
        store.lanes.set(fence, Some(n));
        match verdict(&Standing::read(row)?, fence.worker, turn) {
            Some(verdict) => drop(verdicts.insert(*member, verdict)),
            None => held.push(*member),
        }
    }
    Ok(held)
}

/// Is what is checked of a run, as it was read after its turn was not committed.
struct Standing {
    owner: Option<WorkerId>,
    epoch: Option<i64>,
    segment: Option<i64>,
    arrivals: Option<i64>,
    last_write: Option<WriteId>,
    before: Option<WriteId>,
    turns: i64,
}

impl Standing {
    fn read(row: &PgRow) -> Result<Self> {
        Ok(Self {
            owner: row::optional_worker(row, "owner")?,
            epoch: row.try_get("epoch")?,
            segment: row.try_get("segment")?,
            arrivals: row.try_get("arrivals")?,
            last_write: row::optional_write(row, "last_write")?,
            before: row::optional_write(row, "before")?,
            turns: row.try_get("turns")?,
        })
    }

    fn is_owned(&self, worker: WorkerId, epoch: Epoch, segment: Segment) -> bool {
        self.owner == Some(worker)
            && self.epoch == Some(stored(epoch.0))
            && self.segment == Some(i64::from(segment.0))
    }
}

/// Tells the verdict on a turn that was not committed; none when nothing is in its way any more.
fn verdict(run: &Standing, worker: WorkerId, turn: &TurnCommit) -> Option<Verdict> {
    let is_repeated = match &turn.turn {
        Some(_) => run.before == Some(turn.write),
        None => run.last_write == Some(turn.write),
    };
    if is_repeated {
        return Some(Verdict::Committed);
    }
    let is_owned = run.is_owned(worker, turn.epoch, turn.segment);
    let follows = |number: u64| stored(number) == run.turns;
    if !is_owned || turn.turn.as_ref().is_some_and(|turn| !follows(turn.turn.0)) {
        return Some(Verdict::Lost);
    }
    let read = turn.update.read().map(|read| stored(read.0));
    let is_unread = read.is_some_and(|read| run.arrivals > Some(read));
    (is_unread && turn.update.needs_all_read()).then_some(Verdict::Unread)
}
