//! The contract, with each method asked until it is answered.

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

use super::Insistent;

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl State for Insistent {
    async fn join(&self, request: JoinRequest) -> Result<()> {
        let call = || self.asked.join(request.clone());
        Self::ask(call).await
    }

    async fn beat(&self, request: BeatRequest) -> Result<Beat> {
        let call = || self.asked.beat(request.clone());
        Self::ask(call).await
    }

    async fn leave(&self, worker: WorkerId) -> Result<()> {
        let call = || self.asked.leave(worker);
        Self::ask(call).await
    }

    async fn take_over(&self, request: TakeOverRequest) -> Result<TakenOver> {
        let call = || self.asked.take_over(request.clone());
        Self::ask(call).await
    }

    async fn start(&self, lane: Option<Lane>, runs: Vec<StartRun>) -> Result<Vec<Started>> {
        self.start_new(lane, runs).await
    }

    async fn acquire(&self, request: AcquireRequest) -> Result<Vec<AcquiredRun>> {
        self.acquire_all(request).await
    }

    async fn reload(
        &self,
        worker: WorkerId,
        run: &WorkflowId,
        epoch: Epoch,
    ) -> Result<Option<AcquiredRun>> {
        let call = || self.asked.reload(worker, run, epoch);
        Self::ask(call).await
    }

    async fn owned(&self, worker: WorkerId) -> Result<Vec<(WorkflowId, Epoch)>> {
        let call = || self.asked.owned(worker);
        Self::ask(call).await
    }

    async fn commit(&self, lane: Lane, turns: Vec<TurnCommit>) -> Result<Vec<Verdict>> {
        let call = || self.asked.commit(lane, turns.clone());
        Self::ask(call).await
    }

    async fn edit(&self, turns: Vec<TurnCommit>) -> Result<Vec<Verdict>> {
        let call = || self.asked.edit(turns.clone());
        Self::ask(call).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Events for Insistent {
    async fn arrive(&self, arrivals: Vec<ArriveRequest>) -> Result<Vec<Arrived>> {
        let call = || self.asked.arrive(arrivals.clone());
        Self::ask(call).await
    }

    async fn inbox(
        &self,
        worker: WorkerId,
        runs: Vec<(WorkflowId, ArrivalNumber)>,
    ) -> Result<Vec<(WorkflowId, Vec<Arrival>)>> {
        let call = || self.asked.inbox(worker, runs.clone());
        Self::ask(call).await
    }

    async fn deliver(&self, limit: usize) -> Result<usize> {
        let call = || self.asked.deliver(limit);
        Self::ask(call).await
    }

    fn hints(&self) -> Box<dyn HintStream> {
        self.asked.hints()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Timers for Insistent {
    async fn due(&self, serves: &Serves) -> Result<Due> {
        let call = || self.asked.due(serves);
        Self::ask(call).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Tasks for Insistent {
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<QueuedAttempt>> {
        self.claim_all(request).await
    }

    async fn claimed(&self, worker: WorkerId) -> Result<Vec<QueuedAttempt>> {
        let call = || self.asked.claimed(worker);
        Self::ask(call).await
    }

    async fn report(&self, reports: Vec<AttemptReport>) -> Result<Vec<Reported>> {
        let call = || self.asked.report(reports.clone());
        Self::ask(call).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Inspect for Insistent {
    async fn run(&self, run: &WorkflowId) -> Result<Option<RunRecord>> {
        let call = || self.asked.run(run);
        Self::ask(call).await
    }

    async fn states(&self, runs: &[WorkflowId]) -> Result<Vec<Option<RunState>>> {
        let call = || self.asked.states(runs);
        Self::ask(call).await
    }

    async fn list(&self, request: ListRequest) -> Result<Vec<RunRecord>> {
        let call = || self.asked.list(request.clone());
        Self::ask(call).await
    }

    async fn count(&self, filter: &RunFilter) -> Result<u64> {
        let call = || self.asked.count(filter);
        Self::ask(call).await
    }

    async fn history(&self, request: HistoryRequest) -> Result<Vec<StoredTurn>> {
        let call = || self.asked.history(request.clone());
        Self::ask(call).await
    }

    async fn data(&self, run: &WorkflowId, key: &DataKey) -> Result<Option<Payload>> {
        let call = || self.asked.data(run, key);
        Self::ask(call).await
    }

    async fn all_data(&self, run: &WorkflowId) -> Result<Vec<(DataKey, Payload)>> {
        let call = || self.asked.all_data(run);
        Self::ask(call).await
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        let call = || self.asked.workers();
        Self::ask(call).await
    }

    async fn queues(&self) -> Result<Vec<QueueRecord>> {
        let call = || self.asked.queues();
        Self::ask(call).await
    }
}

#[deny(clippy::missing_trait_methods)]
impl Backend for Insistent {
    fn name(&self) -> &'static str {
        self.asked.name()
    }

    fn store(&self) -> StoreInfo {
        self.asked.store()
    }

    fn clock(&self) -> Timestamp {
        self.asked.clock()
    }

    fn transactions(&self) -> Option<&dyn Transactions> {
        self.asked.transactions()
    }
}
