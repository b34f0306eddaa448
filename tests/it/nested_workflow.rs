//! Subworkflows: links, outcomes, close policies.

use longhaul::prelude::*;

use crate::world::{World, reaches, result};

on_every_backend!(
    workflow_in_a_workflow_has_parent_and_root,
    force_new_workflow_makes_a_task_a_subworkflow,
    subworkflow_outcomes_reach_the_parent_in_any_order,
    failed_subworkflow_fails_its_await,
    detached_run_outlives_its_parent,
    open_subworkflow_is_cancelled_with_its_parent,
    subworkflow_whose_id_is_taken_is_refused,
);

const GO: Signal<u32> = Signal::new("go");

#[task]
async fn identity_of_task(ctx: TaskContext) -> WorkflowIdentity {
    ctx.identity().clone()
}

#[workflow]
async fn grandchild(ctx: Context) -> Result<WorkflowIdentity> {
    Ok(ctx.identity().clone())
}

#[workflow]
async fn child(ctx: Context) -> Result<(WorkflowIdentity, WorkflowIdentity)> {
    Ok((ctx.identity().clone(), ctx.run(grandchild()).await?))
}

#[workflow]
async fn parent(ctx: Context) -> Result<(WorkflowIdentity, WorkflowIdentity)> {
    ctx.run(child()).await
}

async fn workflow_in_a_workflow_has_parent_and_root(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(parent().id("top")).await.unwrap();
    let (child, grandchild) = result(&run).await.unwrap();
    assert_eq!(child.workflow_id.as_str(), "top/1/child#1");
    assert_eq!(child.parent.as_ref().unwrap().as_str(), "top");
    assert_eq!(child.root.as_str(), "top");
    assert_eq!(grandchild.parent.as_ref().unwrap(), &child.workflow_id);
    assert_eq!(grandchild.root.as_str(), "top");
    let tree = client.list().tree_of(run.id()).await.unwrap();
    assert_eq!(tree.len(), 3);
}

#[workflow]
async fn forces(ctx: Context) -> Result<(WorkflowIdentity, WorkflowIdentity)> {
    let inherited = ctx.run(identity_of_task()).await?;
    let own = ctx.run(identity_of_task().force_new_workflow()).await?;
    Ok((inherited, own))
}

async fn force_new_workflow_makes_a_task_a_subworkflow(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(forces().id("forcing")).await.unwrap();
    let (inherited, own) = result(&run).await.unwrap();
    assert_eq!(inherited.workflow_id.as_str(), "forcing");
    assert!(own.is_subworkflow());
    assert_eq!(own.parent.unwrap().as_str(), "forcing");
    assert_eq!(own.workflow_type.as_str(), "identity_of_task");
}

#[workflow]
async fn waits_for_go(ctx: Context, add: u32) -> Result<u32> {
    Ok(ctx.receive(GO).await? + add)
}

#[workflow]
async fn spreads(ctx: Context) -> Result<Vec<u32>> {
    ctx.join_all((0..3).map(|n| waits_for_go(n * 100).id(format!("spread-{n}"))))
        .await
}

async fn subworkflow_outcomes_reach_the_parent_in_any_order(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(spreads()).await.unwrap();
    for n in [2, 0, 1] {
        let child = client.handle::<u32>(format!("spread-{n}")).unwrap();
        while child.signal(GO, n).await.is_err() {
            tokio::task::yield_now().await;
        }
        assert_eq!(result(&child).await.unwrap(), n * 101);
    }
    assert_eq!(result(&run).await.unwrap(), [0, 101, 202]);
}

#[workflow]
async fn breaks(ctx: Context) -> Result<()> {
    let _ = ctx;
    Err(failure!("broken below"))
}

#[workflow]
async fn catches(ctx: Context) -> Result<String> {
    Ok(ctx.run(breaks()).await.unwrap_err().to_string())
}

async fn failed_subworkflow_fails_its_await(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(catches()).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), "broken below");
}

#[workflow]
async fn detaches(ctx: Context) -> Result<String> {
    let run = ctx.start(waits_for_go(1).id("detached")).await?;
    Ok(run.id().to_string())
}

async fn detached_run_outlives_its_parent(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(detaches()).await.unwrap();
    let id = result(&run).await.unwrap();
    let detached = client.handle::<u32>(&id).unwrap();
    detached.signal(GO, 4).await.unwrap();
    assert_eq!(result(&detached).await.unwrap(), 5);
}

#[workflow]
async fn leaves_a_child(ctx: Context) -> Result<()> {
    let started = ctx
        .start(waits_for_go(1).id("left").close_policy(ClosePolicy::Cancel))
        .await?;
    drop(started.id().clone());
    Err(failure!("gave up"))
}

async fn open_subworkflow_is_cancelled_with_its_parent(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(leaves_a_child()).await.unwrap();
    result(&run).await.unwrap_err();
    let child = client.handle::<u32>("left").unwrap();
    let error = result(&child).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    reaches(&child, Status::Cancelled).await;
}

#[workflow]
async fn takes_an_id(ctx: Context) -> Result<String> {
    Ok(ctx
        .run(waits_for_go(1).id("taken"))
        .await
        .unwrap_err()
        .to_string())
}

async fn subworkflow_whose_id_is_taken_is_refused(world: World) {
    let (client, _worker) = world.worker().await;
    client.start(waits_for_go(7).id("taken")).await.unwrap();
    let run = client.start(takes_an_id()).await.unwrap();
    let message = result(&run).await.unwrap();
    assert!(message.contains("taken"), "{message}");
}
