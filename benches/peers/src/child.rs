//! The program of one engine: each process of it does one thing, and says on its output what came of it.

use anyhow::Result;
use clap::{Parser, Subcommand};
use serde::{Deserialize, Serialize};

use crate::engine::{Engine, Store, Succession};
use crate::sizes::Sizes;
use crate::workload::Workload;
use crate::{kill, parked};

/// Is what an engine says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct About {
    /// How the workflows of a killed worker go on.
    pub succession: Succession,
    /// What differs from its default settings on Postgres, or why it cannot be.
    pub postgres: Result<String, String>,
    /// What differs from its default settings on SQLite, or why it cannot be.
    pub sqlite: Result<String, String>,
}

impl About {
    fn of<E: Engine>() -> Self {
        let on = |store| E::settings(store).map(str::to_owned).map_err(str::to_owned);
        Self {
            succession: E::SUCCESSION,
            postgres: on(Store::Postgres),
            sqlite: on(Store::Sqlite),
        }
    }

    /// Returns what differs from its default settings on a store, or why it cannot be.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn on(&self, store: Store) -> Result<&str, &str> {
        let of = match store {
            Store::Postgres => &self.postgres,
            Store::Sqlite => &self.sqlite,
        };
        of.as_deref().map_err(String::as_str)
    }
}

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[arg(long, global = true)]
    quick: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what the engine is
    About,
    /// Measure one pass of W1 to W5
    Pass { workload: Workload, url: String },
    /// Park workflows and hang
    Fill { url: String },
    /// Be a worker with nothing to do
    Idle { url: String, parked: usize },
    /// Be a worker that is killed
    Victim { url: String },
    /// Be the worker after it
    Heir { url: String },
}

/// Runs what the command line asks of an engine.
///
/// # Errors
/// The engine's.
pub async fn run<E: Engine>() -> Result<()> {
    let arguments = Arguments::parse();
    let sizes = match arguments.quick {
        true => Sizes::QUICK,
        false => Sizes::FULL,
    };
    match arguments.command {
        Command::About => say(&serde_json::to_string(&About::of::<E>())?),
        Command::Pass { workload, url } => {
            let figures = workload.pass(E::open(&url).await?, &url, &sizes).await?;
            say(&serde_json::to_string(&figures)?);
        }
        Command::Fill { url } => parked::fill::<E>(&url, &sizes).await?,
        Command::Idle { url, parked } => parked::idle::<E>(&url, parked, &sizes).await?,
        Command::Victim { url } => kill::be_killed::<E>(&url, &sizes).await?,
        Command::Heir { url } => kill::succeed::<E>(&url, &sizes).await?,
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "its parent reads it")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}
