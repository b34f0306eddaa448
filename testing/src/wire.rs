//! The way from one process to the store: slow, sometimes cut, and watched.
//!
//! Invariants: a request that was sent travels on by itself, so it may be applied after whoever sent it has crashed. The
//! store is told of in the order in which it applied. `clock` shows the time of the last answer plus what passed since,
//! as it would on a machine of its own, so it is never ahead.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use longhaul_core::backend::{
    AcquireRequest, AcquiredRun, Arrival, ArriveRequest, Arrived, AttemptReport, Backend, Beat,
    BeatRequest, ClaimRequest, Due, Error, Events, Hint, HintStream, HistoryRequest, Inspect,
    JoinRequest, Kind, Lane, ListRequest, QueueRecord, QueuedAttempt, Reported, Result, RunFilter,
    RunRecord, RunState, RunUpdate, Serves, StartRun, Started, State, StoreInfo, TakeOverRequest,
    TakenOver, Tasks, Timers, TurnCommit, Verdict, WorkerRecord,
};
use longhaul_core::clock::{BoxFuture, Timestamp};
use longhaul_core::history::StoredTurn;
use longhaul_core::id::{ArrivalNumber, DataKey, Epoch, WorkerId, WorkflowId};
use longhaul_core::payload::Payload;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::node::Node;

/// Says what happens to a request on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not applied, and the answer says so.
    Refused,
    /// It is applied; the answer is lost.
    AnswerLost,
    /// It is given up as unanswered, and applied this much later.
    AppliedLate(Duration),
    /// It is applied twice.
    Doubled,
}

/// Is what one request meets.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lot {
    pub(crate) before: Duration,
    pub(crate) after: Duration,
    pub(crate) fault: Option<Fault>,
}

/// Is what the store just applied, with its answer.
#[derive(Debug)]
pub(crate) enum Applied<'a> {
    Start(Option<Lane>, &'a [StartRun], &'a Result<Vec<Started>>),
    Acquire(Lane, &'a Result<Vec<AcquiredRun>>),
    /// Without a lane, of runs that nobody owned.
    Commit(Option<Lane>, &'a [TurnCommit], &'a Result<Vec<Verdict>>),
    TakeOver(&'a Result<TakenOver>),
    Leave(WorkerId),
    Arrive(&'a [ArriveRequest], &'a Result<Vec<Arrived>>),
    Claim(WorkerId, &'a Result<Vec<QueuedAttempt>>),
    Report(&'a Result<Vec<Reported>>),
    Deliver(&'a Result<usize>),
    Beat(&'a Result<Beat>),
    Read(&'static str),
}

/// Decides what requests meet, and is told what the store applied.
pub(crate) trait Path: Send + Sync {
    fn lot(&self, what: &'static str) -> Lot;
    fn loses_hint(&self) -> bool;
    fn applied(&self, at: Timestamp, what: &Applied<'_>);
    /// Returns how far off the clock is that a wrong engine would take timers from; zero in a right one.
    fn wrong_clock(&self) -> i64 {
        0
    }
    /// Tells whether a wrong store looks for unread arrivals first and writes later.
    fn checks_in_two_steps(&self) -> bool {
        false
    }
}

/// Reaches a store from one node.
pub(crate) struct Wire {
    far: Arc<Far>,
    node: Node,
    sample: Mutex<(Timestamp, Instant)>,
}

struct Far {
    store: Arc<dyn Backend>,
    path: Arc<dyn Path>,
}

impl Far {
    fn tell(&self, what: &Applied<'_>) {
        self.path.applied(self.store.clock(), what);
    }
}

impl Far {
    /// Commits as a wrong store would that looks for unread arrivals in a statement of its own.
    async fn commit_in_two_steps(
        &self,
        lane: Lane,
        mut turns: Vec<TurnCommit>,
    ) -> Result<Vec<Verdict>> {
        let mut are_read = Vec::new();
        for turn in &turns {
            let row = self.store.run(&turn.run).await?;
            let arrivals = row.map(|row| row.arrivals);
            are_read.push(turn.update.read() >= arrivals);
        }
        pass(Duration::from_millis(5)).await;
        for (turn, is_read) in turns.iter_mut().zip(are_read) {
            let row = self.store.run(&turn.run).await?;
            let arrivals = row.map(|row| row.arrivals).unwrap_or_default();
            if let RunUpdate::Park { read, .. } | RunUpdate::End { read, .. } = &mut turn.update
                && is_read
            {
                *read = arrivals;
            }
        }
        let answer = self.store.commit(lane, turns.clone()).await;
        self.tell(&Applied::Commit(Some(lane), &turns, &answer));
        answer
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

impl Wire {
    pub(crate) fn new(store: Arc<dyn Backend>, path: Arc<dyn Path>, node: Node) -> Self {
        let sample = Mutex::new((store.clock(), Instant::now()));
        Self {
            far: Arc::new(Far { store, path }),
            node,
            sample,
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        what: &'static str,
        apply: impl Fn(Arc<Far>) -> BoxFuture<'static, Result<T>> + Send + 'static,
    ) -> Result<T> {
        let lot = self.far.path.lot(what);
        let far = Arc::clone(&self.far);
        let (reply, answer) = oneshot::channel();
        tokio::spawn(travel(far, lot, what, apply, reply));
        match answer.await {
            Ok((answer, at)) => {
                if let Some(at) = at {
                    let mut sample = self.sample.lock().unwrap_or_else(PoisonError::into_inner);
                    *sample = (at, Instant::now());
                }
                answer
            }
            Err(_) => Err(unclear(what)),
        }
    }
}

type Answer<T> = (Result<T>, Option<Timestamp>);

async fn travel<T>(
    far: Arc<Far>,
    lot: Lot,
    what: &'static str,
    apply: impl Fn(Arc<Far>) -> BoxFuture<'static, Result<T>>,
    reply: oneshot::Sender<Answer<T>>,
) {
    pass(lot.before).await;
    match lot.fault {
        Some(Fault::Refused) => {
            let refused = Error::new(Kind::Unavailable, format!("{what}: the store is away"));
            drop(reply.send((Err(refused), None)));
            return;
        }
        Some(Fault::AppliedLate(later)) => {
            drop(reply.send((Err(unclear(what)), None)));
            pass(later).await;
            drop(apply(far).await);
            return;
        }
        Some(Fault::Doubled) => drop(apply(Arc::clone(&far)).await),
        Some(Fault::AnswerLost) | None => {}
    }
    let answer = apply(Arc::clone(&far)).await;
    let at = far.store.clock();
    pass(lot.after).await;
    let answer = match lot.fault {
        Some(Fault::AnswerLost) => (Err(unclear(what)), None),
        _ => (answer, Some(at)),
    };
    drop(reply.send(answer));
}

fn unclear(what: &str) -> Error {
    Error::new(Kind::Unclear, format!("{what}: the answer was lost"))
}

async fn pass(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

impl Backend for Wire {
    fn name(&self) -> &'static str {
        self.far.store.name()
    }

    fn store(&self) -> StoreInfo {
        self.far.store.store()
    }

    fn clock(&self) -> Timestamp {
        let (at, since) = *self.sample.lock().unwrap_or_else(PoisonError::into_inner);
        let now = at.after(self.node.on_its_clock(since.elapsed()));
        Timestamp::from_micros(now.as_micros() + self.far.path.wrong_clock())
    }
}

#[async_trait]
impl State for Wire {
    async fn join(&self, request: JoinRequest) -> Result<()> {
        self.ask("join", move |far| {
            let request = request.clone();
            Box::pin(async move { far.store.join(request).await })
        })
        .await
    }

    async fn beat(&self, request: BeatRequest) -> Result<Beat> {
        self.ask("beat", move |far| {
            let request = request.clone();
            Box::pin(async move {
                let answer = far.store.beat(request).await;
                far.tell(&Applied::Beat(&answer));
                answer
            })
        })
        .await
    }

    async fn leave(&self, worker: WorkerId) -> Result<()> {
        self.ask("leave", move |far| {
            Box::pin(async move {
                let answer = far.store.leave(worker).await;
                far.tell(&Applied::Leave(worker));
                answer
            })
        })
        .await
    }

    async fn take_over(&self, request: TakeOverRequest) -> Result<TakenOver> {
        self.ask("take_over", move |far| {
            let request = request.clone();
            Box::pin(async move {
                let answer = far.store.take_over(request).await;
                far.tell(&Applied::TakeOver(&answer));
                answer
            })
        })
        .await
    }

    async fn start(&self, lane: Option<Lane>, runs: Vec<StartRun>) -> Result<Vec<Started>> {
        self.ask("start", move |far| {
            let runs = runs.clone();
            Box::pin(async move {
                let answer = far.store.start(lane, runs.clone()).await;
                far.tell(&Applied::Start(lane, &runs, &answer));
                answer
            })
        })
        .await
    }

    async fn acquire(&self, request: AcquireRequest) -> Result<Vec<AcquiredRun>> {
        self.ask("acquire", move |far| {
            let request = request.clone();
            Box::pin(async move {
                let lane = request.lane;
                let answer = far.store.acquire(request).await;
                far.tell(&Applied::Acquire(lane, &answer));
                answer
            })
        })
        .await
    }

    async fn reload(
        &self,
        worker: WorkerId,
        run: &WorkflowId,
        epoch: Epoch,
    ) -> Result<Option<AcquiredRun>> {
        let run = run.clone();
        self.ask("reload", move |far| {
            let run = run.clone();
            Box::pin(async move {
                far.tell(&Applied::Read("reload"));
                far.store.reload(worker, &run, epoch).await
            })
        })
        .await
    }

    async fn owned(&self, worker: WorkerId) -> Result<Vec<(WorkflowId, Epoch)>> {
        self.ask("owned", move |far| {
            Box::pin(async move {
                far.tell(&Applied::Read("owned"));
                far.store.owned(worker).await
            })
        })
        .await
    }

    async fn commit(&self, lane: Lane, turns: Vec<TurnCommit>) -> Result<Vec<Verdict>> {
        self.ask("commit", move |far| {
            let turns = turns.clone();
            Box::pin(async move {
                if far.path.checks_in_two_steps() {
                    return far.commit_in_two_steps(lane, turns).await;
                }
                let answer = far.store.commit(lane, turns.clone()).await;
                far.tell(&Applied::Commit(Some(lane), &turns, &answer));
                answer
            })
        })
        .await
    }

    async fn edit(&self, turns: Vec<TurnCommit>) -> Result<Vec<Verdict>> {
        self.ask("edit", move |far| {
            let turns = turns.clone();
            Box::pin(async move {
                let answer = far.store.edit(turns.clone()).await;
                far.tell(&Applied::Commit(None, &turns, &answer));
                answer
            })
        })
        .await
    }
}

#[async_trait]
impl Events for Wire {
    async fn arrive(&self, arrivals: Vec<ArriveRequest>) -> Result<Vec<Arrived>> {
        self.ask("arrive", move |far| {
            let arrivals = arrivals.clone();
            Box::pin(async move {
                let answer = far.store.arrive(arrivals.clone()).await;
                far.tell(&Applied::Arrive(&arrivals, &answer));
                answer
            })
        })
        .await
    }

    async fn inbox(
        &self,
        worker: WorkerId,
        after: Vec<(WorkflowId, ArrivalNumber)>,
    ) -> Result<Vec<(WorkflowId, Vec<Arrival>)>> {
        self.ask("inbox", move |far| {
            let after = after.clone();
            Box::pin(async move { far.store.inbox(worker, after).await })
        })
        .await
    }

    async fn deliver(&self, limit: usize) -> Result<usize> {
        self.ask("deliver", move |far| {
            Box::pin(async move {
                let answer = far.store.deliver(limit).await;
                far.tell(&Applied::Deliver(&answer));
                answer
            })
        })
        .await
    }

    fn hints(&self) -> Box<dyn HintStream> {
        Box::new(Hints {
            inner: self.far.store.hints(),
            path: Arc::clone(&self.far.path),
        })
    }
}

struct Hints {
    inner: Box<dyn HintStream>,
    path: Arc<dyn Path>,
}

#[async_trait]
impl HintStream for Hints {
    async fn next(&mut self) -> Hint {
        loop {
            let hint = self.inner.next().await;
            if !self.path.loses_hint() {
                return hint;
            }
        }
    }
}

#[async_trait]
impl Timers for Wire {
    async fn due(&self, serves: &Serves) -> Result<Due> {
        let serves = serves.clone();
        self.ask("due", move |far| {
            let serves = serves.clone();
            Box::pin(async move { far.store.due(&serves).await })
        })
        .await
    }
}

#[async_trait]
impl Tasks for Wire {
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<QueuedAttempt>> {
        self.ask("claim", move |far| {
            let request = request.clone();
            Box::pin(async move {
                let worker = request.worker;
                let answer = far.store.claim(request).await;
                far.tell(&Applied::Claim(worker, &answer));
                answer
            })
        })
        .await
    }

    async fn claimed(&self, worker: WorkerId) -> Result<Vec<QueuedAttempt>> {
        self.ask("claimed", move |far| {
            Box::pin(async move {
                far.tell(&Applied::Read("claimed"));
                far.store.claimed(worker).await
            })
        })
        .await
    }

    async fn report(&self, reports: Vec<AttemptReport>) -> Result<Vec<Reported>> {
        self.ask("report", move |far| {
            let reports = reports.clone();
            Box::pin(async move {
                let answer = far.store.report(reports).await;
                far.tell(&Applied::Report(&answer));
                answer
            })
        })
        .await
    }
}

#[async_trait]
impl Inspect for Wire {
    async fn run(&self, run: &WorkflowId) -> Result<Option<RunRecord>> {
        let run = run.clone();
        self.ask("run", move |far| {
            let run = run.clone();
            Box::pin(async move { far.store.run(&run).await })
        })
        .await
    }

    async fn states(&self, runs: &[WorkflowId]) -> Result<Vec<Option<RunState>>> {
        let runs = runs.to_vec();
        self.ask("states", move |far| {
            let runs = runs.clone();
            Box::pin(async move { far.store.states(&runs).await })
        })
        .await
    }

    async fn list(&self, request: ListRequest) -> Result<Vec<RunRecord>> {
        self.far.store.list(request).await
    }

    async fn count(&self, filter: &RunFilter) -> Result<u64> {
        self.far.store.count(filter).await
    }

    async fn history(&self, request: HistoryRequest) -> Result<Vec<StoredTurn>> {
        self.far.store.history(request).await
    }

    async fn data(&self, run: &WorkflowId, key: &DataKey) -> Result<Option<Payload>> {
        let (run, key) = (run.clone(), key.clone());
        self.ask("data", move |far| {
            let (run, key) = (run.clone(), key.clone());
            Box::pin(async move { far.store.data(&run, &key).await })
        })
        .await
    }

    async fn all_data(&self, run: &WorkflowId) -> Result<Vec<(DataKey, Payload)>> {
        self.far.store.all_data(run).await
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        self.far.store.workers().await
    }

    async fn queues(&self) -> Result<Vec<QueueRecord>> {
        self.far.store.queues().await
    }
}
