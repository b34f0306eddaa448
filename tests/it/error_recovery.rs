//! Retries, panics, blocked runs, and workers that die.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use longhaul::backend::{AcquireRequest, JoinRequest, Lane, Serves, TakeOverRequest};
use longhaul::clock::random_bytes_of_the_system;
use longhaul::id::{BuildId, Route, WorkerId};
use longhaul::prelude::*;
use serde::{Deserialize, Serialize};

use crate::world::{World, quick, reaches, result, until};

on_every_backend!(
    failing_task_is_retried_until_it_succeeds,
    permanent_error_is_not_retried,
    last_error_reaches_the_workflow_with_its_type,
    panic_in_a_task_is_an_error,
    panic_in_a_workflow_fails_the_run,
    attempt_timeout_counts_as_a_failure,
    dead_workers_run_goes_on_elsewhere,
    lost_attempt_is_counted,
    dropped_worker_stops_its_attempts,
    workers_that_died_before_running_the_code_block_nothing,
    shutdown_hands_runs_over_at_once,
    run_of_an_unknown_type_is_blocked_until_a_worker_serves_it,
    await_on_something_not_durable_blocks_the_run,
    foreign_await_beside_a_durable_one_blocks_the_run,
    changed_code_blocks_the_run_and_says_where,
);

#[derive(Debug, Serialize, Deserialize)]
struct Declined {
    card: u32,
}

impl std::fmt::Display for Declined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "card {} declined", self.card)
    }
}

impl std::error::Error for Declined {}

#[task(retries = 3, backoff = "1ms..2ms")]
async fn flaky(ctx: TaskContext, until: u32) -> Result<u32> {
    if ctx.attempt() < until {
        return Err(Error::failed("not yet"));
    }
    Ok(ctx.attempt())
}

#[workflow]
async fn tries(ctx: Context, until: u32) -> Result<u32> {
    ctx.run(flaky(until)).await
}

async fn failing_task_is_retried_until_it_succeeds(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(tries(4)).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 4);
    let run = client.start(tries(5)).await.unwrap();
    assert_eq!(result(&run).await.unwrap_err().message(), "not yet");
}

#[task(retries = 5, backoff = "1ms..1ms")]
async fn hopeless(ctx: TaskContext) -> Result<()> {
    Err(failure!("hopeless at attempt {}", ctx.attempt()))
}

#[workflow]
async fn tries_hopeless(ctx: Context) -> Result<()> {
    ctx.run(hopeless()).await
}

async fn permanent_error_is_not_retried(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(tries_hopeless()).await.unwrap();
    let error = result(&run).await.unwrap_err();
    assert_eq!(error.message(), "hopeless at attempt 1");
}

#[task]
async fn declines(card: u32) -> Result<(), Declined> {
    Err(Declined { card })
}

#[workflow]
async fn downcasts(ctx: Context) -> Result<u32> {
    let error = ctx.run(declines(9)).await.unwrap_err();
    Ok(error.downcast::<Declined>()?.card)
}

async fn last_error_reaches_the_workflow_with_its_type(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(downcasts()).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 9);
}

#[task]
async fn panics() -> Result<()> {
    panic!("out of {}", "luck")
}

#[workflow]
async fn runs_panics(ctx: Context) -> Result<()> {
    ctx.run(panics()).await
}

async fn panic_in_a_task_is_an_error(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(runs_panics()).await.unwrap();
    let error = result(&run).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert!(error.message().contains("out of luck") && error.message().contains("panics"));
}

#[workflow]
async fn panics_itself(ctx: Context) -> Result<()> {
    let _ = ctx;
    panic!("no way")
}

async fn panic_in_a_workflow_fails_the_run(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(panics_itself()).await.unwrap();
    let error = result(&run).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert!(error.message().contains("no way"));
}

#[task(timeout = "20ms", retries = 1, backoff = "1ms..1ms")]
async fn slow_once(ctx: TaskContext) -> Result<u32> {
    if ctx.attempt() == 1 {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    Ok(ctx.attempt())
}

#[workflow]
async fn runs_slow_once(ctx: Context) -> Result<u32> {
    ctx.run(slow_once()).await
}

async fn attempt_timeout_counts_as_a_failure(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(runs_slow_once()).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 2);
}

#[task]
async fn stuck_at_first(ctx: TaskContext) -> u32 {
    if ctx.attempt() == 1 {
        std::future::pending::<()>().await;
    }
    ctx.attempt()
}

#[workflow]
async fn survives(ctx: Context) -> Result<(u64, u64, u32)> {
    let before = ctx.random();
    let attempt = ctx.run(stuck_at_first()).await?;
    Ok((before, ctx.random(), attempt))
}

/// P5, P6: a dead worker's run goes on elsewhere; the attempt that died with it is counted.
async fn dead_workers_run_goes_on_elsewhere(world: World) {
    let (client, worker) = world.worker().await;
    let run = client.start(survives().id("survivor")).await.unwrap();
    reaches(&run, Status::Running).await;
    wait_for_schedule(&run).await;
    drop((client, worker));
    let (_other, _worker) = world.worker().await;
    let (first, second, attempt) = result(&run).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(attempt, 2);
}

async fn wait_for_schedule<R>(run: &Handle<R>) {
    while run.history().await.unwrap().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn lost_attempt_is_counted(world: World) {
    let (client, worker) = world.worker().await;
    let run = client.start(survives().id("lost")).await.unwrap();
    wait_for_schedule(&run).await;
    drop((client, worker));
    let (_other, _worker) = world.worker().await;
    result(&run).await.unwrap();
    let history = format!("{:?}", run.history().await.unwrap());
    assert!(
        history.contains("AttemptLost { operation: task:stuck_at_first#1, attempt: 1 }"),
        "{history}"
    );
}

static STOPPED: AtomicU32 = AtomicU32::new(0);

/// Counts when the future that holds it is dropped.
struct CountsDrops;

impl Drop for CountsDrops {
    fn drop(&mut self) {
        STOPPED.fetch_add(1, Ordering::SeqCst);
    }
}

#[task]
async fn holds_on(started: bool) -> bool {
    let _held = CountsDrops;
    std::future::pending::<()>().await;
    started
}

#[workflow]
async fn holds(ctx: Context) -> Result<bool> {
    ctx.run(holds_on(true)).await
}

async fn dropped_worker_stops_its_attempts(world: World) {
    let before = STOPPED.load(Ordering::SeqCst);
    let (client, worker) = world.worker().await;
    let run = client.start(holds()).await.unwrap();
    wait_for_schedule(&run).await;
    drop(worker);
    until(|| STOPPED.load(Ordering::SeqCst) > before).await;
}

/// Takes every due run like a worker that dies right after.
async fn acquire_and_die(client: &Client, route: &str) -> usize {
    let backend = client.backend();
    let worker = WorkerId(Uuid::from_random_bytes(
        random_bytes_of_the_system()[..16].try_into().unwrap(),
    ));
    let serves = Serves {
        routes: vec![Route::from_stored(route)],
        tasks: Vec::new(),
        queues: Vec::new(),
        build: BuildId::from_stored("short-lived"),
    };
    let join = JoinRequest {
        worker,
        lease: Duration::from_secs(60),
        lanes: 1,
        serves: serves.clone(),
        label: "short-lived".to_owned(),
    };
    backend.join(join).await.unwrap();
    let acquire = AcquireRequest {
        lane: Lane { worker, number: 0 },
        serves,
        limit: 10,
    };
    let taken = backend.acquire(acquire).await.unwrap().len();
    let force = vec![worker];
    backend.take_over(TakeOverRequest { force }).await.unwrap();
    taken
}

/// P5, P6: only what ran can have killed a worker.
async fn workers_that_died_before_running_the_code_block_nothing(world: World) {
    let client = world.client().await;
    let run = client.start(tries(1)).await.unwrap();
    for _ in 0..12 {
        assert_eq!(acquire_and_die(&client, "tries").await, 1);
    }
    let (_other, _worker) = world.worker().await;
    assert_eq!(result(&run).await.unwrap(), 1);
    let history = format!("{:?}", run.history().await.unwrap());
    assert!(
        history.contains("RecoveryStarted") && history.contains("Recovered"),
        "{history}"
    );
}

static GATE: Signal<()> = Signal::new("gate");

#[workflow]
async fn gated(ctx: Context) -> Result<u32> {
    ctx.receive(GATE).await?;
    Ok(1)
}

async fn shutdown_hands_runs_over_at_once(world: World) {
    let client = world.client().await;
    let worker = quick(&client)
        .park_after(Duration::from_secs(60))
        .lease(Duration::from_secs(60))
        .start()
        .await
        .unwrap();
    let run = client.start(gated()).await.unwrap();
    reaches(&run, Status::Running).await;
    worker.shutdown().await.unwrap();
    assert_eq!(run.status().await.unwrap(), Status::Waiting);
    let (_other, _worker) = world.worker().await;
    run.signal(GATE, ()).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 1);
}

#[workflow]
async fn served_later(ctx: Context) -> Result<u32> {
    let _ = ctx;
    Ok(5)
}

/// P12: nothing is lost, the reason is shown, and it goes on by itself.
async fn run_of_an_unknown_type_is_blocked_until_a_worker_serves_it(world: World) {
    let client = world.client().await;
    let worker = quick(&client).only(["gated"]).start().await.unwrap();
    let run = client.start(served_later()).await.unwrap();
    reaches(&run, Status::Blocked).await;
    let reason = run.info().await.unwrap().reason.unwrap();
    assert!(reason.contains("served_later"), "{reason}");
    let _second = quick(&client).only(["served_later"]).start().await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 5);
    worker.shutdown().await.unwrap();
}

#[workflow]
async fn awaits_foreign(ctx: Context) -> Result<()> {
    let _ = ctx;
    tokio::time::sleep(Duration::from_millis(1)).await;
    Ok(())
}

async fn await_on_something_not_durable_blocks_the_run(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(awaits_foreign()).await.unwrap();
    reaches(&run, Status::Blocked).await;
    let reason = run.info().await.unwrap().reason.unwrap();
    assert!(
        reason.contains("not durable") && reason.contains("ctx.sleep"),
        "{reason}"
    );
}

#[workflow]
async fn awaits_both(ctx: Context) -> Result<()> {
    let slept = tokio::time::sleep(Duration::from_millis(1));
    let (received, ()) = futures::join!(ctx.receive(GATE), slept);
    received
}

async fn foreign_await_beside_a_durable_one_blocks_the_run(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(awaits_both()).await.unwrap();
    reaches(&run, Status::Blocked).await;
}

static CODE_VERSION: AtomicU32 = AtomicU32::new(1);

#[task]
async fn charge(amount: u32) -> u32 {
    amount
}

#[workflow]
async fn edited(ctx: Context) -> Result<u32> {
    if CODE_VERSION.load(Ordering::SeqCst) == 1 {
        ctx.run(charge(1)).await?;
    } else {
        ctx.sleep(millis(3)).await?;
    }
    ctx.receive(GATE).await?;
    Ok(CODE_VERSION.load(Ordering::SeqCst))
}

/// B8: a build that blocked a run does not try it again; another does.
async fn changed_code_blocks_the_run_and_says_where(world: World) {
    static TURNS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = TURNS.lock().await;
    CODE_VERSION.store(1, Ordering::SeqCst);
    let client = world.client().await;
    let first = quick(&client).build_id("v1").start().await.unwrap();
    let run = client.start(edited()).await.unwrap();
    reaches(&run, Status::Waiting).await;
    first.shutdown().await.unwrap();

    CODE_VERSION.store(2, Ordering::SeqCst);
    let second = quick(&client).build_id("v2").start().await.unwrap();
    run.signal(GATE, ()).await.unwrap();
    reaches(&run, Status::Blocked).await;
    let reason = run.info().await.unwrap().reason.unwrap();
    assert!(
        reason.contains("task:charge#1") && reason.contains("timer:sleep#1"),
        "{reason}"
    );
    second.shutdown().await.unwrap();

    CODE_VERSION.store(1, Ordering::SeqCst);
    let _third = quick(&client).build_id("v3").start().await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 1);
}
