//! The one place where an owned run changes.
//!
//! Invariants: a group of turns is one statement, which commits each whole or not at all; a lone turn that changes nothing
//! but its run's history and row has a statement of its own. All but the last of them take it that the store has none of
//! the turns, which is cheaper; when it has one, the group is asked again in the statement that looks first. Why a turn
//! was not committed is read in a new snapshot. One that the store cannot hold is found by halving, and refused alone.

use std::collections::{BTreeMap, BTreeSet};

use longhaul_core::backend::{Lane, RunUpdate, TurnCommit, Verdict};
use longhaul_core::id::{Epoch, Segment, WorkerId, WriteId};
use sqlx::Row;
use sqlx::postgres::{PgArguments, PgRow};

use crate::Store;
use crate::columns::{columns, effects, one, update, updates};
use crate::error::{Failure, Result};
use crate::lanes::Fence;
use crate::row::{self, stored, uuid};
use crate::session::{arguments, insist};

macro_rules! part {
    ($name:literal) => {
        include_str!(concat!("sql/", $name, ".sql"))
    };
}

pub(crate) const APPEND_ONE: &str = concat!(part!("fence"), part!("append_one"));
pub(crate) const APPEND_MANY: &str = concat!(part!("fence"), part!("append_many"));
pub(crate) const SETTLE_ONE: &str = concat!(part!("fence"), part!("settle_one"));
pub(crate) const SETTLE: &str = concat!(
    part!("fence"),
    part!("asked"),
    part!("settled"),
    part!("done")
);
pub(crate) const WRITE: &str = concat!(
    part!("fence"),
    part!("asked"),
    part!("settled"),
    part!("effects"),
    part!("done")
);
pub(crate) const WRITE_AGAIN: &str = concat!(
    part!("fence"),
    part!("asked"),
    part!("unless_there"),
    part!("settled"),
    part!("effects"),
    part!("done")
);
pub(crate) const EDIT: &str = concat!(
    part!("unfenced"),
    part!("asked"),
    part!("unless_there"),
    part!("settled"),
    part!("effects"),
    part!("done")
);
pub(crate) const JUDGE: &str = part!("judge");

/// Is how often a turn is tried whose row somebody holds.
const TRIES: usize = 20;

/// Appends turns to runs that the lane's worker owns, or without a lane to runs that nobody owns; answers in order.
pub(crate) async fn commit(
    store: &Store,
    lane: Option<Lane>,
    turns: &[TurnCommit],
) -> Result<Vec<Verdict>> {
    let fence = lane.map(Fence::of);
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
    fence: Option<Fence>,
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
    fence: Option<Fence>,
    turns: &[TurnCommit],
    group: &[usize],
) -> Result<BTreeSet<usize>> {
    let members: Vec<&TurnCommit> = group.iter().filter_map(|at| turns.get(*at)).collect();
    let answer = match fence {
        Some(fence) => write_owned(store, fence, &members).await?,
        None => {
            let arguments = everything(store, None, &members)?;
            store.session.ask(EDIT, arguments).await?
        }
    };
    let mut done = BTreeSet::new();
    for row in &answer {
        let place = row::count(row, "member")?;
        done.extend(group.get(place - 1));
    }
    Ok(done)
}

async fn write_owned(store: &Store, fence: Fence, turns: &[&TurnCommit]) -> Result<Vec<PgRow>> {
    let n = store.lane_number(fence).await?;
    let (text, arguments) = statement(store, fence, n, turns)?;
    match store.noted(fence, store.session.ask(text, arguments).await) {
        Err(failure) if failure.is_duplicate() => {
            let arguments = everything(store, Some((fence, n)), turns)?;
            store.noted(fence, store.session.ask(WRITE_AGAIN, arguments).await)
        }
        answer => answer,
    }
}

/// Makes the arguments of the statement that can write any turns.
fn everything(
    store: &Store,
    fence: Option<(Fence, i64)>,
    turns: &[&TurnCommit],
) -> Result<PgArguments> {
    effects(updates(columns(store, fence, turns)?, turns)?, turns)
}

/// Chooses the smallest statement that can write turns, none of which the store is known to have.
fn statement(
    store: &Store,
    fence: Fence,
    n: i64,
    turns: &[&TurnCommit],
) -> Result<(&'static str, PgArguments)> {
    if let [turn] = turns
        && is_plain(turn)
    {
        return Ok((APPEND_ONE, one(store, fence, n, turn)?));
    }
    if let [turn] = turns
        && turn.turn.is_some()
        && !matches!(turn.update, RunUpdate::Pause { .. })
        && has_no_effects(turn)
    {
        return Ok((SETTLE_ONE, update(one(store, fence, n, turn)?, turn)?));
    }
    let appends = columns(store, Some((fence, n)), turns)?;
    if turns.iter().all(|turn| is_plain(turn)) {
        return Ok((APPEND_MANY, appends));
    }
    let settles = updates(appends, turns)?;
    if turns.iter().all(|turn| has_no_effects(turn)) {
        return Ok((SETTLE, settles));
    }
    Ok((WRITE, effects(settles, turns)?))
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

/// Finds out why turns were not committed; returns those that nothing is wrong with.
async fn judge(
    store: &Store,
    fence: Option<Fence>,
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
        fence.map(|fence| uuid(fence.worker.0)),
        fence.map(|fence| fence.lane),
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
        if let Some(fence) = fence {
            let n: Option<i64> = row.try_get("n")?;
            let n = n.ok_or(Failure::WorkerDead(fence.worker))?;
            store.lanes.set(fence, Some(n));
        }
        let owner = fence.map(|fence| fence.worker);
        match verdict(&Standing::read(row)?, owner, turn) {
            Some(verdict) => drop(verdicts.insert(*member, verdict)),
            None => held.push(*member),
        }
    }
    Ok(held)
}

/// Is what is checked of a run, as it was read after its turn was not committed.
struct Standing {
    owner: Option<WorkerId>,
    is_finished: bool,
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
            is_finished: row.try_get("is_finished")?,
            epoch: row.try_get("epoch")?,
            segment: row.try_get("segment")?,
            arrivals: row.try_get("arrivals")?,
            last_write: row::optional_write(row, "last_write")?,
            before: row::optional_write(row, "before")?,
            turns: row.try_get("turns")?,
        })
    }

    fn is_owned(&self, owner: Option<WorkerId>, epoch: Epoch, segment: Segment) -> bool {
        self.owner == owner
            && !self.is_finished
            && self.epoch == Some(stored(epoch.0))
            && self.segment == Some(i64::from(segment.0))
    }
}

/// Tells the verdict on a turn that was not committed; none when nothing is in its way any more.
fn verdict(run: &Standing, owner: Option<WorkerId>, turn: &TurnCommit) -> Option<Verdict> {
    let is_repeated = match &turn.turn {
        Some(_) => run.before == Some(turn.write),
        None => run.last_write == Some(turn.write),
    };
    if is_repeated {
        return Some(Verdict::Committed);
    }
    let is_owned = run.is_owned(owner, turn.epoch, turn.segment);
    let follows = |number: u64| stored(number) == run.turns;
    if !is_owned || turn.turn.as_ref().is_some_and(|turn| !follows(turn.turn.0)) {
        return Some(Verdict::Lost);
    }
    let read = turn.update.read().map(|read| stored(read.0));
    let is_unread = read.is_some_and(|read| run.arrivals > Some(read));
    (is_unread && turn.update.needs_all_read()).then_some(Verdict::Unread)
}
