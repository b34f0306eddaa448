//! What a restart keeps: everything.

use longhaul_core::backend::{Reported, Started, Verdict};
use longhaul_core::id::ArrivalNumber;

use crate::world::{World, names, number_of, one, report_of, run_of, signal_to};

pub async fn reopening_keeps_the_row_and_the_history(mut world: World) {
    let mut run = world.start_owned("a").await;
    world.append(&mut run).await;
    world.start_and_end("b").await;
    let before = (world.run("a").await, world.history("a").await);
    let finished = (world.run("b").await, world.history("b").await);
    world.reopen().await;
    assert_eq!((world.run("a").await, world.history("a").await), before);
    assert_eq!((world.run("b").await, world.history("b").await), finished);
    assert_eq!(world.start("a").await, Started::Exists(Box::new(before.0)));
}

pub async fn reopening_keeps_the_register_and_its_ownerships(mut world: World) {
    let mut run = world.start_owned("a").await;
    let dead = world.worker().await;
    world.kill(dead).await;
    let before = world.backend().workers().await.unwrap();
    world.reopen().await;
    assert_eq!(world.backend().workers().await.unwrap(), before);
    world.append(&mut run).await;
    assert!(world.join_as(dead).await.is_err());
}

pub async fn reopening_keeps_the_inbox_and_what_it_knows(mut world: World) {
    let run = world.start_owned("a").await;
    let signal = signal_to("a");
    let first = world.arrive(&signal).await;
    let before = world.inbox(&run).await;
    world.reopen().await;
    assert_eq!(world.inbox(&run).await, before);
    assert_eq!(world.arrive(&signal).await, first);
    assert_eq!(world.signal("a").await, ArrivalNumber(2));
    assert_eq!(number_of(&first), ArrivalNumber(1));
}

pub async fn reopening_keeps_what_was_committed_known(mut world: World) {
    let mut run = world.start_owned("a").await;
    let turn = run.turn();
    let park = run.turn_at(2).park();
    world.done(turn.clone(), &mut run).await;
    world.done(park.clone(), &mut run).await;
    world.reopen().await;
    assert_eq!(world.commit(&turn).await, Verdict::Committed);
    assert_eq!(world.commit(&park).await, Verdict::Committed);
    assert_eq!(world.turns("a").await, 3);
}

pub async fn reopening_keeps_data(mut world: World) {
    let mut run = world.start_owned("a").await;
    world
        .done(run.turn().set("b", b"1").set("a", b"2"), &mut run)
        .await;
    let before = world.backend().all_data(&run.id).await.unwrap();
    assert_eq!(before.len(), 2);
    world.reopen().await;
    assert_eq!(world.backend().all_data(&run.id).await.unwrap(), before);
}

pub async fn reopening_keeps_queues_and_claims(mut world: World) {
    let mut run = world.start_owned("a").await;
    let enqueue = run
        .turn()
        .enqueue(run.attempt("charge"))
        .enqueue(run.attempt("refund"));
    world.done(enqueue, &mut run).await;
    let claimed = world.claim_one(world.me).await;
    world.reopen().await;
    let report = report_of(world.me, &claimed);
    assert!(matches!(
        world.report(&report).await,
        Reported::Accepted { .. }
    ));
    assert_eq!(&*world.claim_one(world.me).await.operation.name, "refund");
}

pub async fn reopening_keeps_the_outbox(mut world: World) {
    let mut run = world.start_owned("a").await;
    let other = world.start_owned("b").await;
    world
        .done(run.turn().send("b", "1").send("b", "2"), &mut run)
        .await;
    assert_eq!(world.backend().deliver(1).await.unwrap(), 1);
    world.reopen().await;
    assert_eq!(world.deliver().await, 1);
    assert_eq!(names(&world.inbox(&other).await.unwrap()), ["1", "2"]);
}

pub async fn reopening_keeps_due_times_seals_and_losses(mut world: World) {
    let wake_at = world.now().after(crate::world::SECOND);
    world.start_and_park("parked", Some(wake_at)).await;
    let mut sealed = world.start_owned("sealed").await;
    world.done(sealed.turn().seal(), &mut sealed).await;
    let dead = world.worker().await;
    world.start_owned_by(dead, "lost").await;
    world.kill(dead).await;
    world.reopen().await;
    assert_eq!(world.due().await.next, Some(wake_at));
    let signal = signal_to("sealed");
    assert_eq!(
        world.arrive(&signal).await,
        longhaul_core::backend::Arrived::Sealed
    );
    assert_eq!(one(world.acquire(world.me).await).run.lost, 1);
}

pub async fn reopening_keeps_what_was_fixed_when_the_store_was_made(mut world: World) {
    let before = world.backend().store();
    let mut tagged = run_of("a");
    tagged.tags.push(("x".to_owned(), "y".to_owned()));
    world.start_as(tagged.clone()).await;
    world.reopen().await;
    assert_eq!(world.backend().store(), before);
    assert_eq!(world.run("a").await.tags, tagged.tags);
}

pub async fn reopening_keeps_what_blocks_a_run(mut world: World) {
    let mut run = world.start_owned("a").await;
    world.done(run.turn().block("build-1"), &mut run).await;
    let before = world.run("a").await;
    world.reopen().await;
    assert_eq!(world.run("a").await, before);
    assert_eq!(world.due().await.now, 0);
    let other = crate::world::serves_of_build("build-2");
    assert_eq!(world.backend().due(&other).await.unwrap().now, 1);
}

pub async fn reopening_keeps_a_pause(mut world: World) {
    let mut run = world.start_owned("a").await;
    let pause = run.turn().enqueue(run.attempt("one")).pause();
    world.done(pause, &mut run).await;
    world.signal("a").await;
    let before = world.run("a").await;
    world.reopen().await;
    assert_eq!(world.run("a").await, before);
    assert_eq!(world.due().await.now, 0);
    assert_eq!(world.claim(world.me, 9).await, []);
    world.edited(run.turn().release(), &mut run).await;
    assert_eq!(world.claim(world.me, 9).await.len(), 1);
}

pub async fn reopening_keeps_the_dead_dead(mut world: World) {
    let dead = world.worker().await;
    world.kill(dead).await;
    world.reopen().await;
    let refused = world.join_as(dead).await.unwrap_err();
    assert_eq!(refused.kind(), longhaul_core::backend::Kind::WorkerDead);
}
