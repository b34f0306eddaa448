//! Who owns what, for how long, and what becomes of it when a worker dies.

use longhaul_core::backend::{ArrivalKind, BeatRequest, Kind, Reported, TakenOver};
use longhaul_core::id::{ArrivalNumber, Epoch};
use longhaul_core::status::Status;

use crate::world::{
    LEASE, SECOND, World, beat_of, join_of, lane, names, new_worker_id, number_of, one, report_of,
    serves, signal_to, workflow_id,
};

const MOMENT: std::time::Duration = std::time::Duration::from_millis(1);

pub async fn worker_is_dead_when_its_lease_is_over_by_the_clock(world: World) {
    let other = world.worker().await;
    world.advance(LEASE - MOMENT);
    assert!(world.beat(world.me).await.dead.is_empty());
    assert_eq!(world.take_over().await, TakenOver::default());
    world.extend(world.me).await.unwrap();
    world.advance(MOMENT * 2);
    assert_eq!(world.beat(world.me).await.dead, [other]);
    assert_eq!(world.take_over().await.workers, [other]);
    assert!(world.beat(world.me).await.dead.is_empty());
}

pub async fn beat_extends_the_lease_only_when_asked_to(world: World) {
    let other = world.worker().await;
    for _ in 0..4 {
        world.advance(LEASE / 2 + MOMENT);
        world.extend(world.me).await.unwrap();
        world.extend(other).await.unwrap();
        assert_eq!(world.take_over().await, TakenOver::default());
    }
    world.advance(LEASE / 2 + MOMENT);
    world.extend(world.me).await.unwrap();
    world.beat(other).await;
    world.advance(LEASE / 2 + MOMENT);
    assert_eq!(world.take_over().await.workers, [other]);
}

pub async fn beat_without_extension_only_reads(world: World) {
    world.start("a").await;
    let before = world.backend().workers().await.unwrap();
    world.advance(LEASE - MOMENT);
    assert_eq!(world.beat(world.me).await.due.now, 1);
    assert_eq!(world.backend().workers().await.unwrap(), before);
}

pub async fn beat_of_a_dead_worker_says_so(world: World) {
    let other = world.worker().await;
    world.kill(other).await;
    assert_eq!(
        world.extend(other).await.unwrap_err().kind(),
        Kind::WorkerDead
    );
    let request = longhaul_core::backend::BeatRequest {
        worker: other,
        extend: None,
        serves: serves(),
    };
    let refused = world.backend().beat(request).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::WorkerDead);
}

pub async fn nothing_of_a_dead_worker_is_accepted(world: World) {
    let dead = world.worker().await;
    let run = world.start_owned_by(dead, "a").await;
    let mut queued = world.start_owned("q").await;
    let enqueue = queued.turn().enqueue(queued.attempt("charge"));
    world.done(enqueue, &mut queued).await;
    let claimed = world.claim_one(dead).await;
    let enqueue = queued.turn().enqueue(queued.attempt("refund"));
    world.done(enqueue, &mut queued).await;
    world.kill(dead).await;

    let report = report_of(dead, &claimed);
    assert_eq!(world.report(&report).await, Reported::Stale);
    let commit = world.try_commit(&run.turn()).await.unwrap_err();
    let acquire = longhaul_core::backend::AcquireRequest {
        lane: lane(dead),
        serves: serves(),
        limit: 1,
    };
    let acquire = world.backend().acquire(acquire).await.unwrap_err();
    let claim = longhaul_core::backend::ClaimRequest {
        worker: dead,
        queues: vec![(crate::world::queue("mail"), 1)],
        tasks: serves().tasks,
    };
    let claim = world.backend().claim(claim).await.unwrap_err();
    for error in [commit, acquire, claim] {
        assert_eq!(error.kind(), Kind::WorkerDead);
    }
    assert_eq!(world.inbox(&run).await, None);
    assert_eq!(world.run("a").await.owner, None);
    assert_eq!(world.claim(world.me, 9).await.len(), 1);
}

pub async fn worker_that_never_joined_owns_nothing(world: World) {
    let stranger = crate::world::new_worker_id();
    let backend = world.backend();
    let started = backend.start(Some(lane(stranger)), Vec::new()).await;
    assert_eq!(started.unwrap_err().kind(), Kind::WorkerDead);
    assert_eq!(
        world.extend(stranger).await.unwrap_err().kind(),
        Kind::WorkerDead
    );
    backend.leave(stranger).await.unwrap();
}

pub async fn takeover_frees_runs_and_counts_the_loss(world: World) {
    let dead = world.worker().await;
    world.start_owned_by(dead, "a").await;
    world.start_owned_by(dead, "b").await;
    world.start_owned("mine").await;
    world.advance(SECOND);
    let taken = world.kill(dead).await;
    assert_eq!(
        (taken.workers, taken.runs, taken.attempts),
        (vec![dead], 2, 0)
    );
    let found = world.run("a").await;
    assert_eq!((found.owner, found.lost), (None, 1));
    assert_eq!(found.wake_at, Some(world.now()));
    assert_eq!(world.run("mine").await.owner, Some(world.me));
    assert_eq!(world.due().await.now, 2);
    let again = world.acquire(world.me).await;
    assert_eq!(again.len(), 2);
    assert!(again.iter().all(|run| run.run.epoch == Epoch(2)));
}

pub async fn losses_in_a_row_add_up(world: World) {
    let mut owner = world.worker().await;
    world.start_owned_by(owner, "a").await;
    for lost in 1..=3 {
        world.kill(owner).await;
        assert_eq!(world.run("a").await.lost, lost);
        owner = world.worker().await;
        world.take(owner).await;
        assert_eq!(world.run("a").await.lost, lost);
    }
}

pub async fn progress_starts_the_count_of_losses_anew(world: World) {
    let first = world.worker().await;
    world.start_owned_by(first, "a").await;
    world.kill(first).await;
    let second = world.worker().await;
    world.take(second).await;
    world.kill(second).await;
    assert_eq!(world.run("a").await.lost, 2);
    let third = world.worker().await;
    let mut run = world.take(third).await;
    world.append(&mut run).await;
    world.kill(third).await;
    assert_eq!(world.run("a").await.lost, 1);
}

pub async fn park_clears_the_count_of_losses(world: World) {
    let first = world.worker().await;
    world.start_owned_by(first, "a").await;
    world.kill(first).await;
    let mut run = world.take(world.me).await;
    let park = run.turn().park_until(world.now()).without_turn();
    world.done(park, &mut run).await;
    assert_eq!(world.run("a").await.lost, 0);
    let second = world.worker().await;
    world.take(second).await;
    world.kill(second).await;
    assert_eq!(world.run("a").await.lost, 1);
}

pub async fn drain_keeps_the_count_of_losses(world: World) {
    let first = world.worker().await;
    world.start_owned_by(first, "a").await;
    world.kill(first).await;
    let mut run = world.take(world.me).await;
    assert_eq!(world.run("a").await.lost, 1);
    world
        .done(run.turn().drain().without_turn(), &mut run)
        .await;
    assert_eq!(world.run("a").await.lost, 1);
}

pub async fn takeover_gives_up_claims_and_tells_their_runs(world: World) {
    let dead = world.worker().await;
    let mut run = world.start_owned("a").await;
    let mut attempt = run.attempt("charge");
    attempt.attempt = 0x0102_0304;
    world.done(run.turn().enqueue(attempt), &mut run).await;
    world.claim_one(dead).await;
    assert_eq!(world.kill(dead).await.attempts, 1);
    let arrival = one(world.inbox(&run).await.unwrap());
    assert_eq!(arrival.body.kind, ArrivalKind::AttemptLost);
    assert_eq!(arrival.body.name, "task:charge#1");
    assert_eq!(arrival.body.content, [1, 2, 3, 4]);
    assert_eq!(world.claim(world.me, 1).await, []);
    assert!(world.backend().queues().await.unwrap().is_empty());
}

pub async fn lost_claim_of_a_parked_run_makes_it_due(world: World) {
    let dead = world.worker().await;
    let mut run = world.start_owned("a").await;
    let park = run.turn().enqueue(run.attempt("charge")).park();
    world.done(park, &mut run).await;
    world.claim_one(dead).await;
    assert_eq!(world.due().await.now, 0);
    world.kill(dead).await;
    assert_eq!(world.due().await.now, 1);
    let taken = one(world.acquire(world.me).await);
    assert_eq!(names(&taken.inbox), ["task:charge#1"]);
}

pub async fn worker_that_leaves_frees_what_it_had(world: World) {
    let leaver = world.worker().await;
    let run = world.start_owned_by(leaver, "a").await;
    let mut queued = world.start_owned("q").await;
    let enqueue = queued.turn().enqueue(queued.attempt("charge"));
    world.done(enqueue, &mut queued).await;
    world.claim_one(leaver).await;
    world.backend().leave(leaver).await.unwrap();

    assert_eq!(world.due().await.now, 1);
    assert_eq!(world.run("q").await.arrivals, ArrivalNumber(1));
    let workers = world.backend().workers().await.unwrap();
    assert_eq!(one(workers).worker, world.me);
    assert!(world.beat(world.me).await.dead.is_empty());
    assert_eq!(
        world.extend(leaver).await.unwrap_err().kind(),
        Kind::WorkerDead
    );
    let refused = world.try_commit(&run.turn()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::WorkerDead);
}

pub async fn forced_takeover_does_not_wait_for_the_lease(world: World) {
    let other = world.worker().await;
    let bystander = world.worker().await;
    assert_eq!(world.kill(other).await.workers, [other]);
    assert_eq!(world.kill(other).await, TakenOver::default());
    world.extend(bystander).await.unwrap();
}

pub async fn dead_worker_cannot_join_again(world: World) {
    let other = world.worker().await;
    world.kill(other).await;
    assert_eq!(
        world.join_as(other).await.unwrap_err().kind(),
        Kind::WorkerDead
    );
    assert_eq!(world.backend().workers().await.unwrap().len(), 1);
}

pub async fn joining_again_extends_the_lease_and_changes_nothing_else(world: World) {
    world.start_owned("a").await;
    let mut before = one(world.backend().workers().await.unwrap());
    world.advance(SECOND);
    let request = longhaul_core::backend::JoinRequest {
        worker: world.me,
        lease: LEASE,
        lanes: 2,
        serves: serves(),
        label: "a worker".to_owned(),
    };
    world.backend().join(request).await.unwrap();
    before.lease_until = world.now().after(LEASE);
    assert_eq!(one(world.backend().workers().await.unwrap()), before);
    assert_eq!(before.runs, 1);
}

pub async fn acquired_run_is_running_without_a_due_time(world: World) {
    let wake_at = world.now().after(SECOND);
    world.start_and_park("a", Some(wake_at)).await;
    world.advance(SECOND);
    let taken = one(world.acquire(world.me).await).run;
    assert_eq!((taken.owner, taken.epoch), (Some(world.me), Epoch(2)));
    assert_eq!((taken.status, taken.wake_at), (Status::Running, None));
    assert_eq!(world.run("a").await, taken);
}

pub async fn owned_runs_are_listed_with_their_epochs_in_the_order_of_ids(world: World) {
    let mut parked = world.start_owned("parked").await;
    world.park(&mut parked).await;
    let mut released = world.start_owned("z").await;
    world.done(released.turn().release(), &mut released).await;
    world.take(world.me).await;
    world.start_owned("a").await;
    let other = world.worker().await;
    world.start_owned_by(other, "other").await;
    let owned = world.backend().owned(world.me).await.unwrap();
    let expected = [(workflow_id("a"), Epoch(1)), (workflow_id("z"), Epoch(2))];
    assert_eq!(owned, expected);
    world.kill(other).await;
    assert_eq!(world.backend().owned(other).await.unwrap(), []);
}

pub async fn beat_counts_what_the_worker_owns(world: World) {
    assert_eq!(world.beat(world.me).await.owned, 0);
    let mut run = world.start_owned("a").await;
    world.start_owned("b").await;
    world.start("nobody's").await;
    assert_eq!(world.beat(world.me).await.owned, 2);
    world.park(&mut run).await;
    assert_eq!(world.beat(world.me).await.owned, 1);
}

pub async fn beat_counts_the_other_workers_that_live_and_can_run_tasks(world: World) {
    assert_eq!(world.beat(world.me).await.peers, 0);
    let (leaves, dies) = (world.worker().await, world.worker().await);
    let mut idle = join_of(new_worker_id());
    idle.serves.tasks.clear();
    world.backend().join(idle.clone()).await.unwrap();
    assert_eq!(world.beat(world.me).await.peers, 2);
    assert_eq!(world.beat(idle.worker).await.peers, 3);
    world.backend().leave(leaves).await.unwrap();
    assert_eq!(world.beat(world.me).await.peers, 1);
    world.advance(LEASE);
    world.extend(world.me).await.unwrap();
    assert_eq!(world.beat(world.me).await.peers, 1);
    world.advance(std::time::Duration::from_micros(1));
    let beat = world.beat(world.me).await;
    assert!(beat.dead.contains(&dies));
    assert_eq!(beat.peers, 0);
}

pub async fn reload_shows_an_owned_run_anew(world: World) {
    let mut run = world.start_owned("a").await;
    world.signal("a").await;
    world.signal("a").await;
    let drain = run.turn().reading(ArrivalNumber(1)).drain();
    world.done(drain, &mut run).await;
    let backend = world.backend();
    let found = backend.reload(world.me, &run.id, Epoch(1)).await.unwrap();
    let found = found.unwrap();
    assert_eq!(found.run, world.run("a").await);
    assert_eq!(found.turns, world.history("a").await);
    assert_eq!(one(found.inbox).number, ArrivalNumber(2));
}

pub async fn reload_shows_nothing_to_whoever_does_not_own_it(world: World) {
    let mut run = world.start_owned("a").await;
    let other = world.worker().await;
    let backend = world.backend();
    for (worker, epoch) in [(other, 1), (world.me, 0), (world.me, 2)] {
        let found = backend.reload(worker, &run.id, Epoch(epoch)).await;
        assert_eq!(found.unwrap(), None);
    }
    world.park(&mut run).await;
    let found = backend.reload(world.me, &run.id, Epoch(1)).await;
    assert_eq!(found.unwrap(), None);
    let signal = signal_to("b").run;
    let found = backend.reload(world.me, &signal, Epoch(1)).await;
    assert_eq!(found.unwrap(), None);
}

pub async fn lease_that_is_over_can_be_extended_until_somebody_takes_over(world: World) {
    let late = world.worker().await;
    let mut run = world.start_owned_by(late, "a").await;
    world.advance(LEASE * 2);
    world.append(&mut run).await;
    world.extend(late).await.unwrap();
    world.extend(world.me).await.unwrap();
    assert_eq!(world.take_over().await, TakenOver::default());
    assert_eq!(world.run("a").await.owner, Some(late));
}

pub async fn beat_extends_by_what_it_asks_for(world: World) {
    for lease in [LEASE * 3, LEASE * 4] {
        let request = BeatRequest {
            extend: Some(lease),
            ..beat_of(world.me)
        };
        world.backend().beat(request).await.unwrap();
        let found = one(world.backend().workers().await.unwrap());
        assert_eq!(found.lease_until, world.now().after(lease));
    }
}

pub async fn takeover_frees_what_all_the_dead_had(world: World) {
    let dead = [world.worker().await, world.worker().await];
    for (worker, id) in dead.into_iter().zip(["a", "b"]) {
        world.start_owned_by(worker, id).await;
    }
    let force = dead.to_vec();
    let request = longhaul_core::backend::TakeOverRequest { force };
    world.backend().take_over(request).await.unwrap();
    for id in ["a", "b"] {
        assert_eq!(world.run(id).await.owner, None, "{id}");
    }
    assert_eq!(
        one(world.backend().workers().await.unwrap()).worker,
        world.me
    );
}

pub async fn takeover_keeps_unread_arrivals(world: World) {
    let dead = world.worker().await;
    world.start_owned_by(dead, "a").await;
    let signal = signal_to("a");
    let first = world.arrive(&signal).await;
    world.kill(dead).await;
    assert_eq!(number_of(&world.arrive(&signal).await), number_of(&first));
    let taken = one(world.acquire(world.me).await);
    assert_eq!(names(&taken.inbox), ["approved"]);
}

pub async fn takeover_keeps_what_the_dead_have_read(world: World) {
    let dead = world.worker().await;
    let mut run = world.start_owned_by(dead, "a").await;
    world.signal("a").await;
    world.signal("a").await;
    let drain = run.turn().reading(ArrivalNumber(1)).drain();
    world.done(drain, &mut run).await;
    world.kill(dead).await;
    let taken = one(world.acquire(world.me).await);
    assert_eq!(one(taken.inbox).number, ArrivalNumber(2));
    assert_eq!(taken.run.read, ArrivalNumber(1));
}

pub async fn takeover_tells_each_run_of_its_own_lost_attempts(world: World) {
    let dead = world.worker().await;
    let mut first = world.start_owned("a").await;
    let mut second = world.start_owned("b").await;
    for (run, operation) in [(&mut first, "1"), (&mut second, "2")] {
        let enqueue = run.turn().enqueue(run.attempt(operation));
        world.done(enqueue, run).await;
    }
    assert_eq!(world.claim(dead, 9).await.len(), 2);
    world.kill(dead).await;
    let asked = ["a", "b"].map(|id| (workflow_id(id), ArrivalNumber(0)));
    let found = world.backend().inbox(world.me, asked.to_vec()).await;
    let mut told: Vec<_> = found.unwrap();
    told.sort_by(|one, other| one.0.cmp(&other.0));
    let told: Vec<_> = told.iter().map(|(_, inbox)| names(inbox)).collect();
    assert_eq!(told, [["task:1#1"], ["task:2#1"]]);
}

pub async fn claim_outlives_the_owner_of_its_run(world: World) {
    let owner = world.worker().await;
    let mut run = world.start_owned_by(owner, "a").await;
    let enqueue = run.turn().enqueue(run.attempt("charge"));
    world.done(enqueue, &mut run).await;
    let claimed = world.claim_one(world.me).await;
    world.kill(owner).await;
    let reported = world.report(&report_of(world.me, &claimed)).await;
    assert_eq!(reported, Reported::Accepted { owner: None });
    let taken = one(world.acquire(world.me).await);
    assert_eq!(one(taken.inbox).body.kind, ArrivalKind::TaskOutcome);
}

pub async fn takeover_of_a_stranger_does_nothing(world: World) {
    let stranger = crate::world::new_worker_id();
    world.start_owned("a").await;
    assert_eq!(world.kill(stranger).await, TakenOver::default());
    assert_eq!(world.run("a").await.owner, Some(world.me));
}
