//! A server whose sessions end in the middle of everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use longhaul_core::backend::{Backend, Kind, Started, Verdict};
use longhaul_tests::Fixture as _;
use longhaul_tests::world::{World, lane, one, run_of, signal_to};

use crate::fixture::{PostgresFixture, ended, run, session};

const RUNS: usize = 8;
const TURNS: u64 = 25;

/// Asks until it is answered, as the engine does; counts what was not.
async fn answered<T>(
    failures: &mut usize,
    call: impl AsyncFn() -> longhaul_core::backend::Result<T>,
) -> T {
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) => {
                let is_passing = matches!(error.kind(), Kind::Unavailable | Kind::Unclear);
                assert!(is_passing, "{error}");
                *failures += 1;
            }
        }
    }
}

/// Starts a run, commits turns and sends a signal for each; returns how often it was not answered.
async fn live(
    backend: Arc<dyn Backend>,
    worker: longhaul_core::id::WorkerId,
    number: usize,
) -> usize {
    let mut failures = 0;
    let id = format!("run {number}");
    let started = answered(&mut failures, async || {
        backend.start(Some(lane(worker)), vec![run_of(&id)]).await
    });
    let is_ours = match one(started.await) {
        Started::New => true,
        Started::Exists(run) => run.owner == Some(worker),
    };
    assert!(is_ours, "{id} was started and has another owner");
    let mut of_run = longhaul_tests::world::Run {
        id: longhaul_tests::world::workflow_id(&id),
        worker,
        epoch: longhaul_core::id::Epoch(1),
        turns: 1,
        read: longhaul_core::id::ArrivalNumber(0),
    };
    for _ in 0..TURNS {
        let commit = of_run.turn().commit;
        let verdict = answered(&mut failures, async || {
            backend.commit(lane(worker), vec![commit.clone()]).await
        });
        assert_eq!(one(verdict.await), Verdict::Committed);
        of_run.turns += 1;
        let signal = signal_to(&id);
        answered(&mut failures, async || {
            backend.arrive(vec![signal.clone()]).await
        })
        .await;
    }
    failures
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_missing_after_sessions_were_ended_again_and_again() {
    let fixture = PostgresFixture::open().await;
    let schema = fixture.schema.clone();
    let world = World::over(Box::new(fixture)).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let killer = tokio::spawn({
        let is_over = Arc::clone(&is_over);
        async move {
            let end = ended(&schema);
            let mut kills = 0;
            let mut killer = session().await;
            while !is_over.load(Ordering::SeqCst) {
                run(&mut killer, end.clone()).await;
                kills += 1;
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            kills
        }
    });
    // A worker of its own for each: a lane has one request under way.
    let mut lives = Vec::new();
    for number in 0..RUNS {
        let mut failures = 0;
        let worker = longhaul_tests::world::new_worker_id();
        answered(&mut failures, async || world.join_as(worker).await).await;
        lives.push(live(world.backend(), worker, number));
    }
    let lives = futures_util::future::join_all(lives).await;
    let mut failures: usize = lives.into_iter().sum();
    is_over.store(true, Ordering::SeqCst);
    let kills: usize = killer.await.unwrap();
    assert!(failures > 0, "no request was cut off in {kills} kills");
    println!("{kills} kills, {failures} requests without an answer");
    for number in 0..RUNS {
        let id = format!("run {number}");
        let turns = answered(&mut failures, async || {
            world
                .backend()
                .history(longhaul_tests::world::history_of(&id))
                .await
        });
        assert_eq!(turns.await.len() as u64, TURNS + 1, "{id}");
        assert_eq!(world.run(&id).await.arrivals.0, TURNS, "{id}");
    }
}
