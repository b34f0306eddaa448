//! What goes wrong with workers, and with starting and taking runs.

use std::collections::{HashMap, HashSet};

use std::time::Duration;

use async_trait::async_trait;
use longhaul_core::backend::{
    AcquireRequest, AcquiredRun, Beat, BeatRequest, Due, Error, JoinRequest, Kind, Lane, PAGE_MAX,
    Result, RunFilter, StartRun, Started, State, TakeOverRequest, TakenOver, TurnCommit, Verdict,
};
use longhaul_core::id::{ArrivalNumber, Epoch, WorkerId, WorkflowId};
use longhaul_core::status::Status;

use super::Fault;
use super::backend::Broken;
use crate::world::{LEASE, SECOND, list_of};

impl Broken {
    async fn acquire_build_by_build(&self, request: AcquireRequest) -> Result<Vec<AcquiredRun>> {
        let mut build_of = HashMap::new();
        for row in self.inner.list(list_of(RunFilter::default())).await? {
            let build = row.blocked.map(|(_, build)| build.as_str().to_owned());
            build_of.insert(row.identity.workflow_id, build);
        }
        let limit = request.limit;
        let every = AcquireRequest {
            limit: PAGE_MAX,
            ..request
        };
        let mut taken = self.inner.acquire(every).await?;
        taken.sort_by_key(|run| build_of.get(&run.run.identity.workflow_id).cloned());
        taken.truncate(limit);
        Ok(taken)
    }
}

#[async_trait]
impl State for Broken {
    async fn join(&self, mut request: JoinRequest) -> Result<()> {
        if self.has(Fault::WrapsLongLeases) && request.lease > SECOND * 31_536_000 {
            request.lease = Duration::ZERO;
        }
        let is_new = self.memory().joined.insert(request.worker);
        let workers = self.inner.workers().await?;
        let is_there = workers.iter().any(|one| one.worker == request.worker);
        if self.has(Fault::RefusesToJoinAgain) && is_there {
            return Err(Error::new(Kind::Invalid, "the worker has joined"));
        }
        if self.has(Fault::JoinsAnew) && !is_new {
            self.inner.leave(request.worker).await?;
        }
        match self.inner.join(request).await {
            Err(_) if self.has(Fault::ForgetsTheDead) => Ok(()),
            joined => joined,
        }
    }

    async fn beat(&self, mut request: BeatRequest) -> Result<Beat> {
        match self.fault {
            Fault::ExtendsUnasked => request.extend = Some(LEASE),
            Fault::NeverExtends => request.extend = None,
            Fault::ExtendsByTheFirstLease => request.extend = request.extend.and(Some(LEASE)),
            Fault::RefusesLateBeats => {
                let (now, workers) = (self.inner.clock(), self.inner.workers().await?);
                let mut late = workers.iter().filter(|one| one.lease_until < now);
                if late.any(|one| one.worker == request.worker) {
                    return Err(Error::new(Kind::WorkerDead, "the lease is over"));
                }
            }
            _ => {}
        }
        request.serves = self.spoil_serves(&request.serves);
        let beat = self.inner.beat(request).await;
        if self.has(Fault::BeatsForTheDead) && beat.is_err() {
            return Ok(Beat::default());
        }
        let mut beat = beat?;
        match self.fault {
            Fault::NamesNoArrivals => beat.arrivals.clear(),
            Fault::NamesArrivalsForGood => {
                let mut memory = self.memory();
                memory.noisy.append(&mut beat.arrivals);
                memory.noisy.dedup();
                beat.arrivals.clone_from(&memory.noisy);
            }
            Fault::LeasesForGood => beat.dead.clear(),
            Fault::CountsNothingInBeats => {
                beat.due = Due::default();
                beat.claimable = 0;
            }
            Fault::ForgetsNextTimes => {
                beat.due.next = None;
                beat.next_claimable = None;
            }
            Fault::HidesTheOutbox => beat.outbox = false,
            Fault::ForgetsWhatWorkersOwn => beat.owned = 0,
            Fault::ForgetsWhatWorkersClaimed => beat.claimed = 0,
            Fault::HidesPeers => beat.peers = 0,
            Fault::CountsWorkersAsTheirOwnPeers => beat.peers += 1,
            Fault::CountsTheDeadAmongPeers => beat.peers += beat.dead.len(),
            Fault::CountsTheIdleAmongPeers => {
                let workers = self.inner.workers().await?;
                beat.peers = workers.len().saturating_sub(beat.dead.len() + 1);
            }
            _ => {}
        }
        Ok(beat)
    }

    async fn leave(&self, worker: WorkerId) -> Result<()> {
        if self.has(Fault::LeavesWithEverything) {
            return Ok(());
        }
        self.inner.leave(worker).await
    }

    async fn take_over(&self, mut request: TakeOverRequest) -> Result<TakenOver> {
        match self.fault {
            Fault::TakesNothingOver => {
                let workers = request.force;
                return Ok(TakenOver {
                    workers,
                    ..TakenOver::default()
                });
            }
            Fault::LeasesForGood if request.force.is_empty() => return Ok(TakenOver::default()),
            Fault::WaitsForTheLease => request.force.clear(),
            Fault::TakesOverTheLiving => {
                let workers = self.inner.workers().await?;
                if !request.force.is_empty() {
                    request.force = workers.iter().map(|worker| worker.worker).collect();
                }
            }
            Fault::TakesOverOneAtATime => request.force.truncate(1),
            Fault::DropsClaimsWithOwners => self.memory().has_lost_an_owner = true,
            Fault::LeavesInsteadOfDying => {
                for worker in &request.force {
                    self.inner.leave(*worker).await?;
                    tokio::task::yield_now().await;
                }
            }
            _ => {}
        }
        let strangers = request.force.clone();
        let mut taken = self.inner.take_over(request).await?;
        if self.has(Fault::TakesOverStrangers) {
            taken.workers = strangers;
        }
        Ok(taken)
    }

    async fn start(&self, lane: Option<Lane>, mut runs: Vec<StartRun>) -> Result<Vec<Started>> {
        for run in &mut runs {
            self.spoil_run(run);
        }
        let mut lane = lane;
        match self.fault {
            Fault::RefusesEmptyBatches if runs.is_empty() => {
                return Err(Error::new(Kind::Invalid, "there is nothing to start"));
            }
            Fault::StartsUnowned => lane = None,
            Fault::StartsForTheDead => {
                let workers = self.inner.workers().await?;
                lane = lane.filter(|lane| workers.iter().any(|one| one.worker == lane.worker));
            }
            Fault::StartsOneByOne => {
                let mut started = Vec::new();
                for run in runs {
                    started.extend(self.inner.start(lane, vec![run]).await?);
                    tokio::task::yield_now().await;
                }
                return Ok(started);
            }
            _ => {}
        }
        let all = runs.len();
        let mut started = match self.inner.start(lane, runs).await {
            Err(_) if self.has(Fault::AcknowledgesStartsOfTheDead) => vec![Started::New; all],
            started => started?,
        };
        match self.fault {
            Fault::StartsAgain => started.fill(Started::New),
            Fault::StartsOverSubworkflows => {
                for started in &mut started {
                    if matches!(started, Started::Exists(row) if row.identity.is_subworkflow()) {
                        *started = Started::New;
                    }
                }
            }
            Fault::StartsSteal => {
                for started in &started {
                    if let (Some(lane), Started::Exists(row)) = (lane, started)
                        && let Some(owner) = row.owner
                    {
                        self.inner.leave(owner).await?;
                        let request = crate::world::acquire_of(lane.worker);
                        self.inner.acquire(request).await?;
                    }
                }
            }
            Fault::StartsTakeOver => {
                if let Some(lane) = lane {
                    let request = crate::world::acquire_of(lane.worker);
                    self.inner.acquire(request).await?;
                }
            }
            Fault::ForgetsWhatExists => {
                for started in &mut started {
                    if let Started::Exists(row) = started {
                        row.status = Status::Pending;
                    }
                }
            }
            _ => {}
        }
        Ok(self.reversed(Fault::AnswersBackwards, started))
    }

    async fn acquire(&self, mut request: AcquireRequest) -> Result<Vec<AcquiredRun>> {
        request.serves = self.spoil_serves(&request.serves);
        let (worker, limit) = (request.lane.worker, request.limit);
        match self.fault {
            Fault::WakesNobody => return Ok(Vec::new()),
            Fault::DeliversWithoutWaking if self.memory().is_woken_by_message => {
                return Ok(Vec::new());
            }
            Fault::IgnoresTheLimit | Fault::TakesTheNewestFirst => request.limit = PAGE_MAX,
            Fault::CutsLargeLimits if limit > PAGE_MAX => request.limit = 0,
            Fault::TakesBuildByBuild => return self.acquire_build_by_build(request).await,
            _ => {}
        }
        let taken = match self.inner.acquire(request).await {
            Err(_) if self.has(Fault::AnswersTheDead) => return Ok(Vec::new()),
            taken => taken?,
        };
        let mut taken = self.reversed(Fault::TakesTheNewestFirst, taken);
        if self.has(Fault::TakesTheNewestFirst) {
            taken.truncate(limit);
        }
        for run in &mut taken {
            self.spoil_row(&mut run.run);
            run.inbox = self.spoil_arrivals(std::mem::take(&mut run.inbox));
            match self.fault {
                Fault::AcquiresWithoutHistory => run.turns.truncate(1),
                Fault::AcquiresWithoutInbox => run.inbox.clear(),
                Fault::LosesInboxesOfTheDead if run.run.lost > 0 => run.inbox.clear(),
                Fault::ReadsEverythingAgain | Fault::ReadsAnewAfterTakeovers
                    if run.run.lost > 0 || self.has(Fault::ReadsEverythingAgain) =>
                {
                    let asked = vec![(run.run.identity.workflow_id.clone(), ArrivalNumber(0))];
                    let found = self.inner.inbox(worker, asked).await?;
                    run.inbox = found.into_iter().flat_map(|(_, all)| all).collect();
                }
                Fault::KeepsTheEpoch => run.run.epoch = Epoch(1),
                _ => {}
            }
        }
        if self.has(Fault::AcquiresTwice) {
            let mut memory = self.memory();
            memory.acquired.extend(taken.iter().cloned());
            return Ok(memory.acquired.clone());
        }
        Ok(taken)
    }

    async fn reload(
        &self,
        worker: WorkerId,
        run: &WorkflowId,
        epoch: Epoch,
    ) -> Result<Option<AcquiredRun>> {
        match self.fault {
            Fault::ReloadsNothing => Ok(None),
            Fault::ReloadsForAnyone => match self.inner.run(run).await? {
                Some(row) => {
                    let worker = row.owner.unwrap_or(worker);
                    self.inner.reload(worker, run, row.epoch).await
                }
                None => Ok(None),
            },
            _ => self.inner.reload(worker, run, epoch).await,
        }
    }

    async fn owned(&self, worker: WorkerId) -> Result<Vec<(WorkflowId, Epoch)>> {
        if self.has(Fault::ForgetsWhatWorkersOwn) {
            return Ok(Vec::new());
        }
        let owned = self.inner.owned(worker).await?;
        Ok(self.reversed(Fault::ReversesPages, owned))
    }

    async fn commit(&self, lane: Lane, turns: Vec<TurnCommit>) -> Result<Vec<Verdict>> {
        let all = turns.len();
        if self.has(Fault::AcknowledgesWithoutWriting) {
            return Ok(vec![Verdict::Committed; all]);
        }
        let mut verdicts = Vec::new();
        let mut children = HashSet::new();
        for mut turn in turns {
            if self.has(Fault::ForgetsRefusalsWithinABatch) {
                turn.subworkflows
                    .retain(|kid| children.insert(kid.identity.workflow_id.clone()));
            }
            let is_spoiled = verdicts
                .iter()
                .any(|verdict| *verdict != Verdict::Committed);
            if self.has(Fault::StopsAtTheFirstBadTurn) && is_spoiled {
                verdicts.push(Verdict::Lost);
                continue;
            }
            match self.commit_one(lane, turn).await {
                Err(error) if error.kind() == Kind::WorkerDead => match self.fault {
                    Fault::AnswersTheDead => return Ok(vec![Verdict::Lost; all]),
                    _ => return Err(error),
                },
                verdict => verdicts.push(verdict?),
            }
        }
        Ok(self.reversed(Fault::AnswersBackwards, verdicts))
    }

    async fn edit(&self, turns: Vec<TurnCommit>) -> Result<Vec<Verdict>> {
        let mut verdicts = Vec::new();
        for turn in turns {
            verdicts.push(self.edit_one(turn).await?);
        }
        Ok(verdicts)
    }
}
