//! What user code sees, told by topic: identity, state, context, exceptions.
//!
//! Each test has a store in memory and a runtime whose time is skipped.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may panic"
)]

use std::sync::Arc;

use longhaul_backend_memory::{MemoryBackend, MemoryConfig};
use longhaul_core::Result;
use longhaul_core::call::Call;
use longhaul_core::client::{Client, Handle};
use longhaul_core::clock::{BackendClock, Timestamp};
use longhaul_core::worker::{Worker, WorkerBuilder};
use serde::de::DeserializeOwned;

mod context;
mod exceptions;
mod identity;
mod state;

/// Makes a store whose time is that of the runtime.
fn client() -> Client {
    let clock = BackendClock::of_the_runtime(Timestamp::from_micros(1_800_000_000_000_000));
    Client::of(Arc::new(MemoryBackend::open(
        MemoryConfig::new().clock(clock),
    )))
}

fn worker(client: &Client) -> WorkerBuilder {
    Worker::builder(client).park_after(std::time::Duration::ZERO)
}

/// Runs a call to its end, replayed at every await.
async fn outcome<R: DeserializeOwned>(call: Call<R>) -> Result<R> {
    let (result, _) = outcome_and_run(call).await;
    result
}

async fn outcome_and_run<R: DeserializeOwned>(call: Call<R>) -> (Result<R>, Handle<R>) {
    let client = client();
    let _worker = worker(&client).always_park().start().await.unwrap();
    let run = client.start(call).await.unwrap();
    (run.result().await, run)
}
