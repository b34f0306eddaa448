//! SCALE: several worker processes on one store, and runs that are much longer and wider than those of W3 and W4.
//!
//! Invariants: each worker, and each such run, is in a process of its own, so that its memory is its own too.

use std::time::Instant;

use longhaul::Result;
use longhaul::options::Limits as RunLimits;
use longhaul::prelude::*;
use serde::{Deserialize, Serialize};

use super::child::{Child, orders, say};
use super::{start_worker, throughput};
use crate::count::{Counts, peak_bytes};
use crate::limit::Limits;
use crate::row::Row;
use crate::subject::{Engine, Subject};
use crate::workflows::{Hangs, fan_out, long, marks, sequence, wide};

/// Lists how many processes there are.
const PROCESSES: [u32; 3] = [1, 2, 4];

/// Is how many workflows each process starts.
const WORKFLOWS: u32 = 2_000;

const WARM_UP: usize = 500;

/// Is how many workflows each process has at a time.
const IN_FLIGHT: usize = 64;

/// Is how often it is measured; the median counts.
const PASSES: usize = 3;

/// Is how many events the long run may have, which are two for each step.
const HISTORY_EVENTS_MAX: u64 = 1_000_000;

/// Measures several workers on one store, then a long run and a wide one.
pub(super) async fn measure(subject: &Subject, limits: &Limits) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    if subject.engine != Engine::Memory {
        rows.extend(by_processes(subject, limits).await?);
    }
    for shape in [Shape::Long, Shape::Wide] {
        rows.push(one_run(subject, shape).await?);
    }
    Ok(rows)
}

async fn by_processes(subject: &Subject, limits: &Limits) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for processes in PROCESSES {
        let row = workers(subject, processes).await?;
        let one = rows.first().map_or(row.value, |row| row.value);
        let ratio = row.value / one;
        let row = row.count("times one process", ratio);
        rows.push(row.below(limits.many.rate, &limits.many.of));
    }
    Ok(rows)
}

/// Makes each process run its share at the same time.
async fn workers(subject: &Subject, processes: u32) -> Result<Row> {
    let store = subject.store()?;
    let mut children = Vec::new();
    for _ in 0..processes {
        let mut child = Child::start(&["share", "--url", &store.url])?;
        child.line().await?;
        children.push(child);
    }
    let before = Counts::of(&store)?;
    let mut times = Vec::new();
    for _ in 0..PASSES {
        let begun = Instant::now();
        for child in &mut children {
            child.tell("go").await?;
        }
        for child in &mut children {
            child.line().await?;
        }
        times.push(begun.elapsed());
    }
    let all = f64::from(WORKFLOWS * processes);
    let counts = Counts::of(&store)?.since(&before, all * 3.0);
    for child in children {
        child.end().await?;
    }
    times.sort_unstable();
    let time = times.get(PASSES / 2).copied().unwrap_or_default();
    let row = Row::new("SCALE", all / time.as_secs_f64(), "workflows/s")
        .in_flight(IN_FLIGHT * usize::try_from(processes)?)
        .note(format!(
            "workers, each in a process that starts and runs {WORKFLOWS}: {processes}; median of 3"
        ));
    // The processor time is that of this process, which only waits.
    let counts = counts.into_iter().filter(|(name, _)| *name != "CPU ms");
    Ok(counts.fold(row, |row, (name, value)| {
        row.count(&format!("{name} per workflow"), value)
    }))
}

/// Is a worker that starts and runs its share of workflows each time it is told to.
pub(crate) async fn be_a_share(url: &str) -> Result<()> {
    let client = Client::connect(url).await?;
    let worker = start_worker(&client, Hangs(false)).await?;
    throughput::run(&client, WARM_UP, IN_FLIGHT).await?;
    say("ready");
    let mut orders = orders();
    while orders.next_line().await?.is_some() {
        throughput::run(&client, usize::try_from(WORKFLOWS)?, IN_FLIGHT).await?;
        say("done");
    }
    worker.shutdown().await
}

/// Says how the tasks of one run stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shape {
    /// One after another.
    Long,
    /// Side by side.
    Wide,
}

impl Shape {
    const fn name(self) -> &'static str {
        match self {
            Self::Long => "long",
            Self::Wide => "wide",
        }
    }

    const fn tasks(self) -> u32 {
        match self {
            Self::Long => 100_000,
            Self::Wide => 10_000,
        }
    }
}

/// Is what a process says of its one run.
#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    /// The time until each tenth of the tasks was done.
    seconds: Vec<f64>,
    /// The most memory until then.
    peaks: Vec<f64>,
    seconds_in_all: f64,
    /// The time of a run of a tenth of the tasks, before.
    seconds_of_a_small_run: f64,
    peak_before: f64,
    peak_in_all: f64,
}

async fn one_run(subject: &Subject, shape: Shape) -> Result<Row> {
    let store = subject.store()?;
    let arguments = ["run-one", "--url", &store.url, "--shape", shape.name()];
    let mut child = Child::start(&arguments)?;
    let progress: Progress = serde_json::from_str(&child.line().await?)?;
    child.end().await?;
    let in_flight = match shape {
        Shape::Long => 1,
        Shape::Wide => usize::try_from(shape.tasks())?,
    };
    let mut note = format!("one run of {} tasks, {}", shape.tasks(), shape.name());
    if shape == Shape::Long {
        note += &format!("; limit of {HISTORY_EVENTS_MAX} events instead of 50000");
    }
    if subject.engine == Engine::Memory {
        note += "; the store is in the same memory";
    }
    Ok(progress.row(shape).in_flight(in_flight).note(note))
}

impl Progress {
    fn row(&self, shape: Shape) -> Row {
        let until = |tenth: usize| self.seconds.get(tenth - 1).copied().unwrap_or_default();
        let first = until(1);
        let last = until(10) - until(9);
        let rate = f64::from(shape.tasks()) / self.seconds_in_all;
        let megabytes = |bytes: f64| bytes / 1e6;
        let at_a_tenth = self.peaks.first().copied().unwrap_or_default();
        Row::new("SCALE", rate, "tasks/s")
            .count("first half s", until(5))
            .count("second half s", until(10) - until(5))
            .count("time of the last tenth over the first", last / first)
            .count(
                "time over ten times a run of a tenth",
                self.seconds_in_all / (10.0 * self.seconds_of_a_small_run),
            )
            .count("MB peak before", megabytes(self.peak_before))
            .count("MB peak at a tenth", megabytes(at_a_tenth))
            .count("MB peak", megabytes(self.peak_in_all))
    }
}

/// Runs one run of many tasks, and says how it went on.
pub(crate) async fn be_one_run(url: &str, shape: Shape) -> Result<()> {
    let mut limits = RunLimits::default();
    limits.history_events_max = HISTORY_EVENTS_MAX;
    let client = Client::builder().limits(limits).connect(url).await?;
    let worker = start_worker(&client, Hangs(false)).await?;
    client.start(sequence(100)).await?.result().await?;
    let begun = Instant::now();
    let small = match shape {
        Shape::Long => client.start(sequence(shape.tasks() / 10)).await?,
        Shape::Wide => client.start(fan_out(shape.tasks() / 10)).await?,
    };
    small.result().await?;
    let seconds_of_a_small_run = begun.elapsed().as_secs_f64();
    let peak_before = peak_bytes()?;
    let begun = Instant::now();
    let run = match shape {
        Shape::Long => client.start(long(shape.tasks())).await?,
        Shape::Wide => client.start(wide(shape.tasks())).await?,
    };
    run.result().await?;
    let seconds_in_all = begun.elapsed().as_secs_f64();
    let marks = marks();
    let since = |at: Instant| at.duration_since(begun).as_secs_f64();
    let progress = Progress {
        seconds: marks.iter().map(|mark| since(mark.at)).collect(),
        peaks: marks.iter().map(|mark| mark.peak_bytes).collect(),
        seconds_in_all,
        seconds_of_a_small_run,
        peak_before,
        peak_in_all: peak_bytes()?,
    };
    say(&serde_json::to_string(&progress)?);
    worker.shutdown().await
}
