//! What becomes of what a dead worker had.
//!
//! Invariants: a worker is declared dead on the register first; then each partition forgets it as a member and frees what
//! it had, some at a time, until nothing is left; only then does it leave the register. Whoever comes by goes on where
//! another stopped.

use std::time::Duration;

use longhaul_core::backend::TakenOver;
use longhaul_core::clock::Timestamp;
use longhaul_core::id::WorkerId;
use redis::Cmd;

use crate::error::Result;
use crate::layout::Slot;
use crate::reply::{self, Items};
use crate::script::{BURY, DECLARE, FREE};
use crate::{Store, record, together};

/// Is how many runs and attempts of a worker are freed at once.
const BATCH: usize = 500;

/// Is how long the dead are remembered.
const REMEMBERED: Duration = Duration::from_hours(31 * 24);

/// Takes over from all that are dead, and from those that are named.
pub(crate) async fn take_over(store: &Store, force: &[WorkerId]) -> Result<TakenOver> {
    let strangers = members(store).await?;
    take_over_from(store, Wanted::All, force, &strangers).await
}

/// Declares workers dead that are registered, and frees what they had; also what members had that are not registered.
pub(crate) async fn declare_dead(store: &Store, workers: &[WorkerId]) -> Result<TakenOver> {
    let strangers: Vec<String> = workers.iter().map(ToString::to_string).collect();
    take_over_from(store, Wanted::Named, workers, &strangers).await
}

/// Says who is declared dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Those that are named, and all whose lease is over.
    All,
    /// Those that are named.
    Named,
}

async fn take_over_from(
    store: &Store,
    wanted: Wanted,
    force: &[WorkerId],
    strangers: &[String],
) -> Result<TakenOver> {
    let force: Vec<String> = force.iter().map(ToString::to_string).collect();
    let declare = store
        .script(&DECLARE, Slot::Leases)
        .arg(if wanted == Wanted::All { "1" } else { "" })
        .number(forgotten(store))
        .counted(&force)
        .counted(strangers);
    let mut items = store.ask(Slot::Leases, declare).await?;
    let dead = items.list()?.each(reply::text)?;
    let mut taken = TakenOver::default();
    let mut buried = Vec::new();
    for worker in dead {
        match free(store, &worker).await {
            Ok((runs, attempts)) => {
                taken.runs += runs;
                taken.attempts += attempts;
                taken.workers.push(record::worker(&worker)?);
                buried.push(worker);
            }
            // It stays on the register, so that whoever comes by next goes on.
            Err(cause) if cause.is_passing() => {
                tracing::debug!(%cause, worker, "not all of a dead worker's is free yet");
            }
            Err(cause) => return Err(cause),
        }
    }
    if !buried.is_empty() {
        let bury = store.script(&BURY, Slot::Leases).counted(&buried);
        let _: Items = store.ask(Slot::Leases, bury).await?;
    }
    taken.workers.sort_unstable();
    Ok(taken)
}

/// Returns since when the dead are remembered.
fn forgotten(store: &Store) -> i64 {
    let now = store.clock.now().as_micros();
    let remembered = i64::try_from(REMEMBERED.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.saturating_sub(remembered)).as_micros()
}

/// Frees what a worker had; returns how many runs and attempts there were.
async fn free(store: &Store, worker: &str) -> Result<(usize, usize)> {
    let each = store
        .layout
        .all()
        .map(|partition| free_in(store, partition, worker));
    let freed = together(futures_util::future::join_all(each).await)?;
    let sum = |sum: (usize, usize), one: (usize, usize)| (sum.0 + one.0, sum.1 + one.1);
    Ok(freed.into_iter().fold((0, 0), sum))
}

async fn free_in(store: &Store, partition: u16, worker: &str) -> Result<(usize, usize)> {
    let (mut runs, mut attempts) = (0, 0);
    loop {
        let call = store
            .on(&FREE, partition)
            .arg(worker)
            .number(BATCH)
            .number(forgotten(store));
        let mut items = store.ask(Slot::Partition(partition), call).await?;
        runs += items.number::<usize>("count of runs")?;
        attempts += items.number::<usize>("count of attempts")?;
        if items.number::<u8>("mark")? == 0 {
            return Ok((runs, attempts));
        }
    }
}

/// Lists the members of all partitions that are ready.
async fn members(store: &Store) -> Result<Vec<String>> {
    let each = store.layout.all().map(async |partition| {
        let tag = store.layout.tag(Slot::Partition(partition));
        let mut command = Cmd::new();
        command.arg("HKEYS").arg(format!("{tag}members"));
        Items::of(store.link.read(&command).await?)?.each(reply::text)
    });
    let members: Vec<Result<Vec<String>>> = futures_util::future::join_all(each).await;
    let is_ready = |members: &Result<_>| !matches!(members, Err(cause) if cause.is_passing());
    let members = together(members.into_iter().filter(is_ready).collect())?;
    let mut members: Vec<String> = members.into_iter().flatten().collect();
    members.sort_unstable();
    members.dedup();
    Ok(members)
}
