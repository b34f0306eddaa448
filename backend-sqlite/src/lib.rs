//! The SQLite backend: one file, shared by any number of processes on one host.
//!
//! Invariants: one thread of each handle writes, and what waits for it shares a commit; readers see whole
//! commits. An acknowledgement is sent after the commit. Every comparison of times uses the configured clock.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "tests may panic"
    )
)]

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use longhaul_core::backend::{Backend, Hint, Hints, Result as Answered, StoreInfo};
use longhaul_core::clock::{BackendClock, Timestamp};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::error::{Failure, Result};
use crate::lock::WorkerLocks;
use crate::reader::Readers;
use crate::writer::{Order, Work, Writer};

mod commit;
mod config;
mod error;
mod events;
mod inspect;
mod lock;
#[cfg(test)]
mod plans;
mod reader;
mod row;
mod schema;
mod state;
mod takeover;
mod tasks;
mod timers;
#[cfg(feature = "sqlx")]
mod transactions;
mod writer;

pub use config::{Durability, SqliteConfig};

/// Is a store in a SQLite file.
///
/// Dropping it ends its threads, after what they were given is done, and lets go of its file locks: what its workers
/// still own can then be taken over at once.
pub struct SqliteBackend {
    shared: Arc<Shared>,
    orders: Option<Sender<Order>>,
    readers: Option<Readers>,
    writer: Mutex<Option<JoinHandle<()>>>,
    path: PathBuf,
    store: StoreInfo,
    #[cfg(feature = "sqlx")]
    connections: Arc<transactions::Connections>,
}

/// Is what a handle's threads have in common.
#[derive(Debug)]
struct Shared {
    clock: BackendClock,
    locks: WorkerLocks,
    hints: Hints,
    statistics: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    commits: AtomicU64,
    jobs: AtomicU64,
    reads: AtomicU64,
}

/// Counts what a handle has done since it was opened, for tests and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Transactions that changed something and were committed: each costs one write to the disk.
    pub commits: u64,
    /// Requests that were given to the writer; several share a commit.
    pub jobs: u64,
    /// Requests that only read.
    pub reads: u64,
}

impl SqliteBackend {
    /// Opens the database, and makes or migrates it when it has to.
    ///
    /// # Errors
    /// - `Invalid` when the file is a database of something else, or does not take the settings.
    /// - `Corrupt` when it is no database.
    /// - `NewerVersion` when a newer version wrote it.
    /// - `Unavailable` when it cannot be opened, or another process holds it for long.
    ///
    /// # Cancel safety
    /// A dropped call opens nothing; the file may have been made.
    pub async fn open(config: SqliteConfig) -> Answered<Self> {
        let path = config.path();
        let shared = Arc::new(Shared {
            clock: config.chosen_clock().clone(),
            locks: WorkerLocks::new(config.uses_locks().then_some(path.as_path())),
            hints: Hints::default(),
            statistics: Counters::default(),
        });
        let (orders, receiver) = mpsc::channel();
        let (opened, answer) = oneshot::channel();
        #[cfg(feature = "sqlx")]
        let connections = transactions::Connections::of(&config, &shared);
        let for_writer = (path.clone(), Arc::clone(&shared));
        let writer = spawn("longhaul-sqlite-writer", move || {
            let (path, shared) = for_writer;
            let now = shared.clock.now();
            match schema::open_writer(&path, config.chosen_durability(), now) {
                Ok((connection, store)) => {
                    if opened.send(Ok(store)).is_ok() {
                        Writer::new(connection, receiver, shared).run();
                    }
                }
                Err(failure) => drop(opened.send(Err(failure))),
            }
        })?;
        let store = answer.await.unwrap_or(Err(Failure::Stopped))?;
        Ok(Self {
            readers: Some(Readers::start(&path, &shared)?),
            shared,
            orders: Some(orders),
            writer: Mutex::new(Some(writer)),
            path,
            store,
            #[cfg(feature = "sqlx")]
            connections: Arc::new(connections),
        })
    }

    /// Returns what the handle has done so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Statistics {
            commits: count(&self.shared.statistics.commits),
            jobs: count(&self.shared.statistics.jobs),
            reads: count(&self.shared.statistics.reads),
        }
    }

    /// Runs `work` inside a transaction of the writer, and answers after its commit.
    async fn write<T, F>(&self, work: F) -> Answered<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        self.write_and_tell(Some(Hint::Changed), work).await
    }

    async fn write_and_tell<T, F>(&self, news: Option<Hint>, work: F) -> Answered<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.order(Order::Job(Box::new(Work::new(work, news, reply))))?;
        answer.await.unwrap_or(Err(Failure::Stopped.into()))
    }

    /// Runs `work` on a connection that sees one state of the store.
    async fn read<T, F>(&self, work: F) -> Answered<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let readers = self.readers.as_ref().ok_or(Failure::Stopped)?;
        readers.give(Box::new(move |connection| {
            if !reply.is_closed() {
                let read = connection.and_then(|connection| reader::snapshot(connection, work));
                let _ = reply.send(read.map_err(Into::into));
            }
        }))?;
        answer.await.unwrap_or(Err(Failure::Stopped.into()))
    }

    fn order(&self, order: Order) -> Result<()> {
        let orders = self.orders.as_ref().ok_or(Failure::Stopped)?;
        orders.send(order).map_err(|_| Failure::Stopped)
    }
}

impl Drop for SqliteBackend {
    fn drop(&mut self) {
        self.orders = None;
        self.readers = None;
        #[cfg(feature = "sqlx")]
        if self.connections.keeps_the_writer_waiting() {
            return;
        }
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the thread that writes the database has panicked");
        }
    }
}

impl fmt::Debug for SqliteBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteBackend")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Backend for SqliteBackend {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn store(&self) -> StoreInfo {
        self.store.clone()
    }

    fn clock(&self) -> Timestamp {
        self.shared.clock.now()
    }

    #[cfg(feature = "sqlx")]
    fn transactions(&self) -> Option<&dyn longhaul_core::backend::Transactions> {
        Some(self)
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(Failure::Thread)
}

#[cfg(test)]
mod tests {
    use longhaul_core::backend::{Inspect, Kind};

    use super::*;

    async fn limit_pages(backend: &SqliteBackend, pages: i64) {
        let limited =
            backend.write(move |connection| {
                Ok(connection
                    .query_row(&format!("pragma max_page_count = {pages}"), [], |_| Ok(()))?)
            });
        limited.await.unwrap();
    }

    async fn fill(backend: &SqliteBackend, bytes: i64) -> Answered<usize> {
        let fill = move |connection: &Connection| {
            let text = "insert into outbox (recipient, write_id, kind, name, content)
                        values ('a', x'', 'signal', 'b', zeroblob(?1))";
            Ok(connection.prepare_cached(text)?.execute([bytes])?)
        };
        backend.write(fill).await
    }

    #[tokio::test]
    async fn full_disk_is_unavailable_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let backend = SqliteBackend::open(SqliteConfig::new(folder.path()))
            .await
            .unwrap();
        limit_pages(&backend, 60).await;
        let error = fill(&backend, 1_000_000).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        assert!(error.to_string().contains("full"), "{error}");
        assert!(!backend.read(events::has_outbox).await.unwrap());
        limit_pages(&backend, 100_000).await;
        fill(&backend, 1_000_000).await.unwrap();
        assert!(backend.read(events::has_outbox).await.unwrap());
    }

    #[tokio::test]
    async fn record_that_sqlite_cannot_hold_is_invalid() {
        let folder = tempfile::tempdir().unwrap();
        let backend = SqliteBackend::open(SqliteConfig::new(folder.path()))
            .await
            .unwrap();
        let error = fill(&backend, 2_000_000_000).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
    }

    #[tokio::test]
    async fn unknown_status_is_corrupt() {
        let folder = tempfile::tempdir().unwrap();
        let backend = SqliteBackend::open(SqliteConfig::new(folder.path()))
            .await
            .unwrap();
        let insert = |connection: &Connection| {
            let text = "insert into run (id, kind, type, route, partition, segment, status, epoch, turns, fingerprint,
                            root, created_at, updated_at)
                        values ('a', 'workflow', 't', 'r', 0, 1, 'Melted', 0, 1, zeroblob(16), 'a', 0, 0)";
            Ok(connection.execute_batch(text)?)
        };
        backend.write(insert).await.unwrap();
        let run = longhaul_core::id::WorkflowId::new("a").unwrap();
        let error = backend.run(&run).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.to_string().contains("Melted"), "{error}");
    }
}
