//! Who owns which run: starting, acquiring, the register of workers, and the beat.

use async_trait::async_trait;
use longhaul_core::backend::{
    AcquireRequest, AcquiredRun, Beat, BeatRequest, JoinRequest, Lane, PAGE_MAX, Result, Serves,
    StartRun, Started, State, TakeOverRequest, TakenOver, TurnCommit, Verdict,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::{Epoch, WorkerId, WorkflowId};
use longhaul_core::status::Status;

use crate::error::worker_dead;
use crate::store::{RunNumber, RunRow, Store};
use crate::{MemoryBackend, commit, tasks, timers, workers};

#[async_trait]
impl State for MemoryBackend {
    async fn join(&self, request: JoinRequest) -> Result<()> {
        self.apply(|store, now| workers::join(store, request, now))
    }

    async fn beat(&self, request: BeatRequest) -> Result<Beat> {
        self.apply(|store, now| {
            if let Some(lease) = request.extend {
                workers::extend(store, request.worker, lease, now)?;
            }
            beat(store, request.worker, &request.serves, now)
        })
    }

    async fn leave(&self, worker: WorkerId) -> Result<()> {
        self.apply(|store, now| workers::remove(store, worker, now));
        Ok(())
    }

    async fn take_over(&self, request: TakeOverRequest) -> Result<TakenOver> {
        Ok(self.apply(|store, now| workers::take_over(store, &request, now)))
    }

    async fn start(&self, lane: Option<Lane>, runs: Vec<StartRun>) -> Result<Vec<Started>> {
        self.apply(|store, now| {
            let owner = lane.map(|lane| lane.worker);
            if let Some(worker) = owner {
                workers::require(store, worker, now)?;
            }
            let start_one = |run: &StartRun| match store.find(&run.identity.workflow_id) {
                Some(row) => Started::Exists(Box::new(row.record.clone())),
                None => {
                    store.insert(owner, run, now);
                    Started::New
                }
            };
            Ok(runs.iter().map(start_one).collect())
        })
    }

    async fn acquire(&self, request: AcquireRequest) -> Result<Vec<AcquiredRun>> {
        let worker = request.lane.worker;
        self.apply(|store, now| {
            workers::require(store, worker, now)?;
            let due = timers::due_runs(store, &request.serves, now, request.limit);
            let take_one = |number| store.change(number, |row| take(row, worker, now));
            Ok(due.into_iter().filter_map(take_one).collect())
        })
    }

    async fn reload(
        &self,
        worker: WorkerId,
        run: &WorkflowId,
        epoch: Epoch,
    ) -> Result<Option<AcquiredRun>> {
        Ok(self.apply(|store, _| {
            let row = store.find(run)?;
            let is_owned = row.record.owner == Some(worker) && row.record.epoch == epoch;
            is_owned.then(|| load(row))
        }))
    }

    async fn owned(&self, worker: WorkerId) -> Result<Vec<(WorkflowId, Epoch)>> {
        Ok(self.apply(|store, _| {
            let all = store.owned(worker).map(|owned| &owned.all);
            let entry = |number: &RunNumber| {
                let record = &store.row(*number)?.record;
                Some((record.identity.workflow_id.clone(), record.epoch))
            };
            let mut found: Vec<_> = all.into_iter().flatten().filter_map(entry).collect();
            found.sort_unstable();
            found
        }))
    }

    async fn commit(&self, lane: Lane, turns: Vec<TurnCommit>) -> Result<Vec<Verdict>> {
        self.apply(|store, now| {
            workers::require(store, lane.worker, now)?;
            let commit_one = |turn| commit::commit(store, Some(lane.worker), turn, now);
            Ok(turns.into_iter().map(commit_one).collect())
        })
    }

    async fn edit(&self, turns: Vec<TurnCommit>) -> Result<Vec<Verdict>> {
        Ok(self.apply(|store, now| {
            let edit_one = |turn| commit::commit(store, None, turn, now);
            turns.into_iter().map(edit_one).collect()
        }))
    }
}

fn beat(store: &Store, worker: WorkerId, serves: &Serves, now: Timestamp) -> Result<Beat> {
    if !store.workers.contains_key(&worker) {
        return Err(worker_dead(worker));
    }
    let id_of = |number: &RunNumber| {
        let row = store.row(*number)?;
        Some(row.record.identity.workflow_id.clone())
    };
    let unread = store.owned(worker).map(|owned| &owned.unread);
    let mut arrivals: Vec<WorkflowId> = unread.into_iter().flatten().filter_map(id_of).collect();
    arrivals.sort_unstable();
    let (claimable, next_claimable) = tasks::claimable(store, serves, PAGE_MAX, now);
    Ok(Beat {
        arrivals,
        due: timers::due(store, serves, now),
        claimable,
        next_claimable,
        dead: workers::dead(store, now),
        outbox: !store.outbox.is_empty(),
        owned: store.owned(worker).map_or(0, |owned| owned.all.len()),
        claimed: store.queues.count_claimed(worker),
        peers: workers::peers(store, worker, now),
    })
}

fn take(row: &mut RunRow, worker: WorkerId, now: Timestamp) -> AcquiredRun {
    let run = &mut row.record;
    run.owner = Some(worker);
    run.epoch = run.epoch.next();
    run.status = Status::Running;
    run.wake_at = None;
    run.blocked = None;
    run.updated_at = now;
    row.is_sealed = false;
    load(row)
}

/// Copies all that an owner needs.
fn load(row: &RunRow) -> AcquiredRun {
    AcquiredRun {
        run: row.record.clone(),
        turns: row.history().cloned().collect(),
        inbox: row.inbox_after(row.record.read),
    }
}
