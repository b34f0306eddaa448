//! The IO shell that owns runs and executes tasks.
//!
//! ```text
//! client ─► starter ─┐                       ┌─► attempts
//!                    ├─► lane ◄─► backend ───┤
//! keeper ─► acquire ─┘   (turns, commits)    └─► queues
//! ```
//!
//! Invariants: all time, chance and spawning go through [`Environment`](crate::clock::Environment); all decisions are
//! the engine's. Each part owns what it spawns.

mod attempt;
mod build;
mod claims;
mod commit;
mod gathered;
mod health;
mod keeper;
pub(crate) mod lane;
mod lease;
mod load;
pub(crate) mod program;
mod run;
pub(crate) mod shared;
mod starter;
mod suspects;
mod transactional;

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::backend::{Error as BackendError, Kind};
use crate::clock::Abort;
use crate::error::Result;
use crate::hub::Hub;
use crate::id::WorkerId;
use crate::worker::lane::LaneInput;
use crate::worker::shared::Shared;

pub use self::build::WorkerBuilder;
pub use self::health::{Health, Monitor, Outage, Phase, Store};

/// Is how long a worker that stops waits for an answer of its store.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Executes runs and tasks in this process until it is shut down.
///
/// Dropping it stops it at once, as a crash would: its runs are taken over when its lease is over. Call
/// [`Worker::shutdown`] to hand them back at once.
#[derive(Debug)]
pub struct Worker {
    shared: Arc<Shared>,
    parts: Parts,
}

#[derive(Debug)]
struct Parts {
    tasks: Vec<Box<dyn Abort>>,
    lane_done: Mutex<Option<oneshot::Receiver<()>>>,
    keeper_stop: Mutex<Option<oneshot::Sender<()>>>,
    hub: Arc<Hub>,
}

impl Worker {
    /// Begins to build a worker that uses the client's backend.
    pub fn builder(client: &crate::client::Client) -> WorkerBuilder {
        WorkerBuilder::new(client)
    }

    /// Returns the id of this start of the worker.
    #[must_use]
    pub fn id(&self) -> WorkerId {
        self.shared.worker()
    }

    /// Counts the runs that are in memory now; parked ones are not.
    #[must_use]
    pub fn live_runs(&self) -> usize {
        self.shared.vitals.live.load(Ordering::SeqCst)
    }

    /// Tells how the worker is, without asking the store.
    #[must_use]
    pub fn health(&self) -> Health {
        self.monitor().health()
    }

    /// Returns what tells how the worker is, for a handler that outlives the worker's shutdown.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        Monitor(Arc::clone(&self.shared.vitals))
    }

    /// Drains and stops: takes no new runs, lets attempts end (for at most the drain timeout, 30 s by default), records
    /// their outcomes, hands every run back so that another worker goes on at once, and leaves.
    ///
    /// # Errors
    /// `Unavailable` when the backend cannot be told, or does not answer within 5 s of the drain timeout; the runs are
    /// taken over when the lease is over.
    ///
    /// # Cancel safety
    /// Dropping the future stops the worker as a crash would.
    pub async fn shutdown(self) -> Result<()> {
        let shared = &self.shared;
        tracing::info!(worker = %self.id(), "worker drains");
        shared.vitals.draining.store(true, Ordering::SeqCst);
        self.parts.hub.remove(self.id());
        drop(shared.lane.send(LaneInput::Drain));
        let done = take(&self.parts.lane_done);
        if let Some(mut done) = done {
            let mut patience = shared.environment.sleep(shared.options.drain_timeout);
            let is_done = tokio::select! {
                biased;
                _ = &mut done => true,
                () = &mut patience => false,
            };
            if is_done {
                tokio::select! {
                    biased;
                    () = shared.load.claims_ended() => {}
                    () = patience => tracing::warn!("attempts from queues did not end in time; they are given up"),
                }
            } else {
                tracing::warn!("attempts did not end in time; their outcomes are lost");
                drop(shared.lane.send(LaneInput::AbandonAttempts));
                if in_time(shared, done).await.is_none() {
                    tracing::warn!("the last turns were not recorded in time");
                }
            }
        }
        if let Some(stop) = take(&self.parts.keeper_stop) {
            let _ = stop.send(());
        }
        let left = in_time(shared, shared.backend.leave(self.id())).await;
        let no_answer = || BackendError::new(Kind::Unavailable, "the store does not answer");
        left.unwrap_or_else(|| Err(no_answer()))
            .map_err(BackendError::into_public)?;
        tracing::info!(worker = %self.id(), "worker left");
        Ok(())
    }

    /// Runs until Ctrl-C or, on Unix, SIGTERM; then drains as [`Worker::shutdown`] does.
    ///
    /// # Errors
    /// As [`Worker::shutdown`]; also when no signal handler can be installed.
    pub async fn run_until_signal(self) -> Result<()> {
        termination().await?;
        self.shutdown().await
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.vitals.stop();
        self.parts.hub.remove(self.id());
        for task in &self.parts.tasks {
            task.abort();
        }
    }
}

/// Awaits what a worker that stops still asks of its store, for a bounded time.
async fn in_time<T>(shared: &Shared, last: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = last => Some(done),
        () = shared.environment.sleep(LAST_ANSWERS) => None,
    }
}

fn take<T>(cell: &Mutex<Option<T>>) -> Option<T> {
    cell.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(unix)]
async fn termination() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

#[cfg(not(unix))]
async fn termination() -> Result<()> {
    Ok(tokio::signal::ctrl_c().await?)
}

/// Asks a read until it is answered, or the worker is another one by now.
pub(crate) async fn ask_again<T, F>(shared: &Shared, ask: impl Fn() -> F) -> Option<T>
where
    F: Future<Output = crate::backend::Result<T>>,
{
    let worker = shared.worker();
    let mut pause = Duration::from_millis(5);
    while shared.worker() == worker {
        match shared.heard(ask().await) {
            Ok(answer) => return Some(answer),
            Err(error) if error.kind() == Kind::WorkerDead => return None,
            Err(error) => {
                tracing::debug!(%error, "asking again");
                shared.environment.sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        }
    }
    None
}
