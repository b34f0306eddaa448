//! A backend that passes everything on to a right one, except for its one fault.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use longhaul_core::backend::{
    AcquireRequest, AcquiredRun, Arrival, ArrivalKind, ArriveRequest, Arrived, AttemptReport,
    Backend, Beat, BeatRequest, ClaimRequest, Due, Error, Events, Hint, HintStream, HistoryRequest,
    Inspect, JoinRequest, Kind, Lane, ListRequest, PAGE_MAX, QueueRecord, QueuedAttempt, Reported,
    Result, RunFilter, RunRecord, RunState, RunUpdate, Serves, StartRun, Started, State, StoreInfo,
    TakeOverRequest, TakenOver, Tasks, Timers, TurnCommit, Verdict, WorkerRecord,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::history::{OperationKey, StoredTurn};
use longhaul_core::id::{
    ArrivalNumber, BuildId, DataKey, Epoch, Segment, TurnNumber, WorkerId, WorkflowId, WriteId,
};
use longhaul_core::payload::Payload;
use longhaul_core::status::Status;

use super::Fault;
use crate::world::{LEASE, SECOND, list_of, new_write_id, route, task};

/// Wraps a right backend.
#[derive(Debug)]
pub(super) struct Broken {
    inner: Arc<dyn Backend>,
    fault: Fault,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    claimed: Vec<QueuedAttempt>,
    acquired: Vec<AcquiredRun>,
    arrived: HashMap<WriteId, Arrived>,
    sealed: HashSet<WorkflowId>,
    data: HashMap<DataKey, Payload>,
    lost: u32,
    drained: HashSet<WorkflowId>,
    noisy: Vec<WorkflowId>,
    joined: HashSet<WorkerId>,
    read: HashMap<WorkflowId, ArrivalNumber>,
    kept_losses: HashMap<WorkflowId, u32>,
    queued: HashSet<(WorkflowId, OperationKey)>,
    withdrawn: HashSet<OperationKey>,
    is_woken_by_message: bool,
    has_lost_an_owner: bool,
    is_locked: bool,
}

impl Broken {
    pub(super) fn new(inner: Arc<dyn Backend>, fault: Fault) -> Self {
        Self {
            inner,
            fault,
            memory: Mutex::default(),
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap()
    }

    fn reversed<T>(&self, fault: Fault, mut all: Vec<T>) -> Vec<T> {
        if self.has(fault) {
            all.reverse();
        }
        all
    }

    fn spoil_id(&self, id: &WorkflowId) -> WorkflowId {
        let spoiled: String = match self.fault {
            Fault::FoldsCase => id.as_str().to_lowercase(),
            Fault::CutsIds => id.as_str().chars().take(254).collect(),
            Fault::DropsOddCharacters => plain(id.as_str()),
            _ => return id.clone(),
        };
        WorkflowId::from_stored(spoiled)
    }

    fn spoil_record(&self, record: &mut Vec<u8>) {
        match self.fault {
            Fault::StopsAtNul => {
                let end = record.iter().position(|byte| *byte == 0);
                record.truncate(end.unwrap_or(record.len()));
            }
            Fault::CutsLargeRecords => record.truncate(65_535),
            _ => {}
        }
    }

    fn spoil_run(&self, run: &mut StartRun) {
        run.identity.workflow_id = self.spoil_id(&run.identity.workflow_id);
        self.spoil_record(&mut run.record);
        match self.fault {
            Fault::LosesTags => run.tags.clear(),
            Fault::SortsTags => run.tags.sort(),
            Fault::KeepsOneTagOfEachName => run.tags.dedup_by(|one, other| one.0 == other.0),
            Fault::DropsOddCharacters => {
                for (_, value) in &mut run.tags {
                    *value = plain(value);
                }
            }
            _ => {}
        }
    }

    fn spoil_row(&self, row: &mut RunRecord) {
        match self.fault {
            Fault::CountsNoLosses => row.lost = 0,
            Fault::NeverForgetsLosses => {
                let mut memory = self.memory();
                memory.lost = memory.lost.max(row.lost);
                row.lost = memory.lost;
            }
            Fault::ForgetsLossesInDrains
                if self.memory().drained.contains(&row.identity.workflow_id) =>
            {
                row.lost = 0
            }
            Fault::ReadsGoBack => {
                let read = self.memory().read.get(&row.identity.workflow_id).copied();
                row.read = read.unwrap_or(row.read);
            }
            Fault::KeepsLossesOfReleasedRuns => {
                let kept = self
                    .memory()
                    .kept_losses
                    .get(&row.identity.workflow_id)
                    .copied();
                row.lost = row.lost.max(kept.unwrap_or(0));
            }
            _ => {}
        }
    }

    /// Changes a turn before it is committed.
    async fn spoil(&self, turn: &mut TurnCommit) -> Result<()> {
        if let Some(turn) = &mut turn.turn {
            self.spoil_record(&mut turn.record);
        }
        let now = self.inner.clock();
        match self.fault {
            Fault::IgnoresTheEpoch => {
                if let Some(row) = self.inner.run(&turn.run).await? {
                    turn.epoch = row.epoch;
                }
            }
            Fault::IgnoresTheSegment => turn.segment = Segment::FIRST,
            Fault::ForgetsWrites => turn.write = new_write_id(),
            Fault::ParksOverUnread => {
                let row = self.inner.run(&turn.run).await?;
                let arrivals = row.map(|row| row.arrivals).unwrap_or_default();
                if let RunUpdate::Park { read, .. } | RunUpdate::End { read, .. } = &mut turn.update
                {
                    *read = arrivals;
                }
            }
            Fault::ForgetsData => turn.data.clear(),
            Fault::DropsOddCharacters => {
                for (key, _) in &mut turn.data {
                    *key = DataKey::from_stored(plain(key.as_str()));
                }
            }
            Fault::KeepsRemovedData => turn.data.retain(|(_, value)| value.is_some()),
            Fault::SharesData => {
                for (key, value) in &turn.data {
                    if let Some(value) = value {
                        self.memory().data.insert(key.clone(), value.clone());
                    }
                }
            }
            Fault::DropsSubworkflows => turn.subworkflows.clear(),
            Fault::TakesOwnSubworkflowsForOthers => {
                for run in &mut turn.subworkflows {
                    run.fingerprint = *new_write_id().0.as_bytes();
                }
            }
            Fault::DropsMessages => turn.outbox.clear(),
            Fault::SendsTwice => {
                let mut again = turn.outbox.clone();
                for message in &mut again {
                    message.write = new_write_id();
                }
                turn.outbox.extend(again);
            }
            Fault::SendsBackwards => turn.outbox.reverse(),
            Fault::LosesQueuedAttempts => turn.enqueue.clear(),
            Fault::QueuesEverythingForNow => turn.enqueue.iter_mut().for_each(|one| one.due = None),
            Fault::IgnoresPriorities => turn.enqueue.iter_mut().for_each(|one| one.priority = 0),
            Fault::IgnoresWithdrawals => turn.withdraw.clear(),
            Fault::KeepsLossesOfReleasedRuns
                if matches!(
                    turn.update,
                    RunUpdate::Release { .. } | RunUpdate::Block { .. }
                ) =>
            {
                if let Some(row) = self.inner.run(&turn.run).await? {
                    let mut memory = self.memory();
                    memory.kept_losses.insert(turn.run.clone(), row.lost);
                }
            }
            _ => {}
        }
        self.spoil_effects(turn);
        self.spoil_update(turn, now);
        Ok(())
    }

    fn spoil_effects(&self, turn: &mut TurnCommit) {
        let run = turn.run.clone();
        match self.fault {
            Fault::IgnoresSubworkflowsOfOwnId => turn
                .subworkflows
                .retain(|kid| kid.identity.workflow_id != run),
            Fault::DropsMessagesToSelf => turn.outbox.retain(|message| message.to != run),
            Fault::QueuesAgain => {
                for attempt in &mut turn.enqueue {
                    let key = (run.clone(), attempt.operation.clone());
                    if !self.memory().queued.insert(key) {
                        attempt.attempt += 1_000;
                    }
                }
            }
            Fault::ForgetsPrioritiesOfTheDelayed => {
                let delayed = turn.enqueue.iter_mut().filter(|one| one.due.is_some());
                delayed.for_each(|one| one.priority = 0);
            }
            Fault::WithdrawsOneAttempt => {
                let operations = turn.withdraw.drain(..);
                self.memory().withdrawn.extend(operations);
            }
            Fault::WithdrawsForAllRuns => {
                let operations = turn.withdraw.iter().cloned();
                self.memory().withdrawn.extend(operations);
            }
            _ => {}
        }
    }

    /// Keeps seals in the place of the right backend, and lifts them at the wrong moments.
    fn spoil_seal(&self, turn: &mut TurnCommit) {
        let mut memory = self.memory();
        match &mut turn.update {
            RunUpdate::Drain { seal, .. } if *seal => {
                *seal = false;
                memory.sealed.insert(turn.run.clone());
            }
            RunUpdate::Drain { .. } if self.has(Fault::DrainsUnseal) => {
                memory.sealed.remove(&turn.run);
            }
            RunUpdate::Park { .. } | RunUpdate::End { .. } => {
                memory.sealed.remove(&turn.run);
            }
            _ => {}
        }
    }

    fn spoil_update(&self, turn: &mut TurnCommit, now: Timestamp) {
        let read = turn.update.read().unwrap_or_default();
        if self.has(Fault::DrainsUnseal) || self.has(Fault::LiftsSealsByParkAlone) {
            self.spoil_seal(turn);
        }
        match (self.fault, &mut turn.update) {
            (Fault::ReadsGoBack, RunUpdate::Drain { .. }) => {
                self.memory().read.insert(turn.run.clone(), read);
            }
            (Fault::WrapsFarTimes, RunUpdate::Park { wake_at, .. }) => {
                *wake_at = wake_at.map(|at| at.min(now.after(SECOND * 1_000_000_000)));
            }
            (Fault::NeverSeals, RunUpdate::Drain { seal, .. }) => *seal = false,
            (
                Fault::SealsForGood
                | Fault::DeliversNothingPastSeals
                | Fault::DropsOutcomesPastSeals,
                RunUpdate::Drain { seal: true, .. },
            ) => {
                self.memory().sealed.insert(turn.run.clone());
            }
            (Fault::ForgetsLossesInDrains, RunUpdate::Drain { .. }) => {
                self.memory().drained.insert(turn.run.clone());
            }
            (Fault::DrainsNothing, RunUpdate::Drain { read, .. }) => *read = ArrivalNumber(0),
            (Fault::DrainsEverything, RunUpdate::Drain { read, .. }) => *read = ArrivalNumber(2),
            (Fault::TouchesTheRowOfAnAppend, update @ RunUpdate::Append) => {
                *update = RunUpdate::Drain { read, seal: false };
            }
            (Fault::FiresEarly, RunUpdate::Park { wake_at, .. }) => {
                *wake_at = wake_at.map(|at| {
                    let second = i64::try_from(SECOND.as_micros()).unwrap();
                    Timestamp::from_micros(at.as_micros() - second)
                });
            }
            (Fault::FiresLate, RunUpdate::Park { wake_at, .. }) => {
                *wake_at = wake_at.map(|at| at.after(SECOND));
            }
            (Fault::ForgetsTimers, RunUpdate::Park { wake_at, .. }) => *wake_at = None,
            (Fault::WakesParkedRuns, RunUpdate::Park { wake_at, .. }) => {
                *wake_at = wake_at.or(Some(now));
            }
            (Fault::ReleasesForGood, update @ RunUpdate::Release { .. }) => {
                *update = RunUpdate::Park {
                    read: ArrivalNumber(u64::from(u32::MAX)),
                    wake_at: None,
                };
            }
            (Fault::BlocksNobody, update @ RunUpdate::Block { .. }) => {
                *update = RunUpdate::Release { read };
            }
            (Fault::NeverEnds, update @ RunUpdate::End { .. }) => {
                *update = RunUpdate::Park {
                    read,
                    wake_at: None,
                };
            }
            (Fault::EndsAsCompleted, RunUpdate::End { status, .. }) => *status = Status::Completed,
            _ => {}
        }
    }

    async fn commit_one(&self, lane: Lane, mut turn: TurnCommit) -> Result<Verdict> {
        self.spoil(&mut turn).await?;
        if self.has(Fault::KnowsOneLane) && lane.number > 0 {
            return Ok(Verdict::Lost);
        }
        if self.has(Fault::NeedsATurnToWriteARow) && turn.turn.is_none() {
            return Ok(Verdict::Committed);
        }
        let mut lane = lane;
        if self.has(Fault::IgnoresTheOwner)
            && let Some(owner) = self.inner.run(&turn.run).await?.and_then(|row| row.owner)
        {
            lane.worker = owner;
        }
        if self.has(Fault::WritesInTwoSteps) {
            let first = TurnCommit {
                update: RunUpdate::Append,
                data: Vec::new(),
                subworkflows: Vec::new(),
                enqueue: Vec::new(),
                outbox: Vec::new(),
                ..turn.clone()
            };
            self.inner.commit(lane, vec![first]).await?;
            tokio::task::yield_now().await;
        }
        let verdict = self.inner.commit(lane, vec![turn.clone()]).await?.remove(0);
        match (self.fault, &verdict) {
            (Fault::CommitsUnread, Verdict::Unread) => Ok(Verdict::Committed),
            (Fault::CommitsLost, Verdict::Lost) => Ok(Verdict::Committed),
            (Fault::WritesEffectsOfRefusedTurns, Verdict::Unread) => {
                self.inner.start(None, turn.subworkflows).await?;
                Ok(verdict)
            }
            (Fault::FillsGaps, Verdict::Lost) => {
                let request = HistoryRequest {
                    run: turn.run.clone(),
                    segment: None,
                    from: TurnNumber(0),
                    limit: PAGE_MAX,
                };
                let Ok(history) = self.inner.history(request).await else {
                    return Ok(verdict);
                };
                if let Some(turn) = &mut turn.turn {
                    turn.turn = TurnNumber(history.len() as u64);
                }
                Ok(self.inner.commit(lane, vec![turn]).await?.remove(0))
            }
            _ => Ok(verdict),
        }
    }

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

    fn spoil_serves(&self, serves: &Serves) -> Serves {
        let mut serves = serves.clone();
        match self.fault {
            Fault::IgnoresRoutes => {
                for name in ["order", "task:charge"].map(route) {
                    if !serves.routes.contains(&name) {
                        serves.routes.push(name);
                    }
                }
            }
            Fault::IgnoresTheBuild => serves.build = BuildId::from_stored("any"),
            Fault::BlocksForEveryBuild => serves.build = BuildId::from_stored("build-1"),
            _ => {}
        }
        serves
    }

    fn spoil_arrivals(&self, arrivals: Vec<Arrival>) -> Vec<Arrival> {
        let hidden = match self.fault {
            Fault::TellsNobodyOfLostAttempts => Some(ArrivalKind::AttemptLost),
            Fault::TellsNobodyOfRefusedSubworkflows => Some(ArrivalKind::SubworkflowClosed),
            _ => None,
        };
        let mut arrivals = self.reversed(Fault::ReversesInboxes, arrivals);
        arrivals.retain(|arrival| Some(arrival.body.kind) != hidden);
        arrivals
    }

    fn spoil_claims(&self, claimed: &mut Vec<QueuedAttempt>) {
        let mut memory = self.memory();
        let withdrawn = &memory.withdrawn;
        match self.fault {
            Fault::ClaimsTaskByTask => claimed.sort_by(|one, other| one.task.cmp(&other.task)),
            Fault::WithdrawsOneAttempt => {
                claimed.retain(|one| one.attempt > 1 || !withdrawn.contains(&one.operation));
            }
            Fault::WithdrawsForAllRuns => {
                claimed.retain(|one| !withdrawn.contains(&one.operation));
            }
            Fault::ReportsForAnyRun => memory.claimed.extend(claimed.iter().cloned()),
            _ => {}
        }
    }

    fn spoil_filter(&self, filter: &RunFilter) -> RunFilter {
        let mut filter = filter.clone();
        match self.fault {
            Fault::IgnoresStatuses => filter.statuses.clear(),
            Fault::MixesUpStatuses => {
                for status in &mut filter.statuses {
                    if *status == Status::Terminated {
                        *status = Status::Cancelled;
                    }
                }
            }
            Fault::IgnoresTypesAndKinds => {
                filter.workflow_type = None;
                filter.kind = None;
            }
            Fault::IgnoresTags => filter.tags.clear(),
            Fault::IgnoresAllTagsButOne => filter.tags.truncate(1),
            Fault::IgnoresFamilies => {
                filter.parent = None;
                filter.root = None;
            }
            Fault::ReadsPatterns => {
                let prefix = filter.id_prefix.as_mut();
                if let Some(prefix) = prefix
                    && let Some(end) = prefix.find(['%', '_'])
                {
                    prefix.truncate(end);
                }
            }
            _ => {}
        }
        filter
    }
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| !"'\"%".contains(*c)).collect()
}

fn is_unique<T: Ord>(names: &[T]) -> bool {
    names.iter().collect::<BTreeSet<_>>().len() == names.len()
}

struct Silence;

#[async_trait]
impl HintStream for Silence {
    async fn next(&mut self) -> Hint {
        std::future::pending().await
    }
}

#[async_trait]
impl State for Broken {
    async fn join(&self, request: JoinRequest) -> Result<()> {
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
        self.inner.take_over(request).await
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
        let mut started = self.inner.start(lane, runs).await?;
        match self.fault {
            Fault::StartsAgain => started.fill(Started::New),
            Fault::StartsOverSubworkflows => {
                for started in &mut started {
                    if matches!(started, Started::Exists(row) if row.identity.is_subworkflow()) {
                        *started = Started::New;
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
}

#[async_trait]
impl Events for Broken {
    async fn arrive(&self, mut arrivals: Vec<ArriveRequest>) -> Result<Vec<Arrived>> {
        let mut of_batch = HashSet::new();
        for request in &mut arrivals {
            request.run = self.spoil_id(&request.run);
            self.spoil_record(&mut request.body.content);
            match self.fault {
                Fault::ArrivesTwice => request.write = new_write_id(),
                Fault::ForgetsWritesWithinABatch if !of_batch.insert(request.write) => {
                    request.write = new_write_id();
                }
                Fault::TakesEverythingForASignal => request.body.kind = ArrivalKind::Signal,
                Fault::IsNeverFull => request.inbox_max = u64::MAX,
                Fault::CountsReadAsUnread => {
                    let row = self.inner.run(&request.run).await?;
                    let read = row.map(|row| row.read.0).unwrap_or_default();
                    request.inbox_max = request.inbox_max.saturating_sub(read);
                }
                Fault::MakesUnknownRuns => {
                    let run = crate::world::run_of(request.run.as_str());
                    self.inner.start(None, vec![run]).await?;
                }
                _ => {}
            }
        }
        match self.fault {
            Fault::DropsArrivals => {
                let accepted = Arrived::Accepted {
                    number: ArrivalNumber(1),
                    owner: None,
                    accepted_at: self.inner.clock(),
                };
                return Ok(vec![accepted; arrivals.len()]);
            }
            Fault::SealsForGood | Fault::DrainsUnseal | Fault::LiftsSealsByParkAlone => {
                let memory = self.memory();
                let is_sealed = |request: &ArriveRequest| memory.sealed.contains(&request.run);
                if arrivals.iter().any(is_sealed) {
                    return Ok(vec![Arrived::Sealed; arrivals.len()]);
                }
            }
            Fault::RemembersWritesOfAllRunsTogether => {
                let mut answers = Vec::new();
                for request in arrivals {
                    let write = request.write;
                    let known = self.memory().arrived.get(&write).cloned();
                    let answer = match known {
                        Some(known) => known,
                        None => self.inner.arrive(vec![request]).await?.remove(0),
                    };
                    self.memory().arrived.insert(write, answer.clone());
                    answers.push(answer);
                }
                return Ok(answers);
            }
            _ => {}
        }
        let mut arrived = self.inner.arrive(arrivals).await?;
        for arrived in &mut arrived {
            match (self.fault, &mut *arrived) {
                (Fault::ForgetsHowRunsEnded, Arrived::Finished(_)) => *arrived = Arrived::Unknown,
                (Fault::NamesNoOwner, Arrived::Accepted { owner, .. }) => *owner = None,
                _ => {}
            }
        }
        Ok(self.reversed(Fault::AnswersBackwards, arrived))
    }

    async fn inbox(
        &self,
        worker: WorkerId,
        mut runs: Vec<(WorkflowId, ArrivalNumber)>,
    ) -> Result<Vec<(WorkflowId, Vec<Arrival>)>> {
        match self.fault {
            Fault::ReadsEverythingAgain => {
                for (_, after) in &mut runs {
                    *after = ArrivalNumber(0);
                }
            }
            Fault::ShowsForeignInboxes => {
                let mut found = Vec::new();
                for (run, after) in runs {
                    let row = self.inner.run(&run).await?;
                    let owner = row.and_then(|row| row.owner).unwrap_or(worker);
                    found.extend(self.inner.inbox(owner, vec![(run, after)]).await?);
                }
                return Ok(found);
            }
            _ => {}
        }
        let mut found = self.inner.inbox(worker, runs).await?;
        let mut is_told = false;
        for (_, arrivals) in &mut found {
            *arrivals = self.spoil_arrivals(std::mem::take(arrivals));
            if self.has(Fault::TellsOneRunOfLostAttempts) {
                arrivals.retain(|one| !is_told || one.body.kind != ArrivalKind::AttemptLost);
                is_told |= !arrivals.is_empty();
            }
        }
        Ok(found)
    }

    async fn deliver(&self, limit: usize) -> Result<usize> {
        match self.fault {
            Fault::DeliversNothing => Ok(0),
            Fault::DeliversNothingPastSeals if !self.memory().sealed.is_empty() => Ok(0),
            Fault::DeliversWithoutWaking => {
                self.memory().is_woken_by_message = true;
                self.inner.deliver(limit).await
            }
            Fault::DeliversBeyondTheLimit => self.inner.deliver(PAGE_MAX).await,
            _ => self.inner.deliver(limit).await,
        }
    }

    fn hints(&self) -> Box<dyn HintStream> {
        if self.has(Fault::NeverHints) {
            return Box::new(Silence);
        }
        self.inner.hints()
    }
}

#[async_trait]
impl Timers for Broken {
    async fn due(&self, serves: &Serves) -> Result<Due> {
        let mut due = self.inner.due(&self.spoil_serves(serves)).await?;
        match self.fault {
            Fault::WakesNobody => due = Due::default(),
            Fault::DeliversWithoutWaking if self.memory().is_woken_by_message => {
                due = Due::default();
            }
            Fault::ForgetsNextTimes => due.next = None,
            Fault::CountsNamesTwice if !is_unique(&serves.routes) => due.now *= 2,
            Fault::CountsBeyondThePage if due.now == PAGE_MAX => due.now += 1,
            Fault::CountsOwnedRuns => {
                let filter = RunFilter {
                    statuses: vec![Status::Running],
                    ..RunFilter::default()
                };
                due.now += usize::try_from(self.inner.count(&filter).await?).unwrap();
            }
            _ => {}
        }
        Ok(due)
    }
}

#[async_trait]
impl Tasks for Broken {
    async fn claim(&self, mut request: ClaimRequest) -> Result<Vec<QueuedAttempt>> {
        match self.fault {
            Fault::IgnoresSlots => {
                for (_, slots) in &mut request.queues {
                    *slots = PAGE_MAX;
                }
            }
            Fault::ClaimsAnyTask => {
                for name in ["refund", "notify", "other"].map(task) {
                    if !request.tasks.contains(&name) {
                        request.tasks.push(name);
                    }
                }
            }
            _ => {}
        }
        let is_doubled = self.has(Fault::CountsNamesTwice) && !is_unique(&request.tasks);
        let mut claimed = self.inner.claim(request).await?;
        if is_doubled {
            claimed.extend(claimed.clone());
        }
        self.spoil_claims(&mut claimed);
        let claimed = self.reversed(Fault::ReversesClaims, claimed);
        if self.has(Fault::ClaimsTwice) {
            let mut memory = self.memory();
            memory.claimed.extend(claimed);
            return Ok(memory.claimed.clone());
        }
        Ok(claimed)
    }

    async fn report(&self, mut reports: Vec<AttemptReport>) -> Result<Vec<Reported>> {
        match self.fault {
            Fault::DropsOutcomes => {
                return Ok(vec![Reported::Accepted { owner: None }; reports.len()]);
            }
            Fault::DropsOutcomesPastSeals if !self.memory().sealed.is_empty() => {
                return Ok(vec![Reported::Accepted { owner: None }; reports.len()]);
            }
            Fault::DropsClaimsWithOwners if self.memory().has_lost_an_owner => {
                return Ok(vec![Reported::Stale; reports.len()]);
            }
            Fault::ReportsForAnyRun => {
                for report in &mut reports {
                    let memory = self.memory();
                    let of_operation = |one: &&QueuedAttempt| one.operation == report.operation;
                    if let Some(any) = memory.claimed.iter().find(of_operation) {
                        report.run = any.run.clone();
                    }
                }
            }
            Fault::ForgetsReports => {
                for report in &mut reports {
                    report.write = new_write_id();
                }
            }
            _ => {}
        }
        let mut reported = self.inner.report(reports).await?;
        if self.has(Fault::AcceptsStaleReports) {
            for reported in &mut reported {
                if *reported == Reported::Stale {
                    *reported = Reported::Accepted { owner: None };
                }
            }
        }
        Ok(self.reversed(Fault::AnswersBackwards, reported))
    }
}

#[async_trait]
impl Inspect for Broken {
    async fn run(&self, run: &WorkflowId) -> Result<Option<RunRecord>> {
        if self.has(Fault::LocksWhenAReadIsDropped) {
            if std::mem::replace(&mut self.memory().is_locked, true) {
                return Err(Error::new(Kind::Unavailable, "another reads"));
            }
            tokio::task::yield_now().await;
            self.memory().is_locked = false;
        }
        let mut row = self.inner.run(&self.spoil_id(run)).await?;
        if let Some(row) = &mut row {
            self.spoil_row(row);
        }
        Ok(row)
    }

    async fn states(&self, runs: &[WorkflowId]) -> Result<Vec<Option<RunState>>> {
        let mut states = self.inner.states(runs).await?;
        if self.has(Fault::HidesLastTurns) {
            for state in states.iter_mut().flatten() {
                state.last_turn = None;
            }
        }
        Ok(self.reversed(Fault::AnswersBackwards, states))
    }

    async fn list(&self, mut request: ListRequest) -> Result<Vec<RunRecord>> {
        request.filter = self.spoil_filter(&request.filter);
        match self.fault {
            Fault::TakesAnyPage => request.limit = request.limit.clamp(1, PAGE_MAX),
            Fault::ForgetsWhereThePageBegan => request.after = None,
            Fault::SkipsAfterUnknownIds => {
                if let Some(after) = &request.after
                    && self.inner.run(after).await?.is_none()
                {
                    return Ok(Vec::new());
                }
            }
            _ => {}
        }
        let mut listed = self.inner.list(request).await?;
        if self.has(Fault::ListsWithoutTags) {
            listed.iter_mut().for_each(|row| row.tags.clear());
        }
        if self.has(Fault::ListsByTime) {
            listed.sort_by_key(|row| std::cmp::Reverse(row.updated_at));
            listed.reverse();
        }
        Ok(self.reversed(Fault::ReversesPages, listed))
    }

    async fn count(&self, filter: &RunFilter) -> Result<u64> {
        if self.has(Fault::CountsAllRuns) {
            return self.inner.count(&RunFilter::default()).await;
        }
        self.inner.count(&self.spoil_filter(filter)).await
    }

    async fn history(&self, mut request: HistoryRequest) -> Result<Vec<StoredTurn>> {
        request.run = self.spoil_id(&request.run);
        match self.fault {
            Fault::TakesAnyPage => request.limit = request.limit.clamp(1, PAGE_MAX),
            Fault::ForgetsWhereThePageBegan => request.from = TurnNumber(0),
            Fault::ShowsAnySegment => request.segment = None,
            _ => {}
        }
        match self.inner.history(request).await {
            Err(error) if self.has(Fault::FindsEverything) && error.kind() == Kind::NotFound => {
                Ok(Vec::new())
            }
            found => Ok(self.reversed(Fault::ReversesPages, found?)),
        }
    }

    async fn data(&self, run: &WorkflowId, key: &DataKey) -> Result<Option<Payload>> {
        if self.has(Fault::SharesData) {
            return Ok(self.memory().data.get(key).cloned());
        }
        self.inner.data(run, key).await
    }

    async fn all_data(&self, run: &WorkflowId) -> Result<Vec<(DataKey, Payload)>> {
        let found = self.inner.all_data(run).await?;
        Ok(self.reversed(Fault::ReversesPages, found))
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        let found = self.inner.workers().await?;
        Ok(self.reversed(Fault::ReversesPages, found))
    }

    async fn queues(&self) -> Result<Vec<QueueRecord>> {
        let found = self.inner.queues().await?;
        Ok(self.reversed(Fault::ReversesPages, found))
    }
}

impl Backend for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn store(&self) -> StoreInfo {
        self.inner.store()
    }

    fn clock(&self) -> Timestamp {
        if self.has(Fault::RunsAhead) {
            return self.inner.clock().after(SECOND);
        }
        self.inner.clock()
    }
}
