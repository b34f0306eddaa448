//! Who a run is: a task alone, tasks inside, subworkflows, and tasks that ask for a workflow of their own.

use longhaul_core::Result;
use longhaul_core::context::{Context, TaskContext};
use longhaul_core::identity::WorkflowIdentity;
use longhaul_macros::{task, workflow};

use crate::{client, outcome, outcome_and_run, worker};

#[task(crate = "longhaul_core")]
async fn identity_of_task(context: TaskContext) -> WorkflowIdentity {
    context.identity().clone()
}

#[task(crate = "longhaul_core", force_new_workflow)]
async fn identity_of_forced(context: TaskContext) -> WorkflowIdentity {
    context.identity().clone()
}

#[workflow(crate = "longhaul_core")]
async fn lowest(ctx: Context) -> Result<Vec<WorkflowIdentity>> {
    let of_task = ctx.run(identity_of_task()).await?;
    Ok(vec![ctx.identity().clone(), of_task])
}

#[workflow(crate = "longhaul_core")]
async fn middle(ctx: Context) -> Result<Vec<WorkflowIdentity>> {
    let mut all = vec![ctx.identity().clone()];
    all.extend(ctx.run(lowest()).await?);
    Ok(all)
}

#[workflow(crate = "longhaul_core")]
async fn highest(ctx: Context) -> Result<Vec<WorkflowIdentity>> {
    let mut all = vec![ctx.identity().clone()];
    all.extend(ctx.run(middle()).await?);
    all.push(ctx.run(identity_of_forced()).await?);
    Ok(all)
}

#[tokio::test(start_paused = true)]
async fn task_started_alone_defines_a_workflow_of_its_own() {
    let identity = outcome(identity_of_task().id("alone")).await.unwrap();
    assert_eq!(identity.workflow_id.as_str(), "alone");
    assert_eq!(identity.workflow_type.as_str(), "identity_of_task");
    assert!(!identity.is_subworkflow());
    assert_eq!(identity.root, identity.workflow_id);
}

#[tokio::test(start_paused = true)]
async fn task_in_a_workflow_has_the_identity_of_the_workflow() {
    let all = outcome(lowest().id("order")).await.unwrap();
    assert_eq!(all[0], all[1]);
    assert_eq!(all[1].workflow_type.as_str(), "lowest");
}

#[tokio::test(start_paused = true)]
async fn subworkflows_know_their_parent_and_the_root_over_three_levels() {
    let all = outcome(highest().id("top")).await.unwrap();
    let [top, middle, lowest, of_task, forced] = &*all else {
        panic!("{all:?}");
    };
    assert!(!top.is_subworkflow());
    for below in [middle, lowest, of_task, forced] {
        assert!(below.is_subworkflow());
        assert_eq!(below.root, top.workflow_id);
    }
    assert_eq!(middle.parent, Some(top.workflow_id.clone()));
    assert_eq!(lowest.parent, Some(middle.workflow_id.clone()));
    assert_eq!(of_task, lowest);
    assert_ne!(lowest.workflow_id, middle.workflow_id);
}

#[tokio::test(start_paused = true)]
async fn task_marked_force_new_workflow_is_a_subworkflow_and_listed_as_a_run() {
    let client = client();
    let _worker = worker(&client).start().await.unwrap();
    let all = client
        .start(highest().id("top"))
        .await
        .unwrap()
        .result()
        .await
        .unwrap();
    let forced = all.last().unwrap();
    assert_eq!(forced.parent.as_ref().map(|id| id.as_str()), Some("top"));
    assert_eq!(forced.workflow_type.as_str(), "identity_of_forced");
    let listed = client
        .list()
        .all()
        .children_of(&all[0].workflow_id)
        .await
        .unwrap();
    let types: Vec<_> = listed
        .iter()
        .map(|run| run.identity.workflow_type.as_str())
        .collect();
    assert_eq!(types.len(), 2);
    assert!(types.contains(&"identity_of_forced") && types.contains(&"middle"));
}

#[tokio::test(start_paused = true)]
async fn run_without_an_id_gets_one_that_no_other_has() {
    let (_, one) = outcome_and_run(lowest()).await;
    let (_, other) = outcome_and_run(lowest()).await;
    assert_ne!(one.id(), other.id());
}
