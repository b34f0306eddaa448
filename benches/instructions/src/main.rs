//! Does a fixed amount of work on one thread in memory, for `cargo xtask instructions` to count the instructions of.
//!
//! Invariants: two runs with the same arguments do the same. Time stands still while there is work, so that nothing is
//! done more often on a slow machine, and ids are fixed; only the seeds of hash maps and of tokio differ. The difference
//! of two runs is the work by which they differ, as start-up and warm-up are in both.

mod environment;

use std::sync::Arc;

use longhaul::history::Event;
use longhaul::prelude::*;

use crate::environment::FixedChance;

/// Is how many workflows there are at a time.
const IN_FLIGHT: usize = 64;

/// Is how many tasks a workflow of W1 has.
const TASKS: u32 = 5;

/// Is how many tasks make the five thousand events of W8.
const TASKS_REPLAYED: u32 = 2_500;

const USAGE: &str = "usage: longhaul-instructions w1 WORKFLOWS | w8 PASSES";

#[task]
async fn trivial(step: u32) -> u32 {
    step
}

/// Runs tasks one after another.
#[workflow]
async fn sequence(ctx: Context, count: u32) -> Result<u32> {
    let mut sum = 0;
    for step in 0..count {
        sum += ctx.run(trivial(step)).await? & 1;
    }
    Ok(sum)
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = || Error::failed(USAGE);
    let [workload, count] = arguments.as_slice() else {
        return Err(usage());
    };
    let count: usize = count.parse()?;
    let client = Client::builder()
        .environment(Arc::new(FixedChance::new()))
        .connect("memory:")
        .await?;
    let worker = Worker::builder(&client).start().await?;
    let done = match workload.as_str() {
        "w1" => run_workflows(&client, count).await?,
        "w8" => replay(&client, count).await?,
        _ => return Err(usage()),
    };
    say(done);
    worker.shutdown().await
}

/// Tells how many workflows ran, or events were replayed.
#[expect(clippy::print_stdout, reason = "its parent reads it")]
fn say(done: usize) {
    println!("{done}");
}

/// Runs workflows of five tasks from start to result.
async fn run_workflows(client: &Client, count: usize) -> Result<usize> {
    let lanes: Vec<_> = (0..IN_FLIGHT)
        .map(|lane| {
            let client = client.clone();
            tokio::spawn(async move {
                for at in (lane..count).step_by(IN_FLIGHT) {
                    let call = sequence(TASKS).id(format!("w1-{at:06}"));
                    client.start(call).await?.result().await?;
                }
                Ok::<(), Error>(())
            })
        })
        .collect();
    for lane in lanes {
        lane.await??;
    }
    Ok(count)
}

/// Replays a history of five thousand events from memory.
async fn replay(client: &Client, passes: usize) -> Result<usize> {
    let run = client.start(sequence(TASKS_REPLAYED).id("w8")).await?;
    run.result().await?;
    let history: Vec<Event> = (run.history().await?.into_iter())
        .map(|one| one.event)
        .collect();
    for _ in 0..passes {
        client.check_replay(sequence(TASKS_REPLAYED).registration(), &history)?;
    }
    Ok(passes * history.len())
}
