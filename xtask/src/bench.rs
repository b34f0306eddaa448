//! `cargo xtask bench`: the workloads on servers of its own, optimised; `--peers` measures other engines beside ours.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::process::{cargo, root, target};
use crate::servers::{Servers, stop_on_signal};
use crate::weight;

/// Lists the workspaces of other engines; they are apart from ours and from each other.
const PEERS: [&str; 2] = ["benches/peers", "benches/peers/durare"];

/// Says what to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The workloads, such as `W1,W3`; all by default
    #[arg(long)]
    only: Option<String>,
    /// The backends, such as `postgres,sqlite`; all by default
    #[arg(long, conflicts_with = "peers")]
    backend: Option<String>,
    /// Measure durare and the Rust SDK of DBOS beside Longhaul
    #[arg(long)]
    peers: bool,
    /// Measure little, to see that the workloads run
    #[arg(long, requires = "peers")]
    quick: bool,
    /// Write the rows as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write RESULTS.md and its plots into a folder, such as `benches`; with `--peers` a file, such as
    /// `benches/PEERS.md`
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
    let mut bench = if arguments.peers {
        peers(&target().join("peers"))?
    } else {
        ours(&target())?
    };
    stop_on_signal(0)?;
    let servers = Servers::start_to_measure()?;
    bench.envs(servers.variables());
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
    bench.args(arguments.quick.then_some("--quick"));
    ensure!(bench.status()?.success(), "the benchmark failed");
    Ok(())
}

fn ours(target: &Path) -> Result<Command> {
    let build = ["build", "--release", "--package", "longhaul-benches"];
    ensure!(cargo(&build).status()?.success(), "the build failed");
    let mut bench = Command::new(target.join("release/longhaul-bench"));
    bench.arg("run");
    Ok(bench)
}

/// Builds every engine into one folder, where the program that starts them looks for them.
fn peers(target: &Path) -> Result<Command> {
    for workspace in PEERS {
        let mut build = cargo(&["build", "--release", "--workspace", "--manifest-path"]);
        build.arg(root().join(workspace).join("Cargo.toml"));
        build.arg("--target-dir").arg(target);
        ensure!(build.status()?.success(), "the build of {workspace} failed");
    }
    Ok(Command::new(target.join("release/longhaul-peers")))
}
