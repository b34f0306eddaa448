//! Starting runs.

use std::sync::Arc;

use longhaul_core::backend::{Kind, Started, TakeOverRequest};
use longhaul_core::id::{ArrivalNumber, Epoch, EventNumber, Segment, TurnNumber};
use longhaul_core::identity::RunKind;
use longhaul_core::status::Status;

use crate::world::{SECOND, World, lane, operation_of, route, run_of, workflow_id, workflow_type};

pub async fn same_id_starts_once(world: World) {
    assert_eq!(world.start("a").await, Started::New);
    let first = world.run("a").await;
    let mut other = run_of("a");
    other.fingerprint = [8; 16];
    other.record = b"another".to_vec();
    assert_eq!(
        world.start_as(other).await,
        Started::Exists(Box::new(first.clone()))
    );
    assert_eq!(world.run("a").await, first);
    assert_eq!(world.history("a").await[0].record, b"turn 0");
}

pub async fn racing_starts_of_one_id_make_one_run(world: World) {
    let world = Arc::new(world);
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.start("a").await })
        })
        .collect();
    let mut new = 0;
    for start in starts {
        new += usize::from(start.await.unwrap() == Started::New);
    }
    assert_eq!(new, 1);
    assert_eq!(world.turns("a").await, 1);
}

pub async fn start_through_a_lane_is_owned_in_the_first_epoch(world: World) {
    let mut run = world.start_owned("a").await;
    let found = world.run("a").await;
    assert_eq!(found.owner, Some(world.me));
    assert_eq!(found.epoch, Epoch(1));
    assert_eq!(found.status, Status::Running);
    assert_eq!(world.due().await.now, 0);
    world.append(&mut run).await;
}

pub async fn start_without_a_lane_is_due_now(world: World) {
    world.start("a").await;
    let found = world.run("a").await;
    assert_eq!(found.owner, None);
    assert_eq!(found.epoch, Epoch(0));
    assert_eq!(found.status, Status::Pending);
    assert_eq!(found.wake_at, Some(world.now()));
    assert_eq!(world.due().await.now, 1);
}

pub async fn start_by_a_dead_worker_is_refused(world: World) {
    let dead = world.worker().await;
    world.kill(dead).await;
    let backend = world.backend();
    let started = backend.start(Some(lane(dead)), vec![run_of("a")]).await;
    assert_eq!(started.unwrap_err().kind(), Kind::WorkerDead);
    assert_eq!(world.find("a").await, None);
}

pub async fn first_record_and_all_else_of_a_start_are_stored(world: World) {
    world.advance(SECOND);
    let mut run = run_of("child");
    run.identity = run_of("top")
        .identity
        .child(workflow_id("child"), workflow_type("charge"));
    run.kind = RunKind::Task;
    run.route = route("task:charge");
    run.partition = 11;
    run.fingerprint = [0xfe; 16];
    run.tags = vec![
        ("b".to_owned(), "2".to_owned()),
        ("a".to_owned(), "1".to_owned()),
    ];
    run.record = vec![0, 1, 255];
    run.parent_operation = Some(operation_of("charge"));
    world.start_as(run.clone()).await;

    let found = world.run("child").await;
    assert_eq!(found.identity, run.identity);
    assert_eq!(found.kind, run.kind);
    assert_eq!(found.route, run.route);
    assert_eq!(found.partition, run.partition);
    assert_eq!(found.fingerprint, run.fingerprint);
    assert_eq!(found.tags, run.tags);
    assert_eq!(found.parent_operation, run.parent_operation);
    assert_eq!(found.segment, Segment::FIRST);
    assert_eq!(
        (found.arrivals, found.read),
        (ArrivalNumber(0), ArrivalNumber(0))
    );
    assert_eq!((found.lost, found.blocked), (0, None));
    assert_eq!(
        (found.created_at, found.updated_at),
        (world.now(), world.now())
    );
    let history = world.history("child").await;
    assert_eq!(history.len(), 1);
    assert_eq!(
        (history[0].turn, history[0].first_event),
        (TurnNumber(0), EventNumber(0))
    );
    assert_eq!(history[0].record, run.record);
}

pub async fn batch_of_starts_is_answered_in_order(world: World) {
    world.start("b").await;
    let batch = vec![run_of("a"), run_of("b"), run_of("c"), run_of("a")];
    let started = world.backend().start(None, batch).await.unwrap();
    let is_new: Vec<_> = started
        .iter()
        .map(|started| *started == Started::New)
        .collect();
    assert_eq!(is_new, [true, false, true, false]);
    let Started::Exists(found) = &started[1] else {
        panic!("`b` is started twice");
    };
    assert_eq!(found.identity.workflow_id, workflow_id("b"));
}

pub async fn repeated_start_shows_the_run_as_it_stands(world: World) {
    world.start_and_end("a").await;
    let Started::Exists(found) = world.start("a").await else {
        panic!("the id of a finished run is used again");
    };
    assert_eq!(found.status, Status::Completed);
    assert_eq!(world.turns("a").await, 2);
}

pub async fn start_of_an_id_that_a_subworkflow_has_finds_it(world: World) {
    let mut parent = world.start_owned("a").await;
    world.done(parent.turn().child("a/kid"), &mut parent).await;
    let Started::Exists(found) = world.start("a/kid").await else {
        panic!("the id of a subworkflow is used again");
    };
    assert_eq!(found.identity.parent, Some(workflow_id("a")));
    assert_eq!(world.turns("a/kid").await, 1);
}

pub async fn start_through_a_lane_takes_no_run_that_is_there(world: World) {
    world.start("a").await;
    let backend = world.backend();
    let started = backend.start(Some(lane(world.me)), vec![run_of("a")]).await;
    assert!(matches!(started.unwrap()[..], [Started::Exists(_)]));
    let found = world.run("a").await;
    assert_eq!((found.owner, found.epoch), (None, Epoch(0)));
    assert_eq!(world.due().await.now, 1);
}

pub async fn start_through_a_lane_leaves_the_owner_of_a_run_that_is_there(world: World) {
    let other = world.worker().await;
    let mut run = world.start_owned_by(other, "a").await;
    let backend = world.backend();
    let started = backend.start(Some(lane(world.me)), vec![run_of("a")]).await;
    assert!(matches!(started.unwrap()[..], [Started::Exists(_)]));
    world.append(&mut run).await;
    let found = world.run("a").await;
    assert_eq!((found.owner, found.epoch), (Some(other), Epoch(1)));
}

pub async fn start_that_races_a_takeover_is_never_left_with_the_dead(world: World) {
    for round in 0..8 {
        let (id, worker) = (format!("run {round}"), world.worker().await);
        let (starter, reaper) = (world.backend(), world.backend());
        let runs = vec![run_of(&id)];
        let start = async move { starter.start(Some(lane(worker)), runs).await };
        let force = vec![worker];
        let kill = async move { reaper.take_over(TakeOverRequest { force }).await };
        // Each goes first in every other round, where nothing else decides.
        let started = if round % 2 == 0 {
            let (start, kill) = (tokio::spawn(start), tokio::spawn(kill));
            kill.await.unwrap().unwrap();
            start.await.unwrap()
        } else {
            let (kill, start) = (tokio::spawn(kill), tokio::spawn(start));
            kill.await.unwrap().unwrap();
            start.await.unwrap()
        };
        let found = world.find(&id).await;
        assert!(started.is_err() || found.is_some(), "{id}");
        assert!(found.is_none_or(|run| run.owner.is_none()), "{id}");
    }
}
