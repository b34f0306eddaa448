//! Runs that are paused, and what is done from outside to runs that nobody owns.

use longhaul_core::backend::{ArrivalKind, Arrived, Due, Hint, Reported, Verdict};
use longhaul_core::id::{ArrivalNumber, DataKey, Epoch, Segment};
use longhaul_core::payload::Payload;
use longhaul_core::status::Status;

use crate::world::{
    SECOND, World, acquired_ids, names, operations, report_of, serves_of_build, signal_to,
    workflow_id,
};

pub async fn edit_of_a_parked_run_is_written_whole(world: World) {
    let mut other = world.start_owned("b").await;
    let mut run = world.start_and_park("a", None).await;
    let edit = run.turn().set("k", b"v").send("b", "hello").release();
    world.edited(edit, &mut run).await;
    assert_eq!(world.history("a").await[2].record, b"turn 2");
    assert_eq!(world.data("a", "k").await.unwrap().as_bytes(), b"v");
    world.deliver().await;
    assert_eq!(names(&world.inbox(&other).await.unwrap()), ["hello"]);
    let row = world.run("a").await;
    assert_eq!((row.status, row.owner), (Status::Waiting, None));
    assert_eq!(acquired_ids(&world.acquire(world.me).await), ["a"]);
    world.append(&mut other).await;
}

pub async fn edit_that_ends_a_run_ends_it_for_good(world: World) {
    let mut run = world
        .start_and_park("a", Some(world.now().after(SECOND)))
        .await;
    let edit = run.turn().end_as(Status::Terminated);
    world.edited(edit, &mut run).await;
    assert_eq!(world.run("a").await.status, Status::Terminated);
    world.advance(SECOND);
    assert_eq!(world.due().await, Due::default());
    let refused = world.arrive(&signal_to("a")).await;
    assert_eq!(refused, Arrived::Finished(Status::Terminated));
}

pub async fn edit_of_an_owned_run_is_lost(world: World) {
    let mut run = world.start_owned("a").await;
    world.append(&mut run).await;
    for edit in [run.turn().release(), run.turn().end(), run.turn().pause()] {
        assert_eq!(world.edit(&edit).await, Verdict::Lost);
    }
    assert_eq!(world.turns("a").await, 2);
    world.append(&mut run).await;
}

pub async fn edit_of_a_finished_or_unknown_run_is_lost(world: World) {
    let mut run = world.start_owned("a").await;
    world.end(&mut run).await;
    assert_eq!(world.edit(&run.turn().release()).await, Verdict::Lost);
    assert_eq!(world.run("a").await.status, Status::Completed);
    let mut unknown = run.turn().release();
    unknown.commit.run = workflow_id("b");
    assert_eq!(world.edit(&unknown).await, Verdict::Lost);
    assert_eq!(world.find("b").await, None);
}

pub async fn edit_from_an_older_view_is_lost(world: World) {
    let mut run = world.start_and_park("a", None).await;
    let mut edit = run.turn().release();
    edit.commit.epoch = Epoch(2);
    assert_eq!(world.edit(&edit).await, Verdict::Lost);
    edit.commit.epoch = run.epoch;
    edit.commit.segment = Segment(2);
    assert_eq!(world.edit(&edit).await, Verdict::Lost);
    let older = run.turn().end();
    world.edited(run.turn().park(), &mut run).await;
    assert_eq!(world.edit(&older).await, Verdict::Lost);
    assert_eq!(world.edit(&run.turn_at(5).end()).await, Verdict::Lost);
    assert_eq!(world.run("a").await.status, Status::Waiting);
    assert_eq!(world.turns("a").await, 3);
}

pub async fn same_edit_again_is_committed_and_changes_nothing(world: World) {
    let mut run = world.start_and_park("a", None).await;
    world.start_owned("b").await;
    let edit = run.turn().send("b", "hello").release();
    world.edited(edit.clone(), &mut run).await;
    let before = world.run("a").await;
    assert_eq!(world.edit(&edit).await, Verdict::Committed);
    assert_eq!(world.run("a").await, before);
    world.deliver().await;
    assert_eq!(world.run("b").await.arrivals, ArrivalNumber(1));
    world.take(world.me).await;
    assert_eq!(world.edit(&edit).await, Verdict::Committed);
    assert_eq!(world.run("a").await.owner, Some(world.me));
    assert_eq!(world.turns("a").await, 3);
}

pub async fn edit_that_parks_or_ends_is_unread_when_something_arrived(world: World) {
    let mut run = world.start_and_park("a", None).await;
    let number = world.signal("a").await;
    assert_eq!(world.edit(&run.turn().end()).await, Verdict::Unread);
    assert_eq!(world.edit(&run.turn().park()).await, Verdict::Unread);
    assert_eq!(world.turns("a").await, 2);
    let edit = run.turn().reading(number).end();
    world.edited(edit, &mut run).await;
}

pub async fn edit_changes_when_a_parked_run_is_due(world: World) {
    let now = world.now();
    let mut run = world.start_and_park("a", Some(now.after(SECOND))).await;
    let later = run.turn().park_until(now.after(SECOND * 3));
    world.edited(later, &mut run).await;
    world.advance(SECOND);
    assert_eq!(world.due().await.now, 0);
    assert_eq!(world.due().await.next, Some(now.after(SECOND * 3)));
    world.advance(SECOND * 2);
    assert_eq!(acquired_ids(&world.acquire(world.me).await), ["a"]);
}

pub async fn edit_gives_a_blocked_run_to_every_build(world: World) {
    let mut run = world.start_owned("a").await;
    let build = crate::world::serves().build;
    world.done(run.turn().block(build.as_str()), &mut run).await;
    assert_eq!(world.due().await.now, 0);
    world.edited(run.turn().release(), &mut run).await;
    assert_eq!(world.run("a").await.blocked, None);
    assert_eq!(world.due().await.now, 1);
    let other = serves_of_build("another");
    let taken = world.acquire_as(world.me, &other, 1).await;
    assert_eq!(acquired_ids(&taken), ["a"]);
}

pub async fn edit_keeps_the_count_of_losses(world: World) {
    let other = world.worker().await;
    let mut run = world.start_owned_by(other, "a").await;
    world.kill(other).await;
    world.edited(run.turn().pause(), &mut run).await;
    assert_eq!(world.run("a").await.lost, 1);
    world.edited(run.turn().release(), &mut run).await;
    let taken = world.acquire(world.me).await;
    assert_eq!(taken[0].run.lost, 1);
}

pub async fn batch_of_edits_with_bad_members_commits_exactly_the_good_ones(world: World) {
    let mut edits = Vec::new();
    for id in ["a", "b", "c"] {
        edits.push(world.start_and_park(id, None).await.turn().end().commit);
    }
    let owned = world.start_owned("d").await;
    edits.insert(1, owned.turn().end().commit);
    world.signal("b").await;
    let verdicts = world.backend().edit(edits).await.unwrap();
    let (good, lost) = (Verdict::Committed, Verdict::Lost);
    assert_eq!(verdicts, [good.clone(), lost, Verdict::Unread, good]);
    for (id, is_ended) in [("a", true), ("b", false), ("c", true), ("d", false)] {
        assert_eq!(world.run(id).await.status.is_terminal(), is_ended, "{id}");
    }
}

pub async fn racing_edits_of_one_run_commit_one(world: World) {
    let run = world.start_and_park("a", None).await;
    let racing: Vec<_> = (0..8)
        .map(|_| {
            let (backend, edit) = (world.backend(), run.turn().release().commit);
            tokio::spawn(async move { backend.edit(vec![edit]).await.unwrap() })
        })
        .collect();
    let mut committed = 0;
    for edit in racing {
        committed += usize::from(edit.await.unwrap() == [Verdict::Committed]);
    }
    assert_eq!(committed, 1);
    assert_eq!(world.turns("a").await, 3);
}

pub async fn edit_and_owner_never_write_the_same_turn(world: World) {
    for round in 0..8 {
        let id = format!("run {round}");
        let run = world.start_and_park(&id, Some(world.now())).await;
        let (backend, edit) = (world.backend(), run.turn().end().commit);
        let editing = tokio::spawn(async move { backend.edit(vec![edit]).await.unwrap() });
        let taken = world.acquire(world.me).await;
        let verdict = editing.await.unwrap();
        let is_edited = verdict == [Verdict::Committed];
        assert_ne!(
            is_edited,
            acquired_ids(&taken) == [id.clone()],
            "{verdict:?}"
        );
        assert_eq!(world.run(&id).await.status.is_terminal(), is_edited);
        if let [taken] = taken.as_slice() {
            let mut run = crate::world::Run::from(taken.clone());
            world.end(&mut run).await;
        }
    }
}

pub async fn paused_run_is_unowned_and_never_due(world: World) {
    let run = world.start_and_pause("a").await;
    let row = world.run("a").await;
    assert_eq!((row.status, row.owner), (Status::Paused, None));
    assert_eq!((row.wake_at, row.lost), (None, 0));
    world.signal("a").await;
    assert_eq!(world.run("a").await.wake_at, None);
    assert_eq!(world.due().await, Due::default());
    assert_eq!(world.beat(world.me).await.due, Due::default());
    assert_eq!(world.acquire(world.me).await, []);
    assert_eq!(world.commit(&run.turn()).await, Verdict::Lost);
}

pub async fn pause_leaves_what_is_unread_to_the_next_owner(world: World) {
    let mut run = world.start_owned("a").await;
    let read = world.signal("a").await;
    world.signal("a").await;
    let pause = run.turn().reading(read).pause();
    world.done(pause, &mut run).await;
    world.signal("a").await;
    world
        .edited(run.turn().reading(read).release(), &mut run)
        .await;
    let taken = world.acquire(world.me).await;
    let numbers: Vec<_> = taken[0].inbox.iter().map(|one| one.number).collect();
    assert_eq!(numbers, [ArrivalNumber(2), ArrivalNumber(3)]);
    assert_eq!(taken[0].turns.len(), 3);
}

pub async fn paused_run_takes_arrivals_in_spite_of_a_seal_before(world: World) {
    let mut run = world.start_owned("a").await;
    world.done(run.turn().seal(), &mut run).await;
    assert_eq!(world.arrive(&signal_to("a")).await, Arrived::Sealed);
    world.done(run.turn().pause(), &mut run).await;
    world.signal("a").await;
}

pub async fn message_to_a_paused_run_waits_in_its_inbox(world: World) {
    let mut paused = world.start_and_pause("a").await;
    let mut sender = world.start_owned("b").await;
    world
        .done(sender.turn().send("a", "hello"), &mut sender)
        .await;
    world.deliver().await;
    assert_eq!(world.due().await, Due::default());
    world.edited(paused.turn().release(), &mut paused).await;
    let taken = world.acquire(world.me).await;
    assert_eq!(names(&taken[0].inbox), ["hello"]);
}

pub async fn queued_attempts_of_a_paused_run_are_not_handed_out(world: World) {
    let mut run = world.start_owned("a").await;
    let attempts = run.turn().enqueue(run.attempt("one"));
    world.done(attempts, &mut run).await;
    let mut other = world.start_owned("b").await;
    world
        .done(other.turn().enqueue(other.attempt("other")), &mut other)
        .await;
    let pause = run.turn().enqueue(run.attempt("two")).pause();
    world.done(pause, &mut run).await;
    assert_eq!(world.beat(world.me).await.claimable, 1);
    let claimed = world.claim(world.me, 10).await;
    assert_eq!(operations(&claimed), ["other"]);
    assert_eq!(world.beat(world.me).await.next_claimable, None);
}

pub async fn queued_attempts_are_handed_out_after_the_pause_as_before(world: World) {
    let mut run = world.start_owned("a").await;
    let mut urgent = run.attempt("urgent");
    urgent.priority = 1;
    let mut delayed = run.attempt("delayed");
    delayed.due = Some(world.now().after(SECOND * 2));
    let attempts = run
        .turn()
        .enqueue(run.attempt("one"))
        .enqueue(delayed)
        .enqueue(urgent);
    world.done(attempts, &mut run).await;
    world.done(run.turn().pause(), &mut run).await;
    world.advance(SECOND);
    world.edited(run.turn().release(), &mut run).await;
    let beat = world.beat(world.me).await;
    assert_eq!(beat.claimable, 2);
    assert_eq!(beat.next_claimable, Some(world.now().after(SECOND)));
    let claimed = world.claim(world.me, 10).await;
    assert_eq!(operations(&claimed), ["urgent", "one"]);
    world.advance(SECOND);
    assert_eq!(operations(&world.claim(world.me, 10).await), ["delayed"]);
}

pub async fn claimed_attempt_of_a_paused_run_is_reported(world: World) {
    let mut run = world.start_owned("a").await;
    world
        .done(run.turn().enqueue(run.attempt("one")), &mut run)
        .await;
    let claimed = world.claim_one(world.me).await;
    world.done(run.turn().pause(), &mut run).await;
    let reported = world.report(&report_of(world.me, &claimed)).await;
    assert_eq!(reported, Reported::Accepted { owner: None });
    assert_eq!(world.due().await, Due::default());
    world.edited(run.turn().release(), &mut run).await;
    let taken = world.acquire(world.me).await;
    let kinds: Vec<_> = taken[0].inbox.iter().map(|one| one.body.kind).collect();
    assert_eq!(kinds, [ArrivalKind::TaskOutcome]);
    assert_eq!(world.claim(world.me, 10).await, []);
}

pub async fn lost_claim_of_a_paused_run_wakes_nobody(world: World) {
    let mut run = world.start_owned("a").await;
    world
        .done(run.turn().enqueue(run.attempt("one")), &mut run)
        .await;
    let other = world.worker().await;
    world.claim_one(other).await;
    world.done(run.turn().pause(), &mut run).await;
    world.kill(other).await;
    assert_eq!(world.run("a").await.arrivals, ArrivalNumber(1));
    assert_eq!(world.due().await, Due::default());
}

pub async fn withdrawn_attempt_of_a_paused_run_is_gone(world: World) {
    let mut run = world.start_owned("a").await;
    let attempts = run
        .turn()
        .enqueue(run.attempt("one"))
        .enqueue(run.attempt("two"));
    world.done(attempts, &mut run).await;
    world.done(run.turn().pause(), &mut run).await;
    world
        .edited(run.turn().withdraw("one").release(), &mut run)
        .await;
    assert_eq!(operations(&world.claim(world.me, 10).await), ["two"]);
}

pub async fn paused_run_that_is_ended_leaves_no_attempts(world: World) {
    let mut run = world.start_owned("a").await;
    world
        .done(run.turn().enqueue(run.attempt("one")), &mut run)
        .await;
    world.done(run.turn().pause(), &mut run).await;
    world
        .edited(run.turn().end_as(Status::Terminated), &mut run)
        .await;
    assert_eq!(world.backend().queues().await.unwrap(), []);
    assert_eq!(world.claim(world.me, 10).await, []);
}

pub async fn parked_run_can_be_paused_by_an_edit_and_put_off_no_more(world: World) {
    let due = world.now().after(SECOND);
    let mut run = world.start_and_park("a", Some(due)).await;
    world.edited(run.turn().pause(), &mut run).await;
    world.advance(SECOND * 2);
    assert_eq!(world.run("a").await.status, Status::Paused);
    assert_eq!(world.due().await, Due::default());
    world.edited(run.turn().release(), &mut run).await;
    assert_eq!(acquired_ids(&world.acquire(world.me).await), ["a"]);
}

pub async fn hint_follows_an_answer_to_an_update(world: World) {
    let mut run = world.start_owned("a").await;
    let mut hints = world.backend().hints();
    let mut turn = run.turn();
    let key = DataKey::from_stored("longhaul:answer:1");
    let answer = Payload::from_bytes(b"7".to_vec());
    turn.commit.data.push((key, Some(answer)));
    world.done(turn, &mut run).await;
    let waiting = tokio::time::timeout(SECOND * 10, hints.next());
    assert!(waiting.await.is_ok(), "no hint comes");
}

pub async fn hint_follows_a_pause_and_its_end(world: World) {
    let mut run = world.start_owned("a").await;
    let mut hints = world.backend().hints();
    world.done(run.turn().pause(), &mut run).await;
    let paused = tokio::time::timeout(SECOND * 10, hints.next());
    assert!(paused.await.is_ok(), "no hint of the pause comes");
    let mut hints = world.backend().hints();
    world.edited(run.turn().release(), &mut run).await;
    let changed = async { while hints.next().await != Hint::Changed {} };
    let lifted = tokio::time::timeout(SECOND * 10, changed);
    assert!(lifted.await.is_ok(), "no hint of its end comes");
}
