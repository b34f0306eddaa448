//! W8: how fast a history of fifty thousand events is replayed, and how soon such a run goes on.

use std::time::Instant;

use longhaul::prelude::*;
use longhaul::{Error, Result};

use super::Bench;
use crate::row::{Row, millis};
use crate::subject::Subject;
use crate::workflows::{GO, long_and_waiting};

/// Is how many tasks make fifty thousand events, the most that a history may have, with the start, the signal and the end.
const TASKS: u32 = 24_997;

/// Is how often a history is replayed from memory.
const PASSES: u32 = 5;

/// Replays a run from memory, and makes another worker go on with it.
pub(super) async fn measure(subject: &Subject) -> Result<Vec<Row>> {
    let bench = Bench::open(subject).await?;
    let run = bench.client.start(long_and_waiting(TASKS)).await?;
    loop {
        let status = run.info().await?.status;
        if status == Status::Waiting {
            break;
        }
        if status.is_terminal() {
            return Err(Error::failed(format!(
                "the run is {status} before its signal"
            )));
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let history: Vec<_> = run
        .history()
        .await?
        .into_iter()
        .map(|one| one.event)
        .collect();
    let events = f64::from(u32::try_from(history.len())?);
    let begun = Instant::now();
    for _ in 0..PASSES {
        bench
            .client
            .check_replay(long_and_waiting(TASKS).registration(), &history)?;
    }
    let rate = events * f64::from(PASSES) / begun.elapsed().as_secs_f64();
    let replayed = Row::new("W8", rate, "events/s")
        .count("events", events)
        .note("from memory");
    let begun = Instant::now();
    run.signal(GO, 7).await?;
    run.result().await?;
    let resumed = Row::new("W8", millis(begun.elapsed()), "ms")
        .count("events", events)
        .note("from a signal to the result of a parked run, read and replayed");
    bench.close().await?;
    Ok(vec![replayed, resumed])
}
