//! Calls that are dropped before they answer are applied whole or not at all, and asking again works.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use longhaul_core::backend::{Arrived, Started, Verdict};
use longhaul_core::id::{ArrivalNumber, Epoch};

use crate::world::{World, lane, number_of, one, report_of, run_of, signal_to, workflow_id};

/// Is how often calls are polled, at most, before they are dropped.
const POLLS: [usize; 4] = [0, 1, 2, 5];

/// Polls a call up to `polls` times, at once each time, and drops it.
async fn drop_after<T>(polls: usize, call: impl Future<Output = T>) {
    let mut call = pin!(call);
    for _ in 0..polls {
        let is_ready = poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_ready()));
        if is_ready.await {
            return;
        }
        tokio::task::yield_now().await;
    }
}

pub async fn dropped_start_is_whole_or_not_there(world: World) {
    for polls in POLLS {
        let (one_id, other_id) = (format!("{polls} a"), format!("{polls} b"));
        let runs = || vec![run_of(&one_id), run_of(&other_id)];
        let backend = world.backend();
        drop_after(polls, backend.start(Some(lane(world.me)), runs())).await;
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

pub async fn dropped_commit_is_whole_or_not_there(world: World) {
    for polls in POLLS {
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
        drop_after(polls, commit).await;
        let is_there = world.turns(&id).await == 2;
        let [data, kid_is_there] = [
            world.data(&id, "k").await.is_some(),
            world.find(&kid).await.is_some(),
        ];
        // What is still under way may become visible between two looks, and only then.
        assert!(data >= is_there && kid_is_there >= data);
        assert_eq!(world.commit(&turn).await, Verdict::Committed);
        assert_eq!(world.turns(&id).await, 2);
        assert!(world.find(&kid).await.is_some());
        assert_eq!(world.deliver().await, 1);
        assert_eq!(world.inbox(&other).await.unwrap().len(), 1);
        assert_eq!(world.claim(world.me, 9).await.len(), 1);
    }
}

pub async fn dropped_arrival_arrives_once_when_it_is_asked_again(world: World) {
    let run = world.start_owned("a").await;
    for (before, polls) in (0_u64..).zip(POLLS) {
        let signal = signal_to("a");
        let backend = world.backend();
        drop_after(polls, backend.arrive(vec![signal.clone()])).await;
        let number = number_of(&world.arrive(&signal).await);
        assert_eq!(number, ArrivalNumber(before + 1));
    }
    assert_eq!(world.inbox(&run).await.unwrap().len(), POLLS.len());
}

pub async fn dropped_acquire_loses_no_run(world: World) {
    for polls in POLLS {
        let id = format!("run {polls}");
        world.start(&id).await;
        let request = longhaul_core::backend::AcquireRequest {
            lane: lane(world.me),
            serves: crate::world::serves(),
            limit: 1,
        };
        let backend = world.backend();
        drop_after(polls, backend.acquire(request)).await;
        let again = world.acquire(world.me).await;
        assert!(again.len() <= 1, "the run is taken twice");
        let owned = backend.owned(world.me).await.unwrap();
        let epoch = owned.iter().find(|(run, _)| run.as_str() == id).unwrap().1;
        assert_eq!(epoch, Epoch(1));
        let found = backend.reload(world.me, &workflow_id(&id), epoch).await;
        assert_eq!(found.unwrap().unwrap().turns, world.history(&id).await);
    }
}

pub async fn dropped_claim_and_report_end_an_attempt_once(world: World) {
    for polls in POLLS {
        let mut run = world.start_owned(&format!("run {polls}")).await;
        let enqueue = run.turn().enqueue(run.attempt("charge"));
        world.done(enqueue, &mut run).await;
        let claimed = world.claim_one(world.me).await;
        let report = report_of(world.me, &claimed);
        let backend = world.backend();
        drop_after(polls, backend.report(vec![report.clone()])).await;
        let again = one(backend.report(vec![report]).await.unwrap());
        assert_ne!(again, longhaul_core::backend::Reported::Stale);
        assert_eq!(world.inbox(&run).await.unwrap().len(), 1);
    }
}

pub async fn dropped_takeover_frees_all_or_nothing(world: World) {
    for polls in POLLS {
        let dead = world.worker().await;
        for name in ["a", "b"] {
            world.start_owned_by(dead, &format!("{name} {polls}")).await;
        }
        let backend = world.backend();
        let force = vec![dead];
        let request = longhaul_core::backend::TakeOverRequest { force };
        drop_after(polls, backend.take_over(request)).await;
        let runs = world.kill(dead).await.runs;
        assert!(matches!(runs, 0 | 2), "half of the runs were freed");
        for name in ["a", "b"] {
            assert_eq!(world.run(&format!("{name} {polls}")).await.lost, 1);
        }
        assert_eq!(world.acquire(world.me).await.len(), 2);
    }
}

pub async fn dropped_delivery_delivers_once(world: World) {
    let mut run = world.start_owned("a").await;
    let other = world.start_owned("b").await;
    for (before, polls) in (0..).zip(POLLS) {
        world
            .done(run.turn().send("b", "1").send("b", "2"), &mut run)
            .await;
        let backend = world.backend();
        drop_after(polls, backend.deliver(9)).await;
        world.deliver().await;
        let inbox = world.inbox(&other).await.unwrap();
        assert_eq!(inbox.len(), 2 * (before + 1));
    }
    let sealed = world.arrive(&signal_to("b")).await;
    assert!(matches!(sealed, Arrived::Accepted { .. }));
}
