//! The one place where an owned run changes.

use longhaul_core::backend::{Arrived, Kind, RunUpdate, Started, Verdict};
use longhaul_core::id::{ArrivalNumber, Epoch, EventNumber, Segment, TurnNumber};
use longhaul_core::payload::Payload;
use longhaul_core::status::Status;

use crate::world::{
    Run, SECOND, World, acquired_ids, names, one, run_of, serves_of_build, signal_to, workflow_id,
};

pub async fn turns_are_stored_densely_as_they_were_given(world: World) {
    let mut run = world.start_owned("a").await;
    for _ in 0..3 {
        world.append(&mut run).await;
    }
    let history = world.history("a").await;
    let numbers: Vec<_> = history.iter().map(|turn| turn.turn.0).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
    assert_eq!(history[3].first_event, EventNumber(6));
    assert_eq!(history[3].record, b"turn 3");
}

pub async fn turn_after_a_gap_is_lost(world: World) {
    let run = world.start_owned("a").await;
    assert_eq!(world.commit(&run.turn_at(2)).await, Verdict::Lost);
    assert_eq!(world.commit(&run.turn_at(2).park()).await, Verdict::Lost);
    assert_eq!(world.turns("a").await, 1);
    assert_eq!(world.run("a").await.owner, Some(world.me));
}

pub async fn another_turn_of_a_number_that_is_taken_is_lost(world: World) {
    let mut run = world.start_owned("a").await;
    world.append(&mut run).await;
    for again in [run.turn_at(1), run.turn_at(1).end(), run.turn_at(0)] {
        assert_eq!(world.commit(&again).await, Verdict::Lost);
    }
    assert_eq!(world.turns("a").await, 2);
    assert_eq!(world.run("a").await.status, Status::Running);
}

pub async fn turn_of_another_epoch_is_lost(world: World) {
    let mut run = world.start_owned("a").await;
    world.done(run.turn().release(), &mut run).await;
    let run = world.take(world.me).await;
    for epoch in [Epoch(1), Epoch(3)] {
        let mut turn = run.turn();
        turn.commit.epoch = epoch;
        assert_eq!(world.commit(&turn).await, Verdict::Lost);
    }
    assert_eq!(world.commit(&run.turn()).await, Verdict::Committed);
}

pub async fn turn_of_another_segment_is_lost(world: World) {
    let run = world.start_owned("a").await;
    let mut turn = run.turn();
    turn.commit.segment = Segment(2);
    assert_eq!(world.commit(&turn).await, Verdict::Lost);
    assert_eq!(world.turns("a").await, 1);
}

pub async fn turn_through_a_lane_of_another_worker_is_lost(world: World) {
    let run = world.start_owned("a").await;
    let other = world.worker().await;
    assert_eq!(world.commit(&run.turn().by(other)).await, Verdict::Lost);
    let end = run.turn().end().by(other);
    assert_eq!(world.commit(&end).await, Verdict::Lost);
    assert_eq!(world.turns("a").await, 1);
}

pub async fn turn_of_an_unknown_or_unowned_run_is_lost(world: World) {
    let mut run = world.start_owned("a").await;
    let mut unknown = run.turn();
    unknown.commit.run = workflow_id("b");
    assert_eq!(world.commit(&unknown).await, Verdict::Lost);
    assert_eq!(world.find("b").await, None);
    world.park(&mut run).await;
    assert_eq!(world.commit(&run.turn()).await, Verdict::Lost);
}

pub async fn same_write_again_is_committed_and_changes_nothing(world: World) {
    let run = world.start_owned("a").await;
    let turn = run.turn().set("k", b"1").send("b", "hello").child("a/kid");
    world.start_owned("b").await;
    assert_eq!(world.commit(&turn).await, Verdict::Committed);
    let before = world.run("a").await;
    assert_eq!(world.commit(&turn).await, Verdict::Committed);
    assert_eq!(world.turns("a").await, 2);
    assert_eq!(world.run("a").await, before);
    assert_eq!(world.deliver().await, 1);
    assert_eq!(world.run("b").await.arrivals, ArrivalNumber(1));
}

pub async fn same_write_again_after_further_turns_is_committed(world: World) {
    let mut run = world.start_owned("a").await;
    let old = run.turn().set("k", b"old");
    world.done(old.clone(), &mut run).await;
    world.done(run.turn().set("k", b"new"), &mut run).await;
    assert_eq!(world.commit(&old).await, Verdict::Committed);
    assert_eq!(world.turns("a").await, 3);
    assert_eq!(world.data("a", "k").await.unwrap().as_bytes(), b"new");
}

pub async fn same_park_again_is_committed_and_does_not_park_again(world: World) {
    let mut run = world.start_owned("a").await;
    let park = run.turn().park();
    world.done(park.clone(), &mut run).await;
    assert_eq!(world.commit(&park).await, Verdict::Committed);
    world.signal("a").await;
    let other = world.worker().await;
    world.take(other).await;
    assert_eq!(world.commit(&park).await, Verdict::Committed);
    let found = world.run("a").await;
    assert_eq!((found.status, found.owner), (Status::Running, Some(other)));
    assert_eq!(world.turns("a").await, 2);
}

pub async fn same_end_again_is_committed(world: World) {
    let mut run = world.start_owned("a").await;
    let end = run.turn().end();
    world.done(end.clone(), &mut run).await;
    let before = world.run("a").await;
    world.advance(SECOND);
    assert_eq!(world.commit(&end).await, Verdict::Committed);
    assert_eq!(world.run("a").await, before);
}

pub async fn same_write_again_after_a_takeover_is_committed(world: World) {
    let first = world.worker().await;
    let mut run = world.start_owned_by(first, "a").await;
    let append = run.turn();
    let release = run.turn_at(2).release();
    world.done(append.clone(), &mut run).await;
    world.done(release.clone(), &mut run).await;
    let mut taken = world.take(world.me).await;
    world.append(&mut taken).await;
    assert_eq!(world.commit(&append).await, Verdict::Committed);
    assert_eq!(world.commit(&release).await, Verdict::Committed);
    let found = world.run("a").await;
    assert_eq!((found.owner, found.epoch), (Some(world.me), Epoch(2)));
    assert_eq!(world.turns("a").await, 4);
}

pub async fn same_write_without_a_turn_again_is_committed(world: World) {
    let mut run = world.start_owned("a").await;
    let release = run.turn().release().without_turn();
    world.done(release.clone(), &mut run).await;
    let other = world.worker().await;
    world.take(other).await;
    assert_eq!(world.commit(&release).await, Verdict::Committed);
    let found = world.run("a").await;
    assert_eq!((found.owner, found.epoch), (Some(other), Epoch(2)));
    assert_eq!(world.turns("a").await, 1);
}

pub async fn same_append_without_a_turn_again_is_committed_and_changes_nothing(world: World) {
    let mut run = world.start_owned("a").await;
    let append = run.turn().set("k", b"first").without_turn();
    world.done(append.clone(), &mut run).await;
    world
        .done(run.turn().set("k", b"second").release(), &mut run)
        .await;
    assert_eq!(world.commit(&append).await, Verdict::Committed);
    let other = world.worker().await;
    world.take(other).await;
    assert_eq!(world.commit(&append).await, Verdict::Committed);
    let data = world.data("a", "k").await;
    assert_eq!(data, Some(Payload::from_bytes("second")));
}

pub async fn every_lane_of_the_owner_may_commit(world: World) {
    let mut run = world.start_owned("a").await;
    for number in [1, 0] {
        let mut turn = run.turn();
        turn.lane.number = number;
        world.done(turn, &mut run).await;
    }
    assert_eq!(world.turns("a").await, 3);
}

pub async fn batch_with_bad_members_commits_exactly_the_good_ones(world: World) {
    let mut runs: Vec<Run> = Vec::new();
    for id in ["a", "b", "c", "d", "e"] {
        runs.push(world.start_owned(id).await);
    }
    world.signal("d").await;
    let gap = runs[1].turn_at(4).set("k", b"1");
    let mut stale = runs[2].turn().set("k", b"1");
    stale.commit.epoch = Epoch(9);
    let unread = runs[3].turn().park().set("k", b"1");
    let batch = [
        &runs[0].turn().set("k", b"1"),
        &gap,
        &stale,
        &unread,
        &runs[4].turn().end(),
    ];
    assert_eq!(
        world.commit_all(&batch).await,
        [
            Verdict::Committed,
            Verdict::Lost,
            Verdict::Lost,
            Verdict::Unread,
            Verdict::Committed
        ]
    );
    for (id, turns) in [("a", 2), ("b", 1), ("c", 1), ("d", 1), ("e", 2)] {
        assert_eq!(world.turns(id).await, turns, "{id}");
    }
    for id in ["b", "c", "d"] {
        assert_eq!(world.data(id, "k").await, None, "{id}");
    }
    assert!(world.data("a", "k").await.is_some());
}

pub async fn park_and_end_are_unread_when_something_arrived(world: World) {
    let mut run = world.start_owned("a").await;
    world.signal("a").await;
    for turn in [
        run.turn().park(),
        run.turn().end(),
        run.turn().park().without_turn(),
    ] {
        assert_eq!(world.commit(&turn).await, Verdict::Unread);
    }
    assert_eq!(world.turns("a").await, 1);
    assert_eq!(world.run("a").await.status, Status::Running);
    let park = run.turn().reading(ArrivalNumber(1)).park();
    world.done(park, &mut run).await;
    assert_eq!(world.run("a").await.read, ArrivalNumber(1));
}

pub async fn unread_turn_is_taken_when_it_comes_again_with_all_read(world: World) {
    let mut run = world.start_owned("a").await;
    world.signal("a").await;
    let mut end = run.turn().end();
    assert_eq!(world.commit(&end).await, Verdict::Unread);
    end.commit.update = RunUpdate::End {
        read: ArrivalNumber(1),
        status: Status::Completed,
    };
    world.done(end, &mut run).await;
    assert_eq!(world.run("a").await.status, Status::Completed);
}

pub async fn drain_clears_the_due_time_only_when_all_is_read(world: World) {
    let mut run = world.start_owned("a").await;
    world.signal("a").await;
    world.signal("a").await;
    let half = run.turn().reading(ArrivalNumber(1)).drain();
    world.done(half, &mut run).await;
    assert!(world.run("a").await.wake_at.is_some());
    let rest = run.turn().reading(ArrivalNumber(2)).drain();
    world.done(rest, &mut run).await;
    let found = world.run("a").await;
    assert_eq!((found.wake_at, found.read), (None, ArrivalNumber(2)));
    assert_eq!(found.owner, Some(world.me));
}

pub async fn sealed_run_refuses_arrivals_until_it_parks(world: World) {
    let mut run = world.start_owned("a").await;
    world.done(run.turn().seal(), &mut run).await;
    let signal = signal_to("a");
    assert_eq!(world.arrive(&signal).await, Arrived::Sealed);
    assert_eq!(world.run("a").await.arrivals, ArrivalNumber(0));
    world.park(&mut run).await;
    assert!(matches!(
        world.arrive(&signal).await,
        Arrived::Accepted { .. }
    ));
}

pub async fn seal_is_lifted_when_the_run_changes_hands(world: World) {
    let first = world.worker().await;
    let mut run = world.start_owned_by(first, "a").await;
    world.done(run.turn().seal(), &mut run).await;
    world.kill(first).await;
    world.take(world.me).await;
    world.signal("a").await;
    assert_eq!(world.run("a").await.arrivals, ArrivalNumber(1));
}

pub async fn append_does_not_touch_the_row(world: World) {
    let run = world.start_owned("a").await;
    let before = world.run("a").await;
    world.advance(SECOND);
    assert_eq!(
        world.commit(&run.turn().set("k", b"1")).await,
        Verdict::Committed
    );
    assert_eq!(world.run("a").await, before);
}

pub async fn parked_run_waits_unowned_and_counts_no_loss(world: World) {
    let mut run = world.start_owned("a").await;
    world.advance(SECOND);
    world.park(&mut run).await;
    let found = world.run("a").await;
    assert_eq!((found.status, found.owner), (Status::Waiting, None));
    assert_eq!((found.wake_at, found.lost), (None, 0));
    assert_eq!((found.epoch, found.updated_at), (Epoch(1), world.now()));
    assert_eq!(world.acquire(world.me).await, []);
}

pub async fn released_run_is_due_now_with_its_unread_arrivals(world: World) {
    let mut run = world.start_owned("a").await;
    world.signal("a").await;
    world.done(run.turn().release(), &mut run).await;
    let found = world.run("a").await;
    assert_eq!((found.owner, found.lost), (None, 0));
    assert_eq!(world.due().await.now, 1);
    let taken = one(world.acquire(world.me).await);
    assert_eq!(names(&taken.inbox), ["approved"]);
    assert_eq!(taken.turns.len(), 2);
}

pub async fn blocked_run_is_due_for_other_builds_alone(world: World) {
    let mut run = world.start_owned("a").await;
    world.done(run.turn().block("build-1"), &mut run).await;
    let found = world.run("a").await;
    assert_eq!((found.status, found.owner), (Status::Blocked, None));
    let (reason, build) = found.blocked.unwrap();
    assert_eq!((reason.as_str(), build.as_str()), ("other code", "build-1"));

    assert_eq!(world.due().await.now, 0);
    assert_eq!(world.beat(world.me).await.due.now, 0);
    assert_eq!(world.acquire(world.me).await, []);

    for build in ["build-0", "build-2"] {
        let due = world.backend().due(&serves_of_build(build)).await.unwrap();
        assert_eq!(due.now, 1, "{build}");
    }
    let newer = serves_of_build("build-2");
    assert_eq!(world.beat_as(world.me, &newer).await.due.now, 1);
    let taken = world.acquire_as(world.me, &newer, 10).await;
    assert_eq!(acquired_ids(&taken), ["a"]);
    assert_eq!(world.run("a").await.status, Status::Running);
}

pub async fn arrival_does_not_make_a_blocked_run_due_for_the_same_build(world: World) {
    let mut run = world.start_owned("a").await;
    world.done(run.turn().block("build-1"), &mut run).await;
    world.signal("a").await;
    assert_eq!(world.due().await.now, 0);
    assert_eq!(world.acquire(world.me).await, []);
    let newer = serves_of_build("build-2");
    let taken = one(world.acquire_as(world.me, &newer, 10).await);
    assert_eq!(names(&taken.inbox), ["approved"]);
    assert_eq!(taken.run.blocked, None);
}

pub async fn finished_run_is_unowned_and_never_due_again(world: World) {
    let mut run = world.start_owned("a").await;
    world
        .done(run.turn().end_as(Status::Cancelled), &mut run)
        .await;
    let found = world.run("a").await;
    assert_eq!((found.status, found.owner), (Status::Cancelled, None));
    assert_eq!((found.lost, found.wake_at), (0, None));
    world.advance(SECOND * 1_000);
    assert_eq!(world.due().await, longhaul_core::backend::Due::default());
    assert_eq!(world.commit(&run.turn()).await, Verdict::Lost);
}

pub async fn update_without_a_turn_changes_the_row_alone(world: World) {
    let mut run = world.start_owned("a").await;
    world
        .done(run.turn().park_until(world.now()).without_turn(), &mut run)
        .await;
    assert_eq!(world.turns("a").await, 1);
    assert_eq!(world.run("a").await.status, Status::Waiting);
    let taken = world.take(world.me).await;
    assert_eq!((taken.epoch, taken.turns), (Epoch(2), 1));
}

pub async fn data_is_set_replaced_and_removed_in_order_of_keys(world: World) {
    let mut run = world.start_owned("a").await;
    let set = run.turn().set("b", b"1").set("a", b"2").set("c", b"3");
    world.done(set, &mut run).await;
    world
        .done(run.turn().set("b", b"4").remove("a").remove("z"), &mut run)
        .await;
    let all = world.backend().all_data(&run.id).await.unwrap();
    let all: Vec<_> = all
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_bytes()))
        .collect();
    assert_eq!(all, [("b", &b"4"[..]), ("c", &b"3"[..])]);
    assert_eq!(world.data("a", "a").await, None);
}

pub async fn data_belongs_to_its_run_and_outlives_it(world: World) {
    let mut run = world.start_owned("a").await;
    world.start_owned("b").await;
    world.done(run.turn().set("k", b"1").end(), &mut run).await;
    assert!(world.data("a", "k").await.is_some());
    assert_eq!(world.data("b", "k").await, None);
}

pub async fn turn_that_is_not_taken_leaves_no_effects(world: World) {
    let run = world.start_owned("a").await;
    world.start_owned("b").await;
    world.signal("a").await;
    let park = run
        .turn()
        .set("k", b"1")
        .child("a/kid")
        .enqueue(run.attempt("charge"))
        .send("b", "hello")
        .park();
    assert_eq!(world.commit(&park).await, Verdict::Unread);
    assert_eq!(world.data("a", "k").await, None);
    assert_eq!(world.find("a/kid").await, None);
    assert_eq!(world.claim(world.me, 1).await, []);
    assert_eq!(world.deliver().await, 0);
}

pub async fn subworkflow_of_a_turn_is_due_and_knows_its_parent(world: World) {
    let mut run = world.start_owned("a").await;
    world.done(run.turn().child("a/kid"), &mut run).await;
    let kid = world.run("a/kid").await;
    assert_eq!((kid.status, kid.owner), (Status::Pending, None));
    assert_eq!(kid.identity.parent, Some(workflow_id("a")));
    assert_eq!(kid.identity.root, workflow_id("a"));
    assert!(kid.parent_operation.is_some());
    assert_eq!(acquired_ids(&world.acquire(world.me).await), ["a/kid"]);
}

pub async fn subworkflow_whose_id_is_taken_arrives_as_closed_without_content(world: World) {
    world.start_and_park("taken", None).await;
    let mut run = world.start_owned("a").await;
    world.done(run.turn().child("taken"), &mut run).await;
    assert!(world.beat(world.me).await.outbox);
    world.deliver().await;
    let arrival = one(world.inbox(&run).await.unwrap());
    assert_eq!(
        arrival.body.kind,
        longhaul_core::backend::ArrivalKind::SubworkflowClosed
    );
    assert_eq!(arrival.body.name, "workflow:order#1");
    assert_eq!(arrival.body.content, b"");
    assert_eq!(world.run("taken").await.identity.parent, None);
}

pub async fn own_subworkflow_that_is_there_already_is_no_refusal(world: World) {
    let mut run = world.start_owned("a").await;
    world.done(run.turn().child("a/kid"), &mut run).await;
    world.done(run.turn().child("a/kid"), &mut run).await;
    assert_eq!(world.deliver().await, 0);
    assert_eq!(world.turns("a/kid").await, 1);
}

pub async fn outbox_delivers_each_message_once_and_in_order(world: World) {
    let mut run = world.start_owned("a").await;
    let other = world.start_owned("b").await;
    world
        .done(run.turn().send("b", "1").send("b", "2"), &mut run)
        .await;
    world.done(run.turn().send("b", "3").end(), &mut run).await;
    assert!(world.beat(world.me).await.outbox);
    assert_eq!(world.inbox(&other).await.unwrap(), []);
    assert_eq!(world.backend().deliver(2).await.unwrap(), 2);
    assert_eq!(world.deliver().await, 1);
    assert_eq!(world.deliver().await, 0);
    let inbox = world.inbox(&other).await.unwrap();
    assert_eq!(names(&inbox), ["1", "2", "3"]);
    assert_eq!(inbox[0].body.content, b"content of 1");
    assert!(!world.beat(world.me).await.outbox);
}

pub async fn racing_deliveries_deliver_each_message_once(world: World) {
    let mut run = world.start_owned("a").await;
    let other = world.start_owned("b").await;
    for name in ["1", "2", "3", "4", "5", "6"] {
        world.done(run.turn().send("b", name), &mut run).await;
    }
    let deliveries: Vec<_> = (0..4)
        .map(|_| {
            let backend = world.backend();
            tokio::spawn(async move { backend.deliver(4).await.unwrap() })
        })
        .collect();
    let mut moved = 0;
    for delivery in deliveries {
        moved += delivery.await.unwrap();
    }
    assert_eq!(moved, 6);
    let inbox = world.inbox(&other).await.unwrap();
    assert_eq!(names(&inbox), ["1", "2", "3", "4", "5", "6"]);
}

pub async fn message_to_a_finished_or_unknown_run_is_dropped(world: World) {
    world.start_and_end("finished").await;
    let mut run = world.start_owned("a").await;
    let sent = run.turn().send("finished", "1").send("unknown", "2");
    world.done(sent, &mut run).await;
    assert_eq!(world.deliver().await, 2);
    assert_eq!(world.deliver().await, 0);
    assert_eq!(world.run("finished").await.arrivals, ArrivalNumber(0));
    assert_eq!(world.start_as(run_of("unknown")).await, Started::New);
    assert_eq!(world.deliver().await, 0);
    assert_eq!(world.run("unknown").await.arrivals, ArrivalNumber(0));
}

pub async fn message_gets_past_a_seal(world: World) {
    let mut run = world.start_owned("a").await;
    let mut other = world.start_owned("b").await;
    world.done(other.turn().seal(), &mut other).await;
    world.done(run.turn().send("b", "hello"), &mut run).await;
    assert_eq!(world.deliver().await, 1);
    assert_eq!(names(&world.inbox(&other).await.unwrap()), ["hello"]);
}

pub async fn commit_of_a_dead_worker_is_refused_and_writes_nothing(world: World) {
    let dead = world.worker().await;
    let run = world.start_owned_by(dead, "a").await;
    world.kill(dead).await;
    let turn = run.turn().set("k", b"1");
    let refused = world.try_commit(&turn).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::WorkerDead);
    assert_eq!(world.turns("a").await, 1);
    assert_eq!(world.data("a", "k").await, None);
    assert_eq!(world.history("a").await[0].turn, TurnNumber(0));
}

pub async fn what_was_read_stays_read(world: World) {
    let mut run = world.start_owned("a").await;
    world.signal("a").await;
    world.signal("a").await;
    let both = run.turn().reading(ArrivalNumber(2)).drain();
    world.done(both, &mut run).await;
    let fewer = run.turn().reading(ArrivalNumber(1)).drain();
    world.done(fewer, &mut run).await;
    assert_eq!(world.run("a").await.read, ArrivalNumber(2));
    assert!(world.beat(world.me).await.arrivals.is_empty());
}

pub async fn release_and_block_clear_the_count_of_losses(world: World) {
    for (id, is_released) in [("a", true), ("b", false)] {
        let dead = world.worker().await;
        world.start_owned_by(dead, id).await;
        world.kill(dead).await;
        let mut run = world.take(world.me).await;
        assert_eq!(world.run(id).await.lost, 1);
        let turn = run.turn().without_turn();
        let turn = if is_released {
            turn.release()
        } else {
            turn.block("build-1")
        };
        world.done(turn, &mut run).await;
        assert_eq!(world.run(id).await.lost, 0, "{id}");
        world.acquire(world.me).await;
    }
}

pub async fn seal_outlasts_later_drains(world: World) {
    let mut run = world.start_owned("a").await;
    world.done(run.turn().seal(), &mut run).await;
    world.done(run.turn().drain(), &mut run).await;
    world.append(&mut run).await;
    assert_eq!(world.arrive(&signal_to("a")).await, Arrived::Sealed);
    world.done(run.turn().seal(), &mut run).await;
    assert_eq!(world.arrive(&signal_to("a")).await, Arrived::Sealed);
}

pub async fn seal_is_lifted_by_release_and_block(world: World) {
    let mut released = world.start_owned("a").await;
    let mut blocked = world.start_owned("b").await;
    for run in [&mut released, &mut blocked] {
        world.done(run.turn().seal(), run).await;
    }
    world.done(released.turn().release(), &mut released).await;
    let block = blocked.turn().block("build-1");
    world.done(block, &mut blocked).await;
    for id in ["a", "b"] {
        let arrived = world.arrive(&signal_to(id)).await;
        assert!(matches!(arrived, Arrived::Accepted { .. }), "{id}");
    }
}

pub async fn two_turns_of_a_batch_that_want_one_id_get_one_subworkflow(world: World) {
    let first = world.start_owned("a").await;
    let second = world.start_owned("b").await;
    let turns = [&first.turn().child("kid"), &second.turn().child("kid")];
    let verdicts = world.commit_all(&turns).await;
    assert_eq!(verdicts, [Verdict::Committed, Verdict::Committed]);
    world.deliver().await;
    let parent = world.run("kid").await.identity.parent.unwrap();
    let (taken, refused) = if parent == first.id {
        (&first, &second)
    } else {
        (&second, &first)
    };
    assert_eq!(parent, taken.id);
    assert_eq!(world.inbox(taken).await.unwrap(), []);
    let refusal = one(world.inbox(refused).await.unwrap());
    assert_eq!(refusal.body.name, "workflow:order#1");
}

pub async fn subworkflow_with_the_id_of_its_parent_is_refused(world: World) {
    let mut run = world.start_owned("a").await;
    world.done(run.turn().child("a"), &mut run).await;
    world.deliver().await;
    let refusal = one(world.inbox(&run).await.unwrap());
    assert_eq!(refusal.body.name, "workflow:order#1");
    let found = world.run("a").await;
    assert_eq!((found.owner, found.identity.parent), (Some(world.me), None));
}

pub async fn message_to_the_sender_itself_arrives(world: World) {
    let mut run = world.start_owned("a").await;
    world
        .done(run.turn().send("a", "to me").park(), &mut run)
        .await;
    world.deliver().await;
    let taken = one(world.acquire(world.me).await);
    assert_eq!(names(&taken.inbox), ["to me"]);
}

pub async fn message_makes_a_parked_run_due(world: World) {
    world.start_and_park("parked", None).await;
    let mut run = world.start_owned("a").await;
    world
        .done(run.turn().send("parked", "hello"), &mut run)
        .await;
    assert_eq!(world.due().await.now, 0);
    world.deliver().await;
    assert_eq!(world.due().await.now, 1);
    assert_eq!(acquired_ids(&world.acquire(world.me).await), ["parked"]);
}

pub async fn late_park_does_not_end_the_next_ownership_of_the_same_worker(world: World) {
    let mut run = world.start_owned("a").await;
    let late = run.turn().park().without_turn();
    world
        .done(run.turn().release().without_turn(), &mut run)
        .await;
    world.take(world.me).await;
    assert_eq!(world.commit(&late).await, Verdict::Lost);
    let found = world.run("a").await;
    assert_eq!((found.owner, found.epoch), (Some(world.me), Epoch(2)));
}

pub async fn racing_turns_of_one_number_commit_one(world: World) {
    let run = world.start_owned("a").await;
    let mut racing = Vec::new();
    for _ in 0..8 {
        let (backend, turn) = (world.backend(), run.turn());
        let commit = async move { backend.commit(turn.lane, vec![turn.commit]).await };
        racing.push(tokio::spawn(commit));
    }
    let mut committed = 0;
    for commit in racing {
        let verdict = one(commit.await.unwrap().unwrap());
        committed += usize::from(verdict == Verdict::Committed);
    }
    assert_eq!(committed, 1);
    assert_eq!(world.turns("a").await, 2);
}

pub async fn racing_repetitions_of_one_turn_are_all_committed(world: World) {
    let run = world.start_owned("a").await;
    world.start_owned("b").await;
    let turn = run.turn().send("b", "hello").park();
    let mut racing = Vec::new();
    for _ in 0..8 {
        let (backend, turn) = (world.backend(), turn.clone());
        let commit = async move { backend.commit(turn.lane, vec![turn.commit]).await };
        racing.push(tokio::spawn(commit));
    }
    for commit in racing {
        assert_eq!(one(commit.await.unwrap().unwrap()), Verdict::Committed);
    }
    assert_eq!(world.turns("a").await, 2);
    world.deliver().await;
    assert_eq!(world.run("b").await.arrivals, ArrivalNumber(1));
}

pub async fn arrival_and_park_never_miss_each_other(world: World) {
    for round in 0..16 {
        let id = format!("run {round}");
        let run = world.start_owned(&id).await;
        let (parker, sender) = (world.backend(), world.backend());
        let (turn, signal) = (run.turn().park(), signal_to(&id));
        let park = async move { parker.commit(turn.lane, vec![turn.commit]).await };
        let send = async move { sender.arrive(vec![signal]).await };
        let parked = if round % 2 == 0 {
            let (park, send) = (tokio::spawn(park), tokio::spawn(send));
            send.await.unwrap().unwrap();
            park.await.unwrap()
        } else {
            let (send, park) = (tokio::spawn(send), tokio::spawn(park));
            send.await.unwrap().unwrap();
            park.await.unwrap()
        };
        let is_parked = one(parked.unwrap()) == Verdict::Committed;
        assert_eq!(world.due().await.now, usize::from(is_parked), "{id}");
        let inbox = if is_parked {
            one(world.acquire(world.me).await).inbox
        } else {
            world.inbox(&run).await.unwrap()
        };
        assert_eq!(names(&inbox), ["approved"], "{id}");
    }
}
