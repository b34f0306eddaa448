//! What only the memory backend has: names, namespaces, stores that end with their handles, and hints for what matters.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

use std::time::{Duration, Instant};

use longhaul_backend_memory::{MemoryBackend, MemoryConfig};
use longhaul_core::backend::{
    ArrivalBody, ArrivalKind, ArriveRequest, Arrived, Backend, BeatRequest, Due, Events, Hint,
    HintStream, Inspect, JoinRequest, Lane, Message, QueuedAttempt, RunUpdate, Serves, StartRun,
    Started, State, TakeOverRequest, TurnCommit, Verdict,
};
use longhaul_core::clock::{BackendClock, Timestamp};
use longhaul_core::history::{OperationKey, OperationKind, StoredTurn};
use longhaul_core::id::{
    ArrivalNumber, BuildId, Epoch, EventNumber, QueueName, Route, Segment, TaskName, TurnNumber,
    Uuid, WorkerId, WorkflowId, WorkflowType, WriteId,
};
use longhaul_core::identity::{RunKind, WorkflowIdentity};
use longhaul_core::status::Status;

const LEASE: Duration = Duration::from_secs(5);

const LANE: Lane = Lane {
    worker: WorkerId(Uuid::from_bytes([1; 16])),
    number: 0,
};

fn open(url: &str) -> MemoryBackend {
    MemoryBackend::open(MemoryConfig::from_url(url).unwrap())
}

fn id(text: &str) -> WorkflowId {
    WorkflowId::new(text).unwrap()
}

fn write(number: u8) -> WriteId {
    WriteId(Uuid::from_bytes([number; 16]))
}

fn serves() -> Serves {
    Serves {
        routes: vec![Route::new("order").unwrap()],
        tasks: Vec::new(),
        queues: Vec::new(),
        build: BuildId::new("build").unwrap(),
    }
}

fn start_of(text: &str) -> StartRun {
    StartRun {
        identity: WorkflowIdentity::root(id(text), WorkflowType::new("order").unwrap()),
        kind: RunKind::Workflow,
        route: Route::new("order").unwrap(),
        partition: 0,
        fingerprint: [0; 16],
        tags: Vec::new(),
        record: vec![1],
        parent_operation: None,
    }
}

fn commit_of(text: &str, number: u8, update: RunUpdate) -> TurnCommit {
    TurnCommit {
        run: id(text),
        segment: Segment::FIRST,
        epoch: Epoch(1),
        write: write(number),
        turn: Some(StoredTurn {
            turn: TurnNumber(number.into()),
            first_event: EventNumber(number.into()),
            record: vec![number],
        }),
        update,
        data: Vec::new(),
        subworkflows: Vec::new(),
        enqueue: Vec::new(),
        withdraw: Vec::new(),
        outbox: Vec::new(),
    }
}

fn signal_to(text: &str, number: u8) -> ArriveRequest {
    ArriveRequest {
        run: id(text),
        write: write(number),
        body: ArrivalBody {
            kind: ArrivalKind::Signal,
            name: "paid".to_owned(),
            content: Vec::new(),
        },
        inbox_max: 10,
    }
}

async fn join(backend: &MemoryBackend) {
    let request = JoinRequest {
        worker: LANE.worker,
        lease: LEASE,
        lanes: 1,
        serves: serves(),
        label: "test".to_owned(),
    };
    backend.join(request).await.unwrap();
}

async fn start(backend: &MemoryBackend, lane: Option<Lane>, text: &str) {
    let started = backend.start(lane, vec![start_of(text)]).await.unwrap();
    assert_eq!(started, [Started::New]);
}

async fn commit(backend: &MemoryBackend, turn: TurnCommit) {
    let verdicts = backend.commit(LANE, vec![turn]).await.unwrap();
    assert_eq!(verdicts, [Verdict::Committed]);
}

#[tokio::test]
async fn handles_of_one_name_share_the_store() {
    let one = open("memory://shared");
    start(&one, None, "a").await;
    let other = open("memory:shared?namespace=default");
    assert_eq!(other.store(), one.store());
    assert!(other.run(&id("a")).await.unwrap().is_some());
    drop(one);
    assert!(other.run(&id("a")).await.unwrap().is_some());
}

#[tokio::test]
async fn store_is_gone_with_its_last_handle() {
    let one = open("memory://gone");
    let clone = one.clone();
    let before = one.store();
    start(&one, None, "a").await;
    drop(one);
    assert!(clone.run(&id("a")).await.unwrap().is_some());
    drop(clone);
    let again = open("memory://gone");
    assert_eq!(again.run(&id("a")).await.unwrap(), None);
    assert_ne!(again.store().hash_key, before.hash_key);
}

#[tokio::test]
async fn stores_without_a_name_are_apart() {
    let (one, other) = (open("memory:"), open("memory:"));
    start(&one, None, "a").await;
    assert_eq!(other.run(&id("a")).await.unwrap(), None);
    assert!(one.clone().run(&id("a")).await.unwrap().is_some());
}

#[tokio::test]
async fn namespaces_of_one_name_are_apart() {
    let one = open("memory://spaces?namespace=eu");
    start(&one, None, "a").await;
    let other = open("memory://spaces?namespace=us");
    assert_eq!(other.run(&id("a")).await.unwrap(), None);
    let default = open("memory://spaces");
    assert_eq!(default.run(&id("a")).await.unwrap(), None);
    let same = open("memory://spaces?namespace=eu");
    assert!(same.run(&id("a")).await.unwrap().is_some());
}

#[tokio::test]
async fn clock_is_that_of_the_first_handle() {
    let clock = BackendClock::manual(Timestamp::from_micros(7));
    let config = MemoryConfig::new().name("clocked").clock(clock.clone());
    let one = MemoryBackend::open(config);
    let other = open("memory://clocked");
    clock.advance(Duration::from_micros(3));
    assert_eq!(one.clock(), Timestamp::from_micros(10));
    assert_eq!(other.clock(), Timestamp::from_micros(10));
}

async fn hint(hints: &mut dyn HintStream) -> Option<Hint> {
    let hint = tokio::time::timeout(Duration::ZERO, hints.next()).await;
    hint.ok()
}

async fn is_hinted(hints: &mut dyn HintStream) -> bool {
    hint(hints).await == Some(Hint::Changed)
}

#[tokio::test]
async fn hint_says_what_others_may_care_about() {
    let backend = open("memory:");
    let mut hints = open("memory:").hints();
    join(&backend).await;
    let mut own = backend.hints();
    start(&backend, None, "unowned").await;
    assert!(is_hinted(own.as_mut()).await, "a run that is due");
    start(&backend, Some(LANE), "a").await;
    commit(&backend, commit_of("a", 1, RunUpdate::Append)).await;
    let drain = RunUpdate::Drain {
        read: ArrivalNumber(0),
        seal: false,
    };
    commit(&backend, commit_of("a", 2, drain)).await;
    assert!(
        !is_hinted(own.as_mut()).await,
        "what only the owner cares about"
    );

    backend.arrive(vec![signal_to("a", 101)]).await.unwrap();
    assert!(is_hinted(own.as_mut()).await, "an arrival");
    backend.arrive(vec![signal_to("a", 101)]).await.unwrap();
    assert!(!is_hinted(own.as_mut()).await, "an arrival that came again");

    let mut sending = commit_of("a", 3, RunUpdate::Append);
    sending.outbox.push(Message {
        to: id("nobody"),
        write: write(102),
        body: signal_to("a", 0).body,
    });
    commit(&backend, sending).await;
    assert!(is_hinted(own.as_mut()).await, "a message");

    let mut queueing = commit_of("a", 4, RunUpdate::Append);
    queueing.enqueue.push(QueuedAttempt {
        run: id("a"),
        segment: Segment::FIRST,
        operation: OperationKey::new(OperationKind::Task, "charge", 1),
        attempt: 1,
        queue: QueueName::new("mail").unwrap(),
        task: TaskName::new("charge").unwrap(),
        priority: 0,
        due: None,
        content: Vec::new(),
    });
    commit(&backend, queueing).await;
    assert!(is_hinted(own.as_mut()).await, "a queued attempt");

    let end = RunUpdate::End {
        read: ArrivalNumber(1),
        status: Status::Completed,
    };
    commit(&backend, commit_of("a", 5, end)).await;
    assert_eq!(hint(own.as_mut()).await, Some(Hint::Ended), "an end");
    assert_eq!(hint(hints.as_mut()).await, None, "another store");
}

#[tokio::test]
async fn late_beat_is_made_up_for_by_a_commit() {
    let clock = BackendClock::manual(Timestamp::from_micros(0));
    let backend = MemoryBackend::open(MemoryConfig::new().clock(clock.clone()));
    join(&backend).await;
    start(&backend, Some(LANE), "a").await;
    clock.advance(LEASE * 3 / 4);
    commit(&backend, commit_of("a", 1, RunUpdate::Append)).await;
    clock.advance(LEASE * 3 / 4);
    let taken = backend.take_over(TakeOverRequest { force: Vec::new() });
    assert_eq!(taken.await.unwrap().workers, []);
}

#[tokio::test]
async fn parked_runs_cost_a_beat_nothing() {
    const RUNS: u32 = 100_000;
    let backend = open("memory:");
    join(&backend).await;
    let ids: Vec<String> = (0..RUNS).map(|number| format!("run {number}")).collect();
    for page in ids.chunks(1_000) {
        let starts = page.iter().map(|text| start_of(text)).collect();
        backend.start(Some(LANE), starts).await.unwrap();
        let wake_at = Some(backend.clock().after(LEASE * 1_000));
        let park = |text: &String| {
            let read = ArrivalNumber(0);
            commit_of(text, 1, RunUpdate::Park { read, wake_at })
        };
        let parks = page.iter().map(park).collect();
        backend.commit(LANE, parks).await.unwrap();
    }
    let began = Instant::now();
    for _ in 0..1_000 {
        let request = BeatRequest {
            worker: LANE.worker,
            extend: Some(LEASE),
            serves: serves(),
        };
        let beat = backend.beat(request).await.unwrap();
        assert_eq!(beat.due.now, 0);
        assert_ne!(beat.due, Due::default());
    }
    let taken = began.elapsed();
    assert!(taken < Duration::from_secs(1), "1000 beats took {taken:?}");
    let arrived = backend.arrive(vec![signal_to("run 7", 2)]).await.unwrap();
    assert!(matches!(arrived[0], Arrived::Accepted { owner: None, .. }));
}
