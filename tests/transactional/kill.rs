//! Processes that die at each moment of a transactional task: its row and its outcome stand together, or neither does.
//!
//! Invariants: a child is this test binary, told by its environment where to die. No child ends the store's runs in
//! order before it was killed often enough.

use std::io::{self, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use longhaul::prelude::*;
use longhaul::sqlx09::sqlx;
use serde::{Deserialize, Serialize, Serializer};

use crate::store::{Connection, Store};
use crate::world::{World, quick, seats, soon};

const RUNS: usize = 4;
const TASKS: u32 = 4;

/// Counts down to the death of this process.
static LEFT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Dies here, when this is where the process is to die, and that for the last time.
fn pass(moment: &str) {
    let dies = std::env::var("LONGHAUL_DIES").is_ok_and(|dies| dies == moment);
    if dies && LEFT.fetch_sub(1, Ordering::SeqCst) == 1 {
        std::process::abort();
    }
}

/// Is a result that is written between the body and its commit.
#[derive(Debug, Deserialize)]
struct Seat(String);

impl Serialize for Seat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        pass("encoding");
        serializer.serialize_str(&self.0)
    }
}

#[task(transactional)]
async fn take_seat(tx: &mut Connection, name: String) -> Result<Seat> {
    crate::world::insert(tx, &name).await?;
    pass("inside");
    let taken = sqlx::query_scalar("select count(*) from seat where name = $1");
    let taken: i64 = taken.bind(name.clone()).fetch_one(tx).await?;
    Ok(Seat(format!("{name}: {taken}")))
}

#[workflow]
async fn takes_seats(ctx: Context, name: String) -> Result<Vec<String>> {
    let mut taken = Vec::new();
    for number in 0..TASKS {
        taken.push(ctx.run(take_seat(format!("{name}/{number}"))).await?.0);
    }
    Ok(taken)
}

/// Dies at an event of the engine.
struct Watcher;

impl Write for Watcher {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        for event in ["transaction begun", "transaction committed"] {
            if text.contains(event) {
                pass(event);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
#[ignore = "the child of the tests below"]
fn child() {
    let Ok(url) = std::env::var("LONGHAUL_URL") else {
        return;
    };
    let left = std::env::var("LONGHAUL_LEFT").unwrap();
    LEFT.store(left.parse().unwrap(), Ordering::SeqCst);
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_ansi(false)
        .with_writer(|| Watcher)
        .init();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(finish(&url));
}

/// Starts the runs, or joins them, and works until all have ended.
async fn finish(url: &str) {
    let client = Client::connect(url).await.unwrap();
    let _worker = quick(&client).start().await.unwrap();
    for number in 0..RUNS {
        let name = format!("run-{number}");
        let run = client
            .start(takes_seats(name.clone()).id(&name))
            .await
            .unwrap();
        let taken = soon(run.result()).await.unwrap();
        let expected: Vec<_> = (0..TASKS).map(|task| format!("{name}/{task}: 1")).collect();
        assert_eq!(taken, expected);
    }
}

fn spawn(store: &Store, moment: &str, left: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--ignored", "--nocapture"])
        .env("LONGHAUL_URL", store.url())
        .env("LONGHAUL_DIES", moment)
        .env("LONGHAUL_LEFT", left.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Lets the last process end in order, and looks for each row once.
async fn end_in_order(world: &World) {
    let mut last = spawn(&world.store, "never", usize::MAX);
    let ended = tokio::task::spawn_blocking(move || last.wait().unwrap());
    assert!(soon(ended).await.unwrap().success());
    let mut expected = Vec::new();
    for run in 0..RUNS {
        expected.extend((0..TASKS).map(|task| format!("run-{run}/{task}")));
    }
    assert_eq!(seats(&world.pool, "run-").await, expected);
    let left = sqlx::query_scalar("select count(*) from outcome");
    let left: i64 = left.fetch_one(&world.pool).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn row_and_outcome_stand_together_wherever_the_process_dies() {
    let world = World::new().await;
    let moments = [
        "transaction begun",
        "inside",
        "encoding",
        "transaction committed",
    ];
    let mut deaths = 0;
    for round in 1..=3 {
        for moment in moments {
            let mut child = spawn(&world.store, moment, round % 2 + 1);
            let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
            deaths += usize::from(!soon(ended).await.unwrap().success());
        }
    }
    assert_eq!(deaths, 12);
    end_in_order(&world).await;
}

#[tokio::test]
async fn row_and_outcome_stand_together_after_kills_at_any_moment() {
    let world = World::new().await;
    for kill in 0..12 {
        let mut child = spawn(&world.store, "never", usize::MAX);
        // The one thing that is wanted here is that time passes: each kill comes at another moment of the child's work.
        tokio::time::sleep(Duration::from_millis(25 + 7 * kill)).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    end_in_order(&world).await;
}
