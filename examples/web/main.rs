//! A web service whose handlers and worker are one process: any number of them share a store behind a load balancer.
//!
//! ```text
//! cargo run --example web
//! curl -d '{"id":"order-1","item":"lamp","cents":1990}' -H 'content-type: application/json' localhost:8080/orders
//! curl localhost:8080/orders/order-1
//! curl -X POST localhost:8080/orders/order-1/approve
//! curl localhost:8080/readyz
//! ```
#![expect(clippy::print_stdout, reason = "it talks to a person")]

mod handlers;
mod order;
mod readiness;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use longhaul::prelude::{Client, Error, Worker};
use longhaul::retry::parse_duration;
use tokio::net::TcpListener;

use crate::readiness::Readiness;

/// Takes orders over HTTP and carries them out.
#[derive(Debug, Parser)]
#[command(name = "web")]
struct Arguments {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,

    /// Store of the records
    #[arg(long, default_value = "sqlite:web.db")]
    url: String,

    /// How long to serve after SIGTERM while not ready, so that load balancers notice
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration)]
    grace: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let client = Client::connect(&arguments.url).await.map_err(shown)?;
    let worker = Worker::builder(&client).start().await.map_err(shown)?;
    let readiness = Readiness::of(worker.monitor());
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("{} cannot be listened on", arguments.listen))?;
    println!("listening on {}", listener.local_addr()?);
    let routes = handlers::routes(client, readiness.clone());
    axum::serve(listener, routes)
        .with_graceful_shutdown(until_drained(readiness, arguments.grace))
        .await?;
    worker.shutdown().await.map_err(shown)?;
    println!("drained");
    Ok(())
}

/// Makes an error of the example's kind from one of Longhaul's.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` takes")]
fn shown(error: Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

/// Waits for SIGTERM or Ctrl-C, says that this process is not ready any more, and gives others the time to notice.
async fn until_drained(readiness: Readiness, grace: Duration) {
    if let Err(error) = termination().await {
        eprintln!("error: no signal can be waited for: {error}");
    }
    println!("draining");
    readiness.drain();
    tokio::time::sleep(grace).await;
}

#[cfg(unix)]
async fn termination() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn termination() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
