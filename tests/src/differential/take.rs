//! Acquiring and reloading, where ties have to be evened out.

use longhaul_core::backend::{AcquireRequest, AcquiredRun, RunFilter, RunRecord, Serves};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::WorkerId;

use super::branch::Branch;
use super::names::RUNS;
use super::pair::{Difference, Pair};
use super::perform::{is_dead, row};
use crate::world::{lane, list_of, workflow_id};

/// Acquires. Which of several runs goes first that are due at the same time is the backend's own, so a limit never
/// parts them, and they are put into the order of their ids.
pub(super) async fn acquire(
    pair: &mut Pair,
    worker: WorkerId,
    serves: &Serves,
    limit: usize,
) -> Result<Vec<AcquiredRun>, Difference> {
    let all = pair
        .get(async |it| it.list(list_of(RunFilter::default())).await)
        .await?;
    let due = due_of(&all, serves, pair.now());
    let mut cut = limit.min(due.len());
    while cut > 0 && cut < due.len() && due[cut - 1].0 == due[cut].0 {
        cut += 1;
    }
    let request = AcquireRequest {
        lane: lane(worker),
        serves: serves.clone(),
        limit: if limit > due.len() { limit } else { cut },
    };
    let wake_of = |run: &AcquiredRun| {
        let id = run.run.identity.workflow_id.clone();
        let found = due.iter().find(|(_, due)| due.identity.workflow_id == id);
        (found.map(|(wake_at, _)| *wake_at), id)
    };
    let even_out = |taken: &mut Vec<AcquiredRun>| {
        for group in taken.chunk_by_mut(|one, next| wake_of(one).0 == wake_of(next).0) {
            group.sort_by_key(|run| wake_of(run).1);
        }
    };
    let answer = pair
        .ask_evened(async |it| it.acquire(request.clone()).await, even_out)
        .await?;
    pair.note_if(is_dead(&answer), Branch::AcquiredByTheDead);
    let taken = answer.unwrap_or_default();
    pair.note_if(
        !taken.is_empty() && taken.len() < due.len(),
        Branch::AcquiredInPart,
    );
    for run in &taken {
        let id = &run.run.identity.workflow_id;
        let before = all.iter().find(|before| before.identity.workflow_id == *id);
        let was_blocked = before.is_some_and(|before| before.blocked.is_some());
        pair.note(Branch::Acquired);
        pair.note_if(!run.inbox.is_empty(), Branch::AcquiredUnread);
        pair.note_if(run.run.lost > 0, Branch::AcquiredLost);
        pair.note_if(was_blocked, Branch::AcquiredBlocked);
    }
    Ok(taken)
}

fn due_of<'a>(
    all: &'a [RunRecord],
    serves: &Serves,
    now: Timestamp,
) -> Vec<(Timestamp, &'a RunRecord)> {
    let is_served = |run: &&RunRecord| {
        let is_blocked = run.blocked.as_ref().is_some_and(|by| by.1 == serves.build);
        run.owner.is_none() && !is_blocked && serves.routes.contains(&run.route)
    };
    let mut due: Vec<_> = all
        .iter()
        .filter(is_served)
        .filter_map(|run| Some((run.wake_at.filter(|at| *at <= now)?, run)))
        .collect();
    due.sort_by_key(|(wake_at, _)| *wake_at);
    due
}

pub(super) async fn reload(
    pair: &mut Pair,
    place: usize,
    run: usize,
    is_late: bool,
) -> Result<(), Difference> {
    let run = workflow_id(RUNS[run]);
    let row = row(pair, &run).await?;
    let owner = row.as_ref().and_then(|row| row.owner);
    let worker = owner.unwrap_or(pair.workers[place]);
    let mut epoch = row.map(|row| row.epoch).unwrap_or_default();
    if is_late {
        epoch = epoch.next();
    }
    let found = pair
        .get(async |it| it.reload(worker, &run, epoch).await)
        .await?;
    let branch = if found.is_some() {
        Branch::ReloadedOwn
    } else {
        Branch::ReloadedNone
    };
    pair.note(branch);
    Ok(())
}
