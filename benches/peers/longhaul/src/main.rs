//! Longhaul with default options, as it is measured beside other engines.

use std::time::Duration;

use anyhow::Result;
use longhaul::prelude::{Client, Context, Handle, Signal, Worker, task, workflow};
use peers::{Engine, Program, Store, Succession, program};

const GO: Signal<u32> = Signal::new("go");

#[task]
async fn trivial(step: u32) -> u32 {
    step
}

#[task]
async fn third() -> u32 {
    program::third_task().await
}

#[workflow]
async fn sequence(ctx: Context, count: u32) -> longhaul::Result<u32> {
    let mut sum = 0;
    for step in 0..count {
        sum += ctx.run(trivial(step)).await? & 1;
    }
    Ok(sum)
}

#[workflow]
async fn fan_out(ctx: Context, count: u32) -> longhaul::Result<u32> {
    let results = ctx.join_all((0..count).map(trivial)).await?;
    Ok(results.iter().map(|step| step & 1).sum())
}

#[workflow]
async fn waiting(ctx: Context) -> longhaul::Result<u32> {
    program::is_about_to_wait();
    ctx.receive(GO).await
}

#[workflow]
async fn five(ctx: Context) -> longhaul::Result<u32> {
    let mut sum = ctx.run(trivial(1)).await? + ctx.run(trivial(2)).await?;
    sum += ctx.run(third()).await?;
    sum += ctx.run(trivial(4)).await? + ctx.run(trivial(5)).await?;
    Ok(sum)
}

struct Longhaul {
    client: Client,
    worker: Worker,
}

impl Engine for Longhaul {
    type Run = Handle<u32>;

    const NAME: &'static str = "longhaul";
    const SUCCESSION: Succession = Succession::TakeOver;

    fn settings(store: Store) -> Result<&'static str, &'static str> {
        Ok(match store {
            Store::Postgres => "none",
            Store::Sqlite => "none; `synchronous=full` is the default",
        })
    }

    async fn open(url: &str) -> Result<Self> {
        let client = Client::connect(url).await.map_err(told)?;
        let builder = Worker::builder(&client);
        // A task that hangs keeps its slot, which those of other engines do not have.
        let builder = match peers::program::hangs() {
            true => builder.slots(1_000),
            false => builder,
        };
        let worker = builder.start().await.map_err(told)?;
        Ok(Self { client, worker })
    }

    async fn start(&self, program: Program, id: Option<&str>) -> Result<Handle<u32>> {
        let call = match program {
            Program::Sequence(count) => sequence(count),
            Program::FanOut(count) => fan_out(count),
            Program::Waiting => waiting(),
            Program::Five => five(),
        };
        let call = match id {
            Some(id) => call.id(id),
            None => call,
        };
        self.client.start(call).await.map_err(told)
    }

    async fn find(&self, id: &str) -> Result<Handle<u32>> {
        self.client.handle(id).map_err(told)
    }

    async fn send(&self, id: &str) -> Result<()> {
        let run: Handle<u32> = self.client.handle(id).map_err(told)?;
        run.signal(GO, 7).await.map_err(told)
    }

    async fn result(&self, run: Handle<u32>) -> Result<()> {
        run.result().await.map_err(told)?;
        Ok(())
    }

    /// Parked workflows are in the store and nowhere else.
    async fn rest(&self, _: usize) -> Result<()> {
        while self.worker.live_runs() > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn close(self) -> Result<()> {
        self.worker.shutdown().await.map_err(told)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` gives it away")]
fn told(error: longhaul::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

#[tokio::main]
async fn main() -> Result<()> {
    peers::run_engine::<Longhaul>().await
}
