//! Who owns which run: the register of workers, starting, taking and giving back.
//!
//! Invariants: a run changes hands in three places: [`Run::give_to`](crate::store::Run::give_to),
//! [`Run::lose`](crate::store::Run::lose), and a commit that gives it up. A worker leaves the register before its runs
//! are freed, in the same request.

use async_trait::async_trait;
use longhaul_core::backend::{
    AcquireRequest, AcquiredRun, ArrivalBody, ArrivalKind, Beat, BeatRequest, Error, JoinRequest,
    Kind, Lane, Result, StartRun, Started, State, TakeOverRequest, TakenOver, TurnCommit, Verdict,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::{Epoch, WorkerId, WorkflowId};

use crate::ToyBackend;
use crate::store::{Queued, Run, Store, Worker};

#[async_trait]
impl State for ToyBackend {
    async fn join(&self, request: JoinRequest) -> Result<()> {
        self.write(|store, now| store.join(request, now))
    }

    async fn beat(&self, request: BeatRequest) -> Result<Beat> {
        match request.extend {
            Some(_) => self.write(|store, now| {
                store.extend(&request, now);
                store.beat(&request, now)
            }),
            None => self.read(|store, now| store.beat(&request, now)),
        }
    }

    async fn leave(&self, worker: WorkerId) -> Result<()> {
        self.write(|store, now| store.bury(worker, now, &mut TakenOver::default()));
        Ok(())
    }

    async fn take_over(&self, request: TakeOverRequest) -> Result<TakenOver> {
        Ok(self.write(|store, now| store.take_over(&request, now)))
    }

    async fn start(&self, lane: Option<Lane>, runs: Vec<StartRun>) -> Result<Vec<Started>> {
        self.write(|store, now| {
            if let Some(lane) = lane {
                store.check_alive(lane.worker)?;
            }
            let start = |run| store.start(lane, run, now);
            Ok(runs.into_iter().map(start).collect())
        })
    }

    async fn acquire(&self, request: AcquireRequest) -> Result<Vec<AcquiredRun>> {
        self.write(|store, now| store.acquire(&request, now))
    }

    async fn reload(
        &self,
        worker: WorkerId,
        run: &WorkflowId,
        epoch: Epoch,
    ) -> Result<Option<AcquiredRun>> {
        Ok(self.read(|store, _| {
            let run = store.runs.get(run)?;
            let is_owner = run.is_owned_by(worker) && run.record.epoch == epoch;
            is_owner.then(|| loaded(run))
        }))
    }

    async fn owned(&self, worker: WorkerId) -> Result<Vec<(WorkflowId, Epoch)>> {
        Ok(self.read(|store, _| {
            let runs = store.runs.iter().filter(|(_, run)| run.is_owned_by(worker));
            runs.map(|(id, run)| (id.clone(), run.record.epoch))
                .collect()
        }))
    }

    async fn commit(&self, lane: Lane, turns: Vec<TurnCommit>) -> Result<Vec<Verdict>> {
        self.write(|store, now| {
            store.check_alive(lane.worker)?;
            let commit = |turn| store.commit(Some(lane.worker), turn, now);
            Ok(turns.into_iter().map(commit).collect())
        })
    }

    async fn edit(&self, turns: Vec<TurnCommit>) -> Result<Vec<Verdict>> {
        Ok(self.write(|store, now| {
            let edit = |turn| store.commit(None, turn, now);
            turns.into_iter().map(edit).collect()
        }))
    }
}

impl Store {
    fn join(&mut self, request: JoinRequest, now: Timestamp) -> Result<()> {
        let id = request.worker;
        if self.dead.contains(&id) {
            let message = format!("worker {id} was declared dead; join under a new id");
            return Err(Error::new(Kind::WorkerDead, message));
        }
        let lease_until = now.after(request.lease);
        let worker = self.workers.entry(id).or_insert_with(|| Worker {
            label: request.label,
            serves: request.serves,
            lease_until,
        });
        worker.lease_until = lease_until;
        Ok(())
    }

    fn extend(&mut self, request: &BeatRequest, now: Timestamp) {
        if let (Some(worker), Some(lease)) = (self.workers.get_mut(&request.worker), request.extend)
        {
            worker.lease_until = now.after(lease);
        }
    }

    fn beat(&self, request: &BeatRequest, now: Timestamp) -> Result<Beat> {
        self.check_alive(request.worker)?;
        let mine = || {
            self.runs
                .iter()
                .filter(|(_, run)| run.is_owned_by(request.worker))
        };
        let (claimable, next_claimable) = self.claimable(&request.serves, now);
        Ok(Beat {
            arrivals: mine()
                .filter(|(_, run)| run.has_unread())
                .map(|(id, _)| id.clone())
                .collect(),
            due: self.due(&request.serves, now),
            claimable,
            next_claimable,
            dead: self.expired(now),
            outbox: !self.outbox.is_empty(),
            owned: mine().count(),
            claimed: self.claimed_by(request.worker).count(),
            peers: self.peers(request.worker, now),
        })
    }

    /// Lists the workers whose lease is over. Until somebody takes over they may still extend it.
    fn expired(&self, now: Timestamp) -> Vec<WorkerId> {
        let workers = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.lease_until < now);
        workers.map(|(id, _)| *id).collect()
    }

    fn peers(&self, id: WorkerId, now: Timestamp) -> usize {
        let is_peer = |(other, worker): &(&WorkerId, &Worker)| {
            **other != id && worker.lease_until >= now && !worker.serves.tasks.is_empty()
        };
        self.workers.iter().filter(is_peer).count()
    }

    fn take_over(&mut self, request: &TakeOverRequest, now: Timestamp) -> TakenOver {
        let mut taken = TakenOver::default();
        let mut gone = self.expired(now);
        gone.extend(&request.force);
        for worker in gone {
            self.bury(worker, now, &mut taken);
        }
        taken
    }

    /// Takes a worker off the register for good and frees what it had. Does nothing to one that is not on it.
    fn bury(&mut self, id: WorkerId, now: Timestamp, taken: &mut TakenOver) {
        if self.workers.remove(&id).is_none() {
            return;
        }
        self.dead.insert(id);
        taken.workers.push(id);
        for run in self.runs.values_mut().filter(|run| run.is_owned_by(id)) {
            run.lose(now);
            taken.runs += 1;
        }
        let is_claimed = |queued: &mut Queued| queued.claimed_by == Some(id);
        let lost: Vec<_> = self.queued.extract_if(.., is_claimed).collect();
        taken.attempts += lost.len();
        for Queued { attempt, .. } in lost {
            let body = ArrivalBody {
                kind: ArrivalKind::AttemptLost,
                name: attempt.operation.to_string(),
                content: attempt.attempt.to_be_bytes().to_vec(),
            };
            if let Some(run) = self.runs.get_mut(&attempt.run) {
                run.put(None, body, now);
            }
        }
    }

    pub(crate) fn start(&mut self, lane: Option<Lane>, start: StartRun, now: Timestamp) -> Started {
        let id = start.identity.workflow_id.clone();
        if let Some(run) = self.runs.get(&id) {
            return Started::Exists(Box::new(run.record.clone()));
        }
        let mut run = Run::new(start, now);
        if let Some(lane) = lane {
            run.give_to(lane.worker, now);
        }
        self.runs.insert(id, run);
        Started::New
    }

    fn acquire(&mut self, request: &AcquireRequest, now: Timestamp) -> Result<Vec<AcquiredRun>> {
        let worker = request.lane.worker;
        self.check_alive(worker)?;
        let mut due: Vec<_> = self
            .runs
            .values_mut()
            .filter(|run| {
                run.wakes_for(&request.serves)
                    .is_some_and(|wake_at| wake_at <= now)
            })
            .collect();
        due.sort_by_key(|run| run.record.wake_at);
        due.truncate(request.limit);
        let take = |run: &mut Run| {
            run.give_to(worker, now);
            loaded(run)
        };
        Ok(due.into_iter().map(take).collect())
    }
}

/// Copies all that an owner needs to go on.
fn loaded(run: &Run) -> AcquiredRun {
    AcquiredRun {
        run: run.record.clone(),
        turns: run.turns.clone(),
        inbox: run.arrivals_after(run.record.read),
    }
}
