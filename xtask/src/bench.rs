//! `cargo xtask bench`: the workloads on servers of its own, optimised.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::process::{cargo, target};
use crate::servers::{Servers, stop_on_signal};
use crate::weight;

/// Says what to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The workloads, such as `W1,W3`; all by default
    #[arg(long)]
    only: Option<String>,
    /// The backends, such as `postgres,sqlite`; all by default
    #[arg(long)]
    backend: Option<String>,
    /// Write the rows as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write RESULTS.md and its plots into a folder, such as `benches`
    #[arg(long)]
    report: Option<PathBuf>,
    /// Measure how long a user's program takes to compile, and nothing else
    #[arg(long)]
    build: bool,
}

/// Builds the benchmarks, starts servers that lose nothing, and measures.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.build {
        return weight::measure();
    }
    let build = ["build", "--release", "--package", "longhaul-benches"];
    ensure!(cargo(&build).status()?.success(), "the build failed");
    stop_on_signal(0)?;
    let servers = Servers::start_to_measure()?;
    let mut bench = std::process::Command::new(target().join("release/longhaul-bench"));
    bench.arg("run").envs(servers.variables());
    let options = [
        ("--only", &arguments.only),
        ("--backend", &arguments.backend),
    ];
    for (name, value) in options {
        if let Some(value) = value {
            bench.args([name, value]);
        }
    }
    for (name, path) in [("--json", &arguments.json), ("--report", &arguments.report)] {
        if let Some(path) = path {
            bench.arg(name).arg(path);
        }
    }
    ensure!(bench.status()?.success(), "the benchmark failed");
    Ok(())
}
