//! A store as format 1 wrote it, opened and continued by today's code.
//!
//! Invariants: the stored file is never written anew, only added to; its workflows stay in this file as they are for
//! good, so that what stands in the store has code to go on with. `writes_the_golden_store` made it:
//! `LONGHAUL_GOLDEN=write cargo test -p longhaul-tests --test it golden -- --ignored`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use longhaul::clock::BackendClock;
use longhaul::prelude::*;
use longhaul_backend_sqlite::{SqliteBackend, SqliteConfig};
use serde_json::{Value, json};

use crate::world::{reaches, result};

/// Is whether the store is being written: then nothing goes beyond the state that is wanted.
static WRITING: AtomicBool = AtomicBool::new(false);

const GO: Signal<u32> = Signal::new("golden-go");
const OTHER: Signal<u32> = Signal::new("golden-other");
const STAGE: Data<String> = Data::new("golden-stage");

/// Is when the store was written, by its clock: 2026-01-01 00:00 UTC.
const WRITTEN: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// Names all workflows and tasks of the store.
const NAMES: [&str; 13] = [
    "golden_add",
    "golden_once_written",
    "golden_queued",
    "golden_breaks",
    "golden_adds",
    "golden_fails",
    "golden_naps",
    "golden_waits",
    "golden_fans",
    "golden_retries",
    "golden_parent",
    "golden_blocked",
    "golden_queues",
];

#[task]
async fn golden_add(left: u32, right: u32) -> u32 {
    left + right
}

/// Ends only once the store is written.
#[task]
async fn golden_once_written(number: u32) -> u32 {
    if WRITING.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    number
}

#[task(queue = "golden", priority = 3)]
async fn golden_queued(number: u32) -> u32 {
    number * 2
}

#[task(retries = 2, backoff = "1h..1h")]
async fn golden_breaks(ctx: TaskContext) -> Result<u32> {
    match ctx.attempt() {
        1 => Err(Error::failed("the first attempt fails")),
        attempt => Ok(attempt),
    }
}

#[workflow]
async fn golden_adds(ctx: Context, left: u32, right: u32) -> Result<u32> {
    let noted = ctx.record("noted", || 1_u32)?;
    let drawn = ctx.random::<u32>();
    let sum = ctx.run(golden_add(left, right)).await?;
    ctx.set(STAGE, format!("added {drawn}"));
    let stepped = ctx.step("step", async { Ok(10_u32) }).await?;
    Ok(sum + noted + stepped)
}

#[workflow]
async fn golden_fails(ctx: Context) -> Result<u32> {
    ctx.sleep(millis(1)).await?;
    Err(failure!("as it should"))
}

#[workflow]
async fn golden_naps(ctx: Context) -> Result<u32> {
    ctx.sleep(hours(1)).await?;
    Ok(1)
}

#[workflow(version = 3)]
async fn golden_waits(ctx: Context) -> Result<(u32, Option<u32>)> {
    ctx.set(STAGE, "waiting");
    let number = ctx.receive(GO).await?;
    let other = ctx.receive(OTHER).within(hours(1)).await?;
    Ok((number, other))
}

#[workflow]
async fn golden_fans(ctx: Context) -> Result<Vec<u32>> {
    let sums = [1, 2, 3].map(|number| golden_add(number, number));
    let mut all = ctx.join_all(sums).await?;
    all.push(ctx.run(golden_once_written(9)).await?);
    Ok(all)
}

#[workflow]
async fn golden_retries(ctx: Context) -> Result<u32> {
    ctx.run(golden_breaks()).await
}

#[workflow]
async fn golden_parent(ctx: Context) -> Result<u32> {
    let (number, _) = ctx.run(golden_waits().id("golden/child")).await?;
    Ok(number + 100)
}

#[workflow]
async fn golden_blocked(ctx: Context) -> Result<u32> {
    if WRITING.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    ctx.run(golden_add(20, 1)).await
}

#[workflow]
async fn golden_queues(ctx: Context) -> Result<u32> {
    ctx.run(golden_queued(21)).await
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("it/golden/format-1")
}

async fn open(path: &Path, clock: BackendClock) -> Client {
    let config = SqliteConfig::new(path).clock(clock);
    Client::of(Arc::new(SqliteBackend::open(config).await.unwrap()))
}

/// Shows every run of the store with its history, as a person would read it.
async fn shown(client: &Client) -> String {
    let mut text = String::new();
    for info in client.list().all().await.unwrap() {
        let id = info.identity.workflow_id;
        let run: Handle<Value> = client.handle(&id).unwrap();
        let status = run.status().await.unwrap();
        text += &format!("{id}: {} is {status}\n", info.identity.workflow_type);
        for entry in run.history().await.unwrap() {
            let kind = format!("{:?}", entry.event.kind);
            text += &format!("  {} {} {kind}\n", entry.number, entry.event.at);
        }
    }
    text
}

#[tokio::test]
async fn store_of_format_1_reads_as_it_was_written() {
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join("store.db");
    std::fs::copy(folder().join("store.db"), &path).unwrap();
    let client = open(&path, BackendClock::manual(WRITTEN)).await;
    let written = std::fs::read_to_string(folder().join("store.txt")).unwrap();
    let read = shown(&client).await;
    for (read, written) in read.lines().zip(written.lines()) {
        assert_eq!(read, written);
    }
    assert_eq!(read.len(), written.len());
}

#[tokio::test]
async fn every_run_of_format_1_goes_on_to_its_end() {
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join("store.db");
    std::fs::copy(folder().join("store.db"), &path).unwrap();
    let client = open(&path, BackendClock::machine()).await;
    let _worker = Worker::builder(&client)
        .only(NAMES)
        .queue("golden", 2)
        .build_id("reader")
        .start()
        .await
        .unwrap();
    for id in ["golden/waits", "golden/child"] {
        let run: Handle<Value> = client.handle(id).unwrap();
        run.signal(GO, 7_u32).await.unwrap();
    }
    let child: Handle<Value> = client.handle("golden/child").unwrap();
    child.signal(OTHER, 8_u32).await.unwrap();
    for (id, expected) in [
        ("golden/adds", json!(16)),
        ("golden/naps", json!(1)),
        ("golden/waits", json!([7, 5])),
        ("golden/fans", json!([2, 4, 6, 9])),
        ("golden/retries", json!(2)),
        ("golden/parent", json!(107)),
        ("golden/blocked", json!(21)),
        ("golden/queues", json!(42)),
        ("golden/alone", json!(3)),
    ] {
        let run: Handle<Value> = client.handle(id).unwrap();
        assert_eq!(result(&run).await.unwrap(), expected, "{id}");
    }
    let failed: Handle<Value> = client.handle("golden/fails").unwrap();
    assert_eq!(result(&failed).await.unwrap_err().message(), "as it should");
    let waits: Handle<Value> = client.handle("golden/waits").unwrap();
    assert_eq!(waits.get(STAGE).await.unwrap().as_deref(), Some("waiting"));
}

#[tokio::test]
async fn histories_of_format_1_replay_against_todays_code() {
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join("store.db");
    std::fs::copy(folder().join("store.db"), &path).unwrap();
    let client = open(&path, BackendClock::machine()).await;
    let mut replayed = 0;
    for (id, code) in [
        ("golden/adds", golden_adds(1, 2).registration()),
        ("golden/fails", golden_fails().registration()),
        ("golden/naps", golden_naps().registration()),
        ("golden/waits", golden_waits().registration()),
        ("golden/fans", golden_fans().registration()),
        ("golden/retries", golden_retries().registration()),
        ("golden/parent", golden_parent().registration()),
        ("golden/queues", golden_queues().registration()),
        ("golden/alone", golden_add(1, 2).registration()),
    ] {
        let run: Handle<Value> = client.handle(id).unwrap();
        let history: Vec<_> = run.history().await.unwrap();
        let events: Vec<_> = history.into_iter().map(|entry| entry.event).collect();
        client.check_replay(code, &events).unwrap();
        replayed += events.len();
        let other = golden_naps().registration();
        if id != "golden/naps" && events.len() > 1 {
            client.check_replay(other, &events).unwrap_err();
        }
    }
    assert!(replayed > 30, "{replayed} events");
}

#[tokio::test]
#[ignore = "writes the store that the other tests read; it is kept, not written anew"]
async fn writes_the_golden_store() {
    assert!(
        std::env::var("LONGHAUL_GOLDEN").is_ok_and(|value| value == "write"),
        "set LONGHAUL_GOLDEN=write"
    );
    WRITING.store(true, Ordering::SeqCst);
    std::fs::create_dir_all(folder()).unwrap();
    let path = folder().join("store.db");
    assert!(
        !path.exists(),
        "the golden store is there; add another beside it"
    );
    let clock = BackendClock::manual(WRITTEN);
    let client = open(&path, clock.clone()).await;
    let worker = Worker::builder(&client)
        .only(NAMES)
        .queue("elsewhere", 1)
        .build_id("writer")
        .lease(hours(1))
        .park_after(millis(20))
        .start()
        .await
        .unwrap();
    for (name, arguments, id) in [
        ("golden_adds", "[2,3]", "golden/adds"),
        ("golden_fails", "[]", "golden/fails"),
        ("golden_naps", "[]", "golden/naps"),
        ("golden_waits", "[]", "golden/waits"),
        ("golden_fans", "[]", "golden/fans"),
        ("golden_retries", "[]", "golden/retries"),
        ("golden_parent", "[]", "golden/parent"),
        ("golden_blocked", "[]", "golden/blocked"),
        ("golden_queues", "[]", "golden/queues"),
    ] {
        client.start_by_name(name, arguments).id(id).await.unwrap();
    }
    client
        .start(golden_add(1, 2).id("golden/alone"))
        .await
        .unwrap();
    let waits: Handle<Value> = client.handle("golden/waits").unwrap();
    waits.signal(OTHER, 5_u32).await.unwrap();
    clock.advance(millis(1));
    for (id, status) in [
        ("golden/adds", Status::Completed),
        ("golden/alone", Status::Completed),
        ("golden/fails", Status::Failed),
        ("golden/naps", Status::Waiting),
        ("golden/waits", Status::Waiting),
        ("golden/fans", Status::Running),
        ("golden/retries", Status::Waiting),
        ("golden/parent", Status::Waiting),
        ("golden/child", Status::Waiting),
        ("golden/blocked", Status::Blocked),
        ("golden/queues", Status::Waiting),
    ] {
        reaches(&client.handle::<Value>(id).unwrap(), status).await;
    }
    let fans: Handle<Value> = client.handle("golden/fans").unwrap();
    while fans.history().await.unwrap().len() < 8 {
        tokio::time::sleep(millis(5)).await;
    }
    drop(worker);
    waits.signal(OTHER, 6_u32).await.unwrap();
    std::fs::write(folder().join("store.txt"), shown(&client).await).unwrap();
    drop((client, waits, fans));
    close(&path).await;
}

/// Puts all that was written into the one file, once nobody has it open.
async fn close(path: &Path) {
    let connection = rusqlite::Connection::open(path).unwrap();
    while connection
        .execute_batch("vacuum; pragma wal_checkpoint(truncate); pragma journal_mode = delete")
        .is_err()
    {
        tokio::time::sleep(millis(20)).await;
    }
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains("-worker-") {
            std::fs::remove_file(path).unwrap();
        }
    }
}
