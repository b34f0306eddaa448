//! Measures Longhaul beside durare and the Rust SDK of DBOS: in turn, on the same servers.
//!
//! Run by `cargo xtask bench --peers`, which builds the engines and starts the servers. Invariants: within a workload
//! the engines take turns, pass by pass, each in a process and on a store of its own; nothing runs beside them.

mod machine;
mod place;
mod report;
mod row;
mod subject;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use peers::sizes::Sizes;
use peers::{Store, Workload};

use crate::row::{Cell, Row, rows_of};
use crate::subject::Subject;

/// Measures Longhaul beside other engines
#[derive(Debug, Parser)]
struct Arguments {
    /// The workloads, such as `W1,W3`; all by default
    #[arg(long, value_delimiter = ',', ignore_case = true)]
    only: Vec<Workload>,
    /// Measure little, to see that the workloads run; the figures are worth nothing
    #[arg(long)]
    quick: bool,
    /// Write the rows as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write a document, such as `benches/PEERS.md`
    #[arg(long)]
    report: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let sizes = match arguments.quick {
        true => Sizes::QUICK,
        false => Sizes::FULL,
    };
    let workloads = match arguments.only.as_slice() {
        [] => &Workload::ALL,
        some => some,
    };
    let subjects = Subject::all(arguments.quick)?;
    let mut rows = Vec::new();
    report::print_head();
    for workload in workloads {
        for store in workload.stores() {
            let measured = measure(*workload, *store, &subjects, &sizes).await?;
            report::print_rows(&measured);
            rows.extend(measured);
        }
    }
    if let Some(file) = &arguments.json {
        std::fs::write(file, serde_json::to_string_pretty(&rows)? + "\n")?;
    }
    if let Some(file) = &arguments.report {
        std::fs::write(file, report::document(&rows, &subjects, &arguments, &sizes))?;
    }
    Ok(())
}

/// Measures a workload on every engine, in turn.
async fn measure(
    workload: Workload,
    store: Store,
    subjects: &[Subject],
    sizes: &Sizes,
) -> Result<Vec<Row>> {
    let mut cells: Vec<Cell> = subjects.iter().map(|_| Cell::default()).collect();
    for _ in 0..workload.passes(sizes) {
        for (subject, cell) in subjects.iter().zip(&mut cells) {
            if let Err(reason) = subject.about.on(store) {
                cell.refuse(format!("not possible: {reason}"));
                continue;
            }
            match subject.pass(workload, store, sizes).await {
                Ok(figures) => cell.passes.push(figures),
                Err(cause) => {
                    eprintln!("{} {} failed: {cause:#}", subject.name, workload.name());
                    cell.refuse(format!("failed: {cause:#}"));
                }
            }
        }
    }
    Ok(rows_of(workload, store, subjects, &cells))
}
