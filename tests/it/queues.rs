//! Where tasks run: local slots, and queues that other workers serve.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use longhaul::client::HistoryEntry;
use longhaul::history::{EventKind, Placement};
use longhaul::prelude::*;

use crate::world::{Rate, World, quick, reaches, result, until};

on_every_backend!(
    no_more_attempts_run_at_once_than_there_are_slots,
    queued_task_runs_in_the_worker_that_serves_its_queue,
    queued_task_is_retried_and_its_last_error_reaches_the_workflow,
    queued_attempt_of_a_dead_worker_is_tried_again,
    queued_attempt_outlives_the_owner_of_its_run,
    failed_and_lost_attempts_are_both_counted,
    dropped_queued_task_is_withdrawn,
    no_more_of_a_queue_run_at_once_than_it_has_slots,
    higher_priority_runs_first_and_a_delayed_task_later,
    delayed_task_starts_no_earlier,
    delayed_queued_task_starts_no_earlier,
    shutdown_waits_for_attempts_from_queues,
    worker_needs_no_workflow,
    tasks_beyond_what_their_worker_keeps_run_in_another,
    lone_worker_keeps_all_its_tasks,
    spilled_tasks_run_when_the_other_workers_are_gone,
);

/// Counts what runs at once, for one test each.
static RUNNING: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];
static MOST: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];
static COUNTERS: AtomicUsize = AtomicUsize::new(0);

#[task]
async fn counted(counter: usize) -> Result<()> {
    let running = RUNNING[counter].fetch_add(1, Ordering::SeqCst) + 1;
    MOST[counter].fetch_max(running, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(2)).await;
    RUNNING[counter].fetch_sub(1, Ordering::SeqCst);
    Ok(())
}

#[workflow]
async fn crowd(ctx: Context, counter: usize) -> Result<()> {
    ctx.join_all((0..60).map(|_| counted(counter)))
        .await
        .map(drop)
}

async fn no_more_attempts_run_at_once_than_there_are_slots(world: World) {
    let counter = COUNTERS.fetch_add(1, Ordering::SeqCst);
    let client = world.client().await;
    let _worker = quick(&client).slots(3).start().await.unwrap();
    let run = client.start(crowd(counter)).await.unwrap();
    result(&run).await.unwrap();
    assert_eq!(MOST[counter].load(Ordering::SeqCst), 3);
}

#[task(queue = "elsewhere")]
async fn heavy(ctx: TaskContext, number: u32) -> Result<(u32, u32)> {
    Ok((number, ctx.attempt()))
}

#[workflow]
async fn sends_elsewhere(ctx: Context) -> Result<Vec<(u32, u32)>> {
    ctx.join_all((0..20).map(heavy)).await
}

async fn queued_task_runs_in_the_worker_that_serves_its_queue(world: World) {
    let client = world.client().await;
    let _flows = quick(&client)
        .only(["sends_elsewhere"])
        .start()
        .await
        .unwrap();
    let run = client.start(sends_elsewhere()).await.unwrap();
    reaches(&run, Status::Waiting).await;
    let other = world.client().await;
    let _tasks = quick(&other)
        .only(["heavy"])
        .queue("elsewhere", 2)
        .start()
        .await
        .unwrap();
    let numbers: BTreeSet<_> = result(&run).await.unwrap().into_iter().collect();
    assert_eq!(numbers, (0..20).map(|number| (number, 1)).collect());
}

#[task(queue = "elsewhere", retries = 2, backoff = "1ms..1ms")]
async fn fails_twice(ctx: TaskContext, always: bool) -> Result<u32> {
    if always || ctx.attempt() < 3 {
        return Err(Error::failed(format!("attempt {} failed", ctx.attempt())));
    }
    Ok(ctx.attempt())
}

#[workflow]
async fn retries_elsewhere(ctx: Context) -> Result<(u32, String)> {
    let attempt = ctx.run(fails_twice(false)).await?;
    let error = ctx.run(fails_twice(true)).await.unwrap_err();
    Ok((attempt, error.to_string()))
}

async fn queued_task_is_retried_and_its_last_error_reaches_the_workflow(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(retries_elsewhere()).await.unwrap();
    let expected = (3, "attempt 3 failed".to_owned());
    assert_eq!(result(&run).await.unwrap(), expected);
}

#[task(queue = "deadly")]
async fn hangs_at_first(ctx: TaskContext) -> u32 {
    if ctx.attempt() == 1 {
        std::future::pending::<()>().await;
    }
    ctx.attempt()
}

#[workflow]
async fn trusts(ctx: Context) -> Result<u32> {
    ctx.run(hangs_at_first()).await
}

/// P6: a queued attempt dies with its claimer, not with the owner of the run.
async fn queued_attempt_of_a_dead_worker_is_tried_again(world: World) {
    let client = world.client().await;
    let _flows = quick(&client).only(["trusts"]).start().await.unwrap();
    let tasks = || {
        let world = &world;
        async move {
            let other = world.client().await;
            let worker = quick(&other)
                .only(["hangs_at_first"])
                .start()
                .await
                .unwrap();
            (other, worker)
        }
    };
    let first = tasks().await;
    let run = client.start(trusts()).await.unwrap();
    let backend_sees_a_claim = async {
        while claimed(&client).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), backend_sees_a_claim)
        .await
        .unwrap();
    drop(first);
    let _second = tasks().await;
    assert_eq!(result(&run).await.unwrap(), 2);
}

/// Holds the gates of all tests; a task is told the number of its own.
static GATES: Mutex<Vec<Arc<Gate>>> = Mutex::new(Vec::new());

fn gate_of(number: usize) -> Arc<Gate> {
    Arc::clone(&GATES.lock().unwrap()[number])
}

/// Holds back the attempts of one test, and counts what they did.
#[derive(Default)]
struct Gate {
    number: usize,
    opened: tokio::sync::Notify,
    is_open: AtomicBool,
    done: Mutex<Vec<String>>,
}

impl Gate {
    fn new() -> Arc<Self> {
        let mut gates = GATES.lock().unwrap();
        let gate = Arc::new(Self {
            number: gates.len(),
            ..Self::default()
        });
        gates.push(Arc::clone(&gate));
        gate
    }

    async fn pass(&self) {
        let opened = self.opened.notified();
        if !self.is_open.load(Ordering::SeqCst) {
            opened.await;
        }
    }

    fn open(&self) {
        self.is_open.store(true, Ordering::SeqCst);
        self.opened.notify_waiters();
    }

    fn note(&self, what: impl Into<String>) {
        self.done.lock().unwrap().push(what.into());
    }

    fn done(&self) -> Vec<String> {
        self.done.lock().unwrap().clone()
    }
}

#[task(queue = "gated")]
async fn waits_at_the_gate(ctx: TaskContext, gate: usize) -> Result<u32> {
    let gate = gate_of(gate);
    gate.note("began");
    gate.pass().await;
    Ok(ctx.attempt())
}

#[workflow]
async fn needs_the_gate(ctx: Context, gate: usize) -> Result<u32> {
    ctx.run(waits_at_the_gate(gate)).await
}

/// P6, the other way round: the attempt goes on while its run changes hands.
async fn queued_attempt_outlives_the_owner_of_its_run(world: World) {
    let gate = Gate::new();
    let client = world.client().await;
    let owner = quick(&client)
        .only(["needs_the_gate"])
        .start()
        .await
        .unwrap();
    let _tasks = quick(&world.client().await)
        .only(["waits_at_the_gate"])
        .start()
        .await
        .unwrap();
    let run = client.start(needs_the_gate(gate.number)).await.unwrap();
    until(|| !gate.done().is_empty()).await;
    drop(owner);
    let _next = quick(&world.client().await)
        .only(["needs_the_gate"])
        .start()
        .await
        .unwrap();
    gate.open();
    assert_eq!(result(&run).await.unwrap(), 1);
    assert_eq!(gate.done(), ["began"]);
}

#[task(queue = "unlucky", retries = 1, backoff = "1ms..1ms")]
async fn fails_then_hangs(ctx: TaskContext, gate: usize) -> Result<u32> {
    gate_of(gate).note(format!("attempt {}", ctx.attempt()));
    match ctx.attempt() {
        1 => return Err(Error::failed("the first attempt")),
        2 => std::future::pending::<()>().await,
        _ => {}
    }
    Ok(ctx.attempt())
}

#[workflow]
async fn unlucky(ctx: Context, gate: usize) -> Result<u32> {
    ctx.run(fails_then_hangs(gate)).await
}

/// P6: an attempt's number is 1 + those that failed + those that were lost; the lost use up no retry.
async fn failed_and_lost_attempts_are_both_counted(world: World) {
    let gate = Gate::new();
    let client = world.client().await;
    let _flows = quick(&client).only(["unlucky"]).start().await.unwrap();
    let tasks = || {
        let world = &world;
        async move {
            let other = world.client().await;
            let worker = quick(&other).only(["fails_then_hangs"]);
            (worker.start().await.unwrap(), other)
        }
    };
    let first = tasks().await;
    let run = client.start(unlucky(gate.number)).await.unwrap();
    until(|| gate.done().len() == 2).await;
    drop(first);
    let _second = tasks().await;
    assert_eq!(result(&run).await.unwrap(), 3);
    assert_eq!(gate.done(), ["attempt 1", "attempt 2", "attempt 3"]);
}

async fn claimed(client: &Client) -> usize {
    let queues = client.queues().await.unwrap();
    queues.iter().map(|queue| queue.claimed).sum()
}

#[task(queue = "nobody")]
async fn never_runs() {}

#[workflow]
async fn gives_up(ctx: Context) -> Result<bool> {
    Ok(ctx
        .timeout(millis(20), ctx.run(never_runs()))
        .await
        .is_err())
}

async fn dropped_queued_task_is_withdrawn(world: World) {
    let client = world.client().await;
    let _worker = quick(&client).only(["gives_up"]).start().await.unwrap();
    let run = client.start(gives_up()).await.unwrap();
    assert!(result(&run).await.unwrap());
    assert!(client.queues().await.unwrap().is_empty());
}

#[workflow]
async fn squeeze(ctx: Context, counter: usize) -> Result<()> {
    ctx.join_all((0..40).map(|_| counted(counter).queue("narrow")))
        .await
        .map(drop)
}

async fn no_more_of_a_queue_run_at_once_than_it_has_slots(world: World) {
    let counter = COUNTERS.fetch_add(1, Ordering::SeqCst);
    let client = world.client().await;
    let _worker = quick(&client)
        .slots(16)
        .queue("narrow", 2)
        .start()
        .await
        .unwrap();
    let run = client.start(squeeze(counter)).await.unwrap();
    result(&run).await.unwrap();
    assert_eq!(MOST[counter].load(Ordering::SeqCst), 2);
}

#[task(queue = "ranked")]
async fn ranked(name: String, gate: usize) {
    gate_of(gate).note(name);
}

#[workflow]
async fn ranks(ctx: Context, gate: usize) -> Result<()> {
    let call = |name: &str, priority| ranked(name.to_owned(), gate).priority(priority);
    let calls = [
        call("middle", 0),
        call("low", -7),
        call("late", 9).delay(millis(150)),
        call("high", 7),
        call("middle too", 0),
    ];
    ctx.join_all(calls).await.map(drop)
}

async fn higher_priority_runs_first_and_a_delayed_task_later(world: World) {
    let gate = Gate::new();
    let client = world.client().await;
    let _flows = quick(&client).only(["ranks"]).start().await.unwrap();
    let run = client.start(ranks(gate.number)).await.unwrap();
    reaches(&run, Status::Waiting).await;
    let _tasks = quick(&world.client().await)
        .only(["ranked"])
        .queue("ranked", 1)
        .start()
        .await
        .unwrap();
    result(&run).await.unwrap();
    let done = gate.done();
    let in_time = done.iter().filter(|name| *name != "late");
    assert!(
        in_time.eq(["high", "middle", "middle too", "low"]),
        "{done:?}"
    );
    assert!(done.contains(&"late".to_owned()));
}

#[task]
async fn at_once() {}

#[workflow]
async fn delays(ctx: Context) -> Result<u128> {
    let before = ctx.now();
    ctx.run(at_once().delay(millis(120))).await?;
    Ok(ctx.now().since(before).as_millis())
}

async fn delayed_task_starts_no_earlier(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(delays()).await.unwrap();
    assert!(result(&run).await.unwrap() >= 120);
}

#[workflow]
async fn delays_elsewhere(ctx: Context) -> Result<u128> {
    let before = ctx.now();
    ctx.run(at_once().queue("elsewhere").delay(millis(120)))
        .await?;
    Ok(ctx.now().since(before).as_millis())
}

async fn delayed_queued_task_starts_no_earlier(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(delays_elsewhere()).await.unwrap();
    assert!(result(&run).await.unwrap() >= 120);
}

async fn shutdown_waits_for_attempts_from_queues(world: World) {
    let gate = Gate::new();
    let client = world.client().await;
    let _flows = quick(&client)
        .only(["needs_the_gate"])
        .start()
        .await
        .unwrap();
    let other = world.client().await;
    let tasks = quick(&other)
        .only(["waits_at_the_gate"])
        .start()
        .await
        .unwrap();
    let run = client.start(needs_the_gate(gate.number)).await.unwrap();
    until(|| !gate.done().is_empty()).await;
    let leaving = tokio::spawn(tasks.shutdown());
    // It has nothing else to wait for, so it would be gone soon.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!leaving.is_finished());
    gate.open();
    leaving.await.unwrap().unwrap();
    assert_eq!(result(&run).await.unwrap(), 1);
}

/// Marks the worker that owns the runs.
const OWNER: u32 = 1;
const HELPER: u32 = 2;

#[task]
async fn crowded(number: u32, gate: usize, worker: Dep<Rate>) -> u32 {
    let gate = gate_of(gate);
    if worker.0 == OWNER {
        gate.pass().await;
    }
    gate.note(format!("{}", worker.0));
    number
}

#[workflow]
async fn overflows(ctx: Context, gate: usize) -> Result<Vec<u32>> {
    ctx.join_all((0..40).map(|number| crowded(number, gate)))
        .await
}

async fn placements<R>(run: &Handle<R>) -> (usize, usize) {
    let history = run.history().await.unwrap();
    let count = |wanted: &Placement| {
        let is_wanted = |entry: &&HistoryEntry| matches!(&entry.event.kind, EventKind::TaskScheduled { placement, .. } if placement == wanted);
        history.iter().filter(is_wanted).count()
    };
    (count(&Placement::Local), count(&Placement::Spilled))
}

/// Starts a worker with one slot that owns the runs, and perhaps a helper before it, which has the task alone.
struct Overflow {
    client: Client,
    _owner: Worker,
    helper: Option<(Worker, Client)>,
    gate: Arc<Gate>,
}

impl Overflow {
    /// The helper is held back by the gate when it is marked as the owner is.
    async fn with_helper(world: &World, mark: u32) -> Self {
        let other = world.client().await;
        let helper = quick(&other).only(["crowded"]).provide(Rate(mark));
        let helper = helper.start().await.unwrap();
        Self {
            helper: Some((helper, other)),
            ..Self::alone(world).await
        }
    }

    async fn alone(world: &World) -> Self {
        let owner = quick(&world.client().await)
            .only(["overflows", "crowded"])
            .slots(1)
            .provide(Rate(OWNER));
        Self {
            _owner: owner.start().await.unwrap(),
            // One without a worker, so that the owner finds the run by a look, which tells it of its peers too.
            client: world.client().await,
            helper: None,
            gate: Gate::new(),
        }
    }

    async fn start(&self) -> Handle<Vec<u32>> {
        let call = overflows(self.gate.number);
        self.client.start(call).await.unwrap()
    }
}

async fn tasks_beyond_what_their_worker_keeps_run_in_another(world: World) {
    let overflow = Overflow::with_helper(&world, HELPER).await;
    let run = overflow.start().await;
    // The owner keeps three tasks for its slot and takes one of those that it gave away; all of them wait.
    until(|| overflow.gate.done().len() == 36).await;
    assert!(overflow.gate.done().iter().all(|worker| worker == "2"));
    overflow.gate.open();
    let seen = result(&run).await.unwrap();
    assert!(seen.into_iter().eq(0..40));
    assert_eq!(overflow.gate.done().len(), 40);
    assert_eq!(placements(&run).await, (3, 37));
}

async fn lone_worker_keeps_all_its_tasks(world: World) {
    let overflow = Overflow::alone(&world).await;
    overflow.gate.open();
    let run = overflow.start().await;
    result(&run).await.unwrap();
    assert_eq!(placements(&run).await, (40, 0));
}

async fn spilled_tasks_run_when_the_other_workers_are_gone(world: World) {
    let mut overflow = Overflow::with_helper(&world, OWNER).await;
    let run = overflow.start().await;
    let helped = async {
        while claimed(&overflow.client).await < 36 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), helped)
        .await
        .unwrap();
    drop(overflow.helper.take());
    overflow.gate.open();
    let seen = result(&run).await.unwrap();
    assert!(seen.into_iter().eq(0..40));
    let history = run.history().await.unwrap();
    let is_lost = |entry: &&HistoryEntry| matches!(entry.event.kind, EventKind::AttemptLost { .. });
    assert_eq!(history.iter().filter(is_lost).count(), 36);
}

async fn worker_needs_no_workflow(world: World) {
    let client = world.client().await;
    let _worker = quick(&client).only(["at_once"]).start().await.unwrap();
    let run = client.start(at_once().id("alone")).await.unwrap();
    result(&run).await.unwrap();
    assert_eq!(
        run.info().await.unwrap().identity.workflow_type.as_str(),
        "at_once"
    );
}
