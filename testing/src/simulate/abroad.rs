//! A real store under a simulation: each request is answered in no virtual time.
//!
//! Invariants: the simulation stands still until a request is answered, so it sees the store as it sees the one in the
//! process: a request at a time, each at once. The store's clock is moved to virtual time before each request.

use std::fmt;
use std::sync::{Arc, mpsc};

use async_trait::async_trait;
use longhaul_core::backend::{
    AcquireRequest, AcquiredRun, Arrival, ArriveRequest, Arrived, AttemptReport, Backend, Beat,
    BeatRequest, ClaimRequest, Due, Error, Events, Hint, HintStream, HistoryRequest, Inspect,
    JoinRequest, Kind, Lane, ListRequest, QueueRecord, QueuedAttempt, Reported, Result, RunFilter,
    RunRecord, RunState, Serves, StartRun, Started, State, StoreInfo, TakeOverRequest, TakenOver,
    Tasks, Timers, TurnCommit, Verdict, WorkerRecord,
};
use longhaul_core::clock::{BackendClock, BoxFuture, Timestamp};
use longhaul_core::history::StoredTurn;
use longhaul_core::id::{ArrivalNumber, DataKey, Epoch, WorkerId, WorkflowId};
use longhaul_core::payload::Payload;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Is a store that lives on another runtime, in real time.
pub(super) struct Abroad {
    inner: Arc<dyn Backend>,
    runtime: Handle,
    simulated: BackendClock,
    clock: BackendClock,
    changes: watch::Sender<u64>,
}

impl Abroad {
    /// Takes a store whose clock is `clock`, a manual one, and lets it follow `simulated`.
    pub(super) fn new(
        inner: Arc<dyn Backend>,
        runtime: Handle,
        simulated: BackendClock,
        clock: BackendClock,
    ) -> Self {
        Self {
            inner,
            runtime,
            simulated,
            clock,
            changes: watch::Sender::new(0),
        }
    }

    /// Waits for an answer, and with it all of the simulation.
    fn wait<T: Send + 'static>(
        &self,
        ask: impl FnOnce(Arc<dyn Backend>) -> BoxFuture<'static, Result<T>>,
    ) -> Result<T> {
        self.clock
            .advance(self.simulated.now().since(self.clock.now()));
        let (tell, told) = mpsc::channel();
        let asked = ask(Arc::clone(&self.inner));
        self.runtime
            .spawn(async move { drop(tell.send(asked.await)) });
        let gone = || Err(Error::new(Kind::Unavailable, "the store's runtime is gone"));
        told.recv().unwrap_or_else(|_| gone())
    }

    fn tell(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

/// Passes a request on, and waits for its answer.
macro_rules! pass {
    ($self:ident . $method:ident ( $($argument:ident),* )) => {
        $self.wait(move |store| Box::pin(async move { store.$method($($argument),*).await }))
    };
    (& $self:ident . $method:ident ( $($argument:ident),* )) => {{
        $(let $argument = $argument.to_owned();)*
        $self.wait(move |store| Box::pin(async move { store.$method($(&$argument),*).await }))
    }};
}

/// Passes a request on that may change something others care about.
macro_rules! pass_and_tell {
    ($self:ident . $method:ident ( $($argument:ident),* )) => {{
        let answer = pass!($self.$method($($argument),*));
        $self.tell();
        answer
    }};
}

#[async_trait]
impl State for Abroad {
    async fn join(&self, request: JoinRequest) -> Result<()> {
        pass!(self.join(request))
    }

    async fn beat(&self, request: BeatRequest) -> Result<Beat> {
        pass!(self.beat(request))
    }

    async fn leave(&self, worker: WorkerId) -> Result<()> {
        pass_and_tell!(self.leave(worker))
    }

    async fn take_over(&self, request: TakeOverRequest) -> Result<TakenOver> {
        pass_and_tell!(self.take_over(request))
    }

    async fn start(&self, lane: Option<Lane>, runs: Vec<StartRun>) -> Result<Vec<Started>> {
        pass_and_tell!(self.start(lane, runs))
    }

    async fn acquire(&self, request: AcquireRequest) -> Result<Vec<AcquiredRun>> {
        pass!(self.acquire(request))
    }

    async fn reload(
        &self,
        worker: WorkerId,
        run: &WorkflowId,
        epoch: Epoch,
    ) -> Result<Option<AcquiredRun>> {
        let run = run.clone();
        self.wait(move |store| Box::pin(async move { store.reload(worker, &run, epoch).await }))
    }

    async fn owned(&self, worker: WorkerId) -> Result<Vec<(WorkflowId, Epoch)>> {
        pass!(self.owned(worker))
    }

    async fn commit(&self, lane: Lane, turns: Vec<TurnCommit>) -> Result<Vec<Verdict>> {
        pass_and_tell!(self.commit(lane, turns))
    }

    async fn edit(&self, turns: Vec<TurnCommit>) -> Result<Vec<Verdict>> {
        pass_and_tell!(self.edit(turns))
    }
}

#[async_trait]
impl Events for Abroad {
    async fn arrive(&self, arrivals: Vec<ArriveRequest>) -> Result<Vec<Arrived>> {
        pass_and_tell!(self.arrive(arrivals))
    }

    async fn inbox(
        &self,
        worker: WorkerId,
        runs: Vec<(WorkflowId, ArrivalNumber)>,
    ) -> Result<Vec<(WorkflowId, Vec<Arrival>)>> {
        pass!(self.inbox(worker, runs))
    }

    async fn deliver(&self, limit: usize) -> Result<usize> {
        pass_and_tell!(self.deliver(limit))
    }

    fn hints(&self) -> Box<dyn HintStream> {
        Box::new(Changes(self.changes.subscribe()))
    }
}

/// Yields a hint for each request that may have changed something.
struct Changes(watch::Receiver<u64>);

#[async_trait]
impl HintStream for Changes {
    async fn next(&mut self) -> Hint {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        Hint::Changed
    }
}

#[async_trait]
impl Timers for Abroad {
    async fn due(&self, serves: &Serves) -> Result<Due> {
        pass!(&self.due(serves))
    }
}

#[async_trait]
impl Tasks for Abroad {
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<QueuedAttempt>> {
        pass!(self.claim(request))
    }

    async fn claimed(&self, worker: WorkerId) -> Result<Vec<QueuedAttempt>> {
        pass!(self.claimed(worker))
    }

    async fn report(&self, reports: Vec<AttemptReport>) -> Result<Vec<Reported>> {
        pass_and_tell!(self.report(reports))
    }
}

#[async_trait]
impl Inspect for Abroad {
    async fn run(&self, run: &WorkflowId) -> Result<Option<RunRecord>> {
        pass!(&self.run(run))
    }

    async fn states(&self, runs: &[WorkflowId]) -> Result<Vec<Option<RunState>>> {
        pass!(&self.states(runs))
    }

    async fn list(&self, request: ListRequest) -> Result<Vec<RunRecord>> {
        pass!(self.list(request))
    }

    async fn count(&self, filter: &RunFilter) -> Result<u64> {
        pass!(&self.count(filter))
    }

    async fn history(&self, request: HistoryRequest) -> Result<Vec<StoredTurn>> {
        pass!(self.history(request))
    }

    async fn data(&self, run: &WorkflowId, key: &DataKey) -> Result<Option<Payload>> {
        pass!(&self.data(run, key))
    }

    async fn all_data(&self, run: &WorkflowId) -> Result<Vec<(DataKey, Payload)>> {
        pass!(&self.all_data(run))
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        pass!(self.workers())
    }

    async fn queues(&self) -> Result<Vec<QueueRecord>> {
        pass!(self.queues())
    }
}

impl fmt::Debug for Abroad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Abroad").field(&self.inner).finish()
    }
}

impl Backend for Abroad {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn store(&self) -> StoreInfo {
        self.inner.store()
    }

    fn clock(&self) -> Timestamp {
        self.simulated.now()
    }
}
