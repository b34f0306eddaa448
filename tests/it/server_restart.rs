//! A Postgres server of the test's own that is stopped at once and started again while workflows run.
//!
//! What is shown is what the death of the server's processes does; the machine does not lose power, so the server may do
//! without waiting for its disk.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use longhaul::prelude::*;
use longhaul::worker::Store;

use crate::world::{quick, result, until};

const RUNS: u32 = 40;
const TASKS: u32 = 8;

/// Is a server in a folder of its own.
struct Server {
    folder: tempfile::TempDir,
    bin: PathBuf,
    user: String,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let bin = std::env::var("LONGHAUL_TEST_POSTGRES_BIN").expect(
            "LONGHAUL_TEST_POSTGRES_BIN names no folder; run `cargo xtask test`, or `cargo xtask servers` beside",
        );
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            folder: tempfile::tempdir().unwrap(),
            bin: PathBuf::from(bin),
            user: std::env::var("LONGHAUL_TEST_SERVER_USER").unwrap_or_default(),
            port: free.local_addr().unwrap().port(),
        };
        drop(free);
        if !server.user.is_empty() {
            let owner = Command::new("chown")
                .arg(&server.user)
                .arg(server.folder.path())
                .status();
            assert!(owner.unwrap().success());
        }
        server.run(
            "initdb",
            &["--auth=trust", "--username=longhaul", "--no-sync"],
        );
        server.resume();
        server
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Runs a program of Postgres on the folder, as its user.
    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.bin.join(program);
        let mut command = if self.user.is_empty() {
            Command::new(&program)
        } else {
            let mut command = Command::new("runuser");
            command.args(["-u", &self.user, "--"]).arg(&program);
            command
        };
        command.arg("-D").arg(self.data()).args(arguments);
        let quiet = command
            .current_dir(Path::new("/"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        assert!(
            quiet.status().unwrap().success(),
            "{} failed",
            program.display()
        );
    }

    fn resume(&self) {
        let folder = self.folder.path().display();
        let options = format!(
            "-p {} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c full_page_writes=off",
            self.port
        );
        let log = self.folder.path().join("log");
        let log = log.display().to_string();
        self.run(
            "pg_ctl",
            &["start", "-w", "-t", "60", "-l", &log, "-o", &options],
        );
    }

    /// Ends all processes at once, as a crash does.
    fn stop(&self) {
        self.run("pg_ctl", &["stop", "-w", "-m", "immediate"]);
    }

    fn url(&self) -> String {
        let port = self.port;
        format!("postgres://longhaul@127.0.0.1:{port}/postgres?checks=off&connect_timeout=1s")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.data().join("postmaster.pid").exists() {
            self.stop();
        }
    }
}

#[task]
async fn takes_a_moment(number: u32) -> Result<u32> {
    tokio::time::sleep(Duration::from_millis(20)).await;
    Ok(number)
}

#[workflow]
async fn outlasts_the_server(ctx: Context, number: u32) -> Result<u32> {
    let mut sum = number;
    for task in 0..TASKS {
        sum += ctx.run(takes_a_moment(task)).await?;
    }
    Ok(sum)
}

/// Starts a run until that is answered.
async fn start(client: &Client, number: u32) -> Handle<u32> {
    loop {
        let call = outlasts_the_server(number).id(format!("run-{number}"));
        match client.start(call).await {
            Ok(run) => return run,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
        }
    }
}

/// P1, P5: nothing acknowledged is lost, and workers go on by themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_outlast_crashes_of_their_server() {
    if !crate::world::is_asked_for("postgres") {
        return;
    }
    let server = Server::start();
    let client = Client::connect(&server.url()).await.unwrap();
    let worker = quick(&client).start().await.unwrap();
    let monitor = worker.monitor();
    let is_away = || matches!(monitor.health().store, Store::Unreachable(_));
    let mut runs = Vec::new();
    for number in 0..RUNS {
        runs.push(start(&client, number).await);
        if number % 16 == 8 {
            server.stop();
            until(is_away).await;
            server.resume();
            until(|| !is_away()).await;
        }
    }
    for (number, run) in (0..).zip(&runs) {
        assert_eq!(result(run).await.unwrap(), number + (0..TASKS).sum::<u32>());
        assert_eq!(run.info().await.unwrap().status, Status::Completed);
    }
    worker.shutdown().await.unwrap();
}
