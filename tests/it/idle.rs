//! An idle worker is quiet (P14).

use std::sync::Arc;
use std::time::Duration;

use longhaul::prelude::*;
use longhaul_backend_sqlite::{SqliteBackend, SqliteConfig};

use crate::world::Rate;

const NEVER: Signal<()> = Signal::new("never");

#[workflow]
async fn waits_for_ever(ctx: Context) -> Result<()> {
    ctx.receive(NEVER).await
}

/// With the default lease, over a window of real time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_with_nothing_to_do_asks_at_most_once_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let config = SqliteConfig::new(folder.path().join("idle.db"));
    let backend = Arc::new(SqliteBackend::open(config).await.unwrap());
    let client = Client::of(Arc::clone(&backend) as Arc<_>);
    let _worker = Worker::builder(&client)
        .provide(Rate(1))
        .park_after(Duration::from_millis(10))
        .start()
        .await
        .unwrap();
    for _ in 0..50 {
        client.start(waits_for_ever()).await.unwrap();
    }
    while client.list().status(Status::Waiting).count().await.unwrap() < 50 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;

    let before = backend.statistics();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let after = backend.statistics();
    let beats = after.reads - before.reads;
    let extensions = after.commits - before.commits;
    println!(
        "6 s idle with 50 parked runs: {beats} beats, {extensions} of them extended the lease"
    );
    assert!((3..=7).contains(&beats), "{beats} beats");
    assert!(extensions <= 4, "{extensions} extensions");
}
