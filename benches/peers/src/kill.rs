//! W7: the process that is killed, and the one after it.

use anyhow::Result;

use crate::child::say;
use crate::engine::{Engine, Program};
use crate::program::{hang_at_the_third, until_at_the_third};
use crate::sizes::Sizes;

/// Runs workflows until all are at their third task, which hangs, and says so.
pub(crate) async fn be_killed<E: Engine>(url: &str, sizes: &Sizes) -> Result<()> {
    hang_at_the_third();
    let engine = E::open(url).await?;
    for at in 0..sizes.killed {
        engine.start(Program::Five, Some(&id(at))).await?;
    }
    until_at_the_third(sizes.killed).await;
    say("there");
    std::future::pending().await
}

/// Runs a worker until the workflows of the killed one have results, and says so.
pub(crate) async fn succeed<E: Engine>(url: &str, sizes: &Sizes) -> Result<()> {
    let engine = E::open(url).await?;
    say("ready");
    for at in 0..sizes.killed {
        let run = engine.find(&id(at)).await?;
        engine.result(run).await?;
    }
    say("done");
    engine.close().await
}

fn id(at: usize) -> String {
    format!("killed-{at}")
}
