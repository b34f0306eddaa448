//! W7: how long the workflows of a killed worker take to be done elsewhere.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use longhaul::Result;
use longhaul::prelude::*;

use super::child::{Child, say};
use super::start_worker;
use crate::row::Row;
use crate::subject::Subject;
use crate::workflows::{AT_THE_THIRD, Hangs, five};

const WORKFLOWS: u64 = 500;

/// Is the lease that workers have when nothing else is said.
const LEASE: Duration = Duration::from_secs(5);

/// Kills the worker of five hundred workflows at their third task, and waits for their results.
pub(super) async fn measure(subject: &Subject) -> Result<Vec<Row>> {
    let store = Arc::new(subject.store()?);
    let client = store.client().await?;
    let mut victim = Child::start(&["victim", "--url", &store.url])?;
    victim.line().await?;
    let mut runs = Vec::new();
    for _ in 0..WORKFLOWS {
        runs.push(client.start(five()).await?);
    }
    victim.line().await?;
    let heir = start_worker(&client, Hangs(false)).await?;
    let begun = Instant::now();
    victim.kill().await?;
    for run in &runs {
        run.result().await?;
    }
    let time = begun.elapsed();
    heir.shutdown().await?;
    let row = Row::new("W7", time.as_secs_f64(), "s")
        .in_flight(500)
        .above(LEASE.as_secs_f64(), "s, the default lease")
        .note("from kill -9 to the last result; the killed worker had 500 slots, as each third task hangs in one");
    Ok(vec![row])
}

/// Runs a worker whose third tasks hang, and says when all are there.
pub(crate) async fn be_killed(url: &str) -> Result<()> {
    let client = Client::connect(url).await?;
    let worker = Worker::builder(&client).slots(usize::try_from(WORKFLOWS)?);
    let _worker = worker.provide(Hangs(true)).start().await?;
    say("ready");
    while AT_THE_THIRD.load(Ordering::SeqCst) < WORKFLOWS {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    say("there");
    std::future::pending().await
}
