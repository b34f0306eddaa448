//! A simulated fleet: processes, what is done to them, and the clients that use them.
//!
//! Invariants: one thread, one runtime with paused time, and a store of its own for each simulation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use longhaul_backend_memory::{MemoryBackend, MemoryConfig};
use longhaul_core::ErrorKind;
use longhaul_core::backend::{
    Backend, HistoryRequest, ListRequest, PAGE_MAX, RunFilter, RunRecord,
};
use longhaul_core::client::{Client, Handle};
use longhaul_core::clock::{BackendClock, Timestamp};
use longhaul_core::context::Signal;
use longhaul_core::history::{Event, EventKind, decode_record};
use longhaul_core::id::{DataKey, TurnNumber, WorkerId, WorkflowId};
use longhaul_core::status::Status;
use longhaul_core::worker::Worker;
use serde_json::Value;

use super::program::{NAMES, Program, Step};
use super::scenario::{Action, Control, ControlPlan, Deed, RunPlan, Scenario};
use super::weather::{NodePath, Sky};
use super::workflow::{self, Ledger};
use super::{Flaw, Report, check};
use crate::chance::Chance;
use crate::node::Node;
use crate::wire::Wire;

/// Is how long everything may take once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(600);

/// Is when a simulation begins.
const BEGINNING: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// Runs a scenario to its end on the store in the process and judges it.
pub(super) fn run(scenario: &Scenario, flaw: Flaw) -> Report {
    run_on(scenario, flaw, |clock| {
        Arc::new(MemoryBackend::open(MemoryConfig::new().clock(clock)))
    })
}

/// Runs a scenario to its end on a store that `open` makes with a clock, and judges it.
pub(super) fn run_on(
    scenario: &Scenario,
    flaw: Flaw,
    open: impl FnOnce(BackendClock) -> Arc<dyn Backend>,
) -> Report {
    #[cfg(feature = "broken")]
    longhaul_core::sabotage::choose(match flaw.0 {
        Some(super::broken::Wrong::Engine(mistake)) => Some(mistake),
        _ => None,
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(simulate(scenario, flaw, open)),
        Err(error) => panic!("no runtime can be made: {error}"),
    }
}

/// Is a process with its client and worker.
struct Process {
    node: Node,
    client: Client,
    worker: Worker,
}

pub(super) struct Fleet {
    scenario: Scenario,
    flaw: Flaw,
    store: Arc<dyn Backend>,
    sky: Arc<Sky>,
    ledger: Ledger,
    chance: Mutex<Chance>,
    processes: Mutex<Vec<Option<Process>>>,
    outside: Client,
    acknowledged: Mutex<BTreeMap<String, BTreeMap<&'static str, u64>>>,
    crashed: Mutex<Vec<(WorkerId, Timestamp)>>,
    told: Mutex<BTreeMap<String, Result<Value, ErrorKind>>>,
}

async fn simulate(
    scenario: &Scenario,
    flaw: Flaw,
    open: impl FnOnce(BackendClock) -> Arc<dyn Backend>,
) -> Report {
    let fleet = Fleet::new(scenario, flaw, open);
    for number in 0..scenario.nodes.len() {
        drop(tokio::spawn(Arc::clone(&fleet).boot(number)));
    }
    let deeds: Vec<_> = scenario
        .actions
        .iter()
        .map(|action| tokio::spawn(Arc::clone(&fleet).act(*action)))
        .collect();
    let drivers: Vec<_> = scenario
        .runs
        .iter()
        .map(|plan| tokio::spawn(drive(Arc::clone(&fleet), plan.clone())))
        .collect();
    let deeds = async {
        for deed in deeds {
            drop(deed.await);
        }
    };
    let drivers = async {
        for driver in drivers {
            if driver.await.is_err() {
                fleet
                    .sky
                    .log()
                    .violated("simulator", "a driver panicked".to_owned());
            }
        }
        fleet.all_end().await;
    };
    let faults_end = Duration::from_millis(super::scenario::FAULTS_MS);
    let mending = async {
        tokio::time::sleep(faults_end).await;
        fleet.sky.mend();
    };
    // A shutdown never ends where a run can never be given back, as on a wrong store.
    let all = async {
        deeds.await;
        futures_util::future::join(drivers, mending).await
    };
    drop(tokio::time::timeout(faults_end * 2 + PATIENCE, all).await);
    fleet.stop();
    fleet.judge().await
}

impl Fleet {
    fn new(
        scenario: &Scenario,
        flaw: Flaw,
        open: impl FnOnce(BackendClock) -> Arc<dyn Backend>,
    ) -> Arc<Self> {
        let clock = BackendClock::of_the_runtime(BEGINNING);
        let store = flawed(open(clock.clone()), flaw);
        let mut chance = Chance::new(scenario.seed ^ 0x5eed);
        let sky = Sky::new(chance.fork(), scenario.weather);
        let node = Node::boot(chance.fork(), Duration::ZERO, 0);
        let path = NodePath {
            sky: Arc::clone(&sky),
            wrong_clock: 0,
            checks_in_two_steps: false,
        };
        let wire = Wire::new(Arc::clone(&store), Arc::new(path), node.clone());
        let outside = Client::builder()
            .environment(Arc::new(node))
            .build(Arc::new(wire));
        Arc::new(Self {
            scenario: scenario.clone(),
            flaw,
            store,
            sky,
            ledger: Ledger::new(clock),
            chance: Mutex::new(chance),
            processes: Mutex::new(scenario.nodes.iter().map(|_| None).collect()),
            outside,
            acknowledged: Mutex::default(),
            crashed: Mutex::default(),
            told: Mutex::default(),
        })
    }

    fn processes(&self) -> MutexGuard<'_, Vec<Option<Process>>> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn chance(&self) -> MutexGuard<'_, Chance> {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a process in a place, however often that takes.
    async fn boot(self: Arc<Self>, number: usize) {
        loop {
            if let Some(process) = self.try_boot(number).await {
                if let Some(place) = self.processes().get_mut(number) {
                    *place = Some(process);
                }
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn try_boot(&self, number: usize) -> Option<Process> {
        let plan = self.scenario.nodes.get(number)?;
        if plan.slow_ppm > 0 {
            self.sky.count("clock slow");
        }
        let chance = self.chance().fork();
        let origin = Duration::from_millis(plan.origin_ms);
        let node = Node::boot(chance, origin, plan.slow_ppm);
        let path = self.path_of(number);
        let wire = Wire::new(Arc::clone(&self.store), Arc::new(path), node.clone());
        let client = Client::builder()
            .environment(Arc::new(node.clone()))
            .build(Arc::new(wire));
        let options = self.scenario.options;
        let builder = Worker::builder(&client)
            .only(["simulated", "simulated.act"])
            .provide(self.ledger.clone())
            .queue("shared", options.slots.min(4))
            .build_id("simulation")
            .lease(Duration::from_millis(options.lease_ms))
            .park_after(Duration::from_millis(options.park_after_ms))
            .live_max(options.live_max)
            .slots(options.slots)
            .drain_timeout(Duration::from_secs(2));
        let builder = if options.always_park {
            builder.always_park()
        } else {
            builder
        };
        match builder.start().await {
            Ok(worker) => Some(Process {
                node,
                client,
                worker,
            }),
            Err(error) => {
                node.crash();
                if error.kind() != ErrorKind::Unavailable {
                    self.sky.log().violated("simulator", format!("{error:#}"));
                }
                None
            }
        }
    }

    #[cfg(feature = "broken")]
    fn path_of(&self, number: usize) -> NodePath {
        let is_wrong = |wrong| self.flaw.0 == Some(wrong);
        let skew = 700_000 * (i64::try_from(number).unwrap_or_default() + 1);
        NodePath {
            sky: Arc::clone(&self.sky),
            wrong_clock: if is_wrong(super::broken::Wrong::Clock) {
                skew
            } else {
                0
            },
            checks_in_two_steps: is_wrong(super::broken::Wrong::TwoSteps),
        }
    }

    #[cfg(not(feature = "broken"))]
    fn path_of(&self, _number: usize) -> NodePath {
        let Flaw(()) = self.flaw;
        NodePath {
            sky: Arc::clone(&self.sky),
            wrong_clock: 0,
            checks_in_two_steps: false,
        }
    }

    async fn act(self: Arc<Self>, action: Action) {
        tokio::time::sleep(Duration::from_millis(action.at_ms)).await;
        let lasts = Duration::from_millis(action.for_ms);
        match action.what {
            Deed::Outage => {
                self.sky.take_away(true);
                tokio::time::sleep(lasts).await;
                self.sky.take_away(false);
            }
            Deed::Pause => self.pause(action, lasts).await,
            Deed::Crash | Deed::Shutdown => {
                let place = self.processes().get_mut(action.node).and_then(Option::take);
                let Some(process) = place else { return };
                if action.what == Deed::Shutdown {
                    self.sky.count("shutdown");
                    drop(process.worker.shutdown().await);
                    process.node.crash();
                } else {
                    self.sky.count("crash");
                    self.note_crash(process.worker.id());
                    process.node.crash();
                    drop(process.worker);
                }
                tokio::time::sleep(lasts).await;
                self.boot(action.node).await;
            }
        }
    }

    async fn pause(&self, action: Action, lasts: Duration) {
        let node = self
            .processes()
            .get(action.node)
            .and_then(|place| place.as_ref().map(|process| process.node.clone()));
        let Some(node) = node else { return };
        if action.for_ms > self.scenario.options.lease_ms {
            self.sky.count("pause past the lease");
        }
        node.pause();
        tokio::time::sleep(lasts).await;
        node.resume();
    }

    fn note_crash(&self, worker: WorkerId) {
        let mut crashed = self.crashed.lock().unwrap_or_else(PoisonError::into_inner);
        crashed.push((worker, self.store.clock()));
    }

    fn client_of(&self, number: Option<usize>) -> Client {
        let processes = self.processes();
        number
            .and_then(|number| processes.get(number))
            .and_then(|place| place.as_ref().map(|process| process.client.clone()))
            .unwrap_or_else(|| self.outside.clone())
    }

    fn stop(&self) {
        for place in self.processes().iter_mut() {
            if let Some(process) = place.take() {
                process.node.crash();
            }
        }
    }
}

#[cfg(feature = "broken")]
fn flawed(store: Arc<dyn Backend>, flaw: Flaw) -> Arc<dyn Backend> {
    match flaw.0 {
        Some(super::broken::Wrong::Store(fault)) => longhaul_tests::broken::wrap(store, fault),
        Some(super::broken::Wrong::Stores(one, other)) => {
            longhaul_tests::broken::wrap(longhaul_tests::broken::wrap(store, one), other)
        }
        _ => store,
    }
}

#[cfg(not(feature = "broken"))]
fn flawed(store: Arc<dyn Backend>, _flaw: Flaw) -> Arc<dyn Backend> {
    store
}

// --- clients ----------------------------------------------------------------------------------------------------------

async fn drive(fleet: Arc<Fleet>, plan: RunPlan) {
    tokio::time::sleep(Duration::from_millis(plan.at_ms)).await;
    let senders: Vec<_> = plan
        .program
        .signals(&plan.id)
        .into_iter()
        .map(|(run, name, count)| {
            tokio::spawn(send(Arc::clone(&fleet), plan.clone(), run, name, count))
        })
        .collect();
    for control in &plan.controls {
        drop(tokio::spawn(do_to(
            Arc::clone(&fleet),
            plan.id.clone(),
            *control,
        )));
    }
    let handle = start(&fleet, &plan).await;
    fleet.expect_stored(&plan.id, "the start").await;
    let outcome = result(&handle).await;
    fleet.expect_ended(&plan.id).await;
    fleet.tell(&plan.id, outcome);
    senders.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Does something to a run from outside, however often that must be asked for.
async fn do_to(fleet: Arc<Fleet>, id: String, plan: ControlPlan) {
    tokio::time::sleep(Duration::from_millis(plan.at_ms)).await;
    let Ok(run) = fleet.outside.handle::<Vec<Value>>(&id) else {
        return;
    };
    match plan.what {
        Control::Resume => insist(|| run.resume("simulated")).await,
        Control::Cancel => insist(|| run.cancel("simulated")).await,
        Control::Terminate => insist(|| run.terminate("simulated")).await,
        Control::Pause {
            for_ms,
            stops_timers,
        } => {
            insist(|| {
                let pause = run.pause("simulated");
                match stops_timers {
                    true => pause.stopping_timers().into_future(),
                    false => pause.into_future(),
                }
            })
            .await;
            if run.status().await.ok() == Some(Status::Paused) {
                fleet.sky.log().mark("run seen paused");
            }
            tokio::time::sleep(Duration::from_millis(for_ms)).await;
            insist(|| run.resume("simulated")).await;
        }
    }
}

/// Asks until it is done, or the run has ended.
async fn insist<F>(mut ask: impl FnMut() -> F)
where
    F: Future<Output = longhaul_core::Result<()>>,
{
    while let Err(error) = ask().await
        && error.kind() != ErrorKind::Finished
    {
        tokio::time::sleep(Duration::from_millis(170)).await;
    }
}

async fn start(fleet: &Fleet, plan: &RunPlan) -> Handle<Vec<Value>> {
    loop {
        let client = fleet.client_of(plan.through);
        let call = workflow::call(plan.program.clone()).id(&plan.id);
        match client.start(call).await {
            Ok(handle) => return handle,
            Err(error) if error.kind() == ErrorKind::Unavailable => {}
            Err(error) => fleet
                .sky
                .log()
                .violated("P11", format!("start of `{}`: {error:#}", plan.id)),
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

async fn result(handle: &Handle<Vec<Value>>) -> Result<Value, ErrorKind> {
    loop {
        match handle.result().await {
            Ok(seen) => return Ok(Value::from(seen)),
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
            Err(error) => return Err(error.kind()),
        }
    }
}

/// Sends the signals of one name, in order, as long as the run takes them.
async fn send(fleet: Arc<Fleet>, plan: RunPlan, run: String, name: usize, count: u64) {
    let Some(name) = NAMES.get(name).copied() else {
        return;
    };
    tokio::time::sleep(Duration::from_millis(plan.signals_at_ms)).await;
    let mut number = 0;
    while number < count {
        let client = fleet.client_of(plan.through);
        let Ok(handle) = client.handle::<Vec<Value>>(&run) else {
            return;
        };
        // A signal that was answered with "no such run" may still arrive, so none is sent before there is one.
        if handle.status().await.is_err() {
            tokio::time::sleep(Duration::from_millis(170)).await;
            continue;
        }
        match handle.signal(Signal::<u64>::new(name), number).await {
            Ok(()) => {
                number += 1;
                fleet.acknowledge(&run, name, number);
                tokio::time::sleep(Duration::from_millis(plan.signals_every_ms)).await;
            }
            Err(error) if error.kind() == ErrorKind::Finished => return,
            Err(_) => tokio::time::sleep(Duration::from_millis(170)).await,
        }
    }
}

impl Fleet {
    fn acknowledge(&self, run: &str, name: &'static str, count: u64) {
        let mut acknowledged = self
            .acknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let names = acknowledged.entry(run.to_owned()).or_default();
        names.insert(name, count);
    }

    fn tell(&self, run: &str, outcome: Result<Value, ErrorKind>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(run.to_owned(), outcome);
    }

    async fn expect_stored(&self, id: &str, what: &str) {
        let stored = self.store.run(&WorkflowId::from_stored(id)).await;
        if !matches!(stored, Ok(Some(_))) {
            let what = format!("{what} of `{id}` was acknowledged and is not stored");
            self.sky.log().violated("P1", what);
        }
    }

    async fn expect_ended(&self, id: &str) {
        let stored = self.store.run(&WorkflowId::from_stored(id)).await;
        let has_ended = matches!(&stored, Ok(Some(run)) if run.status.is_terminal());
        if !has_ended {
            let what = format!("the end of `{id}` was told before it was stored");
            self.sky.log().violated("P1", what);
        }
    }

    /// Waits until no run is open, subworkflows included.
    async fn all_end(&self) {
        let open = RunFilter {
            statuses: Status::ALL
                .into_iter()
                .filter(|status| !status.is_terminal())
                .collect(),
            ..RunFilter::default()
        };
        while self.store.count(&open).await.unwrap_or(1) > 0 {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

// --- judgement --------------------------------------------------------------------------------------------------------

impl Fleet {
    /// P5: what a crashed worker had is taken over within its lease and a second.
    fn judge_takeovers(&self) {
        if !self.scenario.is_one_crash() {
            return;
        }
        let crashed = self.crashed.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = Duration::from_millis(self.scenario.options.lease_ms + 1_000);
        let mut log = self.sky.log();
        for (worker, at) in crashed.iter() {
            let Some(taken) = log.taken_over.get(worker).copied() else {
                log.violated(
                    "P5",
                    format!("worker {worker} crashed and was never taken over"),
                );
                continue;
            };
            log.mark("takeover of a crashed worker timed");
            let took = taken.since(*at);
            if took > limit {
                log.violated("P5", format!("takeover took {took:?}; at most {limit:?}"));
            }
        }
    }

    async fn judge(&self) -> Report {
        self.judge_takeovers();
        let runs = self.runs().await;
        let programs = self.programs();
        for record in &runs {
            let id = record.identity.workflow_id.as_str();
            if !record.status.is_terminal() {
                let what = format!("`{id}` is still {} ({:?})", record.status, record.blocked);
                self.sky.log().violated("liveness", what);
                continue;
            }
            if let Some(program) = programs.get(id) {
                self.judge_run(record, program).await;
            }
        }
        for plan in &self.scenario.runs {
            let has_started = runs
                .iter()
                .any(|run| run.identity.workflow_id.as_str() == plan.id);
            if !has_started {
                self.sky
                    .log()
                    .violated("liveness", format!("`{}` never started", plan.id));
            }
        }
        self.report()
    }

    fn report(&self) -> Report {
        let mut log = self.sky.log();
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = format!("{told:?}");
        log.trace.add(shown.as_bytes());
        Report {
            seed: self.scenario.seed,
            violations: std::mem::take(&mut log.violations),
            commits: log.commits,
            requests: log.requests,
            trace: log.trace.0,
            faults: self.sky.faults(),
            marks: std::mem::take(&mut log.marks),
        }
    }

    async fn runs(&self) -> Vec<RunRecord> {
        let request = ListRequest {
            filter: RunFilter::default(),
            after: None,
            limit: PAGE_MAX,
        };
        self.store.list(request).await.unwrap_or_default()
    }

    fn programs(&self) -> BTreeMap<String, Program> {
        let mut programs = BTreeMap::new();
        for plan in &self.scenario.runs {
            collect(&plan.id, &plan.program, &mut programs);
        }
        programs
    }

    /// Reads all data of a run, key by key.
    async fn data(&self, id: &WorkflowId) -> Vec<(String, Value)> {
        let mut found = Vec::new();
        for name in NAMES {
            let value = self.store.data(id, &DataKey::from_stored(name)).await;
            if let Ok(Some(value)) = value {
                found.push((name.to_owned(), value.decode().unwrap_or_default()));
            }
        }
        found
    }

    /// Lists what was done to a run from outside; to a subworkflow, nothing.
    fn controls_of(&self, id: &str) -> Vec<Control> {
        let plans = self.scenario.runs.iter().filter(|plan| plan.id == id);
        plans
            .flat_map(|plan| plan.controls.iter().map(|control| control.what))
            .collect()
    }

    async fn judge_run(&self, record: &RunRecord, program: &Program) {
        let id = &record.identity.workflow_id;
        let request = HistoryRequest {
            run: id.clone(),
            segment: None,
            from: TurnNumber(0),
            limit: PAGE_MAX,
        };
        let turns = self.store.history(request).await.unwrap_or_default();
        let data = self.data(id).await;
        let acknowledged = self
            .acknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let nothing = BTreeMap::new();
        let effects = self.ledger.effects();
        let ended = check::Ended {
            record,
            turns: &turns,
            program,
            acknowledged: acknowledged.get(id.as_str()).unwrap_or(&nothing),
            data,
            effects: &effects,
            is_calm: self.scenario.is_calm(),
            controls: self.controls_of(id.as_str()),
        };
        let code = workflow::call(Program::default()).registration();
        let mut log = self.sky.log();
        check::run(&mut log, &self.outside, code, &ended);
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let last = turns
            .last()
            .and_then(|turn| decode_record(&turn.record).ok());
        let last = last.and_then(|events: Vec<Event>| events.into_iter().next_back());
        if let (Some(told), Some(last)) = (told.get(id.as_str()), last) {
            let stored = stored_outcome(&last.kind);
            if stored.as_ref() != Some(told) {
                let what = format!("`{id}` ended as {stored:?}, and was told to have as {told:?}");
                log.violated("P3", what);
            }
        }
    }
}

fn stored_outcome(kind: &EventKind) -> Option<Result<Value, ErrorKind>> {
    match kind {
        EventKind::RunCompleted { result } => {
            Some(Ok(result.decode::<Value>().unwrap_or_default()))
        }
        EventKind::RunFailed { error } => Some(Err(error.kind())),
        EventKind::RunCancelled { .. } => Some(Err(ErrorKind::Cancelled)),
        EventKind::RunTerminated { .. } => Some(Err(ErrorKind::Terminated)),
        _ => None,
    }
}

fn collect(id: &str, program: &Program, programs: &mut BTreeMap<String, Program>) {
    programs.insert(id.to_owned(), program.clone());
    collect_below(id, &program.steps, programs);
}

fn collect_below(id: &str, steps: &[Step], programs: &mut BTreeMap<String, Program>) {
    for step in steps {
        match step {
            Step::Child(child, program) => collect(&format!("{id}.{child}"), program, programs),
            Step::Parallel(branches) => branches
                .iter()
                .for_each(|branch| collect_below(id, branch, programs)),
            Step::Race(left, right) => {
                collect_below(id, left, programs);
                collect_below(id, right, programs);
            }
            _ => {}
        }
    }
}
