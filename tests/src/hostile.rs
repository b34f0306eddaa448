//! Names and bytes that a careless backend trips over.

use std::time::Duration;

use longhaul_core::backend::{
    ArriveRequest, HistoryRequest, JoinRequest, RunFilter, Started, Verdict,
};
use longhaul_core::id::{ArrivalNumber, Epoch, EventNumber, TurnNumber};

use crate::world::{
    LEASE, Run, World, body_of, history_of, join_of, new_worker_id, number_of, one, operation_of,
    run_of, serves, signal_to,
};

const NAMES: [&str; 9] = [
    "'; drop table run; --",
    "\"quoted\" and \\ slashed",
    "%_*?[a-z]",
    " leading and trailing ",
    "\u{202E}right to left",
    "日本語のワークフロー",
    "👩‍👩‍👧‍👦",
    "e\u{301}",
    "é",
];

pub async fn odd_ids_are_kept_and_kept_apart(world: World) {
    for id in NAMES {
        assert_eq!(world.start(id).await, Started::New, "{id}");
    }
    for id in NAMES {
        let found = world.run(id).await;
        assert_eq!(found.identity.workflow_id.as_str(), id);
        assert_eq!(world.signal(id).await, ArrivalNumber(1), "{id}");
        let filter = RunFilter {
            id_prefix: Some(id.to_owned()),
            ..RunFilter::default()
        };
        assert_eq!(world.list(filter).await, [id]);
    }
    assert_eq!(world.list(RunFilter::default()).await.len(), NAMES.len());
}

pub async fn ids_that_differ_in_case_are_different(world: World) {
    for id in ["order", "Order", "ORDER"] {
        assert_eq!(world.start(id).await, Started::New);
    }
    assert_eq!(world.list(RunFilter::default()).await.len(), 3);
}

pub async fn longest_ids_are_kept_apart_by_their_last_character(world: World) {
    for last in ["a", "b", "\u{10FFFF}"] {
        let id = "\u{10FFFF}".repeat(254) + last;
        assert_eq!(world.start(&id).await, Started::New);
        assert_eq!(world.run(&id).await.identity.workflow_id.as_str(), id);
    }
    assert_eq!(world.acquire(world.me).await.len(), 3);
}

pub async fn odd_names_of_everything_else_come_back_as_they_were(world: World) {
    let mut run = world.start_owned("a").await;
    for name in NAMES {
        let mut attempt = run.attempt(name);
        attempt.operation = operation_of(&format!("{name}#7:x"));
        let turn = run.turn().set(name, name.as_bytes()).enqueue(attempt);
        world.done(turn, &mut run).await;
        let mut signal = signal_to("a");
        signal.body = body_of(name);
        world.arrive(&signal).await;
    }
    for claimed in world.claim(world.me, NAMES.len()).await {
        let name = claimed.operation.name.strip_suffix("#7:x").unwrap();
        assert!(NAMES.contains(&name), "{name}");
    }
    let inbox = world.inbox(&run).await.unwrap();
    assert_eq!(crate::world::names(&inbox), NAMES);
    for name in NAMES {
        let value = world.data("a", name).await.unwrap();
        assert_eq!(value.as_bytes(), name.as_bytes());
    }
}

pub async fn odd_tags_choose_their_own_runs(world: World) {
    for (id, value) in NAMES.iter().enumerate() {
        let mut run = run_of(&format!("{id}."));
        run.tags = vec![((*value).to_owned(), (*value).to_owned())];
        world.start_as(run).await;
    }
    for (id, value) in NAMES.iter().enumerate() {
        let filter = RunFilter {
            tags: vec![((*value).to_owned(), (*value).to_owned())],
            ..RunFilter::default()
        };
        assert_eq!(world.list(filter).await, [format!("{id}.")]);
    }
}

pub async fn records_of_any_bytes_come_back_as_they_were(world: World) {
    let all: Vec<u8> = (0..=255).collect();
    let records = [Vec::new(), vec![0], b"a\0b".to_vec(), vec![0xff; 3], all];
    let mut start = run_of("a");
    start.record = Vec::new();
    world.start_as(start).await;
    let mut run = world.take(world.me).await;
    for record in &records {
        let mut turn = run.turn().set("k", record);
        turn.commit.turn.as_mut().unwrap().record = record.clone();
        world.done(turn, &mut run).await;
        assert_eq!(world.data("a", "k").await.unwrap().as_bytes(), record);
        let mut signal = signal_to("a");
        signal.body.content = record.clone();
        world.arrive(&signal).await;
    }
    let history = world.history("a").await;
    assert_eq!(history[0].record, b"");
    let stored: Vec<_> = history[1..]
        .iter()
        .map(|turn| turn.record.clone())
        .collect();
    assert_eq!(stored, records);
    let inbox = world.inbox(&run).await.unwrap();
    let contents: Vec<_> = inbox.into_iter().map(|found| found.body.content).collect();
    assert_eq!(contents, records);
}

pub async fn large_records_come_back_whole(world: World) {
    let large: Vec<u8> = (0..2_000_000_u32)
        .map(|at| at.to_le_bytes()[at as usize % 3])
        .collect();
    let mut run = world.start_owned("a").await;
    let mut turn = run.turn();
    turn.commit.turn.as_mut().unwrap().record = large.clone();
    world.done(turn, &mut run).await;
    let mut signal = signal_to("a");
    signal.body.content = large.clone();
    world.arrive(&signal).await;
    assert!(world.history("a").await[1].record == large);
    assert!(one(world.inbox(&run).await.unwrap()).body.content == large);
}

pub async fn empty_batches_are_answered_with_nothing(world: World) {
    let backend = world.backend();
    let lane = crate::world::lane(world.me);
    assert_eq!(backend.start(None, Vec::new()).await.unwrap(), []);
    assert_eq!(backend.commit(lane, Vec::new()).await.unwrap(), []);
    assert_eq!(backend.arrive(Vec::new()).await.unwrap(), []);
    assert_eq!(backend.report(Vec::new()).await.unwrap(), []);
    assert_eq!(backend.states(&[]).await.unwrap(), []);
    assert_eq!(backend.inbox(world.me, Vec::new()).await.unwrap(), []);
    assert_eq!(backend.deliver(0).await.unwrap(), 0);
}

pub async fn arrival_without_name_and_content_is_kept(world: World) {
    let run = world.start_owned("a").await;
    let mut signal = signal_to("a");
    signal.body.name = String::new();
    signal.body.content = Vec::new();
    world.arrive(&signal).await;
    assert_eq!(one(world.inbox(&run).await.unwrap()).body, signal.body);
}

pub async fn turn_of_many_effects_is_written_whole(world: World) {
    const MANY: usize = 2_500;
    let mut run = world.start_owned("a").await;
    world.start_owned("b").await;
    let mut turn = run.turn();
    for number in 0..MANY {
        let name = format!("{number}");
        turn = turn
            .set(&name, b"1")
            .enqueue(run.attempt(&name))
            .send("b", &name);
    }
    world.done(turn, &mut run).await;
    let data = world.backend().all_data(&run.id).await.unwrap();
    assert_eq!(data.len(), MANY);
    assert_eq!(one(world.backend().queues().await.unwrap()).waiting, MANY);
    world.backend().deliver(MANY).await.unwrap();
    assert_eq!(world.run("b").await.arrivals, ArrivalNumber(MANY as u64));
}

pub async fn largest_limits_take_all_there_is(world: World) {
    world.start("a").await;
    let mut run = Run::from(one(world.acquire_as(world.me, &serves(), usize::MAX).await));
    let unbounded = ArriveRequest {
        inbox_max: u64::MAX,
        ..signal_to("a")
    };
    assert_eq!(number_of(&world.arrive(&unbounded).await), ArrivalNumber(1));
    let turn = run.turn().enqueue(run.attempt("charge")).send("a", "hello");
    world.done(turn, &mut run).await;
    assert_eq!(world.claim(world.me, usize::MAX).await.len(), 1);
    world.backend().deliver(usize::MAX).await.unwrap();
    assert_eq!(world.run("a").await.arrivals, ArrivalNumber(2));
}

pub async fn lease_without_an_end_is_never_over(world: World) {
    let worker = new_worker_id();
    let request = JoinRequest {
        lease: Duration::MAX,
        ..join_of(worker)
    };
    world.backend().join(request).await.unwrap();
    let mut run = world.start_owned_by(worker, "a").await;
    world.advance(LEASE * 1_000_000);
    world.append(&mut run).await;
    world.extend(world.me).await.unwrap();
    world.take_over().await;
    assert_eq!(world.run("a").await.owner, Some(worker));
}

pub async fn turn_of_the_largest_numbers_is_kept_or_refused_alone(world: World) {
    let runs = [
        world.start_owned("a").await,
        world.start_owned("b").await,
        world.start_owned("c").await,
    ];
    let mut turns = runs.each_ref().map(|run| run.turn().set("k", b"1"));
    let largest = EventNumber(u64::MAX);
    turns[1].commit.turn.as_mut().unwrap().first_event = largest;
    let verdicts = world.commit_all(&turns.each_ref()).await;
    assert_eq!(verdicts[0], Verdict::Committed);
    assert_eq!(verdicts[2], Verdict::Committed);
    let history = world.history("b").await;
    match &verdicts[1] {
        Verdict::Committed => assert_eq!(history[1].first_event, largest),
        Verdict::Refused(_) => assert_eq!(history.len(), 1),
        other => panic!("the turn is {other:?}"),
    }
    let is_kept = verdicts[1] == Verdict::Committed;
    assert_eq!(world.data("b", "k").await.is_some(), is_kept);
}

pub async fn numbers_past_all_there_is_find_nothing(world: World) {
    let run = world.start_owned("a").await;
    world.signal("a").await;
    let backend = world.backend();
    let request = HistoryRequest {
        from: TurnNumber(u64::MAX),
        ..history_of("a")
    };
    assert_eq!(backend.history(request).await.unwrap(), []);
    let asked = vec![(run.id.clone(), ArrivalNumber(u64::MAX))];
    let found = backend.inbox(world.me, asked).await.unwrap();
    assert!(found.iter().all(|(_, arrivals)| arrivals.is_empty()));
    let found = backend.reload(world.me, &run.id, Epoch(u64::MAX)).await;
    assert_eq!(found.unwrap(), None);
    let mut late = run.turn_at(7);
    late.commit.turn.as_mut().unwrap().turn = TurnNumber(u64::MAX);
    assert_eq!(world.commit(&late).await, Verdict::Lost);
    let mut late = run.turn();
    late.commit.epoch = Epoch(u64::MAX);
    assert_eq!(world.commit(&late).await, Verdict::Lost);
}
