//! Task queues: attempts that any worker which serves the queue may execute.
//!
//! Invariants: a claimed attempt stays in its queue under the name of its worker until it is reported, withdrawn or
//! lost. A report takes it off the queue and puts its outcome into the inbox in one request.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use async_trait::async_trait;
use longhaul_core::backend::{
    ArrivalBody, ArrivalKind, AttemptReport, ClaimRequest, PAGE_MAX, QueuedAttempt, Reported,
    Result, Serves, Tasks,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::{WorkerId, WorkflowId};
use longhaul_core::status::Status;

use crate::ToyBackend;
use crate::store::{Queued, Run, Store};

#[async_trait]
impl Tasks for ToyBackend {
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<QueuedAttempt>> {
        self.write(|store, now| store.claim(&request, now))
    }

    async fn claimed(&self, worker: WorkerId) -> Result<Vec<QueuedAttempt>> {
        Ok(self.read(|store, _| store.claimed_by(worker).cloned().collect()))
    }

    async fn report(&self, reports: Vec<AttemptReport>) -> Result<Vec<Reported>> {
        Ok(self.write(|store, now| {
            let report = |report| store.report(report, now);
            reports.into_iter().map(report).collect()
        }))
    }
}

impl Store {
    fn claim(&mut self, request: &ClaimRequest, now: Timestamp) -> Result<Vec<QueuedAttempt>> {
        self.check_alive(request.worker)?;
        let mut claimed = Vec::new();
        for (queue, slots) in &request.queues {
            let runs = &self.runs;
            let mut waiting: Vec<_> = self
                .queued
                .iter_mut()
                .filter(|queued| queued.waits(runs) && queued.due <= now)
                .filter(|queued| queued.attempt.queue == *queue)
                .filter(|queued| request.tasks.contains(&queued.attempt.task))
                .collect();
            // The sort keeps the order in which equal ones were put in.
            waiting.sort_by_key(|queued| (Reverse(queued.attempt.priority), queued.due));
            for queued in waiting.into_iter().take(*slots) {
                queued.claimed_by = Some(request.worker);
                claimed.push(queued.attempt.clone());
            }
        }
        Ok(claimed)
    }

    /// Lists what a worker has claimed in the order it was put in.
    pub(crate) fn claimed_by(&self, worker: WorkerId) -> impl Iterator<Item = &QueuedAttempt> {
        let queued = self.queued.iter();
        let claimed = queued.filter(move |queued| queued.claimed_by == Some(worker));
        claimed.map(|queued| &queued.attempt)
    }

    fn report(&mut self, report: AttemptReport, now: Timestamp) -> Reported {
        let Some(run) = self.runs.get_mut(&report.run) else {
            return Reported::Stale;
        };
        let owner = run.record.owner;
        if run.arrived(report.write).is_some() {
            return Reported::Accepted { owner };
        }
        let is_it = |queued: &Queued| {
            queued.claimed_by == Some(report.worker)
                && queued.attempt.run == report.run
                && queued.attempt.segment == report.segment
                && queued.attempt.operation == report.operation
                && queued.attempt.attempt == report.attempt
        };
        let Some(place) = self.queued.iter().position(is_it) else {
            return Reported::Stale;
        };
        self.queued.remove(place);
        let body = ArrivalBody {
            kind: ArrivalKind::TaskOutcome,
            name: report.operation.to_string(),
            content: report.content,
        };
        run.put(Some(report.write), body, now);
        Reported::Accepted { owner }
    }

    /// Counts what such a worker could claim now, and tells when it can claim more.
    pub(crate) fn claimable(&self, serves: &Serves, now: Timestamp) -> (usize, Option<Timestamp>) {
        let times = || {
            let waiting = self.queued.iter().filter(|queued| {
                queued.waits(&self.runs)
                    && serves.queues.contains(&queued.attempt.queue)
                    && serves.tasks.contains(&queued.attempt.task)
            });
            waiting.map(|queued| queued.due)
        };
        let count = times().filter(|due| *due <= now).take(PAGE_MAX).count();
        (count, times().filter(|due| *due > now).min())
    }
}

impl Queued {
    /// Tells whether the attempt may be claimed once it is due: nobody has, and its run is not paused.
    fn waits(&self, runs: &BTreeMap<WorkflowId, Run>) -> bool {
        let run = runs.get(&self.attempt.run);
        let is_paused = run.is_some_and(|run| run.record.status == Status::Paused);
        self.claimed_by.is_none() && !is_paused
    }
}
