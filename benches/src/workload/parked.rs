//! W6: what a hundred thousand parked workflows cost a worker.

use std::time::Duration;

use longhaul::{Error, Result};

use super::child::{Child, orders, say};
use super::{Bench, repeat, start_worker};
use crate::count::{Counts, cpu_millis, resident_bytes};
use crate::row::Row;
use crate::subject::{Store, Subject};
use crate::workflows::{Hangs, waiting};

const PARKED: usize = 100_000;

const IN_FLIGHT: usize = 256;

/// Is how long the idle worker is watched.
const WATCHED: Duration = Duration::from_secs(20);

/// Is how long a worker has to come to rest.
const SETTLE: Duration = Duration::from_secs(5);

/// Compares an idle worker beside an empty store with one beside a hundred thousand parked workflows.
pub(super) async fn measure(subject: &Subject) -> Result<Vec<Row>> {
    let bench = Bench::open(subject).await?;
    let (empty, _) = Idle::watch(&bench.store).await?;
    let client = bench.client.clone();
    repeat(PARKED, IN_FLIGHT, move |_| {
        let client = client.clone();
        async move {
            client.start(waiting()).await?;
            Ok(())
        }
    })
    .await?;
    bench.until_all_are_parked().await?;
    let store = bench.close().await?;
    let (idle, counts) = Idle::watch(&store).await?;
    let runs = f64::from(u32::try_from(PARKED)?);
    let bytes = (idle.resident - empty.resident).max(0.0) / runs;
    let row = Row::new("W6", bytes, "bytes per parked run")
        .in_flight(PARKED)
        .count("% of a core", idle.cpu_percent)
        .count("MB resident", idle.resident / 1e6)
        .note("idle worker of another process, against one beside an empty store");
    let asked = counts
        .into_iter()
        .filter(|(name, _)| ["statements", "scripts"].contains(name));
    Ok(vec![asked.fold(row, |row, (name, value)| {
        row.count(&format!("{name} a minute"), value)
    })])
}

/// Is what an idle worker uses.
struct Idle {
    resident: f64,
    cpu_percent: f64,
}

impl Idle {
    /// Watches a worker of another process once it has come to rest; also counts what the server did meanwhile, a minute.
    async fn watch(store: &Store) -> Result<(Self, Vec<(&'static str, f64)>)> {
        let mut child = Child::start(&["idle", "--url", &store.url])?;
        child.line().await?;
        let before = Counts::of(store)?;
        child.tell("watch").await?;
        let line = child.line().await?;
        let after = Counts::of(store)?;
        let (resident, cpu) = line
            .split_once(' ')
            .ok_or_else(|| Error::failed("two numbers"))?;
        child.end().await?;
        let idle = Self {
            resident: resident.parse()?,
            cpu_percent: cpu.parse()?,
        };
        Ok((idle, after.since(&before, WATCHED.as_secs_f64() / 60.0)))
    }
}

/// Runs a worker that has nothing to do, and prints its memory in bytes and its share of a core in percent.
pub(crate) async fn be_idle(url: &str) -> Result<()> {
    let client = longhaul::prelude::Client::connect(url).await?;
    let worker = start_worker(&client, Hangs(false)).await?;
    tokio::time::sleep(SETTLE).await;
    let mut orders = orders();
    say("at rest");
    orders.next_line().await?;
    let before = cpu_millis("self")?;
    tokio::time::sleep(WATCHED).await;
    let used = cpu_millis("self")? - before;
    let percent = used / (WATCHED.as_secs_f64() * 10.0);
    let resident = resident_bytes("self")?;
    say(&format!("{resident} {percent}"));
    orders.next_line().await?;
    worker.shutdown().await?;
    Ok(())
}
