//! What survives a real `kill -9` of the process that ran the code.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use longhaul::prelude::*;
use serde::{Deserialize, Serialize};

use crate::world::{quick, result};

const URL_OF_CHILD: &str = "LONGHAUL_TEST_URL_OF_CHILD";
const DRAWN: Data<Drawn> = Data::new("drawn");
const GO_ON: Signal<()> = Signal::new("go-on");

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Drawn {
    now: Timestamp,
    random: u64,
    uuid: Uuid,
    process: u32,
}

#[workflow]
async fn draws_once(ctx: Context) -> Result<Drawn> {
    let drawn = Drawn {
        now: ctx.now(),
        random: ctx.random(),
        uuid: ctx.uuid(),
        process: ctx.record("process", std::process::id)?,
    };
    ctx.set(DRAWN, drawn.clone());
    ctx.receive(GO_ON).await?;
    Ok(drawn)
}

/// Is the process that the next test kills; does nothing unless that test started it.
#[tokio::test]
async fn child_that_draws_until_it_is_killed() {
    let Ok(url) = std::env::var(URL_OF_CHILD) else {
        return;
    };
    let client = Client::connect(&url).await.unwrap();
    let _worker = quick(&client).start().await.unwrap();
    let run = client.start(draws_once().id("drawn")).await.unwrap();
    while run.get(DRAWN).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    eprintln!("drawn");
    std::future::pending::<()>().await;
}

/// P3: time, chance and recorded values are those of the process that was killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_drawn_before_a_kill_are_the_same_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("drawn.db").display());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "restart::child_that_draws_until_it_is_killed",
            "--nocapture",
        ])
        .env(URL_OF_CHILD, &url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "drawn"));
    child.kill().unwrap();
    child.wait().unwrap();

    let client = Client::connect(&url).await.unwrap();
    let run = client.handle::<Drawn>("drawn").unwrap();
    let before = run.get(DRAWN).await.unwrap().unwrap();
    let _worker = quick(&client).start().await.unwrap();
    run.signal(GO_ON, ()).await.unwrap();
    let after = result(&run).await.unwrap();
    assert_eq!(after, before);
    assert_ne!(after.process, std::process::id());
}
