//! The project's benchmarks: workloads W1 to W10 and SCALE on every backend, each beside the limit of the same machine.
//!
//! Run by `cargo xtask bench`, which starts the servers. Invariants: workloads go through the public API with default
//! options where a row's note says nothing else, in processes of their own where they must die or idle; nothing else is measured at the same time.

mod count;
mod limit;
mod plot;
mod report;
mod row;
mod subject;
mod workflows;
mod workload;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum as _};
use longhaul::Result;

use crate::row::Row;
use crate::subject::{Engine, Subject};
use crate::workload::{Shape, Workload};

#[derive(Debug, Parser)]
#[command(
    name = "longhaul-bench",
    about = "Measures Longhaul beside the limits of this machine"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure workloads
    Run(Run),
    /// Be a worker that is killed
    Victim {
        #[arg(long)]
        url: String,
    },
    /// Be a worker that has nothing to do
    Idle {
        #[arg(long)]
        url: String,
    },
    /// Be one of several workers
    Share {
        #[arg(long)]
        url: String,
    },
    /// Be the worker of one run with many tasks
    RunOne {
        #[arg(long)]
        url: String,
        #[arg(long)]
        shape: Shape,
    },
}

#[derive(Debug, clap::Args)]
struct Run {
    /// The workloads, such as `W1,W3`; all by default
    #[arg(long, value_delimiter = ',', ignore_case = true)]
    only: Vec<Workload>,
    /// The backends; all by default
    #[arg(long, value_delimiter = ',')]
    backend: Vec<Engine>,
    /// Write the rows as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write RESULTS.md and its plots into a folder
    #[arg(long)]
    report: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    match Arguments::parse().command {
        // As a server's handler of requests, what starts workflows is a task of the runtime.
        Command::Run(run) => tokio::spawn(async move { measure(&run).await }).await?,
        Command::Victim { url } => workload::be_killed(&url).await,
        Command::Idle { url } => workload::be_idle(&url).await,
        Command::Share { url } => workload::be_a_share(&url).await,
        Command::RunOne { url, shape } => workload::be_one_run(&url, shape).await,
    }
}

async fn measure(run: &Run) -> Result<()> {
    let engines = match run.backend.as_slice() {
        [] => Engine::value_variants(),
        some => some,
    };
    let workloads = match run.only.as_slice() {
        [] => &Workload::ALL,
        some => some,
    };
    let mut rows = Vec::new();
    report::print_head();
    for engine in engines {
        for subject in Subject::all_of(*engine)? {
            let limits = limit::measure(&subject).await?;
            for workload in workloads.iter().filter(|one| one.is_for(*engine)) {
                for row in workload.run(&subject, &limits).await? {
                    let row = Row {
                        backend: engine.name().to_owned(),
                        durability: subject.durability.to_owned(),
                        ..row
                    };
                    report::print_row(&row);
                    rows.push(row);
                }
            }
            write(run, &rows)?;
        }
    }
    Ok(())
}

/// Writes what was measured so far, so that a run which is cut short leaves what it had.
fn write(run: &Run, rows: &[Row]) -> Result<()> {
    if let Some(file) = &run.json {
        std::fs::write(file, serde_json::to_string_pretty(rows)? + "\n")?;
    }
    if let Some(folder) = &run.report {
        report::write(folder, rows)?;
    }
    Ok(())
}
