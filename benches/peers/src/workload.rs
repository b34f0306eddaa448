//! W1 to W5, each one pass on an engine of this process; the names of all workloads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::count::{cpu_millis, statements};
use crate::engine::{Engine, Program, Store};
use crate::figure::{Figure, latencies, millis, number};
use crate::program::{until_waiting, waiting};
use crate::sizes::Sizes;

/// Is how many workflows warm up what is measured one by one.
const WARM_UP: usize = 20;

/// Is how long after it was about to wait a workflow surely waits.
const SURELY_WAITS: Duration = Duration::from_millis(25);

/// Names a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "UPPER")]
#[expect(missing_docs, reason = "`says` does")]
pub enum Workload {
    W1,
    W2,
    W3,
    W4,
    W5,
    W6,
    W7,
}

impl Workload {
    /// Lists all.
    pub const ALL: [Self; 7] = [
        Self::W1,
        Self::W2,
        Self::W3,
        Self::W4,
        Self::W5,
        Self::W6,
        Self::W7,
    ];

    /// Returns its name as it is printed.
    #[must_use]
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// Lists the stores on which it says something.
    #[must_use]
    pub const fn stores(self) -> &'static [Store] {
        match self {
            Self::W6 | Self::W7 => &[Store::Postgres],
            _ => &[Store::Postgres, Store::Sqlite],
        }
    }

    /// Returns how often it is measured. The memory of W6 is the same each time, and takes minutes.
    #[must_use]
    pub const fn passes(self, sizes: &Sizes) -> usize {
        match self {
            Self::W6 => 1,
            _ => sizes.passes,
        }
    }

    /// Says what it is.
    #[must_use]
    pub fn says(self, sizes: &Sizes) -> String {
        match self {
            Self::W1 => format!(
                "{} workflows of 5 trivial tasks, {} in flight",
                sizes.workflows, sizes.in_flight
            ),
            Self::W2 => format!(
                "{} workflows of 5 tasks one at a time, from start to result",
                sizes.one_by_one
            ),
            Self::W3 => format!("one workflow of {} tasks one after another", sizes.steps),
            Self::W4 => format!("one workflow of {} tasks side by side", sizes.side_by_side),
            Self::W5 => format!(
                "a message to a waiting workflow until its result is there, {} times",
                sizes.one_by_one
            ),
            Self::W6 => format!(
                "{} workflows that wait for a message, and a worker that was started afterwards and has nothing to do, \
                 watched for {} s",
                sizes.parked,
                sizes.watched.as_secs()
            ),
            Self::W7 => format!(
                "{} workflows at task 3 of 5 whose process is killed with -9, until all have results",
                sizes.killed
            ),
        }
    }

    pub(crate) async fn pass<E: Engine>(
        self,
        engine: E,
        at: &str,
        sizes: &Sizes,
    ) -> Result<Vec<Figure>> {
        let engine = Arc::new(engine);
        let figures = match self {
            Self::W1 => throughput(&engine, at, sizes).await,
            Self::W2 => start_to_result(&*engine, sizes).await,
            Self::W3 => one_after_another(&*engine, at, sizes).await,
            Self::W4 => side_by_side(&*engine, sizes).await,
            Self::W5 => message_to_result(&*engine, sizes).await,
            Self::W6 | Self::W7 => anyhow::bail!("{} takes more than one process", self.name()),
        }?;
        if let Some(engine) = Arc::into_inner(engine) {
            engine.close().await?;
        }
        Ok(figures)
    }
}

async fn throughput<E: Engine>(engine: &Arc<E>, at: &str, sizes: &Sizes) -> Result<Vec<Figure>> {
    repeat(engine, sizes.warm_up, sizes.in_flight).await?;
    let (asked, cpu, begun) = (statements(at)?, cpu_millis()?, Instant::now());
    repeat(engine, sizes.workflows, sizes.in_flight).await?;
    let (time, cpu) = (begun.elapsed(), cpu_millis()? - cpu);
    let count = number(sizes.workflows);
    let mut figures = vec![
        Figure::more("workflows/s", count / time.as_secs_f64()),
        Figure::less("CPU ms of the process per workflow", cpu / count),
    ];
    if let (Some(before), Some(after)) = (asked, statements(at)?) {
        figures.push(Figure::less(
            "statements per workflow",
            (after - before) / count,
        ));
    }
    Ok(figures)
}

/// Runs workflows of five tasks from start to result, so many at a time.
async fn repeat<E: Engine>(engine: &Arc<E>, count: usize, in_flight: usize) -> Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let lanes: Vec<_> = (0..in_flight)
        .map(|_| {
            let (engine, next) = (Arc::clone(engine), Arc::clone(&next));
            tokio::spawn(async move {
                while next.fetch_add(1, Ordering::Relaxed) < count {
                    run(&*engine, Program::Sequence(5)).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for lane in lanes {
        lane.await??;
    }
    Ok(())
}

async fn run<E: Engine>(engine: &E, program: Program) -> Result<Duration> {
    let begun = Instant::now();
    let run = engine.start(program, None).await?;
    engine.result(run).await?;
    Ok(begun.elapsed())
}

async fn start_to_result<E: Engine>(engine: &E, sizes: &Sizes) -> Result<Vec<Figure>> {
    let mut times = Vec::new();
    for at in 0..WARM_UP + sizes.one_by_one {
        let time = run(engine, Program::Sequence(5)).await?;
        if at >= WARM_UP {
            times.push(time);
        }
    }
    Ok(latencies(&mut times))
}

async fn one_after_another<E: Engine>(engine: &E, at: &str, sizes: &Sizes) -> Result<Vec<Figure>> {
    run(engine, Program::Sequence(100)).await?;
    let asked = statements(at)?;
    let time = run(engine, Program::Sequence(sizes.steps)).await?;
    let steps = f64::from(sizes.steps);
    let mut figures = vec![Figure::more("steps/s", steps / time.as_secs_f64())];
    if let (Some(before), Some(after)) = (asked, statements(at)?) {
        figures.push(Figure::less(
            "statements per step",
            (after - before) / steps,
        ));
    }
    Ok(figures)
}

async fn side_by_side<E: Engine>(engine: &E, sizes: &Sizes) -> Result<Vec<Figure>> {
    run(engine, Program::FanOut(100)).await?;
    let time = run(engine, Program::FanOut(sizes.side_by_side)).await?;
    Ok(vec![Figure::less("ms", millis(time))])
}

async fn message_to_result<E: Engine>(engine: &E, sizes: &Sizes) -> Result<Vec<Figure>> {
    let mut times = Vec::new();
    for at in 0..WARM_UP + sizes.one_by_one {
        let (id, before) = (format!("waiting-{at}"), waiting());
        let run = engine.start(Program::Waiting, Some(&id)).await?;
        until_waiting(before + 1).await;
        tokio::time::sleep(SURELY_WAITS).await;
        let begun = Instant::now();
        futures::future::try_join(engine.send(&id), engine.result(run)).await?;
        if at >= WARM_UP {
            times.push(begun.elapsed());
        }
    }
    Ok(latencies(&mut times))
}
