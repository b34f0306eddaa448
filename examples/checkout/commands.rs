//! What each command does.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use longhaul::history::EventKind;
use longhaul::prelude::*;

use crate::arguments::Settings;
use crate::effects::Effects;
use crate::orders;
use crate::progress::Progress;
use crate::workflow::{APPROVED, Outcome, STAGE, checkout, set_patience};

/// Is how many orders are started at once.
const STARTS_AT_ONCE: usize = 64;

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
    while let Some((run, outcome)) = runs.next().await {
        progress.ended(run.id().as_str(), &outcome);
    }
    worker.shutdown().await.map_err(shown)?;
    Ok(if progress.finish() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs a worker only.
pub(crate) async fn work(settings: &Settings) -> Result<ExitCode> {
    let client = connect(settings).await?;
    let worker = worker(settings, &client).await?;
    println!("worker {} runs; stop it with Ctrl-C", worker.id());
    worker.run_until_signal().await.map_err(shown)?;
    Ok(ExitCode::SUCCESS)
}

/// Approves or refuses an order.
pub(crate) async fn approve(settings: &Settings, order: &str, refuse: bool) -> Result<ExitCode> {
    let client = connect(settings).await?;
    let run = client.handle::<Outcome>(order).map_err(shown)?;
    run.signal(APPROVED, !refuse).await.map_err(shown)?;
    let what = if refuse { "refused" } else { "approved" };
    println!("{order} {what}");
    Ok(ExitCode::SUCCESS)
}

/// Shows where each order stands.
pub(crate) async fn status(settings: &Settings) -> Result<ExitCode> {
    let client = connect(settings).await?;
    println!("{:<24} {:<11} {:<11} OUTCOME", "ORDER", "STATUS", "STAGE");
    let mut after: Option<WorkflowId> = None;
    loop {
        let mut list = client.list().workflow_type("checkout").limit(500);
        if let Some(id) = &after {
            list = list.after(id);
        }
        let page = list.await.map_err(shown)?;
        for info in &page {
            let run = client
                .handle::<Outcome>(info.identity.workflow_id.as_str())
                .map_err(shown)?;
            let stage = run.get(STAGE).await.map_err(shown)?.unwrap_or_default();
            let outcome = outcome(&run, info.status).await?;
            println!(
                "{:<24} {:<11} {stage:<11} {outcome}",
                run.id().as_str(),
                info.status
            );
        }
        match page.last() {
            Some(last) if page.len() == 500 => after = Some(last.identity.workflow_id.clone()),
            _ => return Ok(ExitCode::SUCCESS),
        }
    }
}

async fn outcome(run: &Handle<Outcome>, status: Status) -> Result<String> {
    if !status.is_terminal() {
        return Ok("-".to_owned());
    }
    let history = run.history().await.map_err(shown)?;
    Ok(match history.last().map(|entry| &entry.event.kind) {
        Some(EventKind::RunCompleted { .. }) => {
            let outcome = run.result().await.map_err(shown)?;
            format!("{outcome:?}").to_lowercase()
        }
        Some(EventKind::RunFailed { error }) => error.to_string(),
        _ => status.to_string().to_lowercase(),
    })
}

async fn connect(settings: &Settings) -> Result<Client> {
    let url = settings.url();
    match Client::connect(&url).await {
        Ok(client) => Ok(client),
        Err(error) => bail!("the store cannot be opened: {error:#}"),
    }
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
fn shown(error: Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}
