//! What each command does.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use longhaul::prelude::*;

use crate::arguments::Settings;
use crate::effects::Effects;
use crate::progress::Progress;
use crate::workflow::{APPROVED, Outcome, checkout, set_patience};
use crate::{health, orders};

/// Is how many orders are started at once.
const STARTS_AT_ONCE: usize = 64;

/// Is how often blocked orders are looked for.
const LOOK: Duration = Duration::from_secs(1);

/// Starts the orders and works until all are done.
pub(crate) async fn run(settings: &Settings, file: Option<&Path>) -> Result<ExitCode> {
    let orders = orders::read(file)?;
    let client = connect(settings).await?;
    let worker = worker(settings, &client).await?;
    let mut progress = Progress::of(orders.len());
    let mut runs = FuturesUnordered::new();
    let mut starts = futures::stream::iter(orders)
        .map(|order| {
            let id = order.id.clone();
            client.start(checkout(order).id(id))
        })
        .buffered(STARTS_AT_ONCE);
    while let Some(started) = starts.next().await {
        let run = started.map_err(shown)?;
        runs.push(async move {
            let outcome = run.result().await;
            (run, outcome)
        });
    }
    let mut looks = tokio::time::interval(LOOK);
    let mut blocked = BTreeSet::new();
    loop {
        tokio::select! {
            ended = runs.next() => match ended {
                Some((run, outcome)) => progress.ended(run.id().as_str(), &outcome),
                None => break,
            },
            _ = looks.tick() => note_blocked(&client, &progress, &mut blocked).await?,
        }
    }
    worker.shutdown().await.map_err(shown)?;
    Ok(if progress.finish() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Tells once of each run that no worker here can go on with, as it would be waited for in silence.
async fn note_blocked(
    client: &Client,
    progress: &Progress,
    known: &mut BTreeSet<WorkflowId>,
) -> Result<()> {
    let blocked = client.list().status(Status::Blocked).await;
    for run in blocked.map_err(shown)? {
        let id = run.identity.workflow_id;
        if known.insert(id.clone()) {
            progress.note(&format!(
                "{id} is blocked: {}",
                run.reason.unwrap_or_default()
            ));
        }
    }
    Ok(())
}

/// Runs a worker only, and tells how it is.
pub(crate) async fn work(settings: &Settings) -> Result<ExitCode> {
    let client = connect(settings).await?;
    let worker = worker(settings, &client).await?;
    let monitor = worker.monitor();
    println!("worker {} runs; stop it with Ctrl-C", worker.id());
    let left = tokio::select! {
        left = worker.run_until_signal() => left,
        () = health::tell(monitor.clone()) => Ok(()),
    };
    health::tell_end(&monitor.health());
    left.map_err(shown)?;
    Ok(ExitCode::SUCCESS)
}

/// Approves or refuses an order.
pub(crate) async fn approve(settings: &Settings, order: &str, refuse: bool) -> Result<ExitCode> {
    let client = connect_to_existing(settings).await?;
    let run = client.handle::<Outcome>(order).map_err(shown)?;
    run.signal(APPROVED, !refuse).await.map_err(shown)?;
    let what = if refuse { "refused" } else { "approved" };
    println!("{order} {what}");
    Ok(ExitCode::SUCCESS)
}

async fn connect(settings: &Settings) -> Result<Client> {
    let url = settings.url();
    match Client::connect(&url).await {
        Ok(client) => Ok(client),
        Err(error) => bail!("the store cannot be opened: {error:#}"),
    }
}

/// Connects to records that are there, as a command that only looks makes none.
pub(crate) async fn connect_to_existing(settings: &Settings) -> Result<Client> {
    if let Some(file) = settings.default_file() {
        ensure!(
            file.exists(),
            "there are no records at {}; run the orders first, or name their --data or --url",
            file.display()
        );
    }
    connect(settings).await
}

async fn worker(settings: &Settings, client: &Client) -> Result<Worker> {
    set_patience(settings.approval_timeout);
    Worker::builder(client)
        .provide(Effects::open(&settings.data, settings.pace)?)
        .lease(settings.lease)
        .slots(settings.slots)
        .start()
        .await
        .map_err(shown)
}

/// Makes an error of the example's kind from one of Longhaul's.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` takes")]
pub(crate) fn shown(error: Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}
