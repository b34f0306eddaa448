//! W1 and W10: many workflows of five tasks at a time, in an empty store and in a full one.

use std::time::{Duration, Instant};

use longhaul::Result;
use longhaul::prelude::*;

use super::{Bench, repeat};
use crate::count::Counts;
use crate::limit::Limits;
use crate::row::Row;
use crate::subject::Subject;
use crate::workflows::{sequence, stuck_for_good};

/// Is how many workflows are measured.
const WORKFLOWS: usize = 2_000;

/// Is how many warm the caches up.
const WARM_UP: usize = 500;

/// Is how often it is measured; the median counts.
const PASSES: usize = 3;

/// Is how many are started at a time to fill a store.
const FILLERS: usize = 256;

/// Measures W1 at 64 and at 256 in flight.
pub(super) async fn measure(subject: &Subject, limits: &Limits) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for in_flight in [64, 256] {
        let bench = Bench::open(subject).await?;
        run(&bench.client, WARM_UP, in_flight).await?;
        let before = Counts::of(&bench.store)?;
        let mut times = Vec::new();
        for _ in 0..PASSES {
            times.push(run(&bench.client, WORKFLOWS, in_flight).await?);
        }
        let counts = Counts::of(&bench.store)?;
        times.sort_unstable();
        let rate = rate(
            WORKFLOWS,
            times.get(PASSES / 2).copied().unwrap_or_default(),
        );
        let row = Row::new("W1", rate, "workflows/s")
            .in_flight(in_flight)
            .below(limits.many.rate, &limits.many.of)
            .note("median of 3");
        let all = f64::from(u32::try_from(PASSES * WORKFLOWS)?);
        let counts = counts.since(&before, all);
        rows.push(counts.into_iter().fold(row, |row, (name, value)| {
            row.count(&format!("{name} per workflow"), value)
        }));
        bench.close().await?;
    }
    Ok(rows)
}

/// Measures W10: W1 in a store of a thousand, ten thousand, a hundred thousand runs, and of as many stuck ones besides.
pub(super) async fn against_volume(subject: &Subject, limits: &Limits) -> Result<Vec<Row>> {
    let bench = Bench::open(subject).await?;
    let mut rows = Vec::new();
    let mut stored = 0;
    for volume in [1_000, 10_000, 100_000] {
        run(&bench.client, volume - stored, FILLERS).await?;
        let mut times = Vec::new();
        for _ in 0..PASSES {
            times.push(run(&bench.client, WORKFLOWS, 64).await?);
        }
        stored = volume + PASSES * WORKFLOWS;
        rows.push(row(&mut times, limits, &format!("{volume} runs stored")));
    }
    fill_with_stuck(&bench.client, 100_000).await?;
    bench.until_all_are_parked().await?;
    let mut times = Vec::new();
    for _ in 0..PASSES {
        times.push(run(&bench.client, WORKFLOWS, 64).await?);
    }
    rows.push(row(
        &mut times,
        limits,
        "100000 runs stored and 100000 stuck invocations",
    ));
    bench.close().await?;
    Ok(rows)
}

fn row(times: &mut [Duration], limits: &Limits, note: &str) -> Row {
    times.sort_unstable();
    let time = times.get(PASSES / 2).copied().unwrap_or_default();
    Row::new("W10", rate(WORKFLOWS, time), "workflows/s")
        .in_flight(64)
        .below(limits.many.rate, &limits.many.of)
        .note(note)
}

/// Runs workflows of five tasks from start to result, and returns how long it took.
pub(super) async fn run(client: &Client, count: usize, in_flight: usize) -> Result<Duration> {
    let begun = Instant::now();
    let client = client.clone();
    repeat(count, in_flight, move |_| {
        let client = client.clone();
        async move {
            client.start(sequence(5)).await?.result().await?;
            Ok(())
        }
    })
    .await?;
    Ok(begun.elapsed())
}

async fn fill_with_stuck(client: &Client, count: usize) -> Result<()> {
    let client = client.clone();
    repeat(count, FILLERS, move |_| {
        let client = client.clone();
        async move {
            client.start(stuck_for_good()).await?;
            Ok(())
        }
    })
    .await
}

fn rate(count: usize, time: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / time.as_secs_f64()
}
