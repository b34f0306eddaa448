//! The main job: takes orders through reserve, charge, approval, shipping and mail, and survives `kill -9` at any moment.
//!
//! ```text
//! cargo run --example checkout                     # twenty orders, records in ./checkout-data
//! cargo run --example checkout -- approve order-1003
//! cargo run --example checkout -- status
//! cargo run --example checkout -- worker           # in as many terminals as you like
//!
//! cargo run --features postgres --example checkout -- worker --url postgres://...
//! cargo run --features redis --example checkout -- worker --url redis://...
//! ```
#![expect(clippy::print_stdout, reason = "it talks to a person")]

mod arguments;
mod commands;
mod effects;
mod health;
mod orders;
mod progress;
mod status;
mod workflow;

use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::{Arguments, Command};

#[tokio::main]
async fn main() -> ExitCode {
    log_if_asked();
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        None => commands::run(&arguments.settings, arguments.orders.as_deref()).await,
        Some(Command::Approve { order, refuse }) => {
            commands::approve(&arguments.settings, order, *refuse).await
        }
        Some(Command::Status) => status::status(&arguments.settings).await,
        Some(Command::Worker) => commands::work(&arguments.settings).await,
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Logs to standard error what the variable `LONGHAUL_LOG` asks for, such as `info` or `longhaul_core=debug`.
fn log_if_asked() {
    if let Ok(filter) = std::env::var("LONGHAUL_LOG") {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .init();
    }
}
