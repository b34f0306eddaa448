//! Measures one-turn commits and whole runs per second, alone and many at once, against a plain loop of single-row
//! commits. A run here is what a workflow of five tasks costs: its start, four turns, and its end.
//!
//! Run it with `cargo run --release -p longhaul-backend-sqlite --example commits -- FOLDER`, where the folder is on the
//! disk to measure.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "prints what it measures, and may panic"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use longhaul_backend_sqlite::{Durability, SqliteBackend, SqliteConfig};
use longhaul_core::backend::{JoinRequest, Lane, RunUpdate, Serves, StartRun, State, TurnCommit};
use longhaul_core::history::StoredTurn;
use longhaul_core::id::{
    ArrivalNumber, BuildId, Epoch, EventNumber, Route, Segment, TurnNumber, Uuid, WorkerId,
    WorkflowId, WorkflowType, WriteId,
};
use longhaul_core::identity::{RunKind, WorkflowIdentity};
use longhaul_core::status::Status;

const MEASURED: Duration = Duration::from_secs(3);
const RECORD: [u8; 200] = [7; 200];

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let folder = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder).unwrap();
    for durability in [Durability::Full, Durability::Fast] {
        let path = folder.path().join(format!("{durability:?}.db"));
        println!(
            "{durability:?}: a plain loop commits {:.0} rows/s",
            plain_loop(&path, durability)
        );
        for tasks in [1, 8, 64, 256] {
            let path = folder.path().join(format!("{durability:?}-{tasks}.db"));
            measure(&path, durability, tasks).await;
        }
    }
}

fn plain_loop(path: &Path, durability: Durability) -> f64 {
    let connection = rusqlite::Connection::open(path).unwrap();
    let synchronous = if durability == Durability::Full { 2 } else { 1 };
    connection
        .pragma_update(None, "journal_mode", "wal")
        .unwrap();
    connection
        .pragma_update(None, "synchronous", synchronous)
        .unwrap();
    connection
        .execute_batch("create table row (number integer primary key, record blob)")
        .unwrap();
    let mut insert = connection
        .prepare("insert into row (record) values (?1)")
        .unwrap();
    let started = Instant::now();
    let mut count = 0_u32;
    while started.elapsed() < MEASURED {
        insert.execute([RECORD]).unwrap();
        count += 1;
    }
    f64::from(count) / started.elapsed().as_secs_f64()
}

async fn measure(path: &Path, durability: Durability, tasks: u32) {
    let config = SqliteConfig::new(path).durability(durability);
    let backend = Arc::new(SqliteBackend::open(config).await.unwrap());
    let lane = Lane {
        worker: WorkerId(Uuid::from_bytes([1; 16])),
        number: 0,
    };
    let request = JoinRequest {
        worker: lane.worker,
        lease: Duration::from_secs(600),
        lanes: 1,
        serves: Serves {
            routes: Vec::new(),
            tasks: Vec::new(),
            queues: Vec::new(),
            build: BuildId::new("build").unwrap(),
        },
        label: "bench".to_owned(),
    };
    backend.join(request).await.unwrap();
    let starts = (0..tasks).map(start_of).collect();
    backend.start(Some(lane), starts).await.unwrap();
    let before = backend.statistics();
    let started = Instant::now();
    let committers: Vec<_> = (0..tasks)
        .map(|task| tokio::spawn(commit_turns(Arc::clone(&backend), lane, task, started)))
        .collect();
    let mut turns = 0;
    for committer in committers {
        turns += committer.await.unwrap();
    }
    let seconds = started.elapsed().as_secs_f64();
    let commits = backend.statistics().commits - before.commits;
    println!(
        "{durability:?}: {tasks} at once commit {:.0} turns/s in {:.0} transactions/s",
        f64::from(turns) / seconds,
        f64::from(u32::try_from(commits).unwrap()) / seconds,
    );

    let started = Instant::now();
    let runners: Vec<_> = (0..tasks)
        .map(|task| tokio::spawn(complete_runs(Arc::clone(&backend), lane, task, started)))
        .collect();
    let mut runs = 0;
    for runner in runners {
        runs += runner.await.unwrap();
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{durability:?}: {tasks} at once complete {:.0} runs/s",
        f64::from(runs) / seconds
    );
}

async fn complete_runs(
    backend: Arc<SqliteBackend>,
    lane: Lane,
    task: u32,
    started: Instant,
) -> u32 {
    let mut runs = 0;
    while started.elapsed() < MEASURED {
        runs += 1;
        let run = 1_000_000 * (task + 1) + runs;
        backend
            .start(Some(lane), vec![start_of(run)])
            .await
            .unwrap();
        for turn in 1..=5 {
            let mut commit = turn_of(run, turn);
            if turn == 5 {
                commit.update = RunUpdate::End {
                    read: ArrivalNumber(0),
                    status: Status::Completed,
                };
            }
            backend.commit(lane, vec![commit]).await.unwrap();
        }
    }
    runs
}

async fn commit_turns(backend: Arc<SqliteBackend>, lane: Lane, task: u32, started: Instant) -> u32 {
    let mut turn = 0;
    while started.elapsed() < MEASURED {
        turn += 1;
        let commit = turn_of(task, u64::from(turn));
        backend.commit(lane, vec![commit]).await.unwrap();
    }
    turn
}

fn start_of(task: u32) -> StartRun {
    let id = WorkflowId::new(format!("order-{task}")).unwrap();
    StartRun {
        identity: WorkflowIdentity::root(id, WorkflowType::new("order").unwrap()),
        kind: RunKind::Workflow,
        route: Route::new("order").unwrap(),
        partition: 3,
        fingerprint: [7; 16],
        tags: Vec::new(),
        record: RECORD.to_vec(),
        parent_operation: None,
    }
}

fn turn_of(task: u32, turn: u64) -> TurnCommit {
    TurnCommit {
        run: WorkflowId::new(format!("order-{task}")).unwrap(),
        segment: Segment::FIRST,
        epoch: Epoch(1),
        write: WriteId(Uuid::from_bytes(u128::from(turn).to_be_bytes())),
        turn: Some(StoredTurn {
            turn: TurnNumber(turn),
            first_event: EventNumber(turn),
            record: RECORD.to_vec(),
        }),
        update: RunUpdate::Append,
        data: Vec::new(),
        subworkflows: Vec::new(),
        enqueue: Vec::new(),
        withdraw: Vec::new(),
        outbox: Vec::new(),
    }
}
