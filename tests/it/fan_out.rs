//! Ten thousand tasks of one workflow, spread over four worker processes.
//!
//! A worker process is this test program, started again for one ignored test.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use longhaul::prelude::*;

use crate::world::Rate;

const TASKS: u64 = 10_000;
const PROCESSES: usize = 4;
const SLOTS: usize = 16;

/// Is how many of the tasks each process runs at least: a twentieth.
const FAIR_PART: usize = 500;

/// Is how long it may take in a build without optimisation on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

const URL: &str = "LONGHAUL_FAN_OUT_URL";
const EFFECTS: &str = "LONGHAUL_FAN_OUT_EFFECTS";

/// Notes that it ran, in the file of its process.
#[task]
async fn square(number: u64) -> Result<u64> {
    let folder = PathBuf::from(std::env::var(EFFECTS).map_err(Error::permanent)?);
    let path = folder.join(std::process::id().to_string());
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)?;
    file.write_all(format!("{number}\n").as_bytes())?;
    Ok(number * number)
}

#[workflow]
async fn sum_of_squares(ctx: Context, count: u64) -> Result<u64> {
    let squares = ctx.join_all((0..count).map(square)).await?;
    Ok(squares.iter().sum())
}

/// Is a worker process; ends when its standard input does, as it does when the test is gone.
#[test]
#[ignore = "is started as a process by the test below"]
fn worker_process() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = Client::connect(&std::env::var(URL).unwrap()).await.unwrap();
        let worker = Worker::builder(&client)
            .provide(Rate(1))
            .only(["square", "sum_of_squares"])
            .slots(SLOTS)
            .start()
            .await
            .unwrap();
        let closed = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        tokio::task::spawn_blocking(closed).await.unwrap().unwrap();
        worker.shutdown().await.unwrap();
    });
}

/// Is a worker process that does not outlive a test that fails.
struct Process(Child);

impl Process {
    fn start(url: &str, effects: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "fan_out::worker_process", "--ignored"])
            .env(URL, url)
            .env(EFFECTS, effects)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    /// Lets it drain.
    fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Lists the stores that processes can share: SQLite, and Postgres and Redis where the tests are given one.
fn stores(folder: &Path) -> Vec<String> {
    let sqlite = format!("sqlite://{}", folder.join("store.db").display());
    let postgres = std::env::var("LONGHAUL_TEST_POSTGRES").ok();
    let schema = format!("schema=fan_out_{}&checks=off", std::process::id());
    let postgres = postgres.map(|url| format!("{url}?{schema}"));
    let redis = std::env::var("LONGHAUL_TEST_REDIS").ok();
    let redis = redis.map(|url| format!("{url}?namespace=fan_out_{}", std::process::id()));
    [Some(sqlite), postgres, redis]
        .into_iter()
        .flatten()
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_tasks_of_one_workflow_are_spread_over_four_processes() {
    let folder = tempfile::tempdir().unwrap();
    for (number, url) in stores(folder.path()).into_iter().enumerate() {
        let effects = folder.path().join(format!("effects-{number}"));
        std::fs::create_dir(&effects).unwrap();
        spreads(&url, &effects).await;
    }
}

async fn spreads(url: &str, effects: &Path) {
    let client = Client::connect(url).await.unwrap();
    let processes: Vec<_> = (0..PROCESSES)
        .map(|_| Process::start(url, effects))
        .collect();
    let joined = async {
        while client.workers().await.unwrap().len() < PROCESSES {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, joined).await.unwrap();
    let begun = Instant::now();
    let run = client.start(sum_of_squares(TASKS)).await.unwrap();
    let sum = tokio::time::timeout(PATIENCE, run.result()).await;
    println!("{TASKS} tasks in {:?}", begun.elapsed());
    assert_eq!(
        sum.unwrap().unwrap(),
        (0..TASKS).map(|n| n * n).sum::<u64>()
    );
    processes.into_iter().for_each(Process::end);
    check(&read(effects));
}

/// Reads which process did what.
fn read(effects: &Path) -> BTreeMap<PathBuf, Vec<u64>> {
    let files = std::fs::read_dir(effects).unwrap();
    files
        .map(|file| {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            (
                path,
                text.lines().map(|line| line.parse().unwrap()).collect(),
            )
        })
        .collect()
}

/// Checks that each task ran once, as nothing went wrong, and each process had its part.
fn check(done: &BTreeMap<PathBuf, Vec<u64>>) {
    let parts: Vec<_> = done.values().map(Vec::len).collect();
    println!("each process ran {parts:?}");
    let mut all: Vec<_> = done.values().flatten().copied().collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..TASKS), "not each task ran once");
    assert_eq!(parts.len(), PROCESSES);
    assert!(parts.iter().all(|part| *part >= FAIR_PART), "{parts:?}");
}
