//! Tasks, signals, results and identities of single workflows.

use std::time::Duration;

use futures::StreamExt as _;
use longhaul::prelude::*;
use serde::{Deserialize, Serialize};

use crate::world::{Rate, World, reaches, result};

on_every_backend!(
    five_tasks_in_a_row_give_their_result,
    fan_out_of_five_hundred_keeps_the_order,
    futures_unordered_and_buffered_work,
    task_started_alone_is_a_run_with_its_own_identity,
    lists_show_workflows_unless_all_is_asked_for,
    start_with_the_same_id_joins_the_run,
    joining_a_run_that_has_ended_gives_its_result_at_once,
    start_with_the_same_id_and_other_arguments_is_refused,
    start_by_name_takes_json,
    dependencies_are_injected,
    worker_without_a_dependency_does_not_start,
    blocking_task_runs_beside_the_others,
    tags_are_stored_and_searched,
    step_runs_inline_and_is_recorded,
    arguments_of_another_shape_fail_the_run_with_their_name,
);

#[task]
async fn double(value: u32) -> Result<u32> {
    Ok(value * 2)
}

#[workflow]
async fn chain(ctx: Context, start: u32) -> Result<u32> {
    let mut value = start;
    for _ in 0..5 {
        value = ctx.run(double(value)).await?;
    }
    Ok(value)
}

async fn five_tasks_in_a_row_give_their_result(world: World) {
    let (client, worker) = world.worker().await;
    let run = client.start(chain(1).id("one")).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 32);
    assert_eq!(run.status().await.unwrap(), Status::Completed);
    worker.shutdown().await.unwrap();
}

#[workflow]
async fn fan_out(ctx: Context, width: u32) -> Result<Vec<u32>> {
    ctx.join_all((0..width).map(double)).await
}

async fn fan_out_of_five_hundred_keeps_the_order(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(fan_out(500)).await.unwrap();
    let expected: Vec<u32> = (0..500).map(|value| value * 2).collect();
    assert_eq!(result(&run).await.unwrap(), expected);
}

#[workflow]
async fn streams(ctx: Context) -> Result<(u32, Vec<u32>)> {
    let mut open: futures::stream::FuturesUnordered<_> =
        (0..40).map(|value| ctx.run(double(value))).collect();
    let mut sum = 0;
    while let Some(value) = open.next().await {
        sum += value?;
    }
    let buffered = futures::stream::iter(0..20)
        .map(|value| ctx.run(double(value)))
        .buffered(4)
        .collect::<Vec<_>>()
        .await;
    Ok((sum, buffered.into_iter().collect::<Result<_>>()?))
}

async fn futures_unordered_and_buffered_work(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(streams()).await.unwrap();
    let (sum, doubled) = result(&run).await.unwrap();
    assert_eq!(sum, 39 * 40);
    assert_eq!(doubled, (0..20).map(|value| value * 2).collect::<Vec<_>>());
}

#[task]
async fn who(ctx: TaskContext) -> WorkflowIdentity {
    ctx.identity().clone()
}

#[workflow]
async fn ask_who(ctx: Context) -> Result<(WorkflowIdentity, WorkflowIdentity)> {
    Ok((ctx.identity().clone(), ctx.run(who()).await?))
}

async fn task_started_alone_is_a_run_with_its_own_identity(world: World) {
    let (client, _worker) = world.worker().await;
    let alone = client.start(who().id("alone")).await.unwrap();
    let identity = result(&alone).await.unwrap();
    assert_eq!(identity.workflow_id.as_str(), "alone");
    assert_eq!(identity.workflow_type.as_str(), "who");
    assert!(!identity.is_subworkflow());

    let inside = client.start(ask_who().id("inside")).await.unwrap();
    let (workflow, task) = result(&inside).await.unwrap();
    assert_eq!(workflow, task);
    assert_eq!(task.workflow_type.as_str(), "ask_who");
}

async fn lists_show_workflows_unless_all_is_asked_for(world: World) {
    let (client, _worker) = world.worker().await;
    result(&client.start(who().id("b-task")).await.unwrap())
        .await
        .unwrap();
    result(&client.start(ask_who().id("a-flow")).await.unwrap())
        .await
        .unwrap();
    let ids = |runs: Vec<longhaul::client::RunInfo>| -> Vec<String> {
        runs.iter()
            .map(|run| run.identity.workflow_id.to_string())
            .collect()
    };
    assert_eq!(ids(client.list().await.unwrap()), ["a-flow"]);
    assert_eq!(
        ids(client.list().all().await.unwrap()),
        ["a-flow", "b-task"]
    );
    assert_eq!(client.list().all().count().await.unwrap(), 2);
}

async fn start_with_the_same_id_joins_the_run(world: World) {
    let (client, _worker) = world.worker().await;
    let first = client.start(chain(3).id("same")).await.unwrap();
    assert_eq!(result(&first).await.unwrap(), 96);
    let events = first.history().await.unwrap().len();
    let second = client.start(chain(3).id("same")).await.unwrap();
    assert_eq!(result(&second).await.unwrap(), 96);
    assert_eq!(second.history().await.unwrap().len(), events);
}

async fn joining_a_run_that_has_ended_gives_its_result_at_once(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(chain(1).id("ended")).await.unwrap();
    result(&run).await.unwrap();
    drop(run);
    let since = std::time::Instant::now();
    let joined = client.start(chain(1).id("ended")).await.unwrap();
    assert_eq!(result(&joined).await.unwrap(), 32);
    assert!(since.elapsed() < Duration::from_millis(700));
}

async fn start_with_the_same_id_and_other_arguments_is_refused(world: World) {
    let (client, _worker) = world.worker().await;
    client.start(chain(3).id("same")).await.unwrap();
    let other = client.start(chain(4).id("same")).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::AlreadyExists);
    assert!(other.message().contains("`same`"), "{other}");
    let other = client.start(fan_out(3).id("same")).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::AlreadyExists);
}

async fn start_by_name_takes_json(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client
        .start_by_name("chain", "1")
        .id("named")
        .await
        .unwrap();
    assert_eq!(result(&run).await.unwrap().as_str(), "32");
    let wrong = client.start_by_name("chain", "{").await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::InvalidInput);
}

#[task]
async fn priced(amount: u32, rate: Dep<Rate>) -> u32 {
    amount * rate.0
}

#[workflow]
async fn buys(ctx: Context) -> Result<u32> {
    ctx.run(priced(6)).await
}

async fn dependencies_are_injected(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(buys()).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 42);
}

async fn worker_without_a_dependency_does_not_start(world: World) {
    let client = world.client().await;
    let error = Worker::builder(&client)
        .only(["priced"])
        .start()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotRegistered);
    assert!(
        error.message().contains("priced") && error.message().contains("Rate"),
        "{error}"
    );
}

#[task]
fn blocks(value: u32) -> u32 {
    std::thread::sleep(Duration::from_millis(5));
    value + 1
}

#[workflow]
async fn with_blocking(ctx: Context) -> Result<u32> {
    let all = ctx.join_all((0..8).map(blocks)).await?;
    Ok(all.into_iter().sum())
}

async fn blocking_task_runs_beside_the_others(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(with_blocking()).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 36);
}

async fn tags_are_stored_and_searched(world: World) {
    let (client, _worker) = world.worker().await;
    for (id, customer) in [("t1", "ada"), ("t2", "bob"), ("t3", "ada")] {
        let run = client
            .start(chain(1).id(id).tag("customer", customer))
            .await
            .unwrap();
        result(&run).await.unwrap();
    }
    let found = client.list().tag("customer", "ada").await.unwrap();
    let ids: Vec<_> = found
        .iter()
        .map(|run| run.identity.workflow_id.as_str())
        .collect();
    assert_eq!(ids, ["t1", "t3"]);
}

#[derive(Serialize, Deserialize)]
struct Page {
    lines: usize,
}

#[workflow]
async fn with_step(ctx: Context) -> Result<usize> {
    let page = ctx.step("fetch", async { Ok(Page { lines: 3 }) }).await?;
    let failed = ctx
        .step("break", async { Err::<u32, _>(failure!("no paper")) })
        .await;
    assert_eq!(failed.unwrap_err().message(), "no paper");
    Ok(page.lines)
}

async fn step_runs_inline_and_is_recorded(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(with_step()).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 3);
    let history = format!("{:?}", run.history().await.unwrap());
    assert!(
        history.contains("step:fetch#1") && history.contains("no paper"),
        "{history}"
    );
}

async fn arguments_of_another_shape_fail_the_run_with_their_name(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start_by_name("chain", r#"["three"]"#).await.unwrap();
    let error = result(&run).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("chain"), "{error:?}");
    reaches(&run, Status::Failed).await;
}
