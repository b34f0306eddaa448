//! Killing a worker at every write, in turn.
//!
//! Invariants: each round has a store, a clock and a worker of its own. In a round the worker's process ends once: just
//! before a write reaches the store, or just after, before the worker learns of it. Time is virtual, so what takes a
//! month takes no time.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use longhaul_backend_memory::{MemoryBackend, MemoryConfig};
use longhaul_core::backend::{
    Backend, HistoryRequest, ListRequest, PAGE_MAX, RunFilter, RunUpdate, TakeOverRequest,
};
use longhaul_core::call::Call;
use longhaul_core::client::{Client, Handle};
use longhaul_core::clock::{Abort, BackendClock, BoxFuture, Environment, Timestamp};
use longhaul_core::history::{EventKind, decode_record};
use longhaul_core::id::{TurnNumber, WorkerId};
use longhaul_core::worker::{Worker, WorkerBuilder};
use longhaul_core::{Error, ErrorKind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Notify;

use crate::chance::Chance;
use crate::node::Node;
use crate::wire::{Applied, Fault, Lot, Path, Wire};

/// Is the id of the run in each round.
const RUN: &str = "crash-everywhere";

/// Is the seed of all chance, the same in each round, so that random values are the same too.
const SEED: u64 = 42;

/// Is how long a round may take in virtual time: a workflow that takes longer waits for something that never comes.
const PATIENCE: Duration = Duration::from_secs(400 * 24 * 3_600);

/// Is when each round begins.
const BEGINNING: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// Begins a test that runs a call undisturbed, and then again and again, with the worker killed at each of its writes.
///
/// ```
/// # use longhaul_core as longhaul;
/// # use longhaul_core::{Result, context::Context};
/// # use longhaul_macros::{task, workflow};
/// use longhaul_testing::crash_everywhere;
///
/// #[task(crate = "longhaul_core")]
/// async fn greet(name: String) -> String {
///     format!("hello, {name}")
/// }
///
/// #[workflow(crate = "longhaul_core")]
/// async fn welcome(ctx: Context, name: String) -> Result<String> {
///     ctx.sleep(std::time::Duration::from_secs(30 * 24 * 3_600)).await?;
///     ctx.run(greet(name)).await
/// }
///
/// let report = crash_everywhere(|| welcome("Ada".to_owned()))
///     .worker(|worker, ()| worker.only(["welcome", "greet"]))
///     .check();
/// assert!(report.crashes > 4);
/// ```
pub fn crash_everywhere<R, C>(call: C) -> CrashEverywhere<(), R>
where
    C: Fn() -> Call<R> + 'static,
{
    CrashEverywhere {
        call: Box::new(call),
        state: Box::new(|| ()),
        worker: Box::new(|builder, ()| builder),
        drive: None,
        effects: Box::new(|()| Value::Null),
        always_park: false,
    }
}

type SetUp<S> = Box<dyn Fn(WorkerBuilder, &S) -> WorkerBuilder>;
type Drive<S, R> = Box<dyn Fn(Handle<R>, &S) -> LocalBoxFuture<'static, Result<(), Error>>>;

/// Tests a call under crashes; made by [`crash_everywhere`].
#[must_use = "nothing is tested until `check` is called"]
pub struct CrashEverywhere<S, R> {
    call: Box<dyn Fn() -> Call<R>>,
    state: Box<dyn Fn() -> S>,
    worker: SetUp<S>,
    drive: Option<Drive<S, R>>,
    effects: Box<dyn Fn(&S) -> Value>,
    always_park: bool,
}

impl<S, R> fmt::Debug for CrashEverywhere<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrashEverywhere").finish_non_exhaustive()
    }
}

/// Says what was tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrashReport {
    /// How many writes the worker makes when nothing goes wrong.
    pub writes: usize,
    /// How many rounds ended the worker's process.
    pub crashes: usize,
}

impl<R> CrashEverywhere<(), R> {
    /// Gives each round a state of its own, made by `state`: what tasks change outside, such as a pretended gateway.
    pub fn state<S>(self, state: impl Fn() -> S + 'static) -> CrashEverywhere<S, R> {
        CrashEverywhere {
            call: self.call,
            state: Box::new(state),
            worker: Box::new(|builder, _| builder),
            drive: None,
            effects: Box::new(|_| Value::Null),
            always_park: self.always_park,
        }
    }
}

impl<S, R> CrashEverywhere<S, R>
where
    R: DeserializeOwned + Serialize + 'static,
{
    /// Sets up each worker: what it provides, its queues.
    pub fn worker(mut self, set_up: impl Fn(WorkerBuilder, &S) -> WorkerBuilder + 'static) -> Self {
        self.worker = Box::new(set_up);
        self
    }

    /// Does what the outside world does to the run, such as sending it signals; called once per round, after the start.
    pub fn drive<F>(mut self, drive: impl Fn(Handle<R>, &S) -> F + 'static) -> Self
    where
        F: Future<Output = Result<(), Error>> + 'static,
    {
        self.drive = Some(Box::new(move |handle, state| {
            Box::pin(drive(handle, state))
        }));
        self
    }

    /// Looks at what the tasks did outside; it must be the same in each round. A task runs at least once, so show what
    /// counts: which orders were charged, by idempotency key, rather than how often it was asked for.
    pub fn effects<E: Serialize>(mut self, effects: impl Fn(&S) -> E + 'static) -> Self {
        self.effects = Box::new(move |state| {
            serde_json::to_value(effects(state))
                .unwrap_or_else(|error| Value::from(error.to_string()))
        });
        self
    }

    /// Drops the workflow's future after each turn too, so that it is replayed at every await.
    pub fn always_park(mut self) -> Self {
        self.always_park = true;
        self
    }

    /// Runs all rounds.
    ///
    /// # Panics
    /// When a round ends otherwise than the undisturbed one: with another outcome, other recorded tasks, other effects,
    /// a task that ran more often than the crash explains, or not at all within 400 virtual days.
    #[track_caller]
    #[expect(
        clippy::must_use_candidate,
        reason = "a test needs no more than that it returns"
    )]
    pub fn check(self) -> CrashReport {
        match self.run() {
            Ok(report) => report,
            Err(what) => panic!("{what}"),
        }
    }

    /// Runs all rounds; says which one differs and how, if one does.
    ///
    /// # Errors
    /// As [`CrashEverywhere::check`] panics.
    pub fn run(self) -> Result<CrashReport, String> {
        let (undisturbed, writes) = self.round(None)?;
        let mut crashes = 0;
        for write in 0..writes {
            for side in [Side::Before, Side::After] {
                let crash = Crash { write, side };
                let (round, _) = self
                    .round(Some(crash))
                    .map_err(|what| format!("killed {crash}: {what}"))?;
                undisturbed
                    .compare(&round)
                    .map_err(|what| format!("killed {crash}: {what}"))?;
                crashes += 1;
            }
        }
        Ok(CrashReport { writes, crashes })
    }

    fn round(&self, crash: Option<Crash>) -> Result<(Round, usize), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .map_err(|error| format!("no runtime can be made: {error}"))?;
        runtime.block_on(async {
            let state = (self.state)();
            let world = World::new(crash);
            let ended = tokio::time::timeout(PATIENCE, self.live(&world, &state)).await;
            let outcome = ended.map_err(|_| "it did not end within 400 days".to_owned())??;
            let tasks = world.tasks().await?;
            world.trap.stop();
            let effects = (self.effects)(&state);
            let round = Round {
                outcome,
                tasks,
                effects,
            };
            Ok((round, world.trap.writes()))
        })
    }

    /// Lives through one round: a worker, perhaps its end and another worker, until the run has ended.
    async fn live(&self, world: &World, state: &S) -> Result<Outcome, String> {
        let mut process = self.boot(world, state).await?;
        let call = (self.call)().id(RUN);
        let started = process.client.start(call).await;
        started.map_err(|error| format!("it cannot be started: {error:#}"))?;
        let handle: Handle<R> = world
            .outside
            .handle(RUN)
            .map_err(|error| error.to_string())?;
        let driven = self
            .drive
            .as_ref()
            .map(|drive| drive(handle.clone(), state));
        let outcome = async {
            if let Some(driven) = driven {
                driven
                    .await
                    .map_err(|error| format!("what drives it failed: {error:#}"))?;
            }
            Ok::<_, String>(outcome(handle.result().await))
        };
        let mut outcome = std::pin::pin!(outcome);
        tokio::select! {
            biased;
            outcome = &mut outcome => return outcome,
            what = world.trap.blocked() => return Err(what),
            () = world.trap.sprung.notified() => {}
        }
        let dead = process.worker.id();
        drop(process);
        world.bury(dead).await?;
        process = self.boot(world, state).await?;
        let outcome = tokio::select! {
            biased;
            outcome = outcome => outcome,
            what = world.trap.blocked() => Err(what),
        };
        drop(process);
        outcome
    }

    async fn boot(&self, world: &World, state: &S) -> Result<Process, String> {
        let chance = world.chance();
        let node = Node::boot(chance, Duration::ZERO, 0);
        world.trap.watch(&node);
        let trap: Arc<dyn Path> = Arc::clone(&world.trap) as Arc<dyn Path>;
        let client = client(&world.store, trap, node.clone());
        let mut builder = Worker::builder(&client)
            .build_id("test")
            .lease(PATIENCE)
            .beat(PATIENCE);
        if self.always_park {
            builder = builder.always_park();
        }
        match (self.worker)(builder, state).start().await {
            Ok(worker) => Ok(Process {
                node,
                client,
                worker,
            }),
            Err(error) => Err(format!("no worker can be started: {error:#}")),
        }
    }
}

struct Process {
    node: Node,
    client: Client,
    worker: Worker,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.node.crash();
    }
}

fn client(store: &Arc<dyn Backend>, path: Arc<dyn Path>, node: Node) -> Client {
    let wire = Wire::new(Arc::clone(store), path, node.clone());
    Client::builder()
        .environment(Arc::new(node))
        .build(Arc::new(wire))
}

/// Is what one round has: a store, and who reaches it.
struct World {
    store: Arc<dyn Backend>,
    trap: Arc<Trap>,
    outside: Client,
    chance: Mutex<Chance>,
}

impl World {
    fn new(crash: Option<Crash>) -> Self {
        let clock = BackendClock::of_the_runtime(BEGINNING);
        let memory = MemoryBackend::open(MemoryConfig::new().clock(clock));
        let store: Arc<dyn Backend> = Arc::new(memory);
        let mut chance = Chance::new(SEED);
        let node = Node::boot(chance.fork(), Duration::ZERO, 0);
        let wire = Wire::new(Arc::clone(&store), Arc::new(Clear), node.clone());
        let outside = Client::builder()
            .environment(Arc::new(Patient(node)))
            .build(Arc::new(wire));
        Self {
            store,
            trap: Arc::new(Trap::new(crash)),
            outside,
            chance: Mutex::new(chance),
        }
    }

    fn chance(&self) -> Chance {
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        chance.fork()
    }

    /// Declares a worker dead, as its lease would in the end.
    async fn bury(&self, worker: WorkerId) -> Result<(), String> {
        let force = vec![worker];
        let taken = self.store.take_over(TakeOverRequest { force }).await;
        taken.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Lists how each task of each run ended: run and operation, and the attempt that counted.
    async fn tasks(&self) -> Result<BTreeMap<String, (u32, bool)>, String> {
        let request = ListRequest {
            filter: RunFilter::default(),
            after: None,
            limit: PAGE_MAX,
        };
        let runs = self
            .store
            .list(request)
            .await
            .map_err(|error| error.to_string())?;
        let mut found = BTreeMap::new();
        for run in runs {
            let id = run.identity.workflow_id;
            let request = HistoryRequest {
                run: id.clone(),
                segment: None,
                from: TurnNumber(0),
                limit: PAGE_MAX,
            };
            let turns = self
                .store
                .history(request)
                .await
                .map_err(|error| error.to_string())?;
            for turn in turns {
                let events = decode_record(&turn.record).map_err(|error| error.to_string())?;
                for event in events {
                    if let Some((operation, attempt, is_completed)) = ended_task(&event.kind) {
                        found.insert(format!("{id} {operation}"), (attempt, is_completed));
                    }
                }
            }
        }
        Ok(found)
    }
}

fn ended_task(kind: &EventKind) -> Option<(String, u32, bool)> {
    match kind {
        EventKind::TaskCompleted {
            operation, attempt, ..
        } => Some((operation.to_string(), *attempt, true)),
        EventKind::TaskFailed {
            operation, attempt, ..
        } => Some((operation.to_string(), *attempt, false)),
        _ => None,
    }
}

type Outcome = Result<Value, (ErrorKind, String)>;

fn outcome<R: Serialize>(ended: Result<R, Error>) -> Outcome {
    match ended {
        Ok(result) => Ok(serde_json::to_value(result).unwrap_or_default()),
        Err(error) => Err((error.kind(), error.message().to_owned())),
    }
}

/// Is how one round ended.
struct Round {
    outcome: Outcome,
    tasks: BTreeMap<String, (u32, bool)>,
    effects: Value,
}

impl Round {
    fn compare(&self, other: &Self) -> Result<(), String> {
        if self.outcome != other.outcome {
            return Err(format!(
                "the outcome is {:?}; undisturbed it is {:?}",
                other.outcome, self.outcome
            ));
        }
        let names = |round: &Self| round.tasks.keys().cloned().collect::<Vec<_>>();
        if names(self) != names(other) {
            return Err(format!(
                "the recorded tasks are {:?}; undisturbed they are {:?}",
                names(other),
                names(self)
            ));
        }
        for (name, (attempt, is_completed)) in &self.tasks {
            let Some((other_attempt, other_completed)) = other.tasks.get(name) else {
                continue;
            };
            if is_completed != other_completed {
                return Err(format!("task {name} completed in one of the rounds alone"));
            }
            if *other_attempt > attempt + 1 {
                return Err(format!(
                    "task {name} took {other_attempt} attempts; undisturbed it took {attempt}, and there was one crash"
                ));
            }
        }
        if self.effects != other.effects {
            return Err(format!(
                "the effects are {}; undisturbed they are {}",
                other.effects, self.effects
            ));
        }
        Ok(())
    }
}

/// Says where the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Crash {
    write: usize,
    side: Side,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Before => "before",
            Side::After => "after",
        };
        write!(f, "{side} write {}", self.write + 1)
    }
}

/// Counts the writes of the worker, and ends its process at one of them.
struct Trap {
    crash: Option<Crash>,
    state: Mutex<TrapState>,
    sprung: Notify,
    has_blocked: Notify,
}

#[derive(Default)]
struct TrapState {
    blocked: Option<String>,
    writes: usize,
    node: Option<Node>,
    is_over: bool,
}

impl Trap {
    fn new(crash: Option<Crash>) -> Self {
        Self {
            crash,
            state: Mutex::default(),
            sprung: Notify::new(),
            has_blocked: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, TrapState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, node: &Node) {
        self.state().node = Some(node.clone());
    }

    fn stop(&self) {
        self.state().is_over = true;
    }

    fn writes(&self) -> usize {
        self.state().writes
    }

    /// Waits until a run is blocked, and says why.
    async fn blocked(&self) -> String {
        self.has_blocked.notified().await;
        self.state().blocked.clone().unwrap_or_default()
    }

    /// Ends the process when this is the write to end it at.
    fn spring(&self) -> Option<Side> {
        let mut state = self.state();
        if state.is_over {
            return None;
        }
        let write = state.writes;
        state.writes += 1;
        let crash = self.crash.filter(|crash| crash.write == write)?;
        if let Some(node) = state.node.take() {
            node.crash();
        }
        drop(state);
        self.sprung.notify_one();
        Some(crash.side)
    }
}

impl Path for Trap {
    fn lot(&self, what: &'static str) -> Lot {
        let is_write = [
            "start", "acquire", "commit", "edit", "claim", "report", "deliver",
        ]
        .contains(&what);
        let side = is_write.then(|| self.spring()).flatten();
        Lot {
            fault: (side == Some(Side::Before)).then_some(Fault::Refused),
            ..Lot::default()
        }
    }

    fn loses_hint(&self) -> bool {
        false
    }

    fn applied(&self, _: Timestamp, what: &Applied<'_>) {
        let Applied::Commit(_, turns, Ok(_)) = what else {
            return;
        };
        for turn in turns.iter() {
            if let RunUpdate::Block { reason, .. } = &turn.update {
                self.state().blocked = Some(format!("run `{}` was blocked: {reason}", turn.run));
                self.has_blocked.notify_one();
            }
        }
    }
}

/// Is the environment of a client that looks once a virtual day when nothing hints that it should, so that months of
/// waiting cost nothing.
#[derive(Debug)]
struct Patient(Node);

impl Environment for Patient {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let is_look = duration >= Duration::from_secs(1);
        let day = Duration::from_secs(24 * 3_600);
        self.0
            .sleep(if is_look { duration.max(day) } else { duration })
    }

    fn spawn(&self, future: BoxFuture<'static, ()>) -> Box<dyn Abort> {
        self.0.spawn(future)
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        self.0.spawn_blocking(work);
    }

    fn random_bytes(&self) -> [u8; 32] {
        self.0.random_bytes()
    }
}

/// Is a way on which nothing happens.
struct Clear;

impl Path for Clear {
    fn lot(&self, _: &'static str) -> Lot {
        Lot::default()
    }

    fn loses_hint(&self) -> bool {
        false
    }

    fn applied(&self, _: Timestamp, _: &Applied<'_>) {}
}
