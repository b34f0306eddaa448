//! Calls that are dropped at any await are applied whole or not at all, and asking again is answered as if asked once.
//!
//! Invariants: each case drops its call before the first poll, then after one, and so on until it completes, so no
//! await of a backend is left out. A call is polled again only when it was woken.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use longhaul_core::backend::{
    ArrivalKind, BeatRequest, Reported, RunFilter, Started, TakeOverRequest, Verdict,
};
use longhaul_core::id::{ArrivalNumber, DataKey, Epoch};

use crate::world::{
    LEASE, SECOND, World, acquire_of, beat_of, claim_of, history_of, join_of, lane, list_of,
    new_worker_id, number_of, one, report_of, run_of, serves, signal_to, workflow_id,
};

/// Is the most awaits that a call may have before it is taken for one that never ends.
const AWAITS_MAX: usize = 1_000;

/// Goes through the awaits of a call, round by round.
#[derive(Debug, Default)]
struct Awaits {
    rounds: usize,
    is_dropped: bool,
}

impl Awaits {
    /// Returns how often the calls of the next round are polled; none when all of the last one completed.
    fn next(&mut self) -> Option<usize> {
        let is_first = self.rounds == 0;
        assert!(self.rounds < AWAITS_MAX, "the call does not complete");
        if !is_first && !self.is_dropped {
            return None;
        }
        self.is_dropped = false;
        self.rounds += 1;
        Some(self.rounds - 1)
    }

    /// Polls a call as often as this round says, and drops it.
    async fn drop<T>(&mut self, call: impl Future<Output = T>) {
        let mut call = pin!(call);
        let mut left = self.rounds - 1;
        let completes = poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(false);
            }
            left -= 1;
            match call.as_mut().poll(context) {
                Poll::Ready(_) => Poll::Ready(true),
                Poll::Pending if left == 0 => Poll::Ready(false),
                Poll::Pending => Poll::Pending,
            }
        });
        self.is_dropped |= !completes.await;
    }
}

pub async fn dropped_start_is_whole_or_not_there(world: World) {
    let mut awaits = Awaits::default();
    while let Some(polls) = awaits.next() {
        let (one_id, other_id) = (format!("{polls} a"), format!("{polls} b"));
        let runs = || vec![run_of(&one_id), run_of(&other_id)];
        let backend = world.backend();
        awaits
            .drop(backend.start(Some(lane(world.me)), runs()))
            .await;
        let again = backend.start(Some(lane(world.me)), runs()).await.unwrap();
        let is_new: Vec<_> = again.iter().map(|run| *run == Started::New).collect();
        assert_eq!(is_new[0], is_new[1], "half of a batch was started");
        for id in [&one_id, &other_id] {
            assert_eq!(world.turns(id).await, 1);
            assert_eq!(world.run(id).await.owner, Some(world.me));
        }
        let owned = backend.owned(world.me).await.unwrap();
        assert_eq!(owned.len() % 2, 0);
        assert!(owned.iter().any(|(run, _)| *run == workflow_id(&one_id)));
    }
}

pub async fn dropped_edit_is_whole_or_not_there(world: World) {
    let mut awaits = Awaits::default();
    while let Some(polls) = awaits.next() {
        let id = format!("run {polls}");
        let run = world.start_and_pause(&id).await;
        let other = world.start_owned(&format!("other {polls}")).await;
        let edit = run
            .turn()
            .set("k", b"1")
            .send(other.id.as_str(), "hello")
            .end();
        let backend = world.backend();
        awaits.drop(backend.edit(vec![edit.commit.clone()])).await;
        assert_eq!(world.edit(&edit).await, Verdict::Committed);
        assert_eq!(world.turns(&id).await, 3);
        assert!(world.run(&id).await.status.is_terminal());
        assert!(world.data(&id, "k").await.is_some());
        world.deliver().await;
        assert_eq!(world.inbox(&other).await.unwrap().len(), 1);
    }
}

pub async fn dropped_commit_is_whole_or_not_there(world: World) {
    let mut awaits = Awaits::default();
    while let Some(polls) = awaits.next() {
        let id = format!("run {polls}");
        let kid = format!("kid {polls}");
        let run = world.start_owned(&id).await;
        let other = world.start_owned(&format!("other {polls}")).await;
        let turn = run
            .turn()
            .set("k", b"1")
            .child(&kid)
            .enqueue(run.attempt("charge"))
            .send(other.id.as_str(), "hello")
            .park();
        let backend = world.backend();
        let commit = backend.commit(turn.lane, vec![turn.commit.clone()]);
        awaits.drop(commit).await;
        let kid_is_there = world.find(&kid).await.is_some();
        let is_there = world.turns(&id).await == 2;
        let data = world.data(&id, "k").await.is_some();
        // What is still under way may become visible between two looks, and only then.
        assert!(is_there >= kid_is_there && data >= is_there);
        assert_eq!(world.commit(&turn).await, Verdict::Committed);
        assert_eq!(world.turns(&id).await, 2);
        assert!(world.find(&kid).await.is_some());
        assert_eq!(world.deliver().await, 1);
        assert_eq!(world.inbox(&other).await.unwrap().len(), 1);
        assert_eq!(world.claim(world.me, 9).await.len(), 1);
    }
}

pub async fn dropped_arrival_arrives_once_when_it_is_asked_again(world: World) {
    world.start_owned("a").await;
    let mut awaits = Awaits::default();
    while let Some(polls) = awaits.next() {
        let signal = signal_to("a");
        let backend = world.backend();
        awaits.drop(backend.arrive(vec![signal.clone()])).await;
        let number = u64::try_from(polls).unwrap() + 1;
        assert_eq!(
            number_of(&world.arrive(&signal).await),
            ArrivalNumber(number)
        );
        assert_eq!(world.run("a").await.arrivals, ArrivalNumber(number));
    }
}

pub async fn dropped_acquire_loses_no_run(world: World) {
    let mut awaits = Awaits::default();
    while let Some(polls) = awaits.next() {
        let id = format!("run {polls}");
        world.start(&id).await;
        let backend = world.backend();
        awaits.drop(backend.acquire(acquire_of(world.me))).await;
        let again = world.acquire(world.me).await;
        assert!(again.len() <= 1, "the run is taken twice");
        let owned = backend.owned(world.me).await.unwrap();
        let epoch = owned.iter().find(|(run, _)| run.as_str() == id).unwrap().1;
        assert_eq!(epoch, Epoch(1));
        let found = backend.reload(world.me, &workflow_id(&id), epoch).await;
        assert_eq!(found.unwrap().unwrap().turns, world.history(&id).await);
    }
}

pub async fn dropped_claim_leaves_its_attempt_queued_or_claimed(world: World) {
    let mut awaits = Awaits::default();
    while let Some(polls) = awaits.next() {
        let id = format!("run {polls}");
        let mut run = world.start_owned(&id).await;
        let enqueue = run.turn().enqueue(run.attempt("charge"));
        world.done(enqueue, &mut run).await;
        let claimer = world.worker().await;
        let backend = world.backend();
        awaits.drop(backend.claim(claim_of(claimer, 1))).await;
        // A claim that is under way is settled once the worker that asked for it is dead.
        world.kill(claimer).await;
        let waiting = world.claim(world.me, 9).await.len();
        let inbox = world.inbox(&run).await.unwrap();
        let is_lost = |kind| kind == ArrivalKind::AttemptLost;
        let lost = inbox.iter().filter(|one| is_lost(one.body.kind)).count();
        assert_eq!(waiting + lost, 1, "{waiting} waits, {lost} were lost");
    }
}

pub async fn dropped_claim_and_report_end_an_attempt_once(world: World) {
    let mut awaits = Awaits::default();
    while let Some(polls) = awaits.next() {
        let mut run = world.start_owned(&format!("run {polls}")).await;
        let enqueue = run.turn().enqueue(run.attempt("charge"));
        world.done(enqueue, &mut run).await;
        let claimed = world.claim_one(world.me).await;
        let report = report_of(world.me, &claimed);
        let backend = world.backend();
        awaits.drop(backend.report(vec![report.clone()])).await;
        let again = one(backend.report(vec![report]).await.unwrap());
        assert_ne!(again, Reported::Stale);
        assert_eq!(world.inbox(&run).await.unwrap().len(), 1);
    }
}

pub async fn dropped_takeover_frees_all_or_nothing(world: World) {
    let mut awaits = Awaits::default();
    while let Some(polls) = awaits.next() {
        let dead = world.worker().await;
        for name in ["a", "b"] {
            world.start_owned_by(dead, &format!("{name} {polls}")).await;
        }
        let backend = world.backend();
        let force = vec![dead];
        awaits
            .drop(backend.take_over(TakeOverRequest { force }))
            .await;
        let runs = world.kill(dead).await.runs;
        assert!(matches!(runs, 0 | 2), "half of the runs were freed");
        for name in ["a", "b"] {
            assert_eq!(world.run(&format!("{name} {polls}")).await.lost, 1);
        }
        assert_eq!(world.acquire(world.me).await.len(), 2);
    }
}

pub async fn dropped_delivery_delivers_once(world: World) {
    world.start_owned("a").await;
    let other = world.start_owned("b").await;
    let mut awaits = Awaits::default();
    while let Some(polls) = awaits.next() {
        let mut run = world.start_owned(&format!("run {polls}")).await;
        world
            .done(run.turn().send("b", "1").send("b", "2"), &mut run)
            .await;
        let backend = world.backend();
        awaits.drop(backend.deliver(9)).await;
        world.deliver().await;
        let inbox = world.inbox(&other).await.unwrap();
        assert_eq!(inbox.len(), 2 * (polls + 1));
    }
}

pub async fn dropped_join_registers_a_worker_once(world: World) {
    let mut awaits = Awaits::default();
    while awaits.next().is_some() {
        let (worker, backend) = (new_worker_id(), world.backend());
        awaits.drop(backend.join(join_of(worker))).await;
        world.advance(SECOND);
        world.join_as(worker).await.unwrap();
        let workers = backend.workers().await.unwrap();
        let found = workers.into_iter().filter(|one| one.worker == worker);
        assert_eq!(
            one(found.collect()).lease_until,
            world.now().after(LEASE),
            "the lease begins anew"
        );
        world.extend(world.me).await.unwrap();
    }
}

pub async fn dropped_beat_extends_when_it_is_asked_again(world: World) {
    let mut awaits = Awaits::default();
    while awaits.next().is_some() {
        world.advance(SECOND);
        let (worker, backend) = (world.me, world.backend());
        let extend = Some(LEASE);
        let request = BeatRequest {
            extend,
            ..beat_of(worker)
        };
        awaits.drop(backend.beat(request)).await;
        world.extend(worker).await.unwrap();
        let found = one(backend.workers().await.unwrap());
        assert_eq!(found.lease_until, world.now().after(LEASE));
    }
}

pub async fn dropped_leave_frees_what_there_was_once(world: World) {
    let mut awaits = Awaits::default();
    while let Some(polls) = awaits.next() {
        let (id, leaver) = (format!("run {polls}"), world.worker().await);
        world.start_owned_by(leaver, &id).await;
        let backend = world.backend();
        awaits.drop(backend.leave(leaver)).await;
        backend.leave(leaver).await.unwrap();
        assert_eq!(backend.workers().await.unwrap().len(), 1);
        let found = world.run(&id).await;
        assert_eq!((found.owner, found.lost), (None, 1));
    }
}

pub async fn dropped_reads_leave_everything_as_it_was(world: World) {
    let mut run = world.start_owned("a").await;
    world.done(run.turn().set("k", b"1"), &mut run).await;
    world.signal("a").await;
    let before = (world.run("a").await, world.inbox(&run).await);
    let (backend, id) = (world.backend(), workflow_id("a"));
    let key = DataKey::new("k").unwrap();
    let asked = vec![(id.clone(), ArrivalNumber(0))];
    let all = RunFilter::default();
    let mut awaits = Awaits::default();
    while awaits.next().is_some() {
        awaits.drop(backend.reload(world.me, &id, Epoch(1))).await;
        awaits.drop(backend.owned(world.me)).await;
        awaits.drop(backend.inbox(world.me, asked.clone())).await;
        awaits.drop(backend.due(&serves())).await;
        awaits.drop(backend.beat(beat_of(world.me))).await;
        awaits.drop(backend.run(&id)).await;
        awaits.drop(backend.states(std::slice::from_ref(&id))).await;
        awaits
            .drop(backend.list(list_of(RunFilter::default())))
            .await;
        awaits.drop(backend.count(&all)).await;
        awaits.drop(backend.history(history_of("a"))).await;
        awaits.drop(backend.data(&id, &key)).await;
        awaits.drop(backend.all_data(&id)).await;
        awaits.drop(backend.workers()).await;
        awaits.drop(backend.queues()).await;
        assert_eq!((world.run("a").await, world.inbox(&run).await), before);
    }
    assert_eq!(world.turns("a").await, 2);
    assert!(world.data("a", "k").await.is_some());
}
