//! Sending statements: connections, a deadline, and poolers.
//!
//! Invariants: a contract call is one statement, or a fixed sequence of them, each safe to stop after; behind a pooler in
//! transaction mode each statement has a transaction of its own. A statement runs to its end in a task that nobody
//! aborts. A connection that failed is closed, never used again.

mod lent;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgArguments, PgPoolOptions, PgRow};
use sqlx::{
    AssertSqlSafe, Executor, PgConnection, PgPool, Postgres, SqlSafeStr, SqlStr,
    pool::PoolConnection,
};

use tokio::sync::Semaphore;

use crate::config::PostgresConfig;
use crate::error::{Failure, Result, of_statement};

pub(crate) use self::lent::Lent;

/// Is the schema that the texts of statements name.
const SCHEMA_IN_TEXTS: &str = "longhaul";

/// Is how long a connection is used before the pool may close it.
const KEPT_MAX: Duration = Duration::from_secs(600);

/// Is how many connections are kept from tasks.
const RESERVED: usize = 3;

/// Is how long a transaction of the user's code may wait between two statements.
const LENT_IDLE_MAX: Duration = Duration::from_secs(60);

/// Is how much longer than the server we wait for a statement.
const GRACE: Duration = Duration::from_secs(5);

/// Makes plans that no statistics can change: statements are shaped to be driven by their arrays, over indexes.
pub(crate) fn plain_plans(scope: &str) -> String {
    [
        "plan_cache_mode = force_generic_plan",
        "enable_seqscan = off",
        "enable_hashjoin = off",
        "enable_mergejoin = off",
        "jit = off",
    ]
    .map(|setting| format!("set {scope} {setting}; "))
    .concat()
}

/// Undoes it for a transaction of the user's code, which may wait between its statements for as long as a call to some
/// other service takes.
fn begin_lent() -> String {
    let settings = [
        "plan_cache_mode",
        "enable_seqscan",
        "enable_hashjoin",
        "enable_mergejoin",
        "jit",
    ];
    let undone: String = settings
        .iter()
        .map(|setting| format!("set local {setting} to default; "))
        .collect();
    format!(
        "begin isolation level read committed; set local idle_in_transaction_session_timeout = {}; {undone}",
        LENT_IDLE_MAX.as_millis()
    )
}

/// Returns how many connections of a pool tasks may have at once.
fn lendable(pool: u32) -> usize {
    (pool as usize).saturating_sub(RESERVED).max(1)
}

/// Tells whether a session is ours for longer than a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sessions {
    /// It is: statements are prepared once.
    Own,
    /// It is not: each statement comes with its settings, in a transaction.
    Shared,
}

/// Sends statements to one schema of one database.
pub(crate) struct Session {
    pool: PgPool,
    schema: String,
    texts: Mutex<HashMap<usize, SqlStr>>,
    sessions: Sessions,
    begin: SqlStr,
    timeout: Duration,
    connect_timeout: Duration,
    turns: Arc<Semaphore>,
    lendable: Arc<Semaphore>,
    begin_lent: SqlStr,
    kept: Mutex<Vec<Kept>>,
    keeps: usize,
    is_closed: AtomicBool,
}

/// Is a connection in use, or kept between two uses: the pool would test it each time it comes back.
struct Kept {
    connection: PoolConnection<Postgres>,
    since: Instant,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("schema", &self.schema)
            .field("sessions", &self.sessions)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Makes the pool. Nothing is connected yet. With a `parent`, connections count as its own.
    pub(crate) fn new(
        config: &PostgresConfig,
        schema: String,
        sessions: Sessions,
        parent: Option<PgPool>,
    ) -> Self {
        let timeout_ms = config.timeout.as_millis();
        let timeouts = |scope: &str| {
            format!(
                "set {scope} statement_timeout = {timeout_ms}; \
                 set {scope} idle_in_transaction_session_timeout = {timeout_ms}; "
            )
        };
        let of_session = format!(
            "set session characteristics as transaction isolation level read committed; {}{}",
            timeouts(""),
            plain_plans("")
        );
        let of_transaction = format!(
            "begin isolation level read committed; {}{}",
            timeouts("local"),
            plain_plans("local")
        );
        let is_own = sessions == Sessions::Own;
        let mut options = PgPoolOptions::new()
            .max_connections(config.pool)
            .acquire_timeout(config.connect_timeout)
            .test_before_acquire(false);
        if is_own {
            let text: SqlStr = AssertSqlSafe(of_session).into_sql_str();
            options = options.after_connect(move |connection, _| {
                let text = text.clone();
                Box::pin(async move {
                    connection.execute(sqlx::raw_sql(text)).await?;
                    Ok(())
                })
            });
        }
        let keeps = if parent.is_some() {
            0
        } else {
            config.pool as usize
        };
        if let Some(parent) = parent {
            options = options.parent(parent);
        }
        let connect = config.connect.clone().extra_float_digits(None);
        let connect = match connect.get_application_name() {
            Some(_) => connect,
            None => connect.application_name("longhaul"),
        };
        Self {
            pool: options.connect_lazy_with(connect),
            schema,
            texts: Mutex::default(),
            sessions,
            begin: AssertSqlSafe(of_transaction).into_sql_str(),
            timeout: config.timeout,
            connect_timeout: config.connect_timeout,
            turns: Arc::new(Semaphore::new(config.pool as usize)),
            lendable: Arc::new(Semaphore::new(lendable(config.pool))),
            begin_lent: AssertSqlSafe(begin_lent()).into_sql_str(),
            kept: Mutex::default(),
            keeps,
            is_closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn prepares_statements(&self) -> bool {
        self.sessions == Sessions::Own
    }

    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    /// Returns a text of a statement with the name of the schema in it.
    pub(crate) fn text(&self, sql: &'static str) -> SqlStr {
        if self.schema == SCHEMA_IN_TEXTS {
            return sql.into_sql_str();
        }
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        let text = texts
            .entry(sql.as_ptr().addr())
            .or_insert_with(|| AssertSqlSafe(in_schema(sql, &self.schema)).into_sql_str());
        text.clone()
    }

    /// Sends a statement and returns its rows.
    pub(crate) async fn ask(
        &self,
        sql: &'static str,
        arguments: PgArguments,
    ) -> Result<Vec<PgRow>> {
        self.ask_text(self.text(sql), arguments).await
    }

    /// Sends a statement that was put together, and returns its rows.
    pub(crate) async fn ask_text(
        &self,
        text: SqlStr,
        arguments: PgArguments,
    ) -> Result<Vec<PgRow>> {
        let turn = tokio::time::timeout(self.connect_timeout, self.turns.acquire());
        let turn = turn.await.map_err(|_| self.nothing_free())?;
        let mut kept = self.take().await?;
        let asking = self.ask_on(&mut kept.connection, text, arguments);
        let limit = self.timeout.saturating_add(GRACE);
        let answered = match tokio::time::timeout(limit, asking).await {
            Ok(answered) => answered.map_err(of_statement),
            Err(_) => Err(Failure::Deadline {
                seconds: limit.as_secs(),
            }),
        };
        self.give_back(kept, answered.as_ref().err());
        drop(turn);
        answered
    }

    async fn ask_on(
        &self,
        connection: &mut PgConnection,
        text: SqlStr,
        arguments: PgArguments,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        if self.sessions == Sessions::Own {
            return sqlx::query_with(text, arguments)
                .fetch_all(&mut *connection)
                .await;
        }
        connection
            .execute(sqlx::raw_sql(self.begin.clone()))
            .await?;
        let query = sqlx::query_with(text, arguments).persistent(false);
        let answered = query.fetch_all(&mut *connection).await;
        let end = if answered.is_ok() {
            "commit"
        } else {
            "rollback"
        };
        let ended = connection.execute(sqlx::raw_sql(end)).await;
        answered.and_then(|rows| ended.map(|_| rows))
    }

    async fn take(&self) -> Result<Kept> {
        self.require_open()?;
        let kept = || {
            self.kept
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop()
        };
        while let Some(kept) = kept() {
            if kept.since.elapsed() < KEPT_MAX {
                return Ok(kept);
            }
        }
        // What connects is large; boxed, it is no part of every request.
        let acquired = Box::pin(self.pool.acquire()).await;
        let connection = acquired.map_err(|cause| match cause {
            sqlx::Error::PoolTimedOut => self.nothing_free(),
            other => Failure::Postgres(other),
        })?;
        // It may have been closed while the connection was made.
        self.require_open()?;
        Ok(Kept {
            connection,
            since: Instant::now(),
        })
    }

    fn require_open(&self) -> Result<()> {
        if self.is_closed.load(Ordering::SeqCst) {
            return Err(Failure::Stopped);
        }
        Ok(())
    }

    const fn nothing_free(&self) -> Failure {
        Failure::PoolTimeout {
            seconds: self.connect_timeout.as_secs(),
        }
    }

    fn give_back(&self, kept: Kept, failure: Option<&Failure>) {
        let mut others = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.is_some_and(Failure::breaks_connection) {
            let suspects = std::mem::take(&mut *others);
            for mut suspect in suspects.into_iter().chain([kept]) {
                suspect.connection.close_on_drop();
            }
        } else if others.len() < self.keeps {
            others.push(kept);
        }
    }

    /// Lets go of all connections and makes no more, so that a call whose handle is gone ends with the statement that it is
    /// at; also where no runtime is left that could say good-bye on them.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for kept in kept.drain(..) {
            drop(kept.connection.detach());
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.close();
    }
}

/// Writes a schema's name wherever a text has the one it was written with.
pub(crate) fn in_schema(sql: &str, schema: &str) -> String {
    sql.replace("longhaul.", &format!("\"{schema}\"."))
}

/// Runs a call to its end, also when its caller is dropped.
///
/// The call is boxed where it is made: it is large, and would be copied at each step on its way into the runtime.
pub(crate) async fn detached<T: Send + 'static>(
    call: Pin<Box<dyn Future<Output = Result<T>> + Send>>,
) -> Result<T> {
    tokio::spawn(call).await.unwrap_or(Err(Failure::Stopped))
}

/// Asks again while other transactions are in the way; `call` must be safe to repeat.
pub(crate) async fn insist<T, F>(mut call: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    const TRIES: usize = 50;
    for _ in 1..TRIES {
        match call().await {
            Err(failure) if failure.is_conflict() => tokio::task::yield_now().await,
            other => return other,
        }
    }
    call().await
}

/// Adds an argument of a statement.
pub(crate) fn with<'a, T>(mut arguments: PgArguments, value: T) -> Result<PgArguments>
where
    T: sqlx::Encode<'a, Postgres> + sqlx::Type<Postgres>,
{
    sqlx::Arguments::add(&mut arguments, value).map_err(sqlx::Error::Encode)?;
    Ok(arguments)
}

/// Collects the arguments of a statement.
macro_rules! arguments {
    ($($value:expr),* $(,)?) => {{
        let arguments = sqlx::postgres::PgArguments::default();
        $(let arguments = $crate::session::with(arguments, $value)?;)*
        arguments
    }};
}
pub(crate) use arguments;

#[cfg(test)]
mod tests {
    use longhaul_core::backend::Inspect as _;
    use longhaul_tests::Fixture as _;

    use crate::PostgresBackend;
    use crate::fixture::PostgresFixture;
    use longhaul_core::id::{Uuid, WorkerId};

    #[test]
    fn store_may_outlive_its_runtime() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (fixture, backend) = runtime.block_on(async {
            let fixture = PostgresFixture::open().await;
            let backend = PostgresBackend::open(fixture.config()).await.unwrap();
            backend.workers().await.unwrap();
            drop(backend.workers());
            (fixture, backend)
        });
        drop(runtime);
        drop(backend);
        drop(fixture);
    }

    /// A request is copied when it is boxed; a large one costs more than the server takes.
    #[tokio::test]
    async fn request_is_small() {
        let fixture = PostgresFixture::open().await;
        let backend = PostgresBackend::open(fixture.config()).await.unwrap();
        let store = &backend.store;
        let lane = longhaul_core::backend::Lane {
            worker: WorkerId(Uuid::from_random_bytes([7; 16])),
            number: 0,
        };
        let committing = crate::commit::commit(store, Some(lane), &[]);
        assert!(size_of_val(&committing) < 4_096);
    }
}
