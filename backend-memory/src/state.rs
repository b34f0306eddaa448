//! Who owns which run.

use async_trait::async_trait;
use longhaul_core::backend::{
    AcquireRequest, AcquiredRun, Beat, BeatRequest, JoinRequest, Lane, Result, StartRun, Started,
    State, TakeOverRequest, TakenOver, TurnCommit, Verdict,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::{Epoch, WorkerId, WorkflowId};
use longhaul_core::status::Status;

use crate::MemoryBackend;
use crate::commit::concerns_others;
use crate::store::{Run, Store};

#[async_trait]
impl State for MemoryBackend {
    async fn join(&self, request: JoinRequest) -> Result<()> {
        self.store().join(request, self.now())
    }

    async fn beat(&self, request: BeatRequest) -> Result<Beat> {
        let now = self.now();
        let mut store = self.store();
        store.require_worker(request.worker)?;
        if let Some(lease) = request.extend
            && let Some(worker) = store.workers.get_mut(&request.worker)
        {
            worker.lease_until = now.after(lease);
        }
        let (claimable, next_claimable) = store.claimable(&request.serves, now);
        Ok(Beat {
            arrivals: store.unread_of(request.worker),
            due: store.due(&request.serves, now),
            claimable,
            next_claimable,
            dead: store.dead_workers(now),
            outbox: !store.outbox.is_empty(),
            owned: store.owned_by(request.worker).len(),
        })
    }

    async fn leave(&self, worker: WorkerId) -> Result<()> {
        self.store().remove_worker(worker, self.now());
        self.tell();
        Ok(())
    }

    async fn take_over(&self, request: TakeOverRequest) -> Result<TakenOver> {
        let taken = self.store().take_over(&request, self.now());
        if !taken.workers.is_empty() {
            self.tell();
        }
        Ok(taken)
    }

    async fn start(&self, lane: Option<Lane>, runs: Vec<StartRun>) -> Result<Vec<Started>> {
        let now = self.now();
        let mut store = self.store();
        let owner = lane.map(|lane| lane.worker);
        if let Some(worker) = owner {
            store.require_worker(worker)?;
        }
        let started = runs
            .iter()
            .map(|run| store.start(run, owner, now))
            .collect();
        drop(store);
        if owner.is_none() {
            self.tell();
        }
        Ok(started)
    }

    async fn acquire(&self, request: AcquireRequest) -> Result<Vec<AcquiredRun>> {
        let now = self.now();
        let worker = request.lane.worker;
        let mut store = self.store();
        store.require_worker(worker)?;
        let due = store.due_runs(&request.serves, now, request.limit);
        let mut acquired = Vec::with_capacity(due.len());
        for id in due {
            store.take(&id, worker, now);
            acquired.extend(store.run(&id).map(load));
        }
        Ok(acquired)
    }

    async fn reload(
        &self,
        worker: WorkerId,
        run: &WorkflowId,
        epoch: Epoch,
    ) -> Result<Option<AcquiredRun>> {
        let store = self.store();
        let found = store
            .run(run)
            .filter(|run| run.record.owner == Some(worker) && run.record.epoch == epoch);
        Ok(found.map(load))
    }

    async fn owned(&self, worker: WorkerId) -> Result<Vec<(WorkflowId, Epoch)>> {
        let store = self.store();
        let epoch = |id: WorkflowId| store.run(&id).map(|run| (id.clone(), run.record.epoch));
        Ok(store
            .owned_by(worker)
            .into_iter()
            .filter_map(epoch)
            .collect())
    }

    async fn commit(&self, lane: Lane, turns: Vec<TurnCommit>) -> Result<Vec<Verdict>> {
        let now = self.now();
        let mut store = self.store();
        store.require_worker(lane.worker)?;
        let is_news = turns.iter().any(concerns_others);
        let verdicts = turns
            .into_iter()
            .map(|turn| store.commit(lane.worker, turn, now))
            .collect();
        drop(store);
        if is_news {
            self.tell();
        }
        Ok(verdicts)
    }
}

impl Store {
    fn take(&mut self, id: &WorkflowId, worker: WorkerId, now: Timestamp) {
        self.change(id, |run| {
            run.record.owner = Some(worker);
            run.record.epoch = run.record.epoch.next();
            run.record.status = Status::Running;
            run.record.wake_at = None;
            run.record.blocked = None;
            run.record.updated_at = now;
            run.is_sealed = false;
        });
    }
}

fn load(run: &Run) -> AcquiredRun {
    let read = run.record.read;
    AcquiredRun {
        run: run.record.clone(),
        turns: run.turns.iter().map(|turn| turn.stored.clone()).collect(),
        inbox: run
            .inbox
            .iter()
            .filter(|(_, arrival)| arrival.number > read)
            .map(|(_, arrival)| arrival.clone())
            .collect(),
    }
}
