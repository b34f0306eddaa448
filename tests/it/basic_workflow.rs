//! Tasks, signals and results of one workflow.

use longhaul::prelude::*;

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

#[tokio::test(flavor = "multi_thread")]
async fn five_tasks_in_a_row_give_their_result() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/x.db", folder.path().display());
    let client = Client::connect(&url).await.unwrap();
    let worker = Worker::builder(&client).start().await.unwrap();
    let run = client.start(chain(1).id("one")).await.unwrap();
    assert_eq!(run.result().await.unwrap(), 32);
    for entry in run.history().await.unwrap() {
        println!("{entry:?}");
    }
    worker.shutdown().await.unwrap();
}
