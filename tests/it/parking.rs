//! Parked runs cost nothing in the process (P14).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use longhaul::backend::Backend;
use longhaul::clock::BackendClock;
use longhaul::prelude::*;
use longhaul_backend_memory::{MemoryBackend, MemoryConfig};
use longhaul_backend_sqlite::{SqliteBackend, SqliteConfig};

use crate::world::{quick, until};

const RUNS: usize = 10_000;
const WAKE: Signal<u32> = Signal::new("wake");

/// Counts the futures in memory, for one test each.
static FUTURES: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Is held by each future of the workflow below.
struct InMemory(usize);

impl InMemory {
    fn new(store: usize) -> Self {
        FUTURES[store].fetch_add(1, Ordering::SeqCst);
        Self(store)
    }
}

impl Drop for InMemory {
    fn drop(&mut self) {
        FUTURES[self.0].fetch_sub(1, Ordering::SeqCst);
    }
}

#[workflow]
async fn waits(ctx: Context, store: usize, number: u32) -> Result<u32> {
    let _counted = InMemory::new(store);
    if number.is_multiple_of(2) {
        ctx.receive(WAKE).await
    } else {
        ctx.sleep(minutes(1)).await?;
        Ok(number)
    }
}

async fn all_are(client: &Client, status: Status) {
    let reached = async {
        while client.list().status(status).count().await.unwrap() < RUNS as u64 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let patience = std::time::Duration::from_secs(120);
    if tokio::time::timeout(patience, reached).await.is_err() {
        let count = client.list().status(status).count().await;
        panic!("{count:?} of {RUNS} runs are {status}");
    }
}

async fn check(backend: Arc<dyn Backend>, clock: BackendClock, store: usize) {
    let in_memory = || FUTURES[store].load(Ordering::SeqCst);
    let client = Client::of(backend);
    // The lease is longer than the clock will jump.
    let worker = quick(&client)
        .lease(hours(1))
        .live_max(500)
        .start()
        .await
        .unwrap();
    let numbers: Vec<u32> = (0..u32::try_from(RUNS).unwrap()).collect();
    for batch in numbers.chunks(500) {
        let starts = batch
            .iter()
            .map(|number| client.start(waits(store, *number).id(format!("run-{number:05}"))));
        for started in futures::future::join_all(starts).await {
            started.unwrap();
        }
    }
    all_are(&client, Status::Waiting).await;
    until(|| worker.live_runs() == 0).await;
    assert_eq!(in_memory(), 0);

    clock.advance(minutes(2));
    for number in numbers.iter().filter(|number| number.is_multiple_of(2)) {
        let run = client.handle::<u32>(format!("run-{number:05}")).unwrap();
        run.signal(WAKE, *number).await.unwrap();
    }
    all_are(&client, Status::Completed).await;
    assert_eq!(in_memory(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_ten_thousand_parked_runs_leave_no_future_and_all_wake_up() {
    let clock = BackendClock::manual(Timestamp::from_micros(1_000_000));
    let config = MemoryConfig::new().clock(clock.clone());
    let backend = Arc::new(MemoryBackend::open(config));
    check(backend, clock, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_ten_thousand_parked_runs_leave_no_future_and_all_wake_up() {
    let folder = tempfile::tempdir().unwrap();
    let clock = BackendClock::manual(Timestamp::from_micros(1_000_000));
    let config = SqliteConfig::new(folder.path().join("parked.db")).clock(clock.clone());
    let backend = Arc::new(SqliteBackend::open(config).await.unwrap());
    check(backend, clock, 0).await;
}
