//! The servers that run, and stopping them.
//!
//! Invariants: a server is listed from the moment that it is spawned. Whoever stops takes all that are listed, and the
//! process does not end while somebody stops. A folder goes when its server has gone.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

/// Is how long a server may take to begin, or to end after it was told to.
const PATIENCE: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_millis(50);

static RUNNING: Mutex<Vec<Server>> = Mutex::new(Vec::new());

/// Is a server that was started here.
#[derive(Debug)]
struct Server {
    child: Child,
    stop: Option<Command>,
    _folder: TempDir,
}

/// Stops all servers when it is dropped.
#[derive(Debug)]
pub(crate) struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        stop_all(&mut running());
    }
}

/// Spawns a server that has the folder for itself, and waits until `is_ready`. It is stopped by `stop`, or else killed.
pub(crate) fn start(
    name: &str,
    command: &mut Command,
    stop: Option<Command>,
    folder: TempDir,
    is_ready: impl Fn() -> Result<()>,
) -> Result<()> {
    // In a group of its own, as Ctrl-C in a terminal goes to the whole group of this process.
    command.process_group(0).stdin(Stdio::null());
    let log = folder.path().join("log");
    let output = std::fs::File::create(&log)?;
    command.stdout(output.try_clone()?).stderr(output);
    let id = spawn(command, stop, folder).with_context(|| format!("{name} cannot be started"))?;
    let begun = Instant::now();
    loop {
        let Err(error) = is_ready() else {
            return Ok(());
        };
        if has_ended(id) || begun.elapsed() > PATIENCE {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            remove(id);
            bail!(
                "{name} does not answer: {error:#}; its last words:\n{}",
                tail(&log)
            );
        }
        std::thread::sleep(POLL);
    }
}

fn spawn(command: &mut Command, stop: Option<Command>, folder: TempDir) -> Result<u32> {
    let mut running = running();
    let child = command.spawn()?;
    let id = child.id();
    running.push(Server {
        child,
        stop,
        _folder: folder,
    });
    Ok(id)
}

fn has_ended(id: u32) -> bool {
    let mut running = running();
    let server = running.iter_mut().find(|server| server.child.id() == id);
    server.is_none_or(|server| !matches!(server.child.try_wait(), Ok(None)))
}

fn remove(id: u32) {
    let mut running = running();
    if let Some(at) = running.iter().position(|server| server.child.id() == id) {
        drop(running.remove(at));
    }
}

fn running() -> MutexGuard<'static, Vec<Server>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stop_all(running: &mut Vec<Server>) {
    while running.pop().is_some() {}
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = &mut self.stop {
            let stop = stop
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            drop(stop.status());
            let begun = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE {
                std::thread::sleep(POLL);
            }
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Stops the servers and ends this process with `code` at SIGINT, SIGTERM or SIGHUP.
pub(crate) fn stop_on_signal(code: i32) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut signals = {
        let _entered = runtime.enter();
        let (interrupt, hangup) = (SignalKind::interrupt(), SignalKind::hangup());
        (
            signal(interrupt)?,
            signal(SignalKind::terminate())?,
            signal(hangup)?,
        )
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = signals.0.recv() => {}
                _ = signals.1.recv() => {}
                _ = signals.2.recv() => {}
            }
        });
        let mut running = running();
        stop_all(&mut running);
        std::process::exit(code);
    });
    Ok(())
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().rev().take(10).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_that_ends_by_itself_is_reported_with_its_last_words_and_removed() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().to_owned();
        let mut command = Command::new("sh");
        command.args(["-c", "echo the port is taken >&2; exit 1"]);
        let failed = start("server", &mut command, None, folder, || bail!("refused"));
        let message = failed
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(
            message.contains("refused") && message.contains("the port is taken"),
            "{message}"
        );
        assert!(!path.exists());
        Ok(())
    }

    #[test]
    fn only_the_end_of_a_long_log_is_shown() {
        let log: String = (0..100).map(|line| format!("{line}\n")).collect();
        assert_eq!(tail(&log).lines().next(), Some("90"));
    }
}
