//! durare, as it is measured beside Longhaul.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use durare::{
    DurableContext, DurableEngine, PostgresProvider, SqliteProvider, StateProvider, WorkflowHandle,
    WorkflowOptions,
};
use futures::future::try_join_all;
use peers::{Engine, Program, Store, Succession, program};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

/// Is longer than any measurement.
const LONG: Duration = Duration::from_hours(24);

const TOPIC: &str = "go";

#[durare::step]
async fn trivial(ctx: &DurableContext, at: u32) -> durare::Result<u32> {
    Ok(at)
}

#[durare::step]
async fn third(ctx: &DurableContext) -> durare::Result<u32> {
    Ok(program::third_task().await)
}

#[durare::workflow]
async fn sequence(ctx: DurableContext, count: u32) -> durare::Result<u32> {
    let mut sum = 0;
    for at in 0..count {
        sum += trivial(&ctx, at).await? & 1;
    }
    Ok(sum)
}

#[durare::workflow]
async fn fan_out(ctx: DurableContext, count: u32) -> durare::Result<u32> {
    let results = try_join_all((0..count).map(|at| trivial(&ctx, at))).await?;
    Ok(results.iter().map(|at| at & 1).sum())
}

#[durare::workflow]
async fn waiting(ctx: DurableContext, _none: u32) -> durare::Result<u32> {
    program::is_about_to_wait();
    Ok(ctx.recv(TOPIC, LONG).await?.unwrap_or(0))
}

#[durare::workflow]
async fn five(ctx: DurableContext, _none: u32) -> durare::Result<u32> {
    let mut sum = trivial(&ctx, 1).await? + trivial(&ctx, 2).await?;
    sum += third(&ctx).await?;
    sum += trivial(&ctx, 4).await? + trivial(&ctx, 5).await?;
    Ok(sum)
}

async fn postgres(url: &str) -> Result<PostgresProvider> {
    let pool = PgPoolOptions::new()
        .max_connections(24)
        .connect(url)
        .await?;
    Ok(PostgresProvider::from_pool_with_schema(pool, "dbos")?)
}

async fn sqlite(url: &str) -> Result<SqliteProvider> {
    let options = SqliteConnectOptions::from_str(url)?
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5));
    let pool = SqlitePoolOptions::new()
        .max_connections(5)
        .connect_with(options)
        .await?;
    Ok(SqliteProvider::from_pool(pool))
}

struct Durare(DurableEngine);

impl Engine for Durare {
    type Run = WorkflowHandle<u32>;

    const NAME: &'static str = "durare";
    const SUCCESSION: Succession = Succession::Restart;

    fn settings(store: Store) -> Result<&'static str, &'static str> {
        Ok(match store {
            Store::Postgres => {
                "a pool of 24 connections, as its guide to operations has it, of 8; `recover_on_launch`; `executor_id` \
                 and `app_version` given; workflows started directly, not through a queue; LISTEN/NOTIFY as by default"
            }
            Store::Sqlite => {
                "`synchronous=full` of `normal`, which may lose what was acknowledged; all else as `connect` sets it; \
                 `recover_on_launch`; `executor_id` and `app_version` given"
            }
        })
    }

    async fn open(url: &str) -> Result<Self> {
        let provider: Arc<dyn StateProvider> = match Store::of(url) {
            Store::Postgres => Arc::new(postgres(url).await?),
            Store::Sqlite => Arc::new(sqlite(url).await?),
        };
        let mut builder = DurableEngine::builder(provider);
        builder
            .executor_id("peer")
            .app_version("1")
            .recover_on_launch(true);
        let engine = builder.build().await?;
        engine.launch().await?;
        Ok(Self(engine))
    }

    async fn start(&self, program: Program, id: Option<&str>) -> Result<WorkflowHandle<u32>> {
        let options = id.map(WorkflowOptions::with_id).unwrap_or_default();
        Ok(match program {
            Program::Sequence(count) => self.0.start_with(Sequence, count, options).await?,
            Program::FanOut(count) => self.0.start_with(FanOut, count, options).await?,
            Program::Waiting => self.0.start_with(Waiting, 0, options).await?,
            Program::Five => self.0.start_with(Five, 0, options).await?,
        })
    }

    async fn find(&self, id: &str) -> Result<WorkflowHandle<u32>> {
        Ok(self.0.retrieve_workflow(id).await?)
    }

    async fn send(&self, id: &str) -> Result<()> {
        Ok(self.0.send(id, 7_u32, TOPIC).await?)
    }

    async fn result(&self, run: WorkflowHandle<u32>) -> Result<()> {
        run.await?;
        Ok(())
    }

    /// Waiting workflows are futures of their process.
    async fn rest(&self, parked: usize) -> Result<()> {
        program::until_waiting(parked).await;
        Ok(())
    }

    /// Those that wait for a message are not waited for.
    async fn close(self) -> Result<()> {
        Ok(self.0.shutdown(Duration::from_millis(100)).await?)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    peers::run_engine::<Durare>().await
}
