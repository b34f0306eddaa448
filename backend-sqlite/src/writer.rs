//! The one thread that writes, with group commit.
//!
//! Invariants: a job runs whole inside one transaction, or not at all; a job that fails spoils no other. An answer is
//! sent after the commit of what it says. All jobs that wait when a transaction begins share it, up to a bound. What is done
//! between transactions, such as waiting for one of the user's, comes after the jobs that wait, so that it delays no job
//! for longer than once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use longhaul_core::backend::{Error, Hint, Result as Answered};
use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use crate::Shared;
use crate::error::{Failure, Result};
use crate::row;

/// Is the most jobs that share a transaction, so that the first does not wait for long.
const JOBS_MAX: usize = 256;

/// Is the pause after each transaction while other processes have workers, or users have tables here: SQLite has no queue
/// for its lock, and a thread that commits back to back keeps the others from it for seconds.
const YIELD: Duration = Duration::from_micros(500);

/// Tells whether somebody has tables of their own in the file.
pub(crate) const TABLES_OF_OTHERS: &str = "
    select exists (
        select 1 from sqlite_schema
        where type = 'table' and name not like 'sqlite\\_%' escape '\\'
          and name not in ('meta', 'worker', 'dead_worker', 'run', 'turn', 'inbox', 'outbox', 'data', 'tag',
              'attempt', 'outcome')
    )";

/// Is how often it is looked whether others may want to write.
const NEIGHBOURS_EVERY: Duration = Duration::from_millis(50);

/// Is how often changes by other processes are looked for while someone waits for hints.
const HINTS_EVERY: Duration = Duration::from_millis(20);

/// Is what the writer's channel carries.
pub(crate) enum Order {
    /// Do this.
    Job(Box<dyn Job>),
    /// Someone waits for hints from now on.
    Watch,
    /// Do this between two transactions, once all jobs that came before are done.
    #[cfg_attr(
        not(feature = "sqlx"),
        expect(dead_code, reason = "only shared transactions need it")
    )]
    Between(Box<dyn FnOnce() + Send>),
}

/// Is something to do inside a transaction, and whom to answer after it.
pub(crate) trait Job: Send {
    /// Tells whether anybody still waits for the answer.
    fn is_wanted(&self) -> bool;
    /// Says what others are told of it; nothing when it concerns whoever asked for it alone, such as a lease.
    fn news(&self) -> Option<Hint>;
    /// Does it, and keeps the answer; tells whether it may stay.
    fn apply(&mut self, connection: &Connection) -> bool;
    /// Sends the answer, or the error that undid it.
    fn answer(self: Box<Self>, undone: Option<Error>);
}

/// Is the job that a closure makes.
pub(crate) struct Work<T, F> {
    work: Option<F>,
    news: Option<Hint>,
    done: Option<Answered<T>>,
    reply: oneshot::Sender<Answered<T>>,
}

impl<T, F> Work<T, F> {
    pub(crate) fn new(work: F, news: Option<Hint>, reply: oneshot::Sender<Answered<T>>) -> Self {
        Self {
            work: Some(work),
            news,
            done: None,
            reply,
        }
    }
}

impl<T, F> Job for Work<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T> + Send,
{
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn news(&self) -> Option<Hint> {
        self.news
    }

    fn apply(&mut self, connection: &Connection) -> bool {
        let Some(work) = self.work.take() else {
            return false;
        };
        let done = work(connection).map_err(Error::from);
        let stays = done.is_ok();
        self.done = Some(done);
        stays
    }

    fn answer(self: Box<Self>, undone: Option<Error>) {
        let answer = match (undone, self.done) {
            (None, Some(done)) | (Some(_), Some(done @ Err(_))) => done,
            (Some(error), _) => Err(error),
            (None, None) => Err(Failure::Stopped.into()),
        };
        let _ = self.reply.send(answer);
    }
}

/// Writes until the channel is closed.
pub(crate) struct Writer {
    connection: Connection,
    orders: Receiver<Order>,
    between: VecDeque<Box<dyn FnOnce() + Send>>,
    shared: Arc<Shared>,
    neighbours: bool,
    neighbours_seen: Option<Instant>,
    version_seen: Option<i64>,
    noticed: Option<Instant>,
    leases_seen: Vec<i64>,
}

impl Writer {
    pub(crate) const fn new(
        connection: Connection,
        orders: Receiver<Order>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            connection,
            orders,
            between: VecDeque::new(),
            shared,
            neighbours: false,
            neighbours_seen: None,
            version_seen: None,
            noticed: None,
            leases_seen: Vec::new(),
        }
    }

    pub(crate) fn run(mut self) {
        let mut batch: Vec<Box<dyn Job>> = Vec::new();
        while self.gather(&mut batch) {
            batch.retain(|job| job.is_wanted());
            let between = self.between.pop_front();
            if batch.is_empty() && between.is_none() {
                continue;
            }
            if !batch.is_empty() {
                self.write(&mut batch);
            }
            // One at a time, as each may last: what came meanwhile is written before the next.
            if let Some(between) = between {
                between();
            }
            self.notice_others_now_and_then();
            if self.has_neighbours() {
                std::thread::sleep(YIELD);
            }
        }
    }

    /// Waits for jobs and takes all that are there; tells whether to go on.
    fn gather(&mut self, batch: &mut Vec<Box<dyn Job>>) -> bool {
        while batch.is_empty() && self.between.is_empty() {
            let order = if self.shared.hints.are_heard() {
                self.orders.recv_timeout(HINTS_EVERY)
            } else {
                self.orders
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected)
            };
            match order {
                Ok(Order::Job(job)) => batch.push(job),
                Ok(Order::Watch) => self.notice_others(),
                Ok(Order::Between(work)) => self.between.push_back(work),
                Err(RecvTimeoutError::Timeout) => self.notice_others(),
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        while batch.len() < JOBS_MAX {
            match self.orders.try_recv() {
                Ok(Order::Job(job)) => batch.push(job),
                Ok(Order::Watch) => {}
                Ok(Order::Between(work)) => self.between.push_back(work),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        true
    }

    /// Runs jobs in one transaction and answers them.
    fn write(&mut self, batch: &mut Vec<Box<dyn Job>>) {
        let before = self.connection.total_changes();
        let undone = self.transact(batch).err().map(Error::from);
        let statistics = &self.shared.statistics;
        if undone.is_none() && self.connection.total_changes() != before {
            statistics.commits.fetch_add(1, Ordering::Relaxed);
            if let Some(hint) = batch.iter().filter_map(|job| job.news()).max() {
                self.shared.hints.tell(hint);
            }
        }
        statistics
            .jobs
            .fetch_add(batch.len() as u64, Ordering::Relaxed);
        for job in batch.drain(..) {
            job.answer(undone.clone());
        }
    }

    fn transact(&self, batch: &mut [Box<dyn Job>]) -> Result<()> {
        self.execute("begin immediate")?;
        for job in batch.iter_mut() {
            if let Err(failure) = self.apply(job.as_mut()) {
                self.roll_back();
                return Err(failure);
            }
        }
        self.execute("commit").map_err(|failure| {
            self.roll_back();
            failed_commit(failure)
        })
    }

    /// Runs one job so that it can be undone alone; an error is one of the whole transaction.
    fn apply(&self, job: &mut dyn Job) -> Result<()> {
        self.execute("savepoint job")?;
        let stays = job.apply(&self.connection);
        if self.connection.is_autocommit() {
            let cause = "the disk is full, or cannot be read or written";
            return Err(Failure::TransactionGone(cause.to_owned()));
        }
        if !stays {
            self.execute("rollback to job")?;
        }
        self.execute("release job")
    }

    fn execute(&self, statement: &str) -> Result<()> {
        self.connection.prepare_cached(statement)?.execute([])?;
        Ok(())
    }

    fn roll_back(&self) {
        if !self.connection.is_autocommit()
            && let Err(cause) = self.connection.execute_batch("rollback")
        {
            tracing::warn!(%cause, "a transaction could not be rolled back");
        }
    }

    /// Tells whether others may want to write: other processes have workers here, or users have tables.
    fn has_neighbours(&mut self) -> bool {
        if self
            .neighbours_seen
            .is_none_or(|at| at.elapsed() >= NEIGHBOURS_EVERY)
        {
            self.neighbours_seen = Some(Instant::now());
            self.neighbours = self.others_may_write().unwrap_or(true);
        }
        self.neighbours
    }

    fn others_may_write(&self) -> rusqlite::Result<bool> {
        if !self.leases_of_others()?.is_empty() {
            return Ok(true);
        }
        self.connection
            .prepare_cached(TABLES_OF_OTHERS)?
            .query_row([], |row| row.get(0))
    }

    fn leases_of_others(&self) -> rusqlite::Result<Vec<i64>> {
        let mut statement = self
            .connection
            .prepare_cached("select id, lease_until from worker")?;
        let mut rows = statement.query([])?;
        let mut leases = Vec::new();
        while let Some(worker) = rows.next()? {
            if !self.shared.locks.is_held(row::worker_id(worker)?) {
                leases.push(worker.get(1)?);
            }
        }
        Ok(leases)
    }

    /// Keeps a busy writer from overlooking what other processes do.
    fn notice_others_now_and_then(&mut self) {
        let is_watched = self.shared.hints.are_heard();
        let is_time = self.noticed.is_none_or(|at| at.elapsed() >= HINTS_EVERY);
        if is_watched && is_time {
            self.notice_others();
        }
    }

    /// Gives a hint when another process has changed the database.
    ///
    /// A change that moved leases gives none: idle workers make one every other second, and whatever was changed with
    /// it is found by the next beat.
    fn notice_others(&mut self) {
        self.noticed = Some(Instant::now());
        if let Err(cause) = self.look() {
            tracing::debug!(%cause, "changes of other processes cannot be seen");
        }
    }

    fn look(&mut self) -> rusqlite::Result<()> {
        let version = self
            .connection
            .prepare_cached("pragma data_version")?
            .query_row([], |row| row.get(0))?;
        if self.version_seen.replace(version) == Some(version) {
            return Ok(());
        }
        let leases = self.leases_of_others()?;
        if leases == self.leases_seen {
            self.shared.hints.tell(Hint::Changed);
        }
        self.leases_seen = leases;
        Ok(())
    }
}

/// Says what a failed commit means: once the log was written to, a crash may still bring it back.
fn failed_commit(failure: Failure) -> Failure {
    match failure {
        Failure::Sqlite(cause) if cause.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) => {
            Failure::CommitUnclear(cause)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Durability;
    use crate::schema;

    #[test]
    fn tables_of_others_are_told_from_our_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let opened = schema::open_writer(
            &path,
            Durability::Fast,
            longhaul_core::clock::Timestamp::default(),
        );
        let (connection, _) = opened.unwrap();
        let has_others = || -> bool {
            let mut asked = connection.prepare_cached(TABLES_OF_OTHERS).unwrap();
            asked.query_row([], |row| row.get(0)).unwrap()
        };
        assert!(!has_others());
        connection
            .execute_batch("create table orders (id integer primary key autoincrement)")
            .unwrap();
        assert!(has_others());
    }
}
