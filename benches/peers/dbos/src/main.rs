//! The Rust SDK of DBOS, as it is measured beside Longhaul.

use std::time::Duration;

use anyhow::Result;
use dbos::{Config, DBOS, StartOptions, WorkflowHandle, WorkflowRef, recv, step};
use futures::future::try_join_all;
use peers::{Engine, Program, Store, Succession, program};

/// Is longer than any measurement.
const LONG: Duration = Duration::from_hours(24);

async fn sequence(count: u32) -> dbos::Result<u32> {
    let mut sum = 0;
    for at in 0..count {
        sum += step("trivial", || async move { dbos::Result::Ok(at) }).await? & 1;
    }
    Ok(sum)
}

async fn fan_out(count: u32) -> dbos::Result<u32> {
    let steps = (0..count).map(|at| step("trivial", move || async move { dbos::Result::Ok(at) }));
    let results = try_join_all(steps).await?;
    Ok(results.iter().map(|at| at & 1).sum())
}

async fn waiting((): ()) -> dbos::Result<u32> {
    program::is_about_to_wait();
    Ok(recv(None, LONG).await?.unwrap_or(0))
}

async fn five((): ()) -> dbos::Result<u32> {
    let trivial = |at: u32| step("trivial", move || async move { dbos::Result::Ok(at) });
    let mut sum = trivial(1).await? + trivial(2).await?;
    sum += step("third", || async {
        dbos::Result::Ok(program::third_task().await)
    })
    .await?;
    sum += trivial(4).await? + trivial(5).await?;
    Ok(sum)
}

struct Dbos {
    dbos: DBOS,
    sequence: WorkflowRef<u32, u32>,
    fan_out: WorkflowRef<u32, u32>,
    waiting: WorkflowRef<(), u32>,
    five: WorkflowRef<(), u32>,
}

impl Engine for Dbos {
    type Run = WorkflowHandle<u32>;

    const NAME: &'static str = "dbos";
    const SUCCESSION: Succession = Succession::Restart;

    fn settings(store: Store) -> Result<&'static str, &'static str> {
        match store {
            Store::Postgres => Ok(
                "`max_connections: 20`, as its documentation of `Config` has it, of 10; `outcome_poll_interval: 50 ms` \
                 of 1 s; `executor_id` and `app_version` given; workflows started directly, not through a queue; \
                 LISTEN/NOTIFY as by default",
            ),
            Store::Sqlite => Err("it stores in Postgres alone"),
        }
    }

    async fn open(url: &str) -> Result<Self> {
        let dbos = DBOS::new(Config {
            max_connections: 20,
            outcome_poll_interval: Some(Duration::from_millis(50)),
            executor_id: Some("peer".to_owned()),
            app_version: Some("1".to_owned()),
            ..Config::new("peers", url)
        });
        let engine = Self {
            sequence: dbos.register_workflow("sequence", sequence)?,
            fan_out: dbos.register_workflow("fan_out", fan_out)?,
            waiting: dbos.register_workflow("waiting", waiting)?,
            five: dbos.register_workflow("five", five)?,
            dbos,
        };
        engine.dbos.launch().await?;
        Ok(engine)
    }

    async fn start(&self, program: Program, id: Option<&str>) -> Result<WorkflowHandle<u32>> {
        let options = StartOptions {
            workflow_id: id,
            ..StartOptions::default()
        };
        Ok(match program {
            Program::Sequence(count) => self.sequence.start_with(count, options).await?,
            Program::FanOut(count) => self.fan_out.start_with(count, options).await?,
            Program::Waiting => self.waiting.start_with((), options).await?,
            Program::Five => self.five.start_with((), options).await?,
        })
    }

    async fn find(&self, id: &str) -> Result<WorkflowHandle<u32>> {
        Ok(self.dbos.retrieve_workflow(id)?)
    }

    async fn send(&self, id: &str) -> Result<()> {
        Ok(self.dbos.send(id, &7_u32).await?)
    }

    async fn result(&self, run: WorkflowHandle<u32>) -> Result<()> {
        run.result().await?;
        Ok(())
    }

    /// Waiting workflows are futures of their process.
    async fn rest(&self, parked: usize) -> Result<()> {
        program::until_waiting(parked).await;
        Ok(())
    }

    async fn close(self) -> Result<()> {
        self.dbos.shutdown().await;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    peers::run_engine::<Dbos>().await
}
