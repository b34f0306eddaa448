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

mod file;
mod handles;
mod locks;
mod queues;
mod rules;
mod store;
mod write;

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
