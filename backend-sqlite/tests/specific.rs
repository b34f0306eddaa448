//! What only the SQLite backend has: the file and its settings, group commit, several handles and processes, locks.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use longhaul_backend_sqlite::{Durability, SqliteBackend, SqliteConfig};
use longhaul_core::backend::{
    AcquireRequest, Arrival, ArrivalBody, ArrivalKind, ArriveRequest, Arrived, Backend,
    BeatRequest, Events, Hint, Inspect, JoinRequest, Kind, Lane, RunUpdate, Serves, StartRun,
    Started, State, TakeOverRequest, TurnCommit, Verdict,
};
use longhaul_core::clock::{BackendClock, Timestamp};
use longhaul_core::history::StoredTurn;
use longhaul_core::id::{
    BuildId, Epoch, EventNumber, Route, Segment, TurnNumber, Uuid, WorkerId, WorkflowId,
    WorkflowType, WriteId,
};
use longhaul_core::identity::{RunKind, WorkflowIdentity};
use rusqlite::Connection;

const LEASE: Duration = Duration::from_secs(5);

fn clock() -> BackendClock {
    BackendClock::manual(Timestamp::from_micros(1_000_000))
}

fn uuid(byte: u8) -> Uuid {
    Uuid::from_bytes([byte; 16])
}

fn worker(byte: u8) -> WorkerId {
    WorkerId(uuid(byte))
}

fn lane(byte: u8) -> Lane {
    Lane {
        worker: worker(byte),
        number: 0,
    }
}

fn serves() -> Serves {
    Serves {
        routes: vec![Route::new("order").unwrap()],
        tasks: Vec::new(),
        queues: Vec::new(),
        build: BuildId::new("build").unwrap(),
    }
}

fn start_of(id: &str) -> StartRun {
    let id = WorkflowId::new(id).unwrap();
    StartRun {
        identity: WorkflowIdentity::root(id, WorkflowType::new("order").unwrap()),
        kind: RunKind::Workflow,
        route: Route::new("order").unwrap(),
        partition: 3,
        fingerprint: [7; 16],
        tags: vec![("customer".to_owned(), "7".to_owned())],
        record: vec![1, 2, 3],
        parent_operation: None,
    }
}

fn turn_of(id: &str, turn: u64, write: u8) -> TurnCommit {
    TurnCommit {
        run: WorkflowId::new(id).unwrap(),
        segment: Segment::FIRST,
        epoch: Epoch(1),
        write: WriteId(uuid(write)),
        turn: Some(StoredTurn {
            turn: TurnNumber(turn),
            first_event: EventNumber(turn),
            record: vec![9; 40],
        }),
        update: RunUpdate::Append,
        data: Vec::new(),
        subworkflows: Vec::new(),
        enqueue: Vec::new(),
        withdraw: Vec::new(),
        outbox: Vec::new(),
    }
}

fn signal_of(id: &str, write: u8) -> ArriveRequest {
    ArriveRequest {
        run: WorkflowId::new(id).unwrap(),
        write: WriteId(uuid(write)),
        body: ArrivalBody {
            kind: ArrivalKind::Signal,
            name: "approved".to_owned(),
            content: b"{}".to_vec(),
        },
        inbox_max: 100,
    }
}

async fn join(backend: &SqliteBackend, byte: u8) {
    let request = JoinRequest {
        worker: worker(byte),
        lease: LEASE,
        lanes: 1,
        serves: serves(),
        label: "test".to_owned(),
    };
    backend.join(request).await.unwrap();
}

async fn dead(backend: &SqliteBackend, byte: u8) -> Vec<WorkerId> {
    let request = BeatRequest {
        worker: worker(byte),
        extend: None,
        serves: serves(),
    };
    backend.beat(request).await.unwrap().dead
}

async fn open(path: &Path) -> SqliteBackend {
    SqliteBackend::open(SqliteConfig::new(path).clock(clock()))
        .await
        .unwrap()
}

/// Opens a database with a worker that owns the run `a`.
async fn open_with_run(path: &Path) -> SqliteBackend {
    let backend = open(path).await;
    join(&backend, 1).await;
    let started = backend.start(Some(lane(1)), vec![start_of("a")]).await;
    assert_eq!(started.unwrap(), [Started::New]);
    backend
}

async fn refusal(path: &Path, kind: Kind, why: &str) {
    let error = SqliteBackend::open(SqliteConfig::new(path))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(why), "{error}");
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
}

#[test]
fn linked_sqlite_has_the_repaired_write_ahead_log() {
    assert!(rusqlite::version_number() >= 3_051_003);
}

#[tokio::test]
async fn missing_folders_and_file_are_made_in_write_ahead_mode() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/orders.db");
    let backend = open(&path).await;
    assert_eq!(backend.name(), "sqlite");
    assert_eq!(backend.store().partitions, 16);
    let beside = Connection::open(&path).unwrap();
    let mode: String = beside
        .query_row("pragma journal_mode", [], |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn store_keeps_its_hash_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let first = open(&path).await.store();
    assert_eq!(open(&path).await.store(), first);
    let other = open(&folder.path().join("other.db")).await.store();
    assert_ne!(other.hash_key, first.hash_key);
}

#[tokio::test]
async fn file_that_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    let text = "these are my notes, and nobody asked for a database here".repeat(30);
    std::fs::write(&path, &text).unwrap();
    refusal(&path, Kind::Corrupt, "is not a SQLite database").await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn database_of_something_else_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("music.db");
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch("create table song (name text)")
        .unwrap();
    let before = std::fs::read(&path).unwrap();
    refusal(&path, Kind::Invalid, "something else").await;
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn file_of_a_newer_version_is_refused_unless_it_says_that_this_one_may_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    drop(open(&path).await);
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(open(&path).await);
    newer.execute("update meta set reader = 99", []).unwrap();
    refusal(&path, Kind::NewerVersion, "needs format 99").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_handles_that_open_a_new_file_at_once_make_one_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let opening = (0..8).map(|_| {
        let path = path.clone();
        tokio::spawn(async move { open(&path).await.store() })
    });
    let mut stores = Vec::new();
    for store in opening.collect::<Vec<_>>() {
        stores.push(store.await.unwrap());
    }
    assert!(stores.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn namespaces_do_not_see_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let one = open(&path).await;
    let config = SqliteConfig::new(&path).namespace("eu").unwrap();
    let other = SqliteBackend::open(config).await.unwrap();
    one.start(None, vec![start_of("a")]).await.unwrap();
    let id = WorkflowId::new("a").unwrap();
    assert!(one.run(&id).await.unwrap().is_some());
    assert!(other.run(&id).await.unwrap().is_none());
    assert!(folder.path().join("orders.eu.db").exists());
}

#[tokio::test]
async fn warm_step_costs_one_commit_and_no_read() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open_with_run(&folder.path().join("orders.db")).await;
    let before = backend.statistics();
    for turn in 1..=10 {
        let verdicts = backend.commit(lane(1), vec![turn_of("a", turn, 1)]).await;
        assert_eq!(verdicts.unwrap(), [Verdict::Committed]);
    }
    let after = backend.statistics();
    assert_eq!(after.commits - before.commits, 10);
    assert_eq!(after.reads, before.reads);
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_wait_share_a_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Arc::new(open_with_run(&folder.path().join("orders.db")).await);
    let ids: Vec<String> = (0..64).map(|number| format!("run-{number}")).collect();
    let starts = ids.iter().map(|id| start_of(id)).collect();
    backend.start(Some(lane(1)), starts).await.unwrap();
    let before = backend.statistics();
    let commits: Vec<_> = ids
        .iter()
        .map(|id| {
            let (backend, id) = (Arc::clone(&backend), id.clone());
            tokio::spawn(async move {
                for turn in 1..=8 {
                    let verdicts = backend.commit(lane(1), vec![turn_of(&id, turn, 1)]).await;
                    assert_eq!(verdicts.unwrap(), [Verdict::Committed]);
                }
            })
        })
        .collect();
    for commit in commits {
        commit.await.unwrap();
    }
    let after = backend.statistics();
    assert_eq!(after.jobs - before.jobs, 64 * 8);
    let commits = after.commits - before.commits;
    assert!(commits <= 64 * 8 / 3, "{commits} commits for 512 turns");
}

#[tokio::test]
async fn job_that_fails_spoils_no_other_in_its_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open_with_run(&folder.path().join("orders.db")).await;
    let (of_nobody, good, signal) = tokio::join!(
        backend.start(Some(lane(9)), vec![start_of("b")]),
        backend.commit(lane(1), vec![turn_of("a", 1, 1)]),
        backend.arrive(vec![signal_of("a", 2)]),
    );
    assert_eq!(of_nobody.unwrap_err().kind(), Kind::WorkerDead);
    assert_eq!(good.unwrap(), [Verdict::Committed]);
    assert!(matches!(signal.unwrap()[0], Arrived::Accepted { .. }));
    let id = WorkflowId::new("b").unwrap();
    assert!(backend.run(&id).await.unwrap().is_none());
}

#[tokio::test]
async fn dropped_request_is_applied_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open_with_run(&folder.path().join("orders.db")).await;
    for number in 0..50 {
        let starts = vec![
            start_of(&format!("x-{number}")),
            start_of(&format!("y-{number}")),
        ];
        let start = backend.start(None, starts);
        tokio::select! {
            biased;
            _ = start => {}
            () = tokio::task::yield_now() => {}
        }
    }
    backend.start(None, vec![start_of("last")]).await.unwrap();
    for number in 0..50 {
        let ids = ["x", "y"].map(|name| WorkflowId::new(format!("{name}-{number}")).unwrap());
        let states = backend.states(&ids).await.unwrap();
        assert_eq!(states[0].is_some(), states[1].is_some());
    }
}

#[tokio::test]
async fn repeated_write_is_recognised_after_the_file_was_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let backend = open_with_run(&path).await;
    let mut park = turn_of("a", 1, 4);
    park.update = RunUpdate::Park {
        read: Default::default(),
        wake_at: None,
    };
    let first = backend.commit(lane(1), vec![park.clone()]).await.unwrap();
    assert_eq!(first, [Verdict::Committed]);
    let accepted = backend.arrive(vec![signal_of("a", 5)]).await.unwrap();
    drop(backend);

    let backend = open(&path).await;
    let second = backend.commit(lane(1), vec![park]).await.unwrap();
    assert_eq!(second, [Verdict::Committed]);
    assert_eq!(
        backend.arrive(vec![signal_of("a", 5)]).await.unwrap(),
        accepted
    );
    assert_eq!(history(&backend, "a").await, 2);
}

async fn history(backend: &SqliteBackend, id: &str) -> usize {
    let request = longhaul_core::backend::HistoryRequest {
        run: WorkflowId::new(id).unwrap(),
        segment: None,
        from: TurnNumber(0),
        limit: 100,
    };
    backend.history(request).await.unwrap().len()
}

#[tokio::test]
async fn two_handles_on_one_file_see_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let one = open_with_run(&path).await;
    let other = open(&path).await;
    join(&other, 2).await;
    let accepted = other.arrive(vec![signal_of("a", 5)]).await.unwrap();
    let Arrived::Accepted { number, owner, .. } = &accepted[0] else {
        panic!("{accepted:?}");
    };
    assert_eq!(*owner, Some(worker(1)));
    let id = WorkflowId::new("a").unwrap();
    let inbox = one
        .inbox(worker(1), vec![(id, Default::default())])
        .await
        .unwrap();
    let numbers: Vec<_> = inbox[0]
        .1
        .iter()
        .map(|arrival: &Arrival| arrival.number)
        .collect();
    assert_eq!(numbers, [*number]);
    assert_eq!(one.workers().await.unwrap().len(), 2);
}

#[tokio::test]
async fn change_by_another_handle_gives_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let one = open(&path).await;
    let other = open(&path).await;
    let mut hints = one.hints();
    // The first look at the file counts as a change.
    assert_eq!(hints.next().await, Hint::Changed);
    other.start(None, vec![start_of("a")]).await.unwrap();
    assert_eq!(hints.next().await, Hint::Changed);
}

#[tokio::test]
async fn change_by_the_same_handle_gives_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(&folder.path().join("orders.db")).await;
    let mut hints = backend.hints();
    backend.start(None, vec![start_of("a")]).await.unwrap();
    assert_eq!(hints.next().await, Hint::Changed);
}

#[tokio::test]
async fn worker_whose_handle_is_gone_is_dead_before_its_lease_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let one = open_with_run(&path).await;
    let other = open(&path).await;
    join(&other, 2).await;
    assert_eq!(dead(&other, 2).await, []);
    drop(one);
    assert_eq!(dead(&other, 2).await, [worker(1)]);
    let taken = other
        .take_over(TakeOverRequest { force: Vec::new() })
        .await
        .unwrap();
    assert_eq!((taken.workers, taken.runs), (vec![worker(1)], 1));
    assert_eq!(
        lock_files(folder.path()),
        [format!("orders.db-worker-{}", worker(2))]
    );
}

#[tokio::test]
async fn without_locks_only_the_lease_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let clock = clock();
    let config = SqliteConfig::new(&path)
        .clock(clock.clone())
        .without_locks();
    let one = SqliteBackend::open(config.clone()).await.unwrap();
    let other = SqliteBackend::open(config).await.unwrap();
    join(&one, 1).await;
    clock.advance(Duration::from_secs(3));
    join(&other, 2).await;
    drop(one);
    assert_eq!(dead(&other, 2).await, []);
    clock.advance(Duration::from_secs(3));
    assert_eq!(dead(&other, 2).await, [worker(1)]);
    assert_eq!(lock_files(folder.path()), Vec::<String>::new());
}

#[tokio::test]
async fn worker_that_leaves_takes_its_lock_file_away() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open_with_run(&folder.path().join("orders.db")).await;
    assert_eq!(lock_files(folder.path()).len(), 1);
    backend.leave(worker(1)).await.unwrap();
    assert_eq!(lock_files(folder.path()), Vec::<String>::new());
}

fn lock_files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap();
    names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("-worker-"))
        .collect()
}

const DATABASE_OF_CHILD: &str = "LONGHAUL_TEST_DATABASE_OF_CHILD";

#[tokio::test]
#[ignore = "is the process that the next test kills"]
async fn child_that_owns_a_run_until_it_is_killed() {
    let Ok(path) = std::env::var(DATABASE_OF_CHILD) else {
        return;
    };
    let _backend = open_with_run(&PathBuf::from(path)).await;
    eprintln!("owned");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn runs_of_a_killed_process_are_taken_over_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let backend = open(&path).await;
    join(&backend, 2).await;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "child_that_owns_a_run_until_it_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(DATABASE_OF_CHILD, &path)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.map(Result::unwrap).any(|line| line == "owned"));
    assert_eq!(dead(&backend, 2).await, []);

    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(dead(&backend, 2).await, [worker(1)]);
    backend
        .take_over(TakeOverRequest { force: Vec::new() })
        .await
        .unwrap();
    let request = AcquireRequest {
        lane: lane(2),
        serves: serves(),
        limit: 10,
    };
    let acquired = backend.acquire(request).await.unwrap();
    assert_eq!(acquired.len(), 1);
    assert_eq!((acquired[0].run.epoch, acquired[0].run.lost), (Epoch(2), 1));
    assert_eq!(lock_files(folder.path()).len(), 1);
}

#[tokio::test]
async fn commit_extends_a_lease_of_which_half_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let config = SqliteConfig::new(folder.path()).clock(clock.clone());
    let backend = SqliteBackend::open(config).await.unwrap();
    join(&backend, 1).await;
    backend
        .start(Some(lane(1)), vec![start_of("a")])
        .await
        .unwrap();
    let joined_until = backend.workers().await.unwrap()[0].lease_until;
    clock.advance(Duration::from_secs(1));
    backend
        .commit(lane(1), vec![turn_of("a", 1, 1)])
        .await
        .unwrap();
    assert_eq!(
        backend.workers().await.unwrap()[0].lease_until,
        joined_until
    );
    clock.advance(Duration::from_secs(3));
    backend
        .commit(lane(1), vec![turn_of("a", 2, 2)])
        .await
        .unwrap();
    assert_eq!(
        backend.workers().await.unwrap()[0].lease_until,
        backend.clock().after(LEASE)
    );
}

#[tokio::test]
async fn fast_database_opens_and_keeps_what_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let config = SqliteConfig::new(folder.path()).durability(Durability::Fast);
    let backend = SqliteBackend::open(config.clone()).await.unwrap();
    backend.start(None, vec![start_of("a")]).await.unwrap();
    drop(backend);
    let backend = SqliteBackend::open(config).await.unwrap();
    assert_eq!(backend.count(&Default::default()).await.unwrap(), 1);
}
