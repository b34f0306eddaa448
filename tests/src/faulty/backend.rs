//! The contract, with each method passed on through the lot that it drew.

use async_trait::async_trait;
use longhaul_core::backend::{
    AcquireRequest, AcquiredRun, Arrival, ArriveRequest, Arrived, AttemptReport, Backend, Beat,
    BeatRequest, ClaimRequest, Due, Events, HintStream, HistoryRequest, Inspect, JoinRequest, Lane,
    ListRequest, QueueRecord, QueuedAttempt, Reported, Result, RunFilter, RunRecord, RunState,
    Serves, StartRun, Started, State, StoreInfo, TakeOverRequest, TakenOver, Tasks, Timers,
    Transactions, TurnCommit, Verdict, WorkerRecord,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::history::StoredTurn;
use longhaul_core::id::{ArrivalNumber, DataKey, Epoch, WorkerId, WorkflowId};
use longhaul_core::payload::Payload;

use super::{Faulty, Operation};

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl State for Faulty {
    async fn join(&self, request: JoinRequest) -> Result<()> {
        let call = || self.inner.join(request.clone());
        self.call(Operation::Join, call).await
    }

    async fn beat(&self, request: BeatRequest) -> Result<Beat> {
        let call = || self.inner.beat(request.clone());
        self.call(Operation::Beat, call).await
    }

    async fn leave(&self, worker: WorkerId) -> Result<()> {
        let call = || self.inner.leave(worker);
        self.call(Operation::Leave, call).await
    }

    async fn take_over(&self, request: TakeOverRequest) -> Result<TakenOver> {
        let call = || self.inner.take_over(request.clone());
        self.call(Operation::TakeOver, call).await
    }

    async fn start(&self, lane: Option<Lane>, runs: Vec<StartRun>) -> Result<Vec<Started>> {
        let call = || self.inner.start(lane, runs.clone());
        self.call(Operation::Start, call).await
    }

    async fn acquire(&self, request: AcquireRequest) -> Result<Vec<AcquiredRun>> {
        let call = || self.inner.acquire(request.clone());
        self.call(Operation::Acquire, call).await
    }

    async fn reload(
        &self,
        worker: WorkerId,
        run: &WorkflowId,
        epoch: Epoch,
    ) -> Result<Option<AcquiredRun>> {
        let call = || self.inner.reload(worker, run, epoch);
        self.call(Operation::Reload, call).await
    }

    async fn owned(&self, worker: WorkerId) -> Result<Vec<(WorkflowId, Epoch)>> {
        let call = || self.inner.owned(worker);
        self.call(Operation::Owned, call).await
    }

    async fn commit(&self, lane: Lane, turns: Vec<TurnCommit>) -> Result<Vec<Verdict>> {
        let call = || self.inner.commit(lane, turns.clone());
        self.call(Operation::Commit, call).await
    }

    async fn edit(&self, turns: Vec<TurnCommit>) -> Result<Vec<Verdict>> {
        let call = || self.inner.edit(turns.clone());
        self.call(Operation::Edit, call).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Events for Faulty {
    async fn arrive(&self, arrivals: Vec<ArriveRequest>) -> Result<Vec<Arrived>> {
        let call = || self.inner.arrive(arrivals.clone());
        self.call(Operation::Arrive, call).await
    }

    async fn inbox(
        &self,
        worker: WorkerId,
        runs: Vec<(WorkflowId, ArrivalNumber)>,
    ) -> Result<Vec<(WorkflowId, Vec<Arrival>)>> {
        let call = || self.inner.inbox(worker, runs.clone());
        self.call(Operation::Inbox, call).await
    }

    async fn deliver(&self, limit: usize) -> Result<usize> {
        let call = || self.inner.deliver(limit);
        self.call(Operation::Deliver, call).await
    }

    fn hints(&self) -> Box<dyn HintStream> {
        self.inner.hints()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Timers for Faulty {
    async fn due(&self, serves: &Serves) -> Result<Due> {
        let call = || self.inner.due(serves);
        self.call(Operation::Due, call).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Tasks for Faulty {
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<QueuedAttempt>> {
        let call = || self.inner.claim(request.clone());
        self.call(Operation::Claim, call).await
    }

    async fn claimed(&self, worker: WorkerId) -> Result<Vec<QueuedAttempt>> {
        let call = || self.inner.claimed(worker);
        self.call(Operation::Claimed, call).await
    }

    async fn report(&self, reports: Vec<AttemptReport>) -> Result<Vec<Reported>> {
        let call = || self.inner.report(reports.clone());
        self.call(Operation::Report, call).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Inspect for Faulty {
    async fn run(&self, run: &WorkflowId) -> Result<Option<RunRecord>> {
        let call = || self.inner.run(run);
        self.call(Operation::Run, call).await
    }

    async fn states(&self, runs: &[WorkflowId]) -> Result<Vec<Option<RunState>>> {
        let call = || self.inner.states(runs);
        self.call(Operation::States, call).await
    }

    async fn list(&self, request: ListRequest) -> Result<Vec<RunRecord>> {
        let call = || self.inner.list(request.clone());
        self.call(Operation::List, call).await
    }

    async fn count(&self, filter: &RunFilter) -> Result<u64> {
        let call = || self.inner.count(filter);
        self.call(Operation::Count, call).await
    }

    async fn history(&self, request: HistoryRequest) -> Result<Vec<StoredTurn>> {
        let call = || self.inner.history(request.clone());
        self.call(Operation::History, call).await
    }

    async fn data(&self, run: &WorkflowId, key: &DataKey) -> Result<Option<Payload>> {
        let call = || self.inner.data(run, key);
        self.call(Operation::Data, call).await
    }

    async fn all_data(&self, run: &WorkflowId) -> Result<Vec<(DataKey, Payload)>> {
        let call = || self.inner.all_data(run);
        self.call(Operation::AllData, call).await
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        let call = || self.inner.workers();
        self.call(Operation::Workers, call).await
    }

    async fn queues(&self) -> Result<Vec<QueueRecord>> {
        let call = || self.inner.queues();
        self.call(Operation::Queues, call).await
    }
}

#[deny(clippy::missing_trait_methods)]
impl Backend for Faulty {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn store(&self) -> StoreInfo {
        self.inner.store()
    }

    fn clock(&self) -> Timestamp {
        self.inner.clock()
    }

    fn transactions(&self) -> Option<&dyn Transactions> {
        self.inner.transactions()?;
        Some(self)
    }
}
