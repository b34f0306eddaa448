//! When runs that nobody owns are due, and who gets them.

use std::collections::HashSet;
use std::sync::Arc;

use longhaul_core::backend::{AcquireRequest, Backend, Due, PAGE_MAX, RunFilter, Serves};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::WorkerId;

use crate::world::{SECOND, World, acquired_ids, lane, route, run_of, serves, serves_of_build};

pub async fn run_is_not_due_before_its_time_and_due_exactly_at_it(world: World) {
    let wake_at = world.now().after(SECOND);
    world.start_and_park("a", Some(wake_at)).await;
    world.advance(SECOND - std::time::Duration::from_micros(1));
    let due = Due {
        now: 0,
        next: Some(wake_at),
    };
    assert_eq!(world.due().await, due);
    assert_eq!(world.acquire(world.me).await, []);
    world.advance(std::time::Duration::from_micros(1));
    let due = Due { now: 1, next: None };
    assert_eq!(world.due().await, due);
    assert_eq!(acquired_ids(&world.acquire(world.me).await), ["a"]);
}

pub async fn next_due_time_is_the_earliest_that_is_ahead(world: World) {
    let now = world.now();
    for (id, seconds) in [("a", 5), ("b", 3), ("c", 9)] {
        world
            .start_and_park(id, Some(now.after(SECOND * seconds)))
            .await;
    }
    world.start_and_park("for good", None).await;
    assert_eq!(world.due().await.next, Some(now.after(SECOND * 3)));
    world.advance(SECOND * 3);
    let due = world.due().await;
    assert_eq!((due.now, due.next), (1, Some(now.after(SECOND * 5))));
}

pub async fn beat_counts_what_is_due_like_the_timers_do(world: World) {
    let now = world.now();
    world.start("a").await;
    world.start_and_park("b", Some(now.after(SECOND))).await;
    assert_eq!(world.beat(world.me).await.due, world.due().await);
    assert_eq!(world.due().await.now, 1);
}

pub async fn runs_of_other_routes_are_neither_counted_nor_taken(world: World) {
    let mut other = run_of("other");
    other.route = route("task:charge");
    world.start_as(other).await;
    world.start("mine").await;
    assert_eq!(world.due().await.now, 1);
    assert_eq!(acquired_ids(&world.acquire(world.me).await), ["mine"]);
    let both = Serves {
        routes: vec![route("order"), route("task:charge")],
        ..serves()
    };
    assert_eq!(world.backend().due(&both).await.unwrap().now, 1);
    let none = Serves {
        routes: Vec::new(),
        ..serves()
    };
    assert_eq!(world.backend().due(&none).await.unwrap(), Due::default());
    let taken = world.acquire_as(world.me, &both, 10).await;
    assert_eq!(acquired_ids(&taken), ["other"]);
}

pub async fn runs_are_taken_in_the_order_of_their_due_times(world: World) {
    let now = world.now();
    for (id, seconds) in [("a", 3), ("b", 1), ("c", 4), ("d", 2)] {
        world
            .start_and_park(id, Some(now.after(SECOND * seconds)))
            .await;
    }
    world.advance(SECOND * 5);
    let first = world.acquire_as(world.me, &serves(), 3).await;
    assert_eq!(acquired_ids(&first), ["b", "d", "a"]);
    let rest = world.acquire_as(world.me, &serves(), 3).await;
    assert_eq!(acquired_ids(&rest), ["c"]);
}

pub async fn due_order_spans_routes(world: World) {
    for (id, name) in [("a", "two"), ("b", "one"), ("c", "two")] {
        let mut run = run_of(id);
        run.route = route(name);
        world.start_as(run).await;
        world.advance(SECOND);
    }
    let both = Serves {
        routes: vec![route("one"), route("two")],
        ..serves()
    };
    let taken = world.acquire_as(world.me, &both, 2).await;
    assert_eq!(acquired_ids(&taken), ["a", "b"]);
}

pub async fn limit_bounds_what_is_taken(world: World) {
    for id in ["a", "b", "c"] {
        world.start(id).await;
    }
    assert_eq!(world.acquire_as(world.me, &serves(), 0).await, []);
    assert_eq!(world.acquire_as(world.me, &serves(), 2).await.len(), 2);
    assert_eq!(world.due().await.now, 1);
}

pub async fn count_of_due_runs_ends_at_the_largest_page(world: World) {
    let runs = (0..=PAGE_MAX).map(|number| run_of(&format!("run {number}")));
    let backend = world.backend();
    backend.start(None, runs.collect()).await.unwrap();
    assert_eq!(world.due().await.now, PAGE_MAX);
    assert_eq!(world.beat(world.me).await.due.now, PAGE_MAX);
    let all = backend.count(&RunFilter::default()).await.unwrap();
    assert_eq!(all, PAGE_MAX as u64 + 1);
}

pub async fn racing_acquirers_take_each_run_once(world: World) {
    for number in 0..24 {
        world.start(&format!("run {number}")).await;
    }
    let mut acquirers = Vec::new();
    for _ in 0..4 {
        acquirers.push((world.backend(), world.worker().await));
    }
    // All are there before the first one acquires, so that they meet.
    let acquire = |(backend, worker): (Arc<dyn Backend>, WorkerId)| {
        tokio::spawn(async move {
            let request = AcquireRequest {
                lane: lane(worker),
                serves: serves(),
                limit: 10,
            };
            backend.acquire(request).await.unwrap()
        })
    };
    let racing: Vec<_> = acquirers.into_iter().map(acquire).collect();
    let mut taken = Vec::new();
    for acquirer in racing {
        taken.extend(acquired_ids(&acquirer.await.unwrap()));
    }
    assert_eq!(taken.len(), 24);
    assert_eq!(taken.iter().collect::<HashSet<_>>().len(), 24);
}

pub async fn park_until_a_time_that_is_past_is_due_at_once(world: World) {
    let past = world.now();
    world.advance(SECOND);
    world.start_and_park("a", Some(past)).await;
    assert_eq!(world.due().await.now, 1);
}

pub async fn clock_is_never_ahead_of_due_times(world: World) {
    let before = world.backend().clock();
    world.advance(SECOND);
    let after = world.backend().clock();
    assert!(before <= after && after <= world.now());
    world
        .start_and_park("a", Some(world.backend().clock()))
        .await;
    assert_eq!(world.due().await.now, 1);
}

pub async fn route_that_is_named_twice_counts_once(world: World) {
    world.start("a").await;
    world.start_and_park("b", Some(world.now())).await;
    let twice = Serves {
        routes: vec![route("order"), route("order")],
        ..serves()
    };
    assert_eq!(world.backend().due(&twice).await.unwrap().now, 2);
    assert_eq!(world.beat_as(world.me, &twice).await.due.now, 2);
    let taken = world.acquire_as(world.me, &twice, 3).await;
    let epochs: Vec<_> = taken.iter().map(|run| run.run.epoch.0).collect();
    assert_eq!(acquired_ids(&taken), ["a", "b"]);
    assert_eq!(epochs, [1, 2]);
}

pub async fn runs_that_other_builds_blocked_are_taken_in_the_order_of_their_due_times(
    world: World,
) {
    for (id, build) in [("a", "build-3"), ("b", "build-1"), ("c", "build-3")] {
        let mut run = world.start_owned(id).await;
        world.done(run.turn().block(build), &mut run).await;
        world.advance(SECOND);
    }
    let other = serves_of_build("build-9");
    for id in ["a", "b", "c"] {
        let taken = world.acquire_as(world.me, &other, 1).await;
        assert_eq!(acquired_ids(&taken), [id]);
    }
}

pub async fn park_until_the_last_time_there_is_is_kept(world: World) {
    let last = Timestamp::from_micros(i64::MAX);
    world.start_and_park("a", Some(last)).await;
    world.advance(SECOND * 1_000_000);
    let due = Due {
        now: 0,
        next: Some(last),
    };
    assert_eq!(world.due().await, due);
    assert_eq!(world.run("a").await.wake_at, Some(last));
    world.signal("a").await;
    assert_eq!(world.due().await, Due { now: 1, next: None });
}
