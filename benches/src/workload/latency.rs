//! W2 and W5: how long one workflow takes, and how long it takes to go on after a signal.

use std::time::{Duration, Instant};

use longhaul::Result;
use longhaul::prelude::*;

use super::Bench;
use crate::limit::Limits;
use crate::row::{Row, millis, percentile};
use crate::subject::Subject;
use crate::workflows::{GO, sequence, waiting};

/// Is how many are measured, one after another.
const MEASURED: usize = 500;

const WARM_UP: usize = 50;

/// Measures W2: from the start of a workflow of five tasks to its result.
pub(super) async fn start_to_result(subject: &Subject, limits: &Limits) -> Result<Vec<Row>> {
    let bench = Bench::open(subject).await?;
    let mut times = Vec::new();
    for at in 0..WARM_UP + MEASURED {
        let begun = Instant::now();
        bench.client.start(sequence(5)).await?.result().await?;
        if at >= WARM_UP {
            times.push(begun.elapsed());
        }
    }
    bench.close().await?;
    Ok(vec![row("W2", &mut times, limits)])
}

/// Measures W5: from the sending of a signal to the result of the workflow that waits for it.
pub(super) async fn signal_to_result(subject: &Subject, limits: &Limits) -> Result<Vec<Row>> {
    let bench = Bench::open(subject).await?;
    let mut times = Vec::new();
    for at in 0..WARM_UP + MEASURED {
        let run = bench.client.start(waiting()).await?;
        while run.status().await? != Status::Running {
            tokio::task::yield_now().await;
        }
        let mut result = std::pin::pin!(run.result());
        let begun = Instant::now();
        let sent = run.signal(GO, 7).into_future();
        let (sent, result) = futures::join!(sent, result.as_mut());
        sent?;
        result?;
        if at >= WARM_UP {
            times.push(begun.elapsed());
        }
    }
    bench.close().await?;
    Ok(vec![row("W5", &mut times, limits)])
}

fn row(workload: &str, times: &mut [Duration], limits: &Limits) -> Row {
    times.sort_unstable();
    let half = millis(percentile(times, 50));
    let of = format!("ms, one of {}", limits.one.of);
    Row::new(workload, half, "ms, p50")
        .above(limits.one.millis(), &of)
        .latencies(times)
}
