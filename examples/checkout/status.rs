//! A table of where each order stands, at most 80 columns wide.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use anyhow::Result;
use longhaul::client::RunInfo;
use longhaul::prelude::{Client, WorkflowId};

use crate::arguments::Settings;
use crate::commands::{connect_to_existing, shown};
use crate::workflow::{Outcome, STAGE};

const PAGE: usize = 500;
const WIDTH: usize = 80;

/// Are the widths of all columns but the last, which takes what is left.
const ORDER: usize = 24;
const STATUS: usize = 11;
const STAGE_NAME: usize = 11;
const OUTCOME: usize = WIDTH - ORDER - STATUS - STAGE_NAME - 3;

/// Shows where each order stands.
pub(crate) async fn status(settings: &Settings) -> Result<ExitCode> {
    let client = connect_to_existing(settings).await?;
    let mut table = row("ORDER", "STATUS", "STAGE", "OUTCOME");
    let mut after: Option<WorkflowId> = None;
    loop {
        let mut list = client.list().workflow_type("checkout").limit(PAGE);
        if let Some(id) = &after {
            list = list.after(id);
        }
        let page = list.await.map_err(shown)?;
        for run in &page {
            table.push_str(&row_of(&client, run).await?);
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.identity.workflow_id.clone()),
            _ => break,
        }
    }
    match std::io::stdout().write_all(table.as_bytes()) {
        // Who reads, such as `head`, may have seen enough.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

async fn row_of(client: &Client, info: &RunInfo) -> Result<String> {
    let id = info.identity.workflow_id.as_str();
    let run = client.handle::<Outcome>(id).map_err(shown)?;
    let stage = run.get(STAGE).await.map_err(shown)?;
    let outcome = if info.status.is_terminal() {
        match run.result().await {
            Ok(outcome) => format!("{outcome:?}").to_lowercase(),
            Err(error) => error.to_string(),
        }
    } else {
        info.reason.clone().unwrap_or_else(|| "-".to_owned())
    };
    let stage = stage.unwrap_or_else(|| "-".to_owned());
    Ok(row(id, info.status.as_str(), &stage, &outcome))
}

fn row(order: &str, status: &str, stage: &str, outcome: &str) -> String {
    let (order, outcome) = (cut(order, ORDER), cut(outcome, OUTCOME));
    let mut row = String::new();
    let _ = writeln!(
        row,
        "{order:ORDER$} {status:STATUS$} {stage:STAGE_NAME$} {outcome}"
    );
    row
}

/// Keeps the beginning of a text that is too wide for its column.
fn cut(text: &str, width: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= width {
        return line.to_owned();
    }
    line.chars().take(width - 1).chain(['…']).collect()
}
