//! A store that refuses, and loses answers after it has done what it was asked: nothing is lost, nothing done twice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use longhaul::backend::{
    AcquireRequest, AcquiredRun, Arrival, ArriveRequest, Arrived, AttemptReport, Backend, Beat,
    BeatRequest, ClaimRequest, Due, Error as BackendError, Events, HintStream, HistoryRequest,
    Inspect, JoinRequest, Kind, Lane, ListRequest, QueueRecord, QueuedAttempt, Reported,
    Result as Answered, RunFilter, RunRecord, RunState, Serves, StartRun, Started, State,
    StoreInfo, TakeOverRequest, TakenOver, Tasks, Timers, TurnCommit, Verdict, WorkerRecord,
};
use longhaul::history::StoredTurn;
use longhaul::id::{ArrivalNumber, DataKey, Epoch, WorkerId};
use longhaul::payload::Payload;
use longhaul::prelude::*;
use longhaul_backend_memory::{MemoryBackend, MemoryConfig};

use crate::world::{quick, result};

/// Passes everything on, and fails now and then.
#[derive(Debug)]
struct Unreliable {
    inner: MemoryBackend,
    draw: AtomicU64,
    is_faulty: std::sync::atomic::AtomicBool,
    refused: AtomicU64,
    lost: AtomicU64,
}

impl Unreliable {
    fn new(seed: u64) -> Self {
        Self {
            inner: MemoryBackend::open(MemoryConfig::new()),
            draw: AtomicU64::new(seed),
            is_faulty: true.into(),
            refused: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    fn one_in(&self, chances: u64) -> bool {
        let step = |word: u64| {
            Some(
                word.wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(99),
            )
        };
        let word = self
            .draw
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, step)
            .unwrap();
        self.is_faulty.load(Ordering::SeqCst) && (word >> 33).is_multiple_of(chances)
    }

    async fn ask<T>(&self, answer: impl Future<Output = Answered<T>>) -> Answered<T> {
        if self.one_in(5) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(BackendError::new(Kind::Unavailable, "injected refusal"));
        }
        let answer = answer.await?;
        if self.one_in(5) {
            self.lost.fetch_add(1, Ordering::SeqCst);
            return Err(BackendError::new(
                Kind::Unclear,
                "injected loss of the answer",
            ));
        }
        Ok(answer)
    }
}

#[async_trait]
impl State for Unreliable {
    async fn join(&self, request: JoinRequest) -> Answered<()> {
        self.inner.join(request).await
    }
    async fn beat(&self, request: BeatRequest) -> Answered<Beat> {
        self.ask(self.inner.beat(request)).await
    }
    async fn leave(&self, worker: WorkerId) -> Answered<()> {
        self.inner.leave(worker).await
    }
    async fn take_over(&self, request: TakeOverRequest) -> Answered<TakenOver> {
        self.inner.take_over(request).await
    }
    async fn start(&self, lane: Option<Lane>, runs: Vec<StartRun>) -> Answered<Vec<Started>> {
        self.ask(self.inner.start(lane, runs)).await
    }
    async fn acquire(&self, request: AcquireRequest) -> Answered<Vec<AcquiredRun>> {
        self.ask(self.inner.acquire(request)).await
    }
    async fn reload(
        &self,
        worker: WorkerId,
        run: &WorkflowId,
        epoch: Epoch,
    ) -> Answered<Option<AcquiredRun>> {
        self.ask(self.inner.reload(worker, run, epoch)).await
    }
    async fn owned(&self, worker: WorkerId) -> Answered<Vec<(WorkflowId, Epoch)>> {
        self.ask(self.inner.owned(worker)).await
    }
    async fn commit(&self, lane: Lane, turns: Vec<TurnCommit>) -> Answered<Vec<Verdict>> {
        self.ask(self.inner.commit(lane, turns)).await
    }
    async fn edit(&self, turns: Vec<TurnCommit>) -> Answered<Vec<Verdict>> {
        self.ask(self.inner.edit(turns)).await
    }
}

#[async_trait]
impl Events for Unreliable {
    async fn arrive(&self, arrivals: Vec<ArriveRequest>) -> Answered<Vec<Arrived>> {
        self.ask(self.inner.arrive(arrivals)).await
    }
    async fn inbox(
        &self,
        worker: WorkerId,
        runs: Vec<(WorkflowId, ArrivalNumber)>,
    ) -> Answered<Vec<(WorkflowId, Vec<Arrival>)>> {
        self.ask(self.inner.inbox(worker, runs)).await
    }
    async fn deliver(&self, limit: usize) -> Answered<usize> {
        self.ask(self.inner.deliver(limit)).await
    }
    fn hints(&self) -> Box<dyn HintStream> {
        self.inner.hints()
    }
}

#[async_trait]
impl Timers for Unreliable {
    async fn due(&self, serves: &Serves) -> Answered<Due> {
        self.ask(self.inner.due(serves)).await
    }
}

#[async_trait]
impl Tasks for Unreliable {
    async fn claim(&self, request: ClaimRequest) -> Answered<Vec<QueuedAttempt>> {
        self.inner.claim(request).await
    }
    async fn claimed(&self, worker: WorkerId) -> Answered<Vec<QueuedAttempt>> {
        self.inner.claimed(worker).await
    }

    async fn report(&self, reports: Vec<AttemptReport>) -> Answered<Vec<Reported>> {
        self.ask(self.inner.report(reports)).await
    }
}

#[async_trait]
impl Inspect for Unreliable {
    async fn run(&self, run: &WorkflowId) -> Answered<Option<RunRecord>> {
        self.inner.run(run).await
    }
    async fn states(&self, runs: &[WorkflowId]) -> Answered<Vec<Option<RunState>>> {
        self.inner.states(runs).await
    }
    async fn list(&self, request: ListRequest) -> Answered<Vec<RunRecord>> {
        self.inner.list(request).await
    }
    async fn count(&self, filter: &RunFilter) -> Answered<u64> {
        self.inner.count(filter).await
    }
    async fn history(&self, request: HistoryRequest) -> Answered<Vec<StoredTurn>> {
        self.inner.history(request).await
    }
    async fn data(&self, run: &WorkflowId, key: &DataKey) -> Answered<Option<Payload>> {
        self.inner.data(run, key).await
    }
    async fn all_data(&self, run: &WorkflowId) -> Answered<Vec<(DataKey, Payload)>> {
        self.inner.all_data(run).await
    }
    async fn workers(&self) -> Answered<Vec<WorkerRecord>> {
        self.inner.workers().await
    }
    async fn queues(&self) -> Answered<Vec<QueueRecord>> {
        self.inner.queues().await
    }
}

impl Backend for Unreliable {
    fn name(&self) -> &'static str {
        "unreliable"
    }
    fn store(&self) -> StoreInfo {
        Backend::store(&self.inner)
    }
    fn clock(&self) -> Timestamp {
        Backend::clock(&self.inner)
    }
}

const WORD: Signal<u32> = Signal::new("word");

/// Counts how often each effect was done.
static DONE: Mutex<BTreeMap<(u64, String, u32), u32>> = Mutex::new(BTreeMap::new());

#[task]
async fn effect(ctx: TaskContext, seed: u64, step: u32) -> u32 {
    let key = (seed, ctx.identity().workflow_id.to_string(), step);
    *DONE.lock().unwrap().entry(key).or_default() += 1;
    step
}

#[workflow]
async fn below(ctx: Context, seed: u64) -> Result<u32> {
    ctx.run(effect(seed, 100)).await
}

#[workflow]
async fn busy(ctx: Context, seed: u64) -> Result<u32> {
    let mut sum = ctx.run(effect(seed, 1)).await?;
    sum += ctx
        .join_all((2..6).map(|step| effect(seed, step)))
        .await?
        .into_iter()
        .sum::<u32>();
    for _ in 0..3 {
        sum += ctx.receive(WORD).await?;
    }
    ctx.sleep(millis(5)).await?;
    sum += ctx.run(below(seed)).await?;
    Ok(sum + ctx.run(effect(seed, 6)).await?)
}

/// P1, P6, P7 where every second answer of the store is wrong or missing: without crashes each effect is done once.
async fn survive(seed: u64) {
    const RUNS: usize = 12;
    let store = Arc::new(Unreliable::new(seed));
    let client = Client::of(Arc::clone(&store) as Arc<dyn Backend>);
    let worker = quick(&client)
        .lease(Duration::from_secs(20))
        .start()
        .await
        .unwrap();
    let mut runs = Vec::new();
    for number in 0..RUNS {
        let call = busy(seed).id(format!("busy-{number}"));
        runs.push(started(&client, call).await);
    }
    for word in [1, 10, 100] {
        for run in &runs {
            while let Err(error) = run.signal(WORD, word).await {
                assert_eq!(error.kind(), ErrorKind::Unavailable);
            }
        }
    }
    for run in &runs {
        assert_eq!(result(run).await.unwrap(), 15 + 111 + 100 + 6);
    }
    store.is_faulty.store(false, Ordering::SeqCst);
    worker.shutdown().await.unwrap();
    let done = DONE.lock().unwrap();
    let ours = done.iter().filter(|((of, ..), _)| *of == seed);
    let counts: Vec<u32> = ours.map(|(_, count)| *count).collect();
    assert_eq!(counts, vec![1; RUNS * 7]);
    let injected = (
        store.refused.load(Ordering::SeqCst),
        store.lost.load(Ordering::SeqCst),
    );
    println!(
        "seed {seed}: {} requests refused, {} answers lost",
        injected.0, injected.1
    );
    assert!(injected.0 > 5 && injected.1 > 5);
}

async fn started(client: &Client, call: longhaul::call::Call<u32>) -> Handle<u32> {
    loop {
        match client.start(call.clone()).await {
            Ok(run) => return run,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_lose_nothing_and_repeat_nothing() {
    for seed in 1..=3 {
        survive(seed).await;
    }
}
