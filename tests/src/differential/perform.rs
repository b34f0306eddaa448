//! What an action asks of the stores, and which branches its answers show.

use std::time::Duration;

use longhaul_core::backend::{
    Beat, BeatRequest, HistoryRequest, Kind, ListRequest, RunFilter, RunRecord, Serves, StartRun,
    Started, TakeOverRequest, TakenOver,
};
use longhaul_core::id::{ArrivalNumber, DataKey, Segment, TurnNumber, WorkerId, WorkflowId};
use longhaul_core::status::Status;

use super::action::Action;
use super::branch::Branch;
use super::names::{KEYS, RUNS};
use super::pair::{Answer, Difference, Pair, Write};
use super::send::{arrive, ask_arrive, ask_report, claim, deliver, due, inbox, report};
use super::take::{acquire, reload};
use crate::world::{LEASE, beat_of, join_of, lane, workflow_id};

type Done = Result<(), Difference>;

/// Performs one action.
pub(super) async fn perform(pair: &mut Pair, action: &Action) -> Done {
    match action {
        Action::Join { worker, is_new } => join(pair, *worker, *is_new).await,
        Action::Beat {
            worker,
            extend,
            serves,
        } => {
            let worker = pair.workers[*worker];
            beat(pair, worker, *extend, serves).await
        }
        Action::Leave { worker } => leave(pair, *worker).await,
        Action::Advance { duration, extends } => {
            if *extends {
                extend_all(pair).await?;
            }
            pair.advance(*duration);
            extend_half_used(pair).await
        }
        Action::TakeOver { force } => take_over(pair, *force).await,
        Action::Start { worker, runs } => start(pair, *worker, runs).await,
        Action::Acquire {
            worker,
            serves,
            limit,
        } => {
            let worker = pair.workers[*worker];
            acquire(pair, worker, serves, *limit).await.map(drop)
        }
        Action::Reload {
            worker,
            run,
            is_late,
        } => reload(pair, *worker, *run, *is_late).await,
        Action::Owned { worker } => {
            let worker = pair.workers[*worker];
            owned(pair, worker).await.map(drop)
        }
        Action::Commit { lane, other, turns } => {
            super::turns::commit(pair, *lane, *other, turns).await
        }
        Action::Edit(turns) => super::turns::edit(pair, turns).await,
        Action::Arrive(runs) => arrive(pair, runs).await,
        other => perform_other(pair, other).await,
    }
}

async fn perform_other(pair: &mut Pair, action: &Action) -> Done {
    match action {
        Action::Inbox { worker, runs } => {
            let (worker, runs) = (pair.workers[*worker], name_after(runs));
            inbox(pair, worker, &runs).await
        }
        Action::Deliver { limit } => deliver(pair, *limit).await,
        Action::Due(serves) => due(pair, serves).await,
        Action::Claim {
            worker,
            queues,
            tasks,
        } => {
            let worker = pair.workers[*worker];
            claim(pair, worker, queues, tasks).await
        }
        Action::Report { nth, by, is_next } => report(pair, *nth, *by, *is_next).await,
        Action::Repeat { back } => repeat(pair, *back).await,
        Action::Run(run) => row(pair, &workflow_id(RUNS[*run])).await.map(drop),
        Action::States(runs) => states(pair, runs).await,
        Action::List {
            filter,
            after,
            limit,
        } => list(pair, filter, *after, *limit).await,
        Action::History {
            run,
            segment,
            from,
            limit,
        } => history(pair, *run, *segment, *from, *limit).await,
        Action::Data { run, key } => data(pair, *run, *key).await,
        Action::Register => register(pair).await,
        _ => reopen(pair).await,
    }
}

pub(super) fn is_dead<T>(answer: &Answer<T>) -> bool {
    matches!(answer, Err(Kind::WorkerDead))
}

fn name_after(runs: &[(usize, u64)]) -> Vec<(WorkflowId, ArrivalNumber)> {
    let name = |(run, after): &(usize, u64)| (workflow_id(RUNS[*run]), ArrivalNumber(*after));
    runs.iter().map(name).collect()
}

/// Opens the stores again, and declares all workers dead: a backend may know that the process of theirs is gone.
async fn reopen(pair: &mut Pair) -> Done {
    pair.reopen().await;
    pair.note(Branch::Reopened);
    let workers = pair.get(async |it| it.workers().await).await?;
    let force: Vec<_> = workers.into_iter().map(|worker| worker.worker).collect();
    force_over(pair, force).await
}

async fn extend_all(pair: &mut Pair) -> Done {
    let workers = pair.get(async |it| it.workers().await).await?;
    for worker in workers {
        let serves = &worker.serves;
        beat(pair, worker.worker, Some(LEASE), serves).await?;
    }
    Ok(())
}

/// Extends the leases that a backend may extend with any request, so that all have.
async fn extend_half_used(pair: &mut Pair) -> Done {
    let now = pair.now();
    for worker in pair.get(async |it| it.workers().await).await? {
        let left = worker.lease_until.since(now);
        if worker.lease_until >= now && left < LEASE / 2 {
            beat(pair, worker.worker, Some(LEASE), &worker.serves).await?;
        }
    }
    Ok(())
}

async fn join(pair: &mut Pair, place: usize, is_new: bool) -> Done {
    let has_left = pair.departed.contains(&pair.workers[place]);
    if is_new || has_left {
        pair.workers[place] = pair.new_worker();
    }
    let worker = pair.workers[place];
    let answer = pair.ask(async |it| it.join(join_of(worker)).await).await?;
    pair.note_if(is_dead(&answer), Branch::JoinedDead);
    let branch = if is_new {
        Branch::JoinedNew
    } else {
        Branch::JoinedAgain
    };
    pair.note_if(answer.is_ok(), branch);
    Ok(())
}

/// Asks for a beat. The order of the runs with arrivals and of the dead is the backend's own.
pub(super) async fn beat(
    pair: &mut Pair,
    worker: WorkerId,
    extend: Option<Duration>,
    serves: &Serves,
) -> Done {
    let request = BeatRequest {
        extend,
        serves: serves.clone(),
        ..beat_of(worker)
    };
    let sort = |beat: &mut Beat| {
        beat.arrivals.sort();
        beat.dead.sort();
    };
    let call = pair.ask_evened(async |it| it.beat(request.clone()).await, sort);
    let beat = call.await?;
    pair.note_if(is_dead(&beat), Branch::BeatOfTheDead);
    if let Ok(beat) = beat {
        pair.note_if(extend.is_some(), Branch::BeatExtended);
        pair.note_if(!beat.arrivals.is_empty(), Branch::BeatArrivals);
        pair.note_if(!beat.dead.is_empty(), Branch::BeatDead);
        pair.note_if(beat.outbox, Branch::BeatOutbox);
        pair.note_if(beat.peers > 0, Branch::BeatPeers);
        pair.note_if(beat.claimable > 0, Branch::BeatClaimable);
        pair.note_if(beat.next_claimable.is_some(), Branch::BeatNextClaimable);
    }
    Ok(())
}

async fn leave(pair: &mut Pair, place: usize) -> Done {
    let worker = pair.workers[place];
    let has_runs = !owned(pair, worker).await?.is_empty();
    pair.get(async |it| it.leave(worker).await).await?;
    pair.departed.insert(worker);
    pair.note_if(has_runs, Branch::LeftOwning);
    Ok(())
}

async fn take_over(pair: &mut Pair, force: Option<usize>) -> Done {
    let force: Vec<_> = force.map(|place| pair.workers[place]).into_iter().collect();
    force_over(pair, force).await
}

async fn force_over(pair: &mut Pair, force: Vec<WorkerId>) -> Done {
    let request = TakeOverRequest {
        force: force.clone(),
    };
    // The order of the workers is the backend's own.
    let sort = |taken: &mut TakenOver| taken.workers.sort();
    let call = pair.ask_evened(async |it| it.take_over(request.clone()).await, sort);
    let Ok(taken) = call.await? else {
        return Ok(());
    };
    let is_forced = taken.workers.iter().any(|worker| force.contains(worker));
    pair.note_if(is_forced && taken.runs > 0, Branch::TakenOverByForce);
    pair.note_if(!is_forced && taken.runs > 0, Branch::TakenOverByLease);
    pair.note_if(taken.attempts > 0, Branch::TakenOverClaims);
    Ok(())
}

async fn start(pair: &mut Pair, place: Option<usize>, runs: &[StartRun]) -> Done {
    let lane = place.map(|place| lane(pair.workers[place]));
    let answer = pair
        .ask(async |it| it.start(lane, runs.to_vec()).await)
        .await?;
    pair.note_if(is_dead(&answer), Branch::StartedByTheDead);
    for started in answer.into_iter().flatten() {
        match started {
            Started::New => pair.note(Branch::StartedNew),
            Started::Exists(_) => pair.note(Branch::StartedExists),
        }
    }
    Ok(())
}

pub(super) async fn owned(
    pair: &mut Pair,
    worker: WorkerId,
) -> Result<Vec<WorkflowId>, Difference> {
    let owned = pair.get(async |it| it.owned(worker).await).await?;
    pair.note_if(owned.len() > 1, Branch::OwnedSeveral);
    let claimed = pair.get(async |it| it.claimed(worker).await).await?;
    pair.note_if(!claimed.is_empty(), Branch::ClaimsListed);
    Ok(owned.into_iter().map(|(run, _)| run).collect())
}

async fn repeat(pair: &mut Pair, back: usize) -> Done {
    let Some(at) = pair.writes.len().checked_sub(1 + back) else {
        return Ok(());
    };
    match pair.writes[at].clone() {
        Write::Commit(lane, turns, before) => {
            super::turns::repeat(pair, lane, &turns, &before).await
        }
        Write::Arrive(requests) => ask_arrive(pair, &requests, true).await,
        Write::Report(reports) => ask_report(pair, &reports, true).await,
    }
}

pub(super) async fn row(
    pair: &mut Pair,
    run: &WorkflowId,
) -> Result<Option<RunRecord>, Difference> {
    pair.get(async |it| it.run(run).await).await
}

async fn states(pair: &mut Pair, runs: &[usize]) -> Done {
    let runs: Vec<_> = runs.iter().map(|run| workflow_id(RUNS[*run])).collect();
    let states = pair.get(async |it| it.states(&runs).await).await?;
    let mut states = states.iter().flatten();
    let is_finished = states.any(|state| Status::is_terminal(state.status));
    pair.note_if(is_finished, Branch::StateFinished);
    Ok(())
}

pub(super) async fn list(
    pair: &mut Pair,
    filter: &RunFilter,
    after: Option<usize>,
    limit: usize,
) -> Done {
    let request = ListRequest {
        filter: filter.clone(),
        after: after.map(|run| workflow_id(RUNS[run])),
        limit,
    };
    let listed = pair.ask(async |it| it.list(request.clone()).await).await?;
    pair.note_if(listed == Err(Kind::Invalid), Branch::InvalidLimit);
    if let Ok(listed) = listed {
        pair.note_if(listed.is_empty(), Branch::ListedNothing);
        let is_page = after.is_some() && !listed.is_empty();
        pair.note_if(is_page, Branch::ListedPage);
    }
    pair.get(async |it| it.count(filter).await).await.map(drop)
}

pub(super) async fn history(
    pair: &mut Pair,
    run: usize,
    segment: Option<u32>,
    from: u64,
    limit: usize,
) -> Done {
    let request = HistoryRequest {
        run: workflow_id(RUNS[run]),
        segment: segment.map(Segment),
        from: TurnNumber(from),
        limit,
    };
    let found = pair
        .ask(async |it| it.history(request.clone()).await)
        .await?;
    pair.note_if(found == Err(Kind::Invalid), Branch::InvalidLimit);
    pair.note_if(found == Err(Kind::NotFound), Branch::NotFound);
    let is_page = from > 0 && found.is_ok_and(|turns| !turns.is_empty());
    pair.note_if(is_page, Branch::HistoryPaged);
    Ok(())
}

pub(super) async fn data(pair: &mut Pair, run: usize, key: usize) -> Done {
    let (run, key) = (workflow_id(RUNS[run]), DataKey::new(KEYS[key]).unwrap());
    pair.ask(async |it| it.data(&run, &key).await).await?.ok();
    pair.ask(async |it| it.all_data(&run).await).await?.ok();
    Ok(())
}

pub(super) async fn register(pair: &mut Pair) -> Done {
    pair.get(async |it| it.workers().await).await?;
    pair.get(async |it| it.queues().await).await?;
    Ok(())
}
