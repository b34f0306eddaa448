//! W6: the processes that park workflows, and that have nothing to do beside them.

use std::time::Duration;

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};

use crate::child::say;
use crate::count::{TICK_MS, cpu_millis, resident_bytes, statements};
use crate::engine::{Engine, Program};
use crate::sizes::Sizes;

/// Is below how many statements a second a store is taken to be at rest.
const QUIET: f64 = 500.0;

/// Is how often, a second apart, a store is looked at until it is at rest.
const LOOKS_MAX: usize = 30;

/// Is how many workflows are started at a time.
const IN_FLIGHT: usize = 64;

/// Is what an idle worker uses.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Idle {
    /// Memory in use.
    pub resident_bytes: f64,
    /// Processor time, in percent of a core.
    pub cpu_percent: f64,
    /// Statements a second.
    pub statements: f64,
}

/// Starts workflows that wait, and says when all do.
pub(crate) async fn fill<E: Engine>(url: &str, sizes: &Sizes) -> Result<()> {
    let engine = E::open(url).await?;
    let engine = &engine;
    let start = |at| async move {
        let id = format!("parked-{at}");
        engine.start(Program::Waiting, Some(&id)).await
    };
    futures::stream::iter((0..sizes.parked).map(start))
        .buffer_unordered(IN_FLIGHT)
        .try_for_each(|_| std::future::ready(Ok(())))
        .await?;
    crate::program::until_waiting(sizes.parked).await;
    engine.rest(sizes.parked).await?;
    until_quiet(url).await?;
    say("filled");
    std::future::pending().await
}

/// Runs a worker that has nothing to do beside parked workflows, and says what it uses.
pub(crate) async fn idle<E: Engine>(url: &str, parked: usize, sizes: &Sizes) -> Result<()> {
    let engine = E::open(url).await?;
    engine.rest(parked).await?;
    until_quiet(url).await?;
    tokio::time::sleep(sizes.settle).await;
    let (asked, cpu) = (statements(url)?, cpu_millis()?);
    tokio::time::sleep(sizes.watched).await;
    let cpu = (cpu_millis()? - cpu).max(TICK_MS);
    let seconds = sizes.watched.as_secs_f64();
    let asked = statements(url)?
        .zip(asked)
        .map_or(0.0, |(after, before)| after - before);
    let idle = Idle {
        resident_bytes: resident_bytes()?,
        cpu_percent: cpu / (seconds * 10.0),
        statements: asked / seconds,
    };
    say(&serde_json::to_string(&idle)?);
    engine.close().await
}

async fn until_quiet(url: &str) -> Result<()> {
    let Some(mut before) = statements(url)? else {
        return Ok(());
    };
    for _ in 0..LOOKS_MAX {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = statements(url)?.unwrap_or(before);
        if now - before < QUIET {
            break;
        }
        before = now;
    }
    Ok(())
}
