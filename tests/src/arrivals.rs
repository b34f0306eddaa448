//! What reaches a run from elsewhere.

use longhaul_core::backend::{ArrivalKind, ArriveRequest, Arrived, Hint};
use longhaul_core::id::{ArrivalNumber, WorkflowId};
use longhaul_core::status::Status;

use crate::world::{SECOND, World, body_of, names, number_of, one, signal_to, workflow_id};

pub async fn arrivals_are_numbered_densely_from_one(world: World) {
    let run = world.start_owned("a").await;
    world.start_owned("b").await;
    for expected in 1..=3 {
        assert_eq!(world.signal("a").await, ArrivalNumber(expected));
        assert_eq!(world.signal("b").await, ArrivalNumber(expected));
    }
    let inbox = world.inbox(&run).await.unwrap();
    let numbers: Vec<_> = inbox.iter().map(|arrival| arrival.number.0).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(world.run("a").await.arrivals, ArrivalNumber(3));
}

pub async fn racing_arrivals_get_a_number_each(world: World) {
    let run = world.start_owned("a").await;
    let sending: Vec<_> = (0..8)
        .map(|_| {
            let (backend, signal) = (world.backend(), signal_to("a"));
            tokio::spawn(async move { backend.arrive(vec![signal]).await.unwrap() })
        })
        .collect();
    let mut numbers = Vec::new();
    for sent in sending {
        numbers.push(number_of(&one(sent.await.unwrap())).0);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(world.inbox(&run).await.unwrap().len(), 8);
}

pub async fn arrival_is_stored_as_it_was_accepted(world: World) {
    let run = world.start_owned("a").await;
    world.advance(SECOND);
    let mut signal = signal_to("a");
    signal.body.content = vec![0, 255, 1];
    let accepted = world.arrive(&signal).await;
    assert_eq!(
        accepted,
        Arrived::Accepted {
            number: ArrivalNumber(1),
            owner: Some(world.me),
            accepted_at: world.now(),
        }
    );
    let arrival = one(world.inbox(&run).await.unwrap());
    assert_eq!(arrival.body, signal.body);
    assert_eq!(arrival.accepted_at, world.now());
}

pub async fn same_write_arrives_once(world: World) {
    let run = world.start_owned("a").await;
    let signal = signal_to("a");
    let first = world.arrive(&signal).await;
    world.signal("a").await;
    world.advance(SECOND);
    let mut again = signal.clone();
    again.body = body_of("another");
    assert_eq!(world.arrive(&again).await, first);
    assert_eq!(
        names(&world.inbox(&run).await.unwrap()),
        ["approved", "approved"]
    );
}

pub async fn same_write_that_was_read_arrives_no_second_time(world: World) {
    let mut run = world.start_owned("a").await;
    let signal = signal_to("a");
    let first = world.arrive(&signal).await;
    let park = run.turn().reading(number_of(&first)).park();
    world.done(park, &mut run).await;
    assert_eq!(number_of(&world.arrive(&signal).await), number_of(&first));
    let found = world.run("a").await;
    assert_eq!((found.arrivals, found.wake_at), (ArrivalNumber(1), None));
}

pub async fn same_write_to_another_run_is_another_arrival(world: World) {
    world.start("a").await;
    world.start("b").await;
    let signal = signal_to("a");
    let other = ArriveRequest {
        run: workflow_id("b"),
        ..signal.clone()
    };
    let arrived = world.backend().arrive(vec![signal, other]).await.unwrap();
    assert_eq!(
        arrived.iter().map(number_of).collect::<Vec<_>>(),
        [ArrivalNumber(1), ArrivalNumber(1)]
    );
    assert_eq!(world.run("b").await.arrivals, ArrivalNumber(1));
}

pub async fn full_inbox_refuses_until_something_is_read(world: World) {
    let mut run = world.start_owned("a").await;
    let bounded = || ArriveRequest {
        inbox_max: 2,
        ..signal_to("a")
    };
    let first = bounded();
    world.arrive(&first).await;
    world.arrive(&bounded()).await;
    let refused = bounded();
    assert_eq!(world.arrive(&refused).await, Arrived::Full);
    assert_eq!(world.run("a").await.arrivals, ArrivalNumber(2));
    assert_eq!(number_of(&world.arrive(&first).await), ArrivalNumber(1));
    let drain = run.turn().reading(ArrivalNumber(1)).drain();
    world.done(drain, &mut run).await;
    assert_eq!(number_of(&world.arrive(&refused).await), ArrivalNumber(3));
}

pub async fn finished_run_refuses_and_says_how_it_ended(world: World) {
    let mut run = world.start_owned("a").await;
    world
        .done(run.turn().end_as(Status::Failed), &mut run)
        .await;
    let refused = world.arrive(&signal_to("a")).await;
    assert_eq!(refused, Arrived::Finished(Status::Failed));
    assert_eq!(world.run("a").await.arrivals, ArrivalNumber(0));
}

pub async fn unknown_run_refuses_and_is_not_made(world: World) {
    assert_eq!(world.arrive(&signal_to("a")).await, Arrived::Unknown);
    assert_eq!(world.find("a").await, None);
}

pub async fn batch_of_arrivals_is_answered_in_order(world: World) {
    world.start("a").await;
    world.start_and_end("b").await;
    let batch = vec![
        signal_to("b"),
        signal_to("a"),
        signal_to("c"),
        signal_to("a"),
    ];
    let arrived = world.backend().arrive(batch).await.unwrap();
    assert_eq!(arrived[0], Arrived::Finished(Status::Completed));
    assert_eq!(number_of(&arrived[1]), ArrivalNumber(1));
    assert_eq!(arrived[2], Arrived::Unknown);
    assert_eq!(number_of(&arrived[3]), ArrivalNumber(2));
}

pub async fn arrival_makes_a_parked_run_due_now(world: World) {
    world.start_and_park("for good", None).await;
    let later = world.now().after(SECOND * 60);
    world.start_and_park("for long", Some(later)).await;
    assert_eq!(world.due().await.now, 0);
    for id in ["for good", "for long"] {
        let Arrived::Accepted { owner, .. } = world.arrive(&signal_to(id)).await else {
            panic!("the signal is refused");
        };
        assert_eq!(owner, None);
    }
    assert_eq!(world.due().await.now, 2);
    let taken = world.acquire(world.me).await;
    assert_eq!(taken.len(), 2);
    assert!(taken.iter().all(|run| run.inbox.len() == 1));
}

pub async fn arrival_does_not_put_off_a_run_that_was_due_before(world: World) {
    world.start("old").await;
    world.advance(SECOND);
    world.start("new").await;
    world.advance(SECOND);
    world.signal("old").await;
    let taken = world.acquire_as(world.me, &crate::world::serves(), 1).await;
    assert_eq!(crate::world::acquired_ids(&taken), ["old"]);
}

pub async fn arrival_does_not_make_an_owned_run_due(world: World) {
    world.start_owned("a").await;
    world.signal("a").await;
    let other = world.worker().await;
    assert_eq!(world.due().await.now, 0);
    assert_eq!(world.acquire(other).await, []);
}

pub async fn inbox_reads_only_own_runs(world: World) {
    let mut mine = world.start_owned("mine").await;
    let other = world.worker().await;
    world.start_owned_by(other, "other").await;
    world.signal("mine").await;
    world.signal("other").await;
    let asked: Vec<(WorkflowId, _)> = ["other", "mine", "unknown"]
        .into_iter()
        .map(|id| (workflow_id(id), ArrivalNumber(0)))
        .collect();
    let found = world.backend().inbox(world.me, asked.clone()).await;
    let (id, inbox) = one(found.unwrap());
    assert_eq!((id.as_str(), inbox.len()), ("mine", 1));
    let park = mine.turn().reading(ArrivalNumber(1)).park();
    world.done(park, &mut mine).await;
    let found = world.backend().inbox(world.me, asked).await.unwrap();
    assert_eq!(found, []);
}

pub async fn inbox_reads_only_what_is_newer(world: World) {
    let run = world.start_owned("a").await;
    for _ in 0..3 {
        world.signal("a").await;
    }
    let after = async |number| {
        let asked = vec![(run.id.clone(), ArrivalNumber(number))];
        let found = world.backend().inbox(world.me, asked).await.unwrap();
        let (_, arrivals) = one(found);
        arrivals
            .iter()
            .map(|found| found.number.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(after(0).await, [1, 2, 3]);
    assert_eq!(after(2).await, [3]);
    assert!(after(3).await.is_empty());
}

pub async fn beat_of_the_owner_names_runs_with_something_unread(world: World) {
    let mut run = world.start_owned("a").await;
    world.start_owned("quiet").await;
    let other = world.worker().await;
    world.start_owned_by(other, "other").await;
    assert!(world.beat(world.me).await.arrivals.is_empty());
    world.signal("a").await;
    world.signal("a").await;
    world.signal("other").await;
    assert_eq!(world.beat(world.me).await.arrivals, [workflow_id("a")]);
    let half = run.turn().reading(ArrivalNumber(1)).drain();
    world.done(half, &mut run).await;
    assert_eq!(world.beat(world.me).await.arrivals, [workflow_id("a")]);
    let rest = run.turn().reading(ArrivalNumber(2)).drain();
    world.done(rest, &mut run).await;
    assert!(world.beat(world.me).await.arrivals.is_empty());
}

pub async fn acquired_run_comes_with_what_is_unread_alone(world: World) {
    let mut run = world.start_owned("a").await;
    for name in ["1", "2", "3"] {
        let mut signal = signal_to("a");
        signal.body = body_of(name);
        world.arrive(&signal).await;
    }
    let release = run.turn().reading(ArrivalNumber(2)).release();
    world.done(release, &mut run).await;
    let taken = one(world.acquire(world.me).await);
    assert_eq!(names(&taken.inbox), ["3"]);
    assert_eq!(taken.turns, world.history("a").await);
    assert_eq!(
        (taken.run.arrivals, taken.run.read),
        (ArrivalNumber(3), ArrivalNumber(2))
    );
}

pub async fn hint_follows_an_arrival(world: World) {
    world.start_owned("a").await;
    let mut hints = world.backend().hints();
    world.signal("a").await;
    let waiting = tokio::time::timeout(SECOND * 10, hints.next());
    assert!(waiting.await.is_ok(), "no hint comes");
}

pub async fn hint_follows_the_end_of_a_run(world: World) {
    let mut run = world.start_owned("a").await;
    let mut hints = world.backend().hints();
    world.end(&mut run).await;
    let waiting = tokio::time::timeout(SECOND * 10, hints.next());
    assert!(waiting.await.is_ok(), "no hint comes");
}

pub async fn hint_of_a_run_that_is_due_says_more_than_that_runs_ended(world: World) {
    let mut run = world.start_owned("a").await;
    let mut hints = world.backend().hints();
    world.done(run.turn().release(), &mut run).await;
    let changed = async { while hints.next().await != Hint::Changed {} };
    let waiting = tokio::time::timeout(SECOND * 10, changed);
    assert!(waiting.await.is_ok(), "no such hint comes");
}

pub async fn same_write_twice_in_one_batch_arrives_once(world: World) {
    let run = world.start_owned("a").await;
    let signal = signal_to("a");
    let batch = vec![signal.clone(), signal_to("a"), signal];
    let arrived = world.backend().arrive(batch).await.unwrap();
    let numbers: Vec<_> = arrived.iter().map(|one| number_of(one).0).collect();
    assert_eq!(numbers, [1, 2, 1]);
    assert_eq!(world.inbox(&run).await.unwrap().len(), 2);
}

pub async fn arrivals_of_every_kind_come_back_as_they_were(world: World) {
    let run = world.start_owned("a").await;
    for kind in ArrivalKind::ALL {
        let mut request = signal_to("a");
        request.body.kind = kind;
        world.arrive(&request).await;
    }
    let inbox = world.inbox(&run).await.unwrap();
    let kinds: Vec<_> = inbox.iter().map(|arrival| arrival.body.kind).collect();
    assert_eq!(kinds, ArrivalKind::ALL);
}

pub async fn repeated_arrival_is_answered_in_spite_of_a_seal(world: World) {
    let mut run = world.start_owned("a").await;
    let signal = signal_to("a");
    let first = world.arrive(&signal).await;
    let seal = run.turn().reading(number_of(&first)).seal();
    world.done(seal, &mut run).await;
    assert_eq!(world.arrive(&signal).await, first);
    assert_eq!(world.arrive(&signal_to("a")).await, Arrived::Sealed);
}

pub async fn racing_repetitions_arrive_once(world: World) {
    let run = world.start_owned("a").await;
    let signal = signal_to("a");
    let sending: Vec<_> = (0..8)
        .map(|_| {
            let (backend, signal) = (world.backend(), signal.clone());
            tokio::spawn(async move { backend.arrive(vec![signal]).await.unwrap() })
        })
        .collect();
    for sent in sending {
        assert_eq!(number_of(&one(sent.await.unwrap())), ArrivalNumber(1));
    }
    assert_eq!(world.inbox(&run).await.unwrap().len(), 1);
}
