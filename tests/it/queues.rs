//! Where tasks run: local slots, and queues that other workers serve.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use longhaul::prelude::*;

use crate::world::{World, quick, reaches, result};

on_every_backend!(
    no_more_attempts_run_at_once_than_there_are_slots,
    queued_task_runs_in_the_worker_that_serves_its_queue,
    queued_task_is_retried_and_its_last_error_reaches_the_workflow,
    queued_attempt_of_a_dead_worker_is_tried_again,
    dropped_queued_task_is_withdrawn,
    delayed_task_starts_no_earlier,
    worker_needs_no_workflow,
);

/// Counts what runs at once, for one test each.
static RUNNING: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
static MOST: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
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
