//! Leases, and what happens to the runs and attempts of the dead.

use longhaul_core::backend::{
    ArrivalBody, ArrivalKind, Error, JoinRequest, Kind, Result, TakeOverRequest, TakenOver,
};
use longhaul_core::clock::{Timestamp, random_bytes_of_the_system};
use longhaul_core::id::{Uuid, WorkerId, WorkflowId, WriteId};

use crate::events::Door;
use crate::store::{Store, Worker};

impl Store {
    pub(crate) fn join(&mut self, request: JoinRequest, now: Timestamp) -> Result<()> {
        if self.dead.contains(&request.worker) {
            return Err(dead(request.worker));
        }
        let lease_until = now.after(request.lease);
        self.workers
            .entry(request.worker)
            .and_modify(|worker| worker.lease_until = lease_until)
            .or_insert(Worker {
                joined: request,
                lease_until,
            });
        Ok(())
    }

    pub(crate) fn require_worker(&self, worker: WorkerId) -> Result<()> {
        if self.workers.contains_key(&worker) {
            return Ok(());
        }
        Err(dead(worker))
    }

    pub(crate) fn dead_workers(&self, now: Timestamp) -> Vec<WorkerId> {
        self.workers
            .iter()
            .filter(|(_, worker)| worker.lease_until < now)
            .map(|(worker, _)| *worker)
            .collect()
    }

    pub(crate) fn take_over(&mut self, request: &TakeOverRequest, now: Timestamp) -> TakenOver {
        let mut workers = self.dead_workers(now);
        for worker in &request.force {
            if !workers.contains(worker) && self.workers.contains_key(worker) {
                workers.push(*worker);
            }
        }
        workers.sort_unstable();
        let mut taken = TakenOver::default();
        for worker in &workers {
            self.dead.insert(*worker);
            let (runs, attempts) = self.remove_worker(*worker, now);
            taken.runs += runs;
            taken.attempts += attempts;
        }
        taken.workers = workers;
        taken
    }

    /// Takes a worker off the register and frees what it had; returns how many runs and attempts.
    pub(crate) fn remove_worker(&mut self, worker: WorkerId, now: Timestamp) -> (usize, usize) {
        let runs = self.owned_by(worker);
        for run in &runs {
            self.free(run, now);
        }
        let attempts = self.give_up_claims(worker, now);
        self.forget_worker(worker);
        (runs.len(), attempts)
    }

    fn free(&mut self, run: &WorkflowId, now: Timestamp) {
        self.change(run, |run| {
            let turns = run.turns.len();
            let made_progress = turns > run.lost_turns;
            run.record.lost = if made_progress {
                1
            } else {
                run.record.lost + 1
            };
            run.lost_turns = turns;
            run.record.owner = None;
            run.record.wake_at = Some(now);
            run.record.updated_at = now;
            run.is_sealed = false;
        });
    }

    fn give_up_claims(&mut self, worker: WorkerId, now: Timestamp) -> usize {
        let lost: Vec<u64> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| attempt.claimed_by == Some(worker))
            .map(|(number, _)| *number)
            .collect();
        for number in &lost {
            let Some(attempt) = self.remove_attempt(*number) else {
                continue;
            };
            let body = ArrivalBody {
                kind: ArrivalKind::AttemptLost,
                name: attempt.queued.operation.to_string(),
                content: attempt.queued.attempt.to_be_bytes().to_vec(),
            };
            self.accept(&attempt.queued.run, new_write(), &body, Door::Inside, now);
        }
        lost.len()
    }
}

/// Draws the name of a write that the backend makes itself.
pub(crate) fn new_write() -> WriteId {
    let mut bytes = [0; 16];
    for (byte, random) in bytes.iter_mut().zip(random_bytes_of_the_system()) {
        *byte = random;
    }
    WriteId(Uuid::from_random_bytes(bytes))
}

pub(crate) fn dead(worker: WorkerId) -> Error {
    Error::new(
        Kind::WorkerDead,
        format!("worker {worker} is not registered, or was declared dead"),
    )
}
