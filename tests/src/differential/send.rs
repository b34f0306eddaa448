//! What reaches runs from elsewhere, and attempts of task queues.

use longhaul_core::backend::{
    Arrival, ArrivalBody, ArrivalKind, ArriveRequest, Arrived, AttemptReport, ClaimRequest,
    QueuedAttempt, Reported, Serves,
};
use longhaul_core::id::{ArrivalNumber, WorkerId, WorkflowId};

use super::branch::Branch;
use super::names::{QUEUES, RUNS, TASKS};
use super::pair::{Difference, Pair, Write};
use super::perform::{is_dead, row};
use crate::world::{body_of, queue, report_of, task, workflow_id};

type Done = Result<(), Difference>;

pub(super) async fn arrive(pair: &mut Pair, arrivals: &[(usize, u64, ArrivalKind, bool)]) -> Done {
    let mut requests = Vec::new();
    for (run, inbox_max, kind, is_doubled) in arrivals {
        let request = ArriveRequest {
            run: workflow_id(RUNS[*run]),
            write: pair.new_write(),
            body: ArrivalBody {
                kind: *kind,
                ..body_of(if *kind == ArrivalKind::Control {
                    ""
                } else {
                    "approved"
                })
            },
            inbox_max: *inbox_max,
        };
        requests.extend(is_doubled.then(|| request.clone()));
        requests.push(request);
    }
    pair.writes.push(Write::Arrive(requests.clone()));
    ask_arrive(pair, &requests, false).await
}

pub(super) async fn ask_arrive(
    pair: &mut Pair,
    requests: &[ArriveRequest],
    is_again: bool,
) -> Done {
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

pub(super) async fn rows(
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
    let even_out = |found: &mut Vec<(WorkflowId, Vec<Arrival>)>| {
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

pub(super) async fn due(pair: &mut Pair, serves: &Serves) -> Done {
    let due = pair.get(async |it| it.due(serves).await).await?;
    pair.note_if(due.now > 0, Branch::DueNow);
    pair.note_if(due.next.is_some(), Branch::DueNext);
    Ok(())
}

pub(super) async fn claim(
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
    let sort = |claimed: &mut Vec<QueuedAttempt>| {
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

pub(super) async fn report(pair: &mut Pair, nth: usize, by: Option<usize>, is_next: bool) -> Done {
    let Some(at) = pair.claimed.len().checked_sub(1 + nth) else {
        return Ok(());
    };
    let (worker, attempt) = pair.claimed[at].clone();
    let mut report = AttemptReport {
        worker: by.map_or(worker, |place| pair.workers[place]),
        write: pair.new_write(),
        ..report_of(worker, &attempt)
    };
    report.attempt += u32::from(is_next);
    pair.writes.push(Write::Report(vec![report.clone()]));
    ask_report(pair, &[report], false).await
}

pub(super) async fn ask_report(pair: &mut Pair, reports: &[AttemptReport], is_again: bool) -> Done {
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
