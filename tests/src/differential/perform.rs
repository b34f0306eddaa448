//! What an action asks of the stores, and which branches its answers show.

use longhaul_core::backend::{
    AcquireRequest, AcquiredRun, ArriveRequest, Arrived, AttemptReport, Beat, BeatRequest,
    ClaimRequest, HistoryRequest, Kind, ListRequest, PAGE_MAX, Reported, RunFilter, RunRecord,
    Serves, StartRun, Started, TakeOverRequest,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::{ArrivalNumber, DataKey, Segment, TurnNumber, WorkerId, WorkflowId};
use longhaul_core::status::Status;

use super::action::Action;
use super::branch::Branch;
use super::draw::{KEYS, QUEUES, RUNS, TASKS};
use super::pair::{Answer, Difference, Pair, Write};
use crate::world::{LEASE, beat_of, body_of, join_of, lane, list_of, queue, task, workflow_id};

type Done = Result<(), Difference>;

/// Performs one action.
pub(super) async fn perform(pair: &mut Pair, action: &Action) -> Done {
    match action {
        Action::Join { worker, is_new } => join(pair, *worker, *is_new).await,
        Action::Beat {
            worker,
            extends,
            serves,
        } => {
            let worker = pair.workers[*worker];
            beat(pair, worker, *extends, serves).await
        }
        Action::Leave { worker } => leave(pair, *worker).await,
        Action::Advance { duration, extends } => {
            if *extends {
                extend_all(pair).await?;
            }
            pair.advance(*duration);
            Ok(())
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

fn is_dead<T>(answer: &Answer<T>) -> bool {
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
        beat(pair, worker.worker, true, serves).await?;
    }
    Ok(())
}

async fn join(pair: &mut Pair, place: usize, is_new: bool) -> Done {
    if is_new {
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
    extends: bool,
    serves: &Serves,
) -> Done {
    let request = BeatRequest {
        extend: extends.then_some(LEASE),
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
        pair.note_if(extends, Branch::BeatExtended);
        pair.note_if(!beat.arrivals.is_empty(), Branch::BeatArrivals);
        pair.note_if(!beat.dead.is_empty(), Branch::BeatDead);
        pair.note_if(beat.outbox, Branch::BeatOutbox);
        pair.note_if(beat.claimable > 0, Branch::BeatClaimable);
        pair.note_if(beat.next_claimable.is_some(), Branch::BeatNextClaimable);
    }
    Ok(())
}

async fn leave(pair: &mut Pair, place: usize) -> Done {
    let worker = pair.workers[place];
    let has_runs = !owned(pair, worker).await?.is_empty();
    pair.get(async |it| it.leave(worker).await).await?;
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
    let sort = |taken: &mut longhaul_core::backend::TakenOver| taken.workers.sort();
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

async fn reload(pair: &mut Pair, place: usize, run: usize, is_late: bool) -> Done {
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

pub(super) async fn owned(
    pair: &mut Pair,
    worker: WorkerId,
) -> Result<Vec<WorkflowId>, Difference> {
    let owned = pair.get(async |it| it.owned(worker).await).await?;
    pair.note_if(owned.len() > 1, Branch::OwnedSeveral);
    Ok(owned.into_iter().map(|(run, _)| run).collect())
}

async fn arrive(pair: &mut Pair, runs: &[(usize, u64)]) -> Done {
    let requests: Vec<_> = runs
        .iter()
        .map(|(run, inbox_max)| ArriveRequest {
            run: workflow_id(RUNS[*run]),
            write: pair.new_write(),
            body: body_of("approved"),
            inbox_max: *inbox_max,
        })
        .collect();
    pair.writes.push(Write::Arrive(requests.clone()));
    ask_arrive(pair, &requests, false).await
}

async fn ask_arrive(pair: &mut Pair, requests: &[ArriveRequest], is_again: bool) -> Done {
    let before = rows(pair, requests).await?;
    let answer = pair
        .get(async |it| it.arrive(requests.to_vec()).await)
        .await?;
    for (arrived, before) in answer.iter().zip(before) {
        let branch = match arrived {
            Arrived::Accepted { number, .. } if is_again && before >= *number => {
                Branch::ArrivedAgain
            }
            Arrived::Accepted { owner: None, .. } => Branch::ArrivedUnowned,
            Arrived::Accepted { .. } => Branch::ArrivedOwned,
            Arrived::Sealed => Branch::ArrivedSealed,
            Arrived::Full => Branch::ArrivedFull,
            Arrived::Finished(_) => Branch::ArrivedFinished,
            Arrived::Unknown => Branch::ArrivedUnknown,
        };
        pair.note(branch);
    }
    Ok(())
}

async fn rows(
    pair: &mut Pair,
    requests: &[ArriveRequest],
) -> Result<Vec<ArrivalNumber>, Difference> {
    let mut arrivals = Vec::new();
    for request in requests {
        let row = row(pair, &request.run).await?;
        arrivals.push(row.map(|row| row.arrivals).unwrap_or_default());
    }
    Ok(arrivals)
}

/// Reads inboxes. Those with nothing to read may be left out, and the order of the runs is the backend's own.
pub(super) async fn inbox(
    pair: &mut Pair,
    worker: WorkerId,
    runs: &[(WorkflowId, ArrivalNumber)],
) -> Done {
    let mut runs = runs.to_vec();
    runs.sort();
    runs.dedup_by(|one, other| one.0 == other.0);
    let even_out = |found: &mut Vec<(WorkflowId, Vec<longhaul_core::backend::Arrival>)>| {
        found.retain(|(_, arrivals)| !arrivals.is_empty());
        found.sort_by(|one, other| one.0.cmp(&other.0));
    };
    let call = pair.ask_evened(async |it| it.inbox(worker, runs.clone()).await, even_out);
    let is_read = call.await?.is_ok_and(|found| !found.is_empty());
    pair.note_if(is_read, Branch::InboxRead);
    Ok(())
}

pub(super) async fn deliver(pair: &mut Pair, limit: usize) -> Done {
    let moved = pair.get(async |it| it.deliver(limit).await).await?;
    pair.note_if(moved > 0, Branch::Delivered);
    if moved < limit {
        pair.sender = None;
    }
    Ok(())
}

async fn due(pair: &mut Pair, serves: &Serves) -> Done {
    let due = pair.get(async |it| it.due(serves).await).await?;
    pair.note_if(due.now > 0, Branch::DueNow);
    pair.note_if(due.next.is_some(), Branch::DueNext);
    Ok(())
}

async fn claim(
    pair: &mut Pair,
    worker: WorkerId,
    queues: &[(usize, usize)],
    tasks: &[usize],
) -> Done {
    let name = |(name, slots): &(usize, usize)| (queue(QUEUES[*name]), *slots);
    let request = ClaimRequest {
        worker,
        queues: queues.iter().map(name).collect(),
        tasks: tasks.iter().map(|name| task(TASKS[*name])).collect(),
    };
    // The order is one of each queue; which queue comes first is the backend's own.
    let sort = |claimed: &mut Vec<longhaul_core::backend::QueuedAttempt>| {
        claimed.sort_by(|one, other| one.queue.cmp(&other.queue));
    };
    let call = pair.ask_evened(async |it| it.claim(request.clone()).await, sort);
    let answer = call.await?;
    pair.note_if(is_dead(&answer), Branch::ClaimedByTheDead);
    for claimed in answer.into_iter().flatten() {
        pair.note(Branch::Claimed);
        pair.claimed.push((worker, claimed));
    }
    Ok(())
}

async fn report(pair: &mut Pair, nth: usize, by: Option<usize>, is_next: bool) -> Done {
    let Some(at) = pair.claimed.len().checked_sub(1 + nth) else {
        return Ok(());
    };
    let (worker, attempt) = pair.claimed[at].clone();
    let mut report = AttemptReport {
        worker: by.map_or(worker, |place| pair.workers[place]),
        write: pair.new_write(),
        ..crate::world::report_of(worker, &attempt)
    };
    report.attempt += u32::from(is_next);
    pair.writes.push(Write::Report(vec![report.clone()]));
    ask_report(pair, &[report], false).await
}

async fn ask_report(pair: &mut Pair, reports: &[AttemptReport], is_again: bool) -> Done {
    let answer = pair
        .get(async |it| it.report(reports.to_vec()).await)
        .await?;
    for reported in answer {
        pair.note(match reported {
            Reported::Accepted { .. } if is_again => Branch::ReportedAgain,
            Reported::Accepted { .. } => Branch::ReportedAccepted,
            Reported::Stale => Branch::ReportedStale,
        });
    }
    Ok(())
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
    debug_assert!(PAGE_MAX > RUNS.len());
    Ok(())
}
