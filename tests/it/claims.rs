//! Claims that are kept by beats, and requests that are shared: what only a clock and a counter can show.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use longhaul::backend::Backend;
use longhaul::clock::{BackendClock, Timestamp};
use longhaul::id::WorkerId;
use longhaul::prelude::*;
use longhaul_backend_memory::{MemoryBackend, MemoryConfig};
use longhaul_backend_sqlite::{SqliteBackend, SqliteConfig};
use longhaul_tests::faulty::{Faulty, Lot, Operation, Plan};
use tokio::sync::Notify;

use crate::world::{Rate, result, until};

/// Is the lease of the workers here; it is over after so long by the store's clock, which tests move.
const LEASE: Duration = Duration::from_millis(300);

/// Is how many leases an attempt lasts.
const LEASES: u32 = 12;

fn clock() -> BackendClock {
    BackendClock::manual(Timestamp::from_micros(1_800_000_000_000_000))
}

/// Is a store whose clock the test moves.
struct Timed {
    backend: Arc<dyn Backend>,
    clock: BackendClock,
}

impl Timed {
    fn memory() -> Self {
        let clock = clock();
        let backend = MemoryBackend::open(MemoryConfig::new().clock(clock.clone()));
        Self {
            backend: Arc::new(backend),
            clock,
        }
    }

    async fn sqlite(folder: &tempfile::TempDir) -> Self {
        let clock = clock();
        let config = SqliteConfig::new(folder.path().join("claims.db")).clock(clock.clone());
        Self {
            backend: Arc::new(SqliteBackend::open(config).await.unwrap()),
            clock,
        }
    }

    async fn worker(&self, serves: [&str; 1]) -> (Client, Worker) {
        let client = Client::of(Arc::clone(&self.backend));
        let worker = Worker::builder(&client)
            .provide(Rate(1))
            .only(serves)
            .lease(LEASE)
            .start();
        (client.clone(), worker.await.unwrap())
    }

    async fn lease_until(&self, worker: WorkerId) -> Timestamp {
        let workers = self.backend.workers().await.unwrap();
        let row = workers.iter().find(|row| row.worker == worker);
        row.expect("the worker was declared dead").lease_until
    }

    /// Moves the clock almost to the end of the leases, and waits until beats have extended them.
    async fn pass_a_lease(&self, workers: [WorkerId; 2]) {
        let mut before = Vec::new();
        for worker in workers {
            before.push(self.lease_until(worker).await);
        }
        self.clock.advance(LEASE - Duration::from_millis(1));
        for (worker, before) in workers.into_iter().zip(before) {
            while self.lease_until(worker).await <= before {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }
}

static BEGUN: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
static END: [Notify; 2] = [const { Notify::const_new() }; 2];

#[task(queue = "long")]
async fn takes_many_leases(ctx: TaskContext, of: usize) -> u32 {
    BEGUN[of].fetch_add(1, Ordering::SeqCst);
    END[of].notified().await;
    ctx.attempt()
}

#[workflow]
async fn is_patient(ctx: Context, of: usize) -> Result<u32> {
    ctx.run(takes_many_leases(of)).await
}

async fn long_attempt_is_kept(store: Timed, of: usize) {
    let (client, flows) = store.worker(["is_patient"]).await;
    let (_other, tasks) = store.worker(["takes_many_leases"]).await;
    let run = client.start(is_patient(of)).await.unwrap();
    until(|| BEGUN[of].load(Ordering::SeqCst) == 1).await;
    for _ in 0..LEASES {
        store.pass_a_lease([flows.id(), tasks.id()]).await;
    }
    END[of].notify_one();
    assert_eq!(result(&run).await.unwrap(), 1);
    assert_eq!(BEGUN[of].load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beats_keep_the_claim_of_an_attempt_of_many_leases_in_memory() {
    long_attempt_is_kept(Timed::memory(), 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beats_keep_the_claim_of_an_attempt_of_many_leases_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    long_attempt_is_kept(Timed::sqlite(&folder).await, 1).await;
}

#[task(queue = "many")]
async fn trivial_elsewhere(number: u32) -> u32 {
    number
}

#[workflow]
async fn many_elsewhere(ctx: Context, count: u32) -> Result<u32> {
    let all = ctx.join_all((0..count).map(trivial_elsewhere)).await?;
    Ok(all.into_iter().sum())
}

/// Counts claims and reports, and lets reports take a while.
#[derive(Debug, Default)]
struct Counted {
    claims: AtomicUsize,
    reports: AtomicUsize,
}

impl Plan for Counted {
    fn draw(&self, operation: Operation) -> Lot {
        match operation {
            Operation::Claim => self.claims.fetch_add(1, Ordering::SeqCst),
            Operation::Report => self.reports.fetch_add(1, Ordering::SeqCst),
            _ => return Lot::default(),
        };
        Lot {
            before: Duration::from_millis(20),
            ..Lot::default()
        }
    }
}

async fn claims_and_reports_are_shared(store: Timed) {
    let counted = Arc::new(Counted::default());
    let plan = Arc::clone(&counted) as Arc<dyn Plan>;
    let client = Client::of(Arc::new(Faulty::new(store.backend, plan)));
    let _worker = Worker::builder(&client)
        .provide(Rate(1))
        .only(["many_elsewhere", "trivial_elsewhere"])
        .queue("many", 50)
        .start()
        .await
        .unwrap();
    let run = client.start(many_elsewhere(200)).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), (0..200).sum::<u32>());
    let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
    let (claims, reports) = (count(&counted.claims), count(&counted.reports));
    println!("200 queued tasks on 50 slots: {claims} claims, {reports} reports");
    assert!((4..=20).contains(&claims), "{claims} claims");
    assert!((4..=20).contains(&reports), "{reports} reports");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_claims_for_all_slots_and_reports_what_ended_in_memory() {
    claims_and_reports_are_shared(Timed::memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_claims_for_all_slots_and_reports_what_ended_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    claims_and_reports_are_shared(Timed::sqlite(&folder).await).await;
}
