//! The project's own commands: `cargo xtask test | servers | verify | package | simulate | bench | instructions | fix |
//! diagram`.
//!
//! Invariants: `verify` changes no tracked file; `test` counts every backend or fails. What a command needs and the
//! machine lacks, it installs itself, below `target/`; servers come from Debian's packages.
#![expect(clippy::print_stdout, reason = "it talks to a person")]

mod bench;
mod deny;
mod diagram;
mod instructions;
mod package;
mod process;
mod servers;
mod simulate;
mod test;
mod tidy;
mod unpack;
mod verify;
mod weight;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The project's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every test of every crate on every backend
    Test(test::Arguments),
    /// Start the servers that tests use, print the variables that name them, and keep them until Ctrl-C
    Servers,
    /// Check format, lints, each feature alone, docs, house rules and dependencies
    Verify,
    /// Pack every crate, and run the toy backend's tests over what was packed
    Package,
    /// Mend what can be mended by a program
    Fix,
    /// Simulate fleets with every fault, and judge them against the promises
    Simulate(simulate::Arguments),
    /// Measure every workload on every backend beside the limits of this machine
    Bench(bench::Arguments),
    /// Count the instructions of a fixed amount of work, and compare them with those that are known
    Instructions(instructions::Arguments),
    /// Render the status diagram of docs/status.md
    Diagram,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Test(arguments) => test::run(&arguments),
        Command::Servers => servers::run(),
        Command::Verify => verify::run(),
        Command::Package => package::run().map(drop),
        Command::Fix => verify::fix(),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Instructions(arguments) => instructions::run(&arguments),
        Command::Diagram => diagram::write(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
