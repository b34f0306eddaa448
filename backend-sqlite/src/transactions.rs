//! The user's own SQL in one transaction with the store's, on a connection of sqlx.
//!
//! Invariants: while a task's transaction is open, this process's writer waits for it, so that neither waits in SQLite
//! for the other. An outcome is looked for once the write lock is held, so nobody can be first afterwards. A connection
//! whose transaction did not end in order is closed: that rolls it back.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use longhaul_core::backend::{
    AnyConnection, Begun, ConnectionType, ExistingRun, Finished, OutcomeKey, Result as Answered,
    StartRun, StartedInside, Transaction, Transactions,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::{Route, WorkflowId, WorkflowType};
use longhaul_core::status::Status;
use rusqlite::OptionalExtension as _;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteRow, SqliteSynchronous, SqliteTransactionManager,
};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqlSafeStr as _};
use sqlx_core::transaction::TransactionManager as _;
use tokio::sync::oneshot;

use crate::config::{Durability, SqliteConfig};
use crate::error::{Failure, Result, SQLITE_ERROR, SQLITE_IOERR, result_code, unreadable};
use crate::row::{self, RunNumber};
use crate::schema::BUSY_TIMEOUT;
use crate::writer::Order;
use crate::{Shared, SqliteBackend, state};

/// Is how long a task's transaction may be open: nobody else writes meanwhile.
const BODY_LIMIT: Duration = Duration::from_secs(1);

/// Is how many steps of SQLite's machine a statement of an abandoned transaction takes at most.
const STEPS_UNTIL_INTERRUPTED: i32 = 10_000;

/// Takes the write lock, and marks the place where the user's code begins.
const BEGIN: &str = "begin immediate; savepoint longhaul";

/// Fails when the user's code has ended the transaction, or begun another.
const BACK_TO_OURS: &str = "release longhaul";

pub(crate) const STANDING: &str = "
    select run.number, run.segment, run.status, outcome.content from run
    left join outcome on outcome.run = run.number and outcome.segment = ?2 and outcome.operation = ?3
    where run.id = ?1";

const INSERT_OUTCOME: &str =
    "insert into outcome (run, segment, operation, content) values (?1, ?2, ?3, ?4)";

pub(crate) const RECORDED: &str = "
    select content from outcome
    where run = (select number from run where id = ?1) and segment = ?2 and operation = ?3";

const EXISTING: &str = "select kind, type, fingerprint, status from run where id = ?1";

const FILE: &str = "select file from pragma_database_list where name = 'main'";

/// Opens connections for tasks and keeps the one that is idle: with one writer, no more are of use.
#[derive(Debug)]
pub(crate) struct Connections {
    path: PathBuf,
    synchronous: SqliteSynchronous,
    shared: Arc<Shared>,
    idle: Mutex<Option<Interruptible>>,
    is_open: AtomicBool,
}

impl Connections {
    pub(crate) fn of(config: &SqliteConfig, shared: &Arc<Shared>) -> Self {
        Self {
            path: config.path(),
            synchronous: match config.chosen_durability() {
                Durability::Full => SqliteSynchronous::Full,
                Durability::Fast => SqliteSynchronous::Normal,
            },
            shared: Arc::clone(shared),
            idle: Mutex::default(),
            is_open: AtomicBool::new(false),
        }
    }

    /// Tells whether the writer waits for a transaction that is open.
    pub(crate) fn keeps_the_writer_waiting(&self) -> bool {
        self.is_open.load(Ordering::SeqCst)
    }

    async fn take(&self) -> Result<Interruptible> {
        let idle = self.idle().take();
        match idle {
            Some(idle) => Ok(idle),
            None => Interruptible::open(&self.path, self.synchronous).await,
        }
    }

    fn give_back(&self, connection: Interruptible) {
        *self.idle() = Some(connection);
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Option<Interruptible>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Is a connection that stops what it is doing when it is dropped, and rolls back.
#[derive(Debug)]
struct Interruptible {
    connection: SqliteConnection,
    is_dropped: Arc<AtomicBool>,
}

impl Interruptible {
    async fn open(path: &Path, synchronous: SqliteSynchronous) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .foreign_keys(true)
            .synchronous(synchronous)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("mmap_size", "0")
            .disable_statement_logging();
        let mut connection = options.connect().await?;
        let is_dropped = Arc::new(AtomicBool::new(false));
        let goes_on = Arc::clone(&is_dropped);
        connection
            .lock_handle()
            .await?
            .set_progress_handler(STEPS_UNTIL_INTERRUPTED, move || {
                !goes_on.load(Ordering::Relaxed)
            });
        Ok(Self {
            connection,
            is_dropped,
        })
    }
}

impl Drop for Interruptible {
    fn drop(&mut self) {
        self.is_dropped.store(true, Ordering::Relaxed);
    }
}

/// Keeps the writer waiting until it is dropped.
#[derive(Debug)]
struct Turn {
    connections: Arc<Connections>,
    _until_dropped: Sender<Infallible>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.connections.is_open.store(false, Ordering::SeqCst);
    }
}

impl SqliteBackend {
    /// Waits until the writer gives way.
    async fn turn(&self) -> Result<Turn> {
        let (granted, turn) = oneshot::channel();
        let connections = Arc::clone(&self.connections);
        self.order(Order::Between(Box::new(move || {
            give_way(connections, granted)
        })))?;
        turn.await.map_err(|_| Failure::Stopped)
    }

    async fn open_transaction(&self, key: OutcomeKey) -> Result<Begun> {
        let turn = self.turn().await?;
        let mut own = self.connections.take().await?;
        let connection = &mut own.connection;
        SqliteTransactionManager::begin(connection, Some(BEGIN.into_sql_str())).await?;
        match standing(connection, &key).await? {
            Standing::Recorded(content) => {
                SqliteTransactionManager::rollback(connection).await?;
                self.connections.give_back(own);
                Ok(Begun::Recorded(content))
            }
            Standing::Open(run) => Ok(Begun::Open(Box::new(Open {
                own,
                run,
                key,
                turn,
            }))),
        }
    }
}

fn give_way(connections: Arc<Connections>, granted: oneshot::Sender<Turn>) {
    let (until_dropped, wait) = mpsc::channel();
    connections.is_open.store(true, Ordering::SeqCst);
    let turn = Turn {
        connections,
        _until_dropped: until_dropped,
    };
    drop(granted.send(turn));
    let _: std::result::Result<Infallible, _> = wait.recv();
}

#[async_trait]
impl Transactions for SqliteBackend {
    fn connection_type(&self) -> ConnectionType {
        ConnectionType::of::<SqliteConnection>()
    }

    fn body_limit(&self) -> Option<Duration> {
        Some(BODY_LIMIT)
    }

    async fn start_in(
        &self,
        connection: &mut AnyConnection,
        run: StartRun,
    ) -> Answered<StartedInside> {
        let connection = connection
            .downcast_mut::<SqliteConnection>()
            .ok_or(Failure::OtherConnection)?;
        require_file(connection, &self.path).await?;
        Ok(start_whole(connection, &run, self.shared.clock.now()).await?)
    }

    async fn hint(&self, _route: &Route) {
        drop(self.order(Order::Watch));
    }

    async fn begin(&self, operation: OutcomeKey) -> Answered<Begun> {
        Ok(self.open_transaction(operation).await?)
    }

    async fn recorded(&self, operation: &OutcomeKey) -> Answered<Option<Vec<u8>>> {
        let key = operation.clone();
        // As the writer, whose lock comes after every commit that is still under way.
        self.write_and_tell(None, move |connection| {
            let values = (key.run.as_str(), key.segment.0, key.operation.to_string());
            let found = connection
                .prepare_cached(RECORDED)?
                .query_row(values, |row| row.get(0));
            Ok(found.optional()?)
        })
        .await
    }
}

/// Is a transaction of a task. The connection is closed before the writer goes on.
struct Open {
    own: Interruptible,
    run: RunNumber,
    key: OutcomeKey,
    turn: Turn,
}

#[async_trait]
impl Transaction for Open {
    fn connection(&mut self) -> &mut AnyConnection {
        &mut self.own.connection
    }

    async fn finish(mut self: Box<Self>, outcome: Vec<u8>) -> Answered<Finished> {
        self.record(outcome).await?;
        let Self { own, turn, .. } = *self;
        let commits = &turn.connections.shared.statistics.commits;
        commits.fetch_add(1, Ordering::Relaxed);
        turn.connections.give_back(own);
        Ok(Finished::Recorded)
    }
}

impl Open {
    async fn record(&mut self, outcome: Vec<u8>) -> Result<()> {
        let connection = &mut self.own.connection;
        sqlx::raw_sql(BACK_TO_OURS)
            .execute(&mut *connection)
            .await
            .map_err(|_| Failure::TransactionEnded(self.key.operation.clone()))?;
        sqlx::query(INSERT_OUTCOME)
            .bind(self.run)
            .bind(self.key.segment.0)
            .bind(self.key.operation.to_string())
            .bind(outcome)
            .execute(&mut *connection)
            .await?;
        let committed = SqliteTransactionManager::commit(connection).await;
        committed.map_err(|cause| match result_code(&cause) {
            Some(SQLITE_IOERR) | None => Failure::SqlxCommitUnclear(cause),
            Some(_) => Failure::Sqlx(cause),
        })
    }
}

enum Standing {
    Recorded(Vec<u8>),
    Open(RunNumber),
}

async fn standing(connection: &mut SqliteConnection, key: &OutcomeKey) -> Result<Standing> {
    let found = sqlx::query(STANDING)
        .bind(key.run.as_str().to_owned())
        .bind(key.segment.0)
        .bind(key.operation.to_string())
        .fetch_optional(connection)
        .await?;
    let found = found.ok_or_else(|| Failure::UnknownRun(key.run.clone()))?;
    if let Some(content) = found.try_get(3)? {
        return Ok(Standing::Recorded(content));
    }
    let is_open = !status(&found, 2)?.is_terminal() && found.try_get::<u32, _>(1)? == key.segment.0;
    if is_open {
        return Ok(Standing::Open(found.try_get(0)?));
    }
    Err(Failure::SegmentOver(key.run.clone()))
}

fn status(row: &SqliteRow, column: usize) -> Result<Status> {
    let name: &str = row.try_get(column)?;
    Ok(name.parse().map_err(|_| unreadable(column, name))?)
}

/// Refuses a connection to another file: the run would be started in nobody's store.
async fn require_file(connection: &mut SqliteConnection, path: &Path) -> Result<()> {
    let found: String = sqlx::query_scalar(FILE).fetch_one(connection).await?;
    let same =
        |found: &str| Some(std::fs::canonicalize(found).ok()? == std::fs::canonicalize(path).ok()?);
    if same(&found) == Some(true) {
        return Ok(());
    }
    Err(Failure::OtherDatabase {
        path: path.to_owned(),
        found: if found.is_empty() {
            "memory".to_owned()
        } else {
            found
        },
    })
}

/// Starts a run whole or not at all: dropped in between, it is undone without the user's transaction.
async fn start_whole(
    connection: &mut SqliteConnection,
    run: &StartRun,
    now: Timestamp,
) -> Result<StartedInside> {
    let mut inside = connection
        .begin()
        .await
        .map_err(|cause| match result_code(&cause) {
            Some(SQLITE_ERROR) => Failure::BegunByHand,
            _ => Failure::Sqlx(cause),
        })?;
    let started = start(&mut inside, run, now).await?;
    inside.commit().await?;
    Ok(started)
}

async fn start(
    connection: &mut SqliteConnection,
    run: &StartRun,
    now: Timestamp,
) -> Result<StartedInside> {
    let identity = &run.identity;
    let inserted = sqlx::query(state::INSERT_RUN)
        .bind(identity.workflow_id.as_str())
        .bind(run.kind.as_str())
        .bind(identity.workflow_type.as_str())
        .bind(run.route.as_str())
        .bind(run.partition)
        .bind(Status::Pending.as_str())
        .bind(None::<Vec<u8>>)
        .bind(0)
        .bind(now.as_micros())
        .bind(run.fingerprint.to_vec())
        .bind(identity.parent.as_ref().map(WorkflowId::as_str))
        .bind(identity.root.as_str())
        .bind(run.parent_operation.as_ref().map(ToString::to_string))
        .bind(now.as_micros())
        .execute(&mut *connection)
        .await?;
    if inserted.rows_affected() == 0 {
        return existing(connection, run).await.map(StartedInside::Exists);
    }
    let number = inserted.last_insert_rowid();
    sqlx::query(state::INSERT_TURN)
        .bind(number)
        .bind(run.record.as_slice())
        .execute(&mut *connection)
        .await?;
    for (position, (name, value)) in (0_i64..).zip(&run.tags) {
        sqlx::query(state::INSERT_TAG)
            .bind(number)
            .bind(position)
            .bind(name)
            .bind(value)
            .execute(&mut *connection)
            .await?;
    }
    Ok(StartedInside::New)
}

async fn existing(connection: &mut SqliteConnection, run: &StartRun) -> Result<ExistingRun> {
    let id = &run.identity.workflow_id;
    let found = sqlx::query(EXISTING)
        .bind(id.as_str())
        .fetch_optional(connection)
        .await?;
    let found = found.ok_or_else(|| Failure::UnknownRun(id.clone()))?;
    let kind: &str = found.try_get(0)?;
    let fingerprint: Vec<u8> = found.try_get(2)?;
    Ok(ExistingRun {
        kind: row::kind_of(0, kind)?,
        workflow_type: WorkflowType::from_stored(found.try_get::<&str, _>(1)?),
        fingerprint: fingerprint
            .try_into()
            .map_err(|_| unreadable(2, "this fingerprint"))?,
        status: status(&found, 3)?,
    })
}
