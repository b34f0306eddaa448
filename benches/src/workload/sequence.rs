//! W3 and W4: the tasks of one workflow, one after another and side by side.

use std::time::Instant;

use longhaul::Result;

use super::Bench;
use crate::count::Counts;
use crate::limit::Limits;
use crate::row::{Row, millis};
use crate::subject::Subject;
use crate::workflows::{fan_out, sequence};

/// Is how many tasks follow one another.
const STEPS: u32 = 1_000;

/// Is how often it is measured; the median counts.
const PASSES: usize = 3;

/// Measures W3: one workflow of a thousand tasks.
pub(super) async fn one_after_another(subject: &Subject, limits: &Limits) -> Result<Vec<Row>> {
    let bench = Bench::open(subject).await?;
    bench.client.start(sequence(100)).await?.result().await?;
    let before = Counts::of(&bench.store)?;
    let mut times = Vec::new();
    for _ in 0..PASSES {
        let begun = Instant::now();
        bench.client.start(sequence(STEPS)).await?.result().await?;
        times.push(begun.elapsed());
    }
    let counts = Counts::of(&bench.store)?;
    times.sort_unstable();
    let time = times.get(PASSES / 2).copied().unwrap_or_default();
    let row = Row::new("W3", f64::from(STEPS) / time.as_secs_f64(), "steps/s")
        .below(limits.one.rate, &limits.one.of)
        .note("median of 3");
    let steps = f64::from(STEPS) * 3.0;
    let counts = counts.since(&before, steps);
    bench.close().await?;
    Ok(vec![counts.into_iter().fold(row, |row, (name, value)| {
        row.count(&format!("{name} per step"), value)
    })])
}

/// Measures W4: one workflow of five hundred tasks side by side, and one of ten thousand.
pub(super) async fn side_by_side(subject: &Subject) -> Result<Vec<Row>> {
    let bench = Bench::open(subject).await?;
    bench.client.start(fan_out(100)).await?.result().await?;
    let mut rows = Vec::new();
    for count in [500, 10_000] {
        let mut times = Vec::new();
        for _ in 0..PASSES {
            let begun = Instant::now();
            bench.client.start(fan_out(count)).await?.result().await?;
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        let time = times.get(PASSES / 2).copied().unwrap_or_default();
        let note = format!("{count} tasks, median of 3");
        rows.push(Row::new("W4", millis(time), "ms").note(note));
    }
    bench.close().await?;
    Ok(rows)
}
