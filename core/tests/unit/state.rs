//! Workflow data: set, get, update, remove; in the workflow, in its tasks, from outside.

use std::time::Duration;

use longhaul_core::context::{Context, Data, TaskContext};
use longhaul_core::{Error, Result};
use longhaul_macros::{task, workflow};

use crate::{client, outcome, worker};

const COUNT: Data<u32> = Data::new("count");
const NAME: Data<String> = Data::new("name");

#[task(crate = "longhaul_core")]
async fn count_in_task(context: TaskContext) -> Result<Option<u32>> {
    context.get(COUNT).await
}

#[workflow(crate = "longhaul_core")]
async fn counts(ctx: Context, start: u32) -> Result<Vec<Option<u32>>> {
    let mut seen = vec![ctx.get(COUNT)?];
    ctx.set(COUNT, start);
    seen.push(ctx.get(COUNT)?);
    seen.push(ctx.run(count_in_task()).await?);
    ctx.sleep(Duration::from_secs(1)).await?;
    seen.push(Some(
        ctx.update(COUNT, |count| count.unwrap_or_default() + 1)?,
    ));
    seen.push(ctx.run(count_in_task()).await?);
    ctx.remove(COUNT);
    seen.push(ctx.get(COUNT)?);
    seen.push(ctx.run(count_in_task()).await?);
    ctx.set(COUNT, start * 100);
    Ok(seen)
}

#[tokio::test(start_paused = true)]
async fn workflow_and_its_tasks_see_what_was_written_before_them() {
    let seen = outcome(counts(5)).await.unwrap();
    assert_eq!(seen, [None, Some(5), Some(5), Some(6), Some(6), None, None]);
}

#[tokio::test(start_paused = true)]
async fn two_runs_of_one_type_do_not_see_each_others_data() {
    let client = client();
    let _worker = worker(&client).start().await.unwrap();
    let one = client.start(counts(1).id("one")).await.unwrap();
    let two = client.start(counts(2).id("two")).await.unwrap();
    assert_eq!(one.result().await.unwrap()[1], Some(1));
    assert_eq!(two.result().await.unwrap()[1], Some(2));
    assert_eq!(one.get(COUNT).await.unwrap(), Some(100));
    assert_eq!(two.get(COUNT).await.unwrap(), Some(200));
    assert_eq!(one.get(NAME).await.unwrap(), None);
}

#[task(crate = "longhaul_core", retries = 2, backoff = "1h..1h")]
async fn fails_once(context: TaskContext) -> Result<u32> {
    match context.attempt() {
        1 => Err(Error::failed("once")),
        _ => Ok(context.get(COUNT).await?.unwrap_or_default()),
    }
}

#[workflow(crate = "longhaul_core")]
async fn survives_a_failure(ctx: Context) -> Result<(u32, Option<u32>)> {
    ctx.set(COUNT, 7_u32);
    let seen = ctx.run(fails_once()).await?;
    Ok((seen, ctx.get(COUNT)?))
}

#[tokio::test(start_paused = true)]
async fn data_survives_a_failing_task_and_its_retry() {
    assert_eq!(outcome(survives_a_failure()).await.unwrap(), (7, Some(7)));
}

const LISTED: Data<Vec<u32>> = Data::new("count");

#[workflow(crate = "longhaul_core")]
async fn reads_as_another_type(ctx: Context) -> Result<Vec<u32>> {
    ctx.set(COUNT, 7_u32);
    Ok(ctx.get(LISTED)?.unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn value_read_as_another_type_is_an_error_that_names_the_key() {
    let error = outcome(reads_as_another_type()).await.unwrap_err();
    assert!(
        error.message().contains("the data of `count` is not a"),
        "{error}"
    );
}
