//! `cargo xtask simulate`: the simulator over many seeds, optimised.

use anyhow::{Result, ensure};

use crate::process::{cargo, stream};

/// Says what to simulate.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many seeds; with `--broken`, at most how many for each
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Judge engines that are wrong on purpose: `all`, or one by its name
    #[arg(long)]
    broken: Option<String>,
}

/// Runs the simulator and fails when it does.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let feature = match arguments.broken {
        Some(_) => "broken",
        None => "simulator",
    };
    let (seeds, seed) = (arguments.seeds.to_string(), arguments.seed.to_string());
    let mut command = cargo(&[
        "run",
        "--profile",
        "simulate",
        "--package",
        "longhaul-testing",
        "--features",
        feature,
        "--example",
        "simulate",
        "--",
        "--seeds",
        &seeds,
        "--seed",
        &seed,
    ]);
    if let Some(broken) = &arguments.broken {
        command.args(["--broken", broken]);
    }
    let (_, is_good) = stream(&mut command)?;
    ensure!(is_good, "the simulation failed");
    Ok(())
}
