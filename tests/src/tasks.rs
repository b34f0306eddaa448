//! Attempts in task queues.

use std::collections::HashSet;
use std::sync::Arc;

use longhaul_core::backend::{ArrivalKind, Backend, ClaimRequest, QueuedAttempt, Reported};
use longhaul_core::id::{ArrivalNumber, WorkerId};

use crate::world::{
    Run, SECOND, World, names, new_write_id, one, operations, queue, report_of, task,
};

async fn queued(world: &World, attempts: impl Fn(&Run) -> Vec<QueuedAttempt>) -> Run {
    let mut run = world.start_owned("a").await;
    for attempt in attempts(&run) {
        world.done(run.turn().enqueue(attempt), &mut run).await;
    }
    run
}

async fn one_queued(world: &World) -> Run {
    queued(world, |run| vec![run.attempt("charge")]).await
}

fn with_priority(run: &Run, operation: &str, priority: i16) -> QueuedAttempt {
    QueuedAttempt {
        priority,
        ..run.attempt(operation)
    }
}

fn on(run: &Run, operation: &str, on: &str, of: &str) -> QueuedAttempt {
    QueuedAttempt {
        queue: queue(on),
        task: task(of),
        ..run.attempt(operation)
    }
}

async fn claim_of(
    world: &World,
    worker: WorkerId,
    queues: &[(&str, usize)],
    tasks: &[&str],
) -> Vec<QueuedAttempt> {
    let request = ClaimRequest {
        worker,
        queues: queues
            .iter()
            .map(|(name, slots)| (queue(name), *slots))
            .collect(),
        tasks: tasks.iter().map(|name| task(name)).collect(),
    };
    world.backend().claim(request).await.unwrap()
}

pub async fn claimed_attempt_is_what_was_queued(world: World) {
    let now = world.now();
    let run = queued(&world, |run| {
        vec![QueuedAttempt {
            attempt: 7,
            priority: -3,
            due: Some(now),
            content: vec![0, 1, 255],
            ..run.attempt("charge")
        }]
    })
    .await;
    let expected = QueuedAttempt {
        attempt: 7,
        priority: -3,
        due: Some(now),
        content: vec![0, 1, 255],
        ..run.attempt("charge")
    };
    assert_eq!(world.claim(world.me, 5).await, [expected]);
    assert_eq!(world.claim(world.me, 5).await, []);
}

pub async fn higher_priority_is_claimed_first(world: World) {
    queued(&world, |run| {
        vec![
            with_priority(run, "middle", 0),
            with_priority(run, "low", -5),
            with_priority(run, "high", 5),
        ]
    })
    .await;
    let claimed = world.claim(world.me, 9).await;
    assert_eq!(operations(&claimed), ["high", "middle", "low"]);
}

pub async fn equal_attempts_are_claimed_in_the_order_they_were_put_in(world: World) {
    queued(&world, |run| {
        ["z", "m", "a", "q"].map(|name| run.attempt(name)).to_vec()
    })
    .await;
    let mut claimed = world.claim(world.me, 2).await;
    claimed.extend(world.claim(world.me, 2).await);
    assert_eq!(operations(&claimed), ["z", "m", "a", "q"]);
}

pub async fn earlier_due_is_claimed_first_among_equal_priorities(world: World) {
    let now = world.now();
    queued(&world, |run| {
        [("third", 3), ("first", 1), ("second", 2)]
            .map(|(name, seconds)| QueuedAttempt {
                due: Some(now.after(SECOND * seconds)),
                ..run.attempt(name)
            })
            .to_vec()
    })
    .await;
    world.advance(SECOND * 5);
    let claimed = world.claim(world.me, 9).await;
    assert_eq!(operations(&claimed), ["first", "second", "third"]);
}

pub async fn attempt_is_not_claimed_before_it_is_due(world: World) {
    let due = world.now().after(SECOND);
    queued(&world, |run| {
        vec![QueuedAttempt {
            due: Some(due),
            priority: 9,
            ..run.attempt("charge")
        }]
    })
    .await;
    world.advance(SECOND - std::time::Duration::from_micros(1));
    assert_eq!(world.claim(world.me, 1).await, []);
    world.advance(std::time::Duration::from_micros(1));
    world.claim_one(world.me).await;
}

pub async fn no_more_are_claimed_than_each_queue_has_slots(world: World) {
    queued(&world, |run| {
        let mut all = Vec::new();
        for name in ["1", "2", "3"] {
            all.push(on(run, name, "mail", "charge"));
            all.push(on(run, &format!("print {name}"), "print", "charge"));
        }
        all
    })
    .await;
    let slots = [("mail", 2), ("print", 1), ("other", 5)];
    let claimed = claim_of(&world, world.me, &slots, &["charge"]).await;
    let of_mail = claimed.iter().filter(|one| one.queue == queue("mail"));
    assert_eq!((claimed.len(), of_mail.count()), (3, 2));
    assert_eq!(world.claim(world.me, 0).await, []);
}

pub async fn only_tasks_that_the_worker_runs_are_claimed(world: World) {
    queued(&world, |run| {
        vec![
            on(run, "1", "mail", "refund"),
            on(run, "2", "mail", "charge"),
            on(run, "3", "mail", "notify"),
        ]
    })
    .await;
    let slots = [("mail", 5)];
    assert_eq!(claim_of(&world, world.me, &slots, &[]).await, []);
    let claimed = claim_of(&world, world.me, &slots, &["notify", "refund"]).await;
    assert_eq!(operations(&claimed), ["1", "3"]);
}

pub async fn racing_claims_get_each_attempt_once(world: World) {
    queued(&world, |run| {
        (0..20).map(|n| run.attempt(&format!("{n}"))).collect()
    })
    .await;
    let mut claimers = Vec::new();
    for _ in 0..4 {
        claimers.push((world.backend(), world.worker().await));
    }
    // All are there before the first one claims, so that they meet.
    let claim = |(backend, worker): (Arc<dyn Backend>, WorkerId)| {
        tokio::spawn(async move {
            let request = ClaimRequest {
                worker,
                queues: vec![(queue("mail"), 8)],
                tasks: vec![task("charge")],
            };
            backend.claim(request).await.unwrap()
        })
    };
    let racing: Vec<_> = claimers.into_iter().map(claim).collect();
    let mut claimed = Vec::new();
    for claim in racing {
        claimed.extend(claim.await.unwrap());
    }
    assert_eq!(claimed.len(), 20);
    let different: HashSet<_> = operations(&claimed).into_iter().collect();
    assert_eq!(different.len(), 20);
}

pub async fn beat_counts_what_the_worker_has_claimed(world: World) {
    let mut run = world.start_owned("a").await;
    let turn = run.turn().enqueue(run.attempt("charge"));
    world
        .done(turn.enqueue(run.attempt("ship")), &mut run)
        .await;
    assert_eq!(world.beat(world.me).await.claimed, 0);
    let claimed = world.claim_one(world.me).await;
    assert_eq!(world.beat(world.me).await.claimed, 1);
    let other = world.worker().await;
    world.claim_one(other).await;
    assert_eq!(world.beat(world.me).await.claimed, 1);
    world.report(&report_of(world.me, &claimed)).await;
    assert_eq!(world.beat(world.me).await.claimed, 0);
}

pub async fn claimed_attempts_are_listed_until_they_are_reported(world: World) {
    let mut run = world.start_owned("a").await;
    let mut turn = run.turn();
    for task in ["charge", "ship", "mail"] {
        turn = turn.enqueue(run.attempt(task));
    }
    world.done(turn, &mut run).await;
    let mine = world.claim(world.me, 2).await;
    let other = world.worker().await;
    let others = world.claim(other, 2).await;
    assert_eq!((mine.len(), others.len()), (2, 1));
    let backend = world.backend();
    assert_eq!(backend.claimed(world.me).await.unwrap(), mine);
    assert_eq!(backend.claimed(other).await.unwrap(), others);
    world.report(&report_of(world.me, &mine[0])).await;
    assert_eq!(backend.claimed(world.me).await.unwrap(), mine[1..]);
    let unknown = WorkerId(new_write_id().0);
    assert_eq!(backend.claimed(unknown).await.unwrap(), []);
}

pub async fn reported_outcome_reaches_the_run_and_leaves_the_queue(world: World) {
    let run = one_queued(&world).await;
    let other = world.worker().await;
    let claimed = world.claim_one(other).await;
    let accepted = Reported::Accepted {
        owner: Some(world.me),
    };
    assert_eq!(world.report(&report_of(other, &claimed)).await, accepted);
    let arrival = one(world.inbox(&run).await.unwrap());
    assert_eq!(arrival.body.kind, ArrivalKind::TaskOutcome);
    assert_eq!(arrival.body.name, "task:charge#1");
    assert_eq!(arrival.body.content, b"an outcome");
    assert!(world.backend().queues().await.unwrap().is_empty());
    world.kill(other).await;
    assert_eq!(world.run("a").await.arrivals, ArrivalNumber(1));
}

pub async fn reported_outcome_makes_a_parked_run_due(world: World) {
    let mut run = one_queued(&world).await;
    world.park(&mut run).await;
    let claimed = world.claim_one(world.me).await;
    let report = report_of(world.me, &claimed);
    assert_eq!(
        world.report(&report).await,
        Reported::Accepted { owner: None }
    );
    let taken = one(world.acquire(world.me).await);
    assert_eq!(names(&taken.inbox), ["task:charge#1"]);
}

pub async fn same_report_again_is_accepted_and_changes_nothing(world: World) {
    let run = one_queued(&world).await;
    let claimed = world.claim_one(world.me).await;
    let report = report_of(world.me, &claimed);
    let first = world.report(&report).await;
    assert_eq!(world.report(&report).await, first);
    assert_eq!(world.inbox(&run).await.unwrap().len(), 1);
}

pub async fn report_of_an_attempt_that_was_reported_is_stale(world: World) {
    let run = one_queued(&world).await;
    let claimed = world.claim_one(world.me).await;
    let mut report = report_of(world.me, &claimed);
    world.report(&report).await;
    report.write = new_write_id();
    assert_eq!(world.report(&report).await, Reported::Stale);
    assert_eq!(world.inbox(&run).await.unwrap().len(), 1);
}

pub async fn report_of_another_workers_claim_is_stale(world: World) {
    let run = one_queued(&world).await;
    let other = world.worker().await;
    let claimed = world.claim_one(other).await;
    let foreign = report_of(world.me, &claimed);
    assert_eq!(world.report(&foreign).await, Reported::Stale);
    assert_eq!(world.inbox(&run).await.unwrap(), []);
    let own = world.report(&report_of(other, &claimed)).await;
    assert!(matches!(own, Reported::Accepted { .. }));
}

pub async fn report_of_an_attempt_that_nobody_claimed_is_stale(world: World) {
    let run = one_queued(&world).await;
    let report = report_of(world.me, &run.attempt("charge"));
    assert_eq!(world.report(&report).await, Reported::Stale);
    world.claim_one(world.me).await;
}

pub async fn batch_of_reports_is_answered_in_order(world: World) {
    queued(&world, |run| {
        vec![run.attempt("charge"), run.attempt("refund")]
    })
    .await;
    let claimed = world.claim(world.me, 2).await;
    let mut stale = report_of(world.me, &claimed[0]);
    stale.attempt = 9;
    let batch = vec![
        stale,
        report_of(world.me, &claimed[1]),
        report_of(world.me, &claimed[0]),
    ];
    let reported = world.backend().report(batch).await.unwrap();
    let is_stale: Vec<_> = reported.iter().map(|one| *one == Reported::Stale).collect();
    assert_eq!(is_stale, [true, false, false]);
}

pub async fn withdrawn_attempt_is_neither_claimed_nor_reported(world: World) {
    let mut run = queued(&world, |run| {
        vec![
            run.attempt("claimed"),
            run.attempt("waiting"),
            run.attempt("kept"),
        ]
    })
    .await;
    let claimed = world.claim_one(world.me).await;
    let withdraw = run.turn().withdraw("claimed").withdraw("waiting");
    world.done(withdraw, &mut run).await;
    let late = report_of(world.me, &claimed);
    assert_eq!(world.report(&late).await, Reported::Stale);
    assert_eq!(world.inbox(&run).await.unwrap(), []);
    assert_eq!(operations(&world.claim(world.me, 9).await), ["kept"]);
}

pub async fn attempt_of_a_finished_run_is_neither_claimed_nor_reported(world: World) {
    let mut run = queued(&world, |run| {
        vec![run.attempt("claimed"), run.attempt("waiting")]
    })
    .await;
    let claimed = world.claim_one(world.me).await;
    world.end(&mut run).await;
    assert_eq!(world.claim(world.me, 9).await, []);
    let late = report_of(world.me, &claimed);
    assert_eq!(world.report(&late).await, Reported::Stale);
    assert_eq!(world.beat(world.me).await.claimable, 0);
}

pub async fn next_attempt_of_an_operation_is_an_attempt_of_its_own(world: World) {
    let mut run = one_queued(&world).await;
    let first = world.claim_one(world.me).await;
    world.report(&report_of(world.me, &first)).await;
    let second = QueuedAttempt {
        attempt: 2,
        ..run.attempt("charge")
    };
    world.done(run.turn().enqueue(second), &mut run).await;
    let late = report_of(world.me, &first);
    assert_eq!(world.report(&late).await, Reported::Stale);
    assert_eq!(world.claim_one(world.me).await.attempt, 2);
}

pub async fn beat_counts_what_can_be_claimed_and_knows_when_more_can(world: World) {
    let due = world.now().after(SECOND);
    queued(&world, |run| {
        vec![
            run.attempt("now"),
            QueuedAttempt {
                due: Some(due),
                ..run.attempt("later")
            },
            QueuedAttempt {
                due: Some(due.after(SECOND)),
                ..run.attempt("last")
            },
            on(run, "other task", "mail", "other"),
            on(run, "other queue", "other", "charge"),
        ]
    })
    .await;
    let beat = world.beat(world.me).await;
    assert_eq!((beat.claimable, beat.next_claimable), (1, Some(due)));
    world.claim_one(world.me).await;
    assert_eq!(world.beat(world.me).await.claimable, 0);
    world.advance(SECOND);
    let beat = world.beat(world.me).await;
    let last = Some(due.after(SECOND));
    assert_eq!((beat.claimable, beat.next_claimable), (1, last));
}

pub async fn task_that_is_named_twice_counts_once(world: World) {
    queued(&world, |run| vec![run.attempt("1"), run.attempt("2")]).await;
    let twice = longhaul_core::backend::Serves {
        tasks: vec![task("charge"), task("charge")],
        queues: vec![queue("mail"), queue("mail")],
        ..crate::world::serves()
    };
    assert_eq!(world.beat_as(world.me, &twice).await.claimable, 2);
    let slots = [("mail", 3)];
    let claimed = claim_of(&world, world.me, &slots, &["charge", "charge"]).await;
    assert_eq!(operations(&claimed), ["1", "2"]);
}

pub async fn attempt_that_is_queued_already_is_not_put_in_twice(world: World) {
    let mut run = one_queued(&world).await;
    world
        .done(run.turn().enqueue(run.attempt("charge")), &mut run)
        .await;
    world.claim_one(world.me).await;
    world
        .done(run.turn().enqueue(run.attempt("charge")), &mut run)
        .await;
    assert_eq!(world.claim(world.me, 9).await, []);
    let queue = one(world.backend().queues().await.unwrap());
    assert_eq!((queue.waiting, queue.claimed), (0, 1));
}

pub async fn outcomes_and_losses_of_attempts_get_past_a_seal(world: World) {
    let dead = world.worker().await;
    let mut run = queued(&world, |run| {
        vec![run.attempt("reported"), run.attempt("lost")]
    })
    .await;
    let claimed = world.claim_one(world.me).await;
    world.claim_one(dead).await;
    world.done(run.turn().seal(), &mut run).await;
    world.report(&report_of(world.me, &claimed)).await;
    world.kill(dead).await;
    let inbox = world.inbox(&run).await.unwrap();
    let kinds: Vec<_> = inbox.iter().map(|arrival| arrival.body.kind).collect();
    assert_eq!(kinds, [ArrivalKind::TaskOutcome, ArrivalKind::AttemptLost]);
}

pub async fn claim_order_spans_the_tasks_of_a_queue(world: World) {
    queued(&world, |run| {
        [("1", "charge", 1), ("2", "refund", 0), ("3", "refund", 2)]
            .map(|(name, of, priority)| QueuedAttempt {
                priority,
                ..on(run, name, "mail", of)
            })
            .to_vec()
    })
    .await;
    let tasks = ["charge", "refund"];
    let first = claim_of(&world, world.me, &[("mail", 2)], &tasks).await;
    assert_eq!(operations(&first), ["3", "1"]);
    let rest = claim_of(&world, world.me, &[("mail", 2)], &tasks).await;
    assert_eq!(operations(&rest), ["2"]);
}

pub async fn delayed_attempt_keeps_its_priority(world: World) {
    let due = world.now().after(SECOND);
    queued(&world, |run| {
        vec![
            run.attempt("plain"),
            QueuedAttempt {
                due: Some(due),
                priority: 5,
                ..run.attempt("delayed")
            },
        ]
    })
    .await;
    world.advance(SECOND);
    let claimed = world.claim(world.me, 9).await;
    assert_eq!(operations(&claimed), ["delayed", "plain"]);
}

pub async fn withdrawal_takes_every_attempt_of_its_operation(world: World) {
    let mut run = queued(&world, |run| {
        [1, 2, 3]
            .map(|attempt| QueuedAttempt {
                attempt,
                ..run.attempt("charge")
            })
            .to_vec()
    })
    .await;
    world.done(run.turn().withdraw("charge"), &mut run).await;
    assert_eq!(world.claim(world.me, 9).await, []);
    assert!(world.backend().queues().await.unwrap().is_empty());
}

pub async fn withdrawal_leaves_the_attempts_of_other_runs(world: World) {
    let mut run = one_queued(&world).await;
    let mut other = world.start_owned("b").await;
    let enqueue = other.turn().enqueue(other.attempt("charge"));
    world.done(enqueue, &mut other).await;
    world.done(run.turn().withdraw("charge"), &mut run).await;
    assert_eq!(world.claim_one(world.me).await.run, other.id);
}

pub async fn report_ends_the_attempt_of_its_own_run(world: World) {
    let run = one_queued(&world).await;
    let mut other = world.start_owned("b").await;
    let enqueue = other.turn().enqueue(other.attempt("charge"));
    world.done(enqueue, &mut other).await;
    assert_eq!(world.claim_one(world.me).await.run, run.id);
    let foreign = report_of(world.me, &other.attempt("charge"));
    assert_eq!(world.report(&foreign).await, Reported::Stale);
    assert_eq!(world.inbox(&run).await.unwrap(), []);
    assert_eq!(world.claim_one(world.me).await.run, other.id);
}
