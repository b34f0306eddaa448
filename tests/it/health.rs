//! What a worker says of itself while its store is away, and how it comes back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use longhaul::backend::Backend;
use longhaul::id::WorkerId;
use longhaul::prelude::*;
use longhaul::worker::{Phase, Store};
use longhaul_backend_memory::{MemoryBackend, MemoryConfig};
use longhaul_tests::faulty::{Fault, Faulty, Lot, Operation, Plan};
use tokio::sync::Notify;

use crate::world::{quick, reaches, result, until};

const GO: Signal<u32> = Signal::new("go");

/// Refuses calls while the store is away.
#[derive(Debug, Default)]
struct Away(Mutex<Vec<Operation>>);

impl Away {
    fn set(&self, is_away: bool) {
        let refused = if is_away { Operation::ALL } else { &[] };
        *self.0.lock().unwrap() = refused.to_vec();
    }

    /// Lets these calls through alone.
    fn set_but_for(&self, answered: &[Operation]) {
        let refused = Operation::ALL.iter().copied();
        *self.0.lock().unwrap() = refused.filter(|call| !answered.contains(call)).collect();
    }
}

impl Plan for Away {
    fn draw(&self, operation: Operation) -> Lot {
        let is_refused = self.0.lock().unwrap().contains(&operation);
        Lot {
            fault: is_refused.then_some(Fault::Refuse),
            ..Lot::default()
        }
    }
}

/// Returns two clients of one store, whose first loses it as the switch says.
fn clients() -> (Client, Client, Arc<Away>) {
    let store: Arc<dyn Backend> = Arc::new(MemoryBackend::open(MemoryConfig::new()));
    let away = Arc::new(Away::default());
    let plan = Arc::clone(&away) as Arc<dyn Plan>;
    let lossy = Faulty::new(Arc::clone(&store), plan);
    (Client::of(Arc::new(lossy)), Client::of(store), away)
}

#[workflow]
async fn outlasts_an_outage(ctx: Context) -> Result<u32> {
    ctx.receive(GO).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_tells_since_when_its_store_is_away_and_goes_on_when_it_is_back() {
    let (lossy, direct, away) = clients();
    let lease = Duration::from_secs(60);
    let worker = quick(&lossy)
        .lease(lease)
        .beat(Duration::from_millis(20))
        .start()
        .await
        .unwrap();
    let run = lossy.start(outlasts_an_outage().id("waits")).await.unwrap();
    let health = worker.health();
    assert!(health.is_ready(), "{health:?}");
    assert_eq!(
        (health.live_runs, health.to_string().as_str()),
        (1, "ready")
    );

    away.set(true);
    until(|| matches!(worker.health().store, Store::Unreachable(outage) if outage.retries > 3))
        .await;
    let health = worker.health();
    assert!(!health.is_ready() && health.holds_lease);
    let Store::Unreachable(outage) = &health.store else {
        panic!("{health:?}");
    };
    assert!(outage.error.contains("an injected fault refused"));
    let told = health.to_string();
    assert!(
        told.starts_with("not ready: the store has not answered since 2"),
        "{told}"
    );
    let sent = direct.handle::<u32>("waits").unwrap();
    assert!(outage.since >= sent.info().await.unwrap().created_at);
    sent.signal(GO, 7).await.unwrap();

    away.set(false);
    assert_eq!(result(&run).await.unwrap(), 7);
    until(|| worker.health().is_ready()).await;
    assert_eq!(
        (worker.health().deaths, worker.health().refused_turns),
        (0, 0)
    );
}

static HELD: Notify = Notify::const_new();
static IS_HELD: AtomicBool = AtomicBool::new(false);

#[task]
async fn held_at_first(ctx: TaskContext) -> u32 {
    if ctx.attempt() == 1 {
        IS_HELD.store(true, Ordering::SeqCst);
        HELD.notified().await;
    }
    ctx.attempt()
}

#[workflow]
async fn has_one_held(ctx: Context) -> Result<u32> {
    // What starts after another operation starts after a commit, so that the store knows of it.
    ctx.sleep(millis(1)).await?;
    ctx.run(held_at_first()).await
}

/// P3: what a worker writes after it was declared dead is refused; and it comes back as another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_that_was_declared_dead_counts_its_stale_writes_and_joins_again() {
    let (lossy, direct, away) = clients();
    let first = quick(&lossy).start().await.unwrap();
    let before = first.id();
    let run = lossy.start(has_one_held().id("held")).await.unwrap();
    until(|| IS_HELD.load(Ordering::SeqCst)).await;
    let second = quick(&direct).start().await.unwrap();

    away.set(true);
    let taken_over = direct.handle::<u32>("held").unwrap();
    assert_eq!(result(&taken_over).await.unwrap(), 2);
    assert!(!first.health().holds_lease);
    HELD.notify_one();
    away.set(false);
    let health = || first.health();
    until(|| health().deaths == 1 && health().refused_turns == 1 && health().is_ready()).await;
    assert_ne!(first.id(), before);
    assert_eq!(result(&run).await.unwrap(), 2);

    second.shutdown().await.unwrap();
    let next = direct.start(outlasts_an_outage().id("next")).await.unwrap();
    until(|| first.live_runs() == 1).await;
    next.signal(GO, 8).await.unwrap();
    assert_eq!(result(&next).await.unwrap(), 8);
}

/// Waits until the store knows a worker as one that lives, or not any more.
async fn becomes(client: &Client, worker: impl Fn() -> WorkerId, is_known: bool) {
    let waiting = async {
        loop {
            let known = client.workers().await.unwrap();
            if known.iter().any(|record| record.worker == worker()) == is_known {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    assert!(waited.is_ok(), "registered: {}", !is_known);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_that_dies_again_while_it_joins_again_comes_back() {
    let (lossy, direct, away) = clients();
    let first = quick(&lossy).start().await.unwrap();
    let before = first.id();
    let second = quick(&direct).start().await.unwrap();
    away.set(true);
    becomes(&direct, || before, false).await;

    away.set_but_for(&[Operation::Beat, Operation::Join]);
    becomes(&direct, || first.id(), true).await;
    let between = first.id();
    away.set(true);
    becomes(&direct, || between, false).await;

    away.set(false);
    until(|| first.health().is_ready()).await;
    assert_eq!(first.health().deaths, 2);
    assert!(![before, between].contains(&first.id()));
    second.shutdown().await.unwrap();
    let run = direct.start(outlasts_an_outage().id("on")).await.unwrap();
    until(|| first.live_runs() == 1).await;
    run.signal(GO, 9).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 9);
}

#[tokio::test]
async fn monitor_follows_a_worker_through_its_drain_to_its_end() {
    let (_, client, _) = clients();
    let worker = quick(&client).start().await.unwrap();
    let monitor = worker.monitor();
    assert_eq!(monitor.health().phase, Phase::Working);
    let mut leaving = Box::pin(worker.shutdown());
    assert!(futures::poll!(&mut leaving).is_pending());
    let health = monitor.health();
    assert_eq!((health.phase, health.is_ready()), (Phase::Draining, false));
    assert_eq!(health.to_string(), "not ready: the worker drains");
    leaving.await.unwrap();
    assert_eq!(monitor.health().phase, Phase::Stopped);
    assert_eq!(
        monitor.health().to_string(),
        "not ready: the worker has stopped"
    );
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_and_says_so_while_the_store_is_away() {
    let (lossy, direct, away) = clients();
    let worker = quick(&lossy).start().await.unwrap();
    let run = direct.start(outlasts_an_outage().id("left")).await.unwrap();
    reaches(&run, Status::Running).await;
    away.set(true);
    let error = worker.shutdown().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}
