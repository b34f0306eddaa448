//! Task queues.

use std::cmp::Reverse;

use async_trait::async_trait;
use longhaul_core::backend::{
    ArrivalBody, ArrivalKind, Arrived, AttemptReport, ClaimRequest, PAGE_MAX, QueuedAttempt,
    Reported, Result, Serves, Tasks,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::{QueueName, TaskName};

use crate::MemoryBackend;
use crate::events::Door;
use crate::store::{Attempt, Place, Store};

#[async_trait]
impl Tasks for MemoryBackend {
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<QueuedAttempt>> {
        let now = self.now();
        let mut store = self.store();
        store.require_worker(request.worker)?;
        let mut claimed = Vec::new();
        for (queue, slots) in &request.queues {
            for number in store.ready(queue, &request.tasks, *slots, now) {
                claimed.extend(store.claim(number, &request));
            }
        }
        Ok(claimed)
    }

    async fn report(&self, reports: Vec<AttemptReport>) -> Result<Vec<Reported>> {
        let now = self.now();
        let mut store = self.store();
        let reported = reports
            .into_iter()
            .map(|report| store.report(report, now))
            .collect();
        drop(store);
        self.tell();
        Ok(reported)
    }
}

impl Store {
    /// Puts an attempt into its queue.
    pub(crate) fn enqueue(&mut self, queued: QueuedAttempt, now: Timestamp) {
        let is_there = self
            .attempts_for(&queued.run, queued.segment, &queued.operation)
            .iter()
            .filter_map(|number| self.attempts.get(number))
            .any(|known| known.queued.attempt == queued.attempt);
        if is_there {
            return;
        }
        let number = self.next_attempt;
        self.next_attempt += 1;
        let ready_at = queued.due.unwrap_or(now);
        self.attempts_of
            .entry(queued.run.clone())
            .or_default()
            .insert(number);
        let attempt = Attempt {
            place: (Reverse(queued.priority), ready_at, number),
            queued,
            claimed_by: None,
        };
        self.put_ready(&attempt, true);
        self.attempts.insert(number, attempt);
    }

    fn ready(
        &self,
        queue: &QueueName,
        tasks: &[TaskName],
        slots: usize,
        now: Timestamp,
    ) -> Vec<u64> {
        let mut found: Vec<Place> = Vec::new();
        for task in tasks {
            found.extend(self.ready_of(queue, task, now).take(slots));
        }
        found.sort_unstable();
        found.truncate(slots);
        found.into_iter().map(|(_, _, number)| number).collect()
    }

    fn ready_of(
        &self,
        queue: &QueueName,
        task: &TaskName,
        now: Timestamp,
    ) -> impl Iterator<Item = Place> + use<'_> {
        let line = (queue.clone(), task.clone());
        self.ready
            .get(&line)
            .into_iter()
            .flatten()
            .filter(move |(_, ready_at, _)| *ready_at <= now)
            .copied()
    }

    fn claim(&mut self, number: u64, request: &ClaimRequest) -> Option<QueuedAttempt> {
        let mut attempt = self.attempts.remove(&number)?;
        self.put_ready(&attempt, false);
        attempt.claimed_by = Some(request.worker);
        let queued = attempt.queued.clone();
        self.attempts.insert(number, attempt);
        Some(queued)
    }

    fn report(&mut self, report: AttemptReport, now: Timestamp) -> Reported {
        let repeated = self
            .run(&report.run)
            .filter(|run| run.inbox.iter().any(|(write, _)| *write == report.write));
        if let Some(run) = repeated {
            return Reported::Accepted {
                owner: run.record.owner,
            };
        }
        let claimed = self
            .attempts_for(&report.run, report.segment, &report.operation)
            .into_iter()
            .find(|number| {
                self.attempts.get(number).is_some_and(|attempt| {
                    attempt.queued.attempt == report.attempt
                        && attempt.claimed_by == Some(report.worker)
                })
            });
        let Some(number) = claimed else {
            return Reported::Stale;
        };
        self.remove_attempt(number);
        let body = ArrivalBody {
            kind: ArrivalKind::TaskOutcome,
            name: report.operation.to_string(),
            content: report.content,
        };
        match self.accept(&report.run, report.write, &body, Door::Inside, now) {
            Arrived::Accepted { owner, .. } => Reported::Accepted { owner },
            Arrived::Sealed | Arrived::Full | Arrived::Finished(_) | Arrived::Unknown => {
                Reported::Stale
            }
        }
    }

    /// Counts what a worker could claim now, and tells when the next attempt can be claimed.
    pub(crate) fn claimable(&self, serves: &Serves, now: Timestamp) -> (usize, Option<Timestamp>) {
        let mut count = 0;
        let mut next: Option<Timestamp> = None;
        for queue in &serves.queues {
            for task in &serves.tasks {
                count += self.ready_of(queue, task, now).take(PAGE_MAX).count();
                let line = (queue.clone(), task.clone());
                let later = self
                    .ready
                    .get(&line)
                    .into_iter()
                    .flatten()
                    .map(|(_, ready_at, _)| *ready_at)
                    .filter(|ready_at| *ready_at > now)
                    .min();
                next = next.into_iter().chain(later).min();
            }
        }
        (count.min(PAGE_MAX), next)
    }
}
