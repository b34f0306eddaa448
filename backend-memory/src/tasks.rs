//! Task queues: what workers claim, and what they report.

use std::collections::BTreeSet;

use async_trait::async_trait;
use longhaul_core::backend::{
    ArrivalBody, ArrivalKind, Arrived, AttemptReport, ClaimRequest, QueuedAttempt, Reported,
    Result, Serves, Tasks,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::WorkerId;

use crate::events::{self, Door};
use crate::store::Store;
use crate::{MemoryBackend, workers};

#[async_trait]
impl Tasks for MemoryBackend {
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<QueuedAttempt>> {
        self.apply(|store, now| {
            workers::require(store, request.worker, now)?;
            Ok(claim(store, &request, now))
        })
    }

    async fn claimed(&self, worker: WorkerId) -> Result<Vec<QueuedAttempt>> {
        Ok(self.apply(|store, _| store.queues.claimed(worker)))
    }

    async fn report(&self, reports: Vec<AttemptReport>) -> Result<Vec<Reported>> {
        Ok(self.apply(|store, now| {
            let report_one = |one| report(store, one, now);
            reports.into_iter().map(report_one).collect()
        }))
    }
}

fn claim(store: &mut Store, request: &ClaimRequest, now: Timestamp) -> Vec<QueuedAttempt> {
    let mut claimed = Vec::new();
    for (queue, slots) in &request.queues {
        let mut ready = Vec::new();
        for task in &request.tasks {
            ready.extend(store.queues.ready(queue, task, *slots, now));
        }
        ready.sort_unstable();
        ready.dedup();
        ready.truncate(*slots);
        let claim_one = |rank| store.queues.claim(rank, request.worker);
        claimed.extend(ready.into_iter().filter_map(claim_one));
    }
    claimed
}

fn report(store: &mut Store, report: AttemptReport, now: Timestamp) -> Reported {
    if let Some(owner) = events::accepted_before(store, &report.run, report.write) {
        return Reported::Accepted { owner };
    }
    let Some(number) = store.number(&report.run) else {
        return Reported::Stale;
    };
    let name = report.operation.to_string();
    let key = (report.segment, report.operation, report.attempt);
    if !store.queues.finish(number, &key, report.worker) {
        return Reported::Stale;
    }
    let body = ArrivalBody {
        kind: ArrivalKind::TaskOutcome,
        name,
        content: report.content,
    };
    match events::accept(store, &report.run, report.write, body, Door::Inside, now) {
        Arrived::Accepted { owner, .. } => Reported::Accepted { owner },
        Arrived::Sealed | Arrived::Full | Arrived::Finished(_) | Arrived::Unknown => {
            Reported::Stale
        }
    }
}

/// Counts up to `limit` attempts that a worker could claim now, and tells when the next one can be claimed.
pub(crate) fn claimable(
    store: &Store,
    serves: &Serves,
    limit: usize,
    now: Timestamp,
) -> (usize, Option<Timestamp>) {
    let mut count = 0_usize;
    let mut next: Option<Timestamp> = None;
    let pairs: BTreeSet<_> = serves
        .queues
        .iter()
        .flat_map(|queue| serves.tasks.iter().map(move |task| (queue, task)))
        .collect();
    for (queue, task) in pairs {
        let (due, ahead) = store.queues.count(queue, task, limit, now);
        count = count.saturating_add(due);
        next = next.into_iter().chain(ahead).min();
    }
    (count.min(limit), next)
}
