//! Tests of what one statement does while another is between its snapshot and its lock.
//!
//! A session of the test's own, the gate, holds a row. The statement under test takes its snapshot and waits there; the
//! test sees it wait in the server's own view, lets something else commit, and opens the gate. Each name says which rule
//! of the protocol it holds to.

use std::sync::Arc;

use longhaul_core::backend::{
    ArrivalKind, Arrived, Backend, Kind, Reported, Started, TakeOverRequest, Verdict,
};
use longhaul_core::id::{ArrivalNumber, Epoch, WorkerId};
use longhaul_core::status::Status;
use longhaul_tests::Fixture;
use longhaul_tests::world::{
    Run, World, acquire_of, claim_of, history_of, lane, new_worker_id, one, report_of, run_of,
    signal_to, workflow_id,
};
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};

use crate::fixture::{PostgresFixture, run, session};
use crate::session::in_schema;

/// Is a store whose rows a test can hold.
struct Stage {
    world: World,
    schema: String,
}

impl Stage {
    async fn open() -> Self {
        let fixture = PostgresFixture::open().await;
        let schema = fixture.schema.clone();
        Self {
            world: World::over(Box::new(fixture)).await,
            schema,
        }
    }

    fn backend(&self) -> Arc<dyn Backend> {
        self.world.backend()
    }

    /// Holds what a statement locks, until the gate is opened.
    async fn gate(&self, statement: &str) -> Gate {
        let mut connection = session().await;
        run(&mut connection, "begin").await;
        run(&mut connection, in_schema(statement, &self.schema)).await;
        Gate(connection)
    }

    /// Holds the row of a lane.
    async fn gate_of_lane(&self, worker: WorkerId) -> Gate {
        let worker = worker.0;
        let text =
            format!("select from longhaul.fence where worker = '{worker}' and lane = 0 for update");
        self.gate(&text).await
    }

    /// Holds the row of a run.
    async fn gate_of_run(&self, id: &str) -> Gate {
        self.gate(&format!(
            "select from longhaul.standing where run = (select number from longhaul.run where id = '{id}') for update"
        ))
        .await
    }

    /// Returns when as many statements of this store wait for a lock.
    async fn wait_for_waiting(&self, count: i64) {
        let mut connection = session().await;
        let text = format!(
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%\"{}\"%'",
            self.schema
        );
        loop {
            let found = connection.fetch_one(sqlx::raw_sql(AssertSqlSafe(text.clone())));
            let waiting: i64 = found.await.unwrap().try_get(0).unwrap();
            if waiting >= count {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Runs a statement of somebody else's.
    async fn meanwhile(&self, statement: &str) {
        run(&mut session().await, in_schema(statement, &self.schema)).await;
    }
}

/// Holds a row.
struct Gate(PgConnection);

impl Gate {
    async fn open(mut self) {
        run(&mut self.0, "commit").await;
    }
}

fn spawn<T: Send + 'static>(
    call: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    tokio::spawn(call)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a1_rows_that_changed_before_the_lock_are_checked_anew_and_spoil_no_other() {
    let stage = Stage::open().await;
    let world = &stage.world;
    let mut runs = Vec::new();
    for id in ["taken", "unread", "gapped", "good 1", "good 2"] {
        runs.push(world.start_owned(id).await);
    }
    let turns = vec![
        runs[0].turn().drain(),
        runs[1].turn().park(),
        runs[2].turn_at(7).drain(),
        runs[3].turn(),
        runs[4].turn().end(),
    ];
    let gate = stage.gate_of_lane(world.me).await;
    let (backend, me) = (stage.backend(), world.me);
    let commits = turns.into_iter().map(|turn| turn.commit).collect();
    let committing = spawn(async move { backend.commit(lane(me), commits).await.unwrap() });
    stage.wait_for_waiting(1).await;
    world.signal("unread").await;
    stage
        .meanwhile(
            "update longhaul.standing set owner = gen_random_uuid(), epoch = epoch + 1
             where run = (select number from longhaul.run where id = 'taken')",
        )
        .await;
    gate.open().await;
    let expected = [
        Verdict::Lost,
        Verdict::Unread,
        Verdict::Lost,
        Verdict::Committed,
        Verdict::Committed,
    ];
    assert_eq!(committing.await.unwrap(), expected);
    for (id, turns) in [
        ("taken", 1),
        ("unread", 1),
        ("gapped", 1),
        ("good 1", 2),
        ("good 2", 2),
    ] {
        assert_eq!(world.turns(id).await, turns, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a2_statement_in_flight_ends_before_its_lane_is_used_again() {
    let stage = Stage::open().await;
    let world = &stage.world;
    let run = world.start_owned("a").await;
    let turn = run.turn().park();
    let gate = stage.gate_of_lane(world.me).await;
    let (backend, commit) = (stage.backend(), turn.commit.clone());
    let me = world.me;
    let first = spawn(async move { backend.commit(lane(me), vec![commit]).await.unwrap() });
    stage.wait_for_waiting(1).await;
    let mut other = PostgresFixture::beside(&stage.schema).await;
    let (backend, commit) = (other.reopen().await, turn.commit.clone());
    let again = spawn(async move { backend.commit(lane(me), vec![commit]).await.unwrap() });
    stage.wait_for_waiting(2).await;
    gate.open().await;
    assert_eq!(first.await.unwrap(), [Verdict::Committed]);
    assert_eq!(again.await.unwrap(), [Verdict::Committed]);
    assert_eq!(world.turns("a").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a2_late_statement_finds_no_lane_and_writes_nothing() {
    let stage = Stage::open().await;
    let world = &stage.world;
    world.start_owned("a").await;
    let raise = format!(
        "update longhaul.fence set n = n + 1 where worker = '{}' and lane = 0",
        world.me.0
    );
    stage.meanwhile(&raise).await;
    let late = in_schema(crate::commit::APPEND_ONE, &stage.schema);
    let me = crate::row::uuid(world.me.0);
    let write = crate::row::uuid(new_worker_id().0);
    let mut connection = session().await;
    let rows = sqlx::query(AssertSqlSafe(late))
        .bind(None::<i64>)
        .bind(me)
        .bind(0_i32)
        .bind(0_i64)
        .bind("a")
        .bind(1_i64)
        .bind(1_i64)
        .bind(write)
        .bind(1_i64)
        .bind(1_i64)
        .bind(b"late".as_slice())
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert!(rows.is_empty(), "the late statement wrote a turn");
    assert_eq!(world.turns("a").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a3_arrival_that_commits_while_the_end_is_under_way_is_not_lost() {
    for closing in [Run::turn, |run: &Run| run.turn().without_turn()] {
        let stage = Stage::open().await;
        let world = &stage.world;
        let run = world.start_owned("a").await;
        let gate = stage
            .gate(
                "update longhaul.standing set arrivals = arrivals + 1 where run = 1;
                 insert into longhaul.inbox (run, number, write_id, kind, name, content, accepted_at)
                 values (1, 1, gen_random_uuid(), 'signal', 'approved', '', 0)",
            )
            .await;
        let (backend, turn) = (stage.backend(), closing(&run).park());
        let me = world.me;
        let closing = spawn(async move { backend.commit(lane(me), vec![turn.commit]).await });
        gate.open().await;
        let verdict = match closing.await.unwrap() {
            Ok(verdicts) => one(verdicts),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(verdict, Verdict::Unread);
        assert_eq!(world.inbox(&run).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a3_arrival_that_waits_for_the_end_is_refused_and_not_accepted() {
    let stage = Stage::open().await;
    let world = &stage.world;
    let mut ended = world.start_owned("ended").await;
    let parked = world.start_owned("parked").await;
    let gate = stage.gate_of_run("ended").await;
    let backend = stage.backend();
    let arriving = spawn(async move {
        let arrivals = vec![signal_to("ended"), signal_to("parked")];
        backend.arrive(arrivals).await.unwrap()
    });
    stage.wait_for_waiting(1).await;
    let Gate(mut connection) = gate;
    let end = "update longhaul.standing set status = 'Completed', owner = null, due_at = null, woken_at = null
               where run = (select number from longhaul.run where id = 'ended')";
    run(&mut connection, in_schema(end, &stage.schema)).await;
    run(&mut connection, "commit").await;
    let answers = arriving.await.unwrap();
    assert_eq!(answers[0], Arrived::Finished(Status::Completed));
    assert!(matches!(
        answers[1],
        Arrived::Accepted {
            number: ArrivalNumber(1),
            ..
        }
    ));
    assert_eq!(world.commit(&parked.turn().park()).await, Verdict::Unread);
    ended.turns += 1;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a3_same_arrival_under_way_twice_is_accepted_once_with_one_number() {
    let stage = Stage::open().await;
    stage.world.start_owned("a").await;
    let signal = signal_to("a");
    let gate = stage.gate_of_run("a").await;
    let senders: Vec<_> = (0..2)
        .map(|_| {
            let (backend, signal) = (stage.backend(), signal.clone());
            spawn(async move { one(backend.arrive(vec![signal]).await.unwrap()) })
        })
        .collect();
    stage.wait_for_waiting(2).await;
    gate.open().await;
    for sender in senders {
        let answer = sender.await.unwrap();
        assert!(
            matches!(
                answer,
                Arrived::Accepted {
                    number: ArrivalNumber(1),
                    ..
                }
            ),
            "{answer:?}"
        );
    }
    assert_eq!(stage.world.run("a").await.arrivals, ArrivalNumber(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a4_run_whose_start_was_in_flight_is_freed_by_the_takeover() {
    let stage = Stage::open().await;
    let world = &stage.world;
    let dead = world.worker().await;
    let gate = stage.gate_of_lane(dead).await;
    let backend = stage.backend();
    let starting = spawn(async move {
        backend
            .start(Some(lane(dead)), vec![run_of("late")])
            .await
            .unwrap()
    });
    stage.wait_for_waiting(1).await;
    let backend = stage.backend();
    let force = vec![dead];
    let taking = spawn(async move { backend.take_over(TakeOverRequest { force }).await.unwrap() });
    stage.wait_for_waiting(2).await;
    gate.open().await;
    assert_eq!(starting.await.unwrap(), [Started::New]);
    assert_eq!(taking.await.unwrap().runs, 1);
    assert_eq!(world.run("late").await.owner, None);
    assert_eq!(world.acquire(world.me).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a4_start_and_acquire_and_claim_behind_a_takeover_are_refused() {
    let stage = Stage::open().await;
    let world = &stage.world;
    let dead = world.worker().await;
    world.start("due").await;
    let mut asking = world.start_owned("asking").await;
    let turn = asking.turn().enqueue(asking.attempt("charge"));
    world.done(turn, &mut asking).await;
    let text = format!("delete from longhaul.fence where worker = '{}'", dead.0);
    let gate = stage.gate(&text).await;
    let backend = stage.backend();
    let starting = spawn(async move {
        backend
            .start(Some(lane(dead)), vec![run_of("late")])
            .await
            .map(drop)
    });
    stage.wait_for_waiting(1).await;
    let backend = stage.backend();
    let claiming = spawn(async move { backend.claim(claim_of(dead, 1)).await.map(drop) });
    stage.wait_for_waiting(2).await;
    stage
        .meanwhile(&format!(
            "update longhaul.worker set died_at = 1 where id = '{}'",
            dead.0
        ))
        .await;
    gate.open().await;
    for refused in [starting.await.unwrap(), claiming.await.unwrap()] {
        assert_eq!(refused.unwrap_err().kind(), Kind::WorkerDead);
    }
    let acquired = stage.backend().acquire(acquire_of(dead)).await;
    assert_eq!(acquired.unwrap_err().kind(), Kind::WorkerDead);
    assert!(world.find("late").await.is_none());
    assert_eq!(world.claim(world.me, 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a4_acquired_run_comes_with_the_turns_that_were_added_before_the_lock() {
    let stage = Stage::open().await;
    let world = &stage.world;
    world.start("a").await;
    let other = world.worker().await;
    let gate = stage.gate_of_lane(other).await;
    let backend = stage.backend();
    let acquiring = spawn(async move { backend.acquire(acquire_of(other)).await.unwrap() });
    stage.wait_for_waiting(1).await;
    let mut mine = world.take(world.me).await;
    for _ in 0..3 {
        world.append(&mut mine).await;
    }
    world.done(mine.turn().release(), &mut mine).await;
    gate.open().await;
    let acquired = one(acquiring.await.unwrap());
    assert_eq!(acquired.run.epoch, Epoch(2));
    assert_eq!(acquired.turns.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a4_start_that_waits_for_another_of_its_id_finds_it() {
    let stage = Stage::open().await;
    let gate = stage
        .gate(
            "with r as (insert into longhaul.run (id, kind, type, partition, fingerprint, root, created_at)
                 values ('a', 'workflow', 'order', 0, '\\x00000000000000000000000000000000', 'a', 0) returning number)
             insert into longhaul.standing (run, segment, route, status, epoch, due_at, updated_at)
             select number, 1, 'order', 'Pending', 0, 0, 0 from r",
        )
        .await;
    let backend = stage.backend();
    let starting = spawn(async move { one(backend.start(None, vec![run_of("a")]).await.unwrap()) });
    stage.wait_for_waiting(1).await;
    gate.open().await;
    let started = starting.await.unwrap();
    assert!(matches!(started, Started::Exists(_)), "{started:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a5_turn_that_the_store_cannot_hold_is_refused_alone() {
    let stage = Stage::open().await;
    let world = &stage.world;
    let mut turns = Vec::new();
    for id in ["a", "b", "c", "d", "e"] {
        let run = world.start_owned(id).await;
        let body = if id == "c" { "nul \0" } else { "fine" };
        turns.push(run.turn().send("b", body));
    }
    let verdicts = world.commit_all(&turns.iter().collect::<Vec<_>>()).await;
    for (at, verdict) in verdicts.iter().enumerate() {
        let is_refused = matches!(verdict, Verdict::Refused(_));
        assert_eq!(is_refused, at == 2, "{at}: {verdict:?}");
    }
    assert_eq!(world.turns("c").await, 1);
    assert_eq!(world.deliver().await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a5_row_that_somebody_holds_delays_its_own_turn_alone() {
    let stage = Stage::open().await;
    let world = &stage.world;
    let held = world.start_owned("held").await;
    let free = world.start_owned("free").await;
    let gate = stage.gate_of_run("held").await;
    let commits = vec![held.turn().end().commit, free.turn().end().commit];
    let (backend, me) = (stage.backend(), world.me);
    let again = commits.clone();
    let committing = spawn(async move { backend.commit(lane(me), commits).await });
    loop {
        if world.run("free").await.status == Status::Completed {
            break;
        }
    }
    assert_eq!(world.run("held").await.status, Status::Running);
    gate.open().await;
    let verdicts = match committing.await.unwrap() {
        Ok(verdicts) => verdicts,
        Err(error) => {
            assert!(error.should_ask_again(), "{error}");
            stage.backend().commit(lane(me), again).await.unwrap()
        }
    };
    assert_eq!(verdicts, [Verdict::Committed, Verdict::Committed]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a6_commits_make_no_shared_row_locks() {
    let stage = Stage::open().await;
    let world = &stage.world;
    let mut connection = session().await;
    let mut multixact = async || {
        let text = "select (next_multixact_id::text)::bigint from pg_control_checkpoint()";
        run(&mut session().await, "checkpoint").await;
        let row = connection.fetch_one(sqlx::raw_sql(text)).await.unwrap();
        row.try_get::<i64, _>(0).unwrap()
    };
    let mut runs = Vec::new();
    for id in ["a", "b", "c", "d"] {
        runs.push(world.start_owned(id).await);
    }
    let before = multixact().await;
    for run in &mut runs {
        for _ in 0..20 {
            world.append(run).await;
            world.signal(run.id.as_str()).await;
            world.extend(world.me).await.unwrap();
        }
    }
    assert!(multixact().await - before < 80, "a commit made a multixact");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a12_claim_and_report_in_flight_meet_a_takeover_whole() {
    let stage = Stage::open().await;
    let world = &stage.world;
    let dead = world.worker().await;
    let mut asking = world.start_owned("a").await;
    let turn = asking
        .turn()
        .enqueue(asking.attempt("charge"))
        .enqueue(asking.attempt("ship"));
    world.done(turn, &mut asking).await;
    let claimed = world.claim_one(dead).await;
    let gate = stage.gate_of_run("a").await;
    let backend = stage.backend();
    let report = report_of(dead, &claimed);
    let reporting = spawn(async move { one(backend.report(vec![report]).await.unwrap()) });
    stage.wait_for_waiting(1).await;
    let backend = stage.backend();
    let force = vec![dead];
    let taking = spawn(async move { backend.take_over(TakeOverRequest { force }).await.unwrap() });
    stage.wait_for_waiting(2).await;
    gate.open().await;
    let reported = reporting.await.unwrap();
    assert!(
        matches!(reported, Reported::Accepted { .. }),
        "{reported:?}"
    );
    assert_eq!(taking.await.unwrap().attempts, 0);
    let inbox = world.inbox(&asking).await.unwrap();
    assert_eq!(one(inbox).body.kind, ArrivalKind::TaskOutcome);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b6_message_that_another_delivers_meanwhile_arrives_once_and_in_order() {
    let stage = Stage::open().await;
    let world = &stage.world;
    let mut sender = world.start_owned("a").await;
    let other = world.start_owned("b").await;
    for name in ["1", "2", "3"] {
        world.done(sender.turn().send("b", name), &mut sender).await;
    }
    let gate = stage
        .gate("select from longhaul.turnstile for update")
        .await;
    let deliveries: Vec<_> = (0..3)
        .map(|_| {
            let backend = stage.backend();
            spawn(async move { backend.deliver(2).await.unwrap() })
        })
        .collect();
    stage.wait_for_waiting(2).await;
    gate.open().await;
    let mut moved = 0;
    for delivery in deliveries {
        moved += delivery.await.unwrap();
    }
    assert_eq!(moved, 3);
    let inbox = world.inbox(&other).await.unwrap();
    assert_eq!(longhaul_tests::world::names(&inbox), ["1", "2", "3"]);
    assert_eq!(
        stage
            .backend()
            .history(history_of("b"))
            .await
            .unwrap()
            .len(),
        1
    );
    assert!(
        stage
            .backend()
            .run(&workflow_id("b"))
            .await
            .unwrap()
            .is_some()
    );
}
