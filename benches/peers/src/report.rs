//! Shows rows: on the terminal as they come, and as a document.

use std::fmt::Write as _;

use peers::sizes::Sizes;
use peers::{Store, Succession, Workload};

use crate::Arguments;
use crate::machine;
use crate::row::{Row, short};
use crate::subject::{OURS, Subject};

const WIDTHS: [usize; 8] = [4, 8, 40, 10, 12, 12, 8, 8];

const HEAD: [&str; 8] = [
    "what", "store", "measure", OURS, "durare", "dbos", "/durare", "/dbos",
];

#[expect(clippy::print_stdout, reason = "it talks to a person")]
fn print(cells: &[String]) {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(WIDTHS) {
        let _ = write!(line, "{cell:width$}  ");
    }
    println!("{}", line.trim_end());
}

/// Prints the names of the columns.
pub(crate) fn print_head() {
    print(&HEAD.map(str::to_owned));
}

/// Prints rows.
pub(crate) fn print_rows(rows: &[Row]) {
    for row in rows {
        print(&cells(row).map(|cell| cell.split(':').next().unwrap_or_default().to_owned()));
    }
}

fn cells(row: &Row) -> [String; 8] {
    let shown = |name: &str| {
        row.engines
            .get(name)
            .map_or_else(String::new, |shown| shown.text())
    };
    let ratio = |name: &str| {
        row.ratios
            .get(name)
            .map_or_else(|| "-".to_owned(), |ratio| short(*ratio))
    };
    [
        row.workload.clone(),
        row.store.name().to_owned(),
        row.measure.clone(),
        shown(OURS),
        shown("durare"),
        shown("dbos"),
        ratio("durare"),
        ratio("dbos"),
    ]
}

/// Writes what was measured, on what, and with which settings.
pub(crate) fn document(
    rows: &[Row],
    subjects: &[Subject],
    arguments: &Arguments,
    sizes: &Sizes,
) -> String {
    let mut text = "# Beside other engines\n\nWritten by `cargo xtask bench --peers --report benches/PEERS.md`. The \
                    engines take turns, pass by pass, on the same server, each pass in a process and in a database of \
                    its own; the median of the passes counts. A ratio says how many times as good as the other engine \
                    Longhaul is: above 1 it is better, below 1 the other is.\n\n"
        .to_owned();
    if arguments.quick {
        text += "**Measured with `--quick`: these figures say nothing but that the workloads run.**\n\n";
    }
    text += &machine::describe();
    for subject in subjects {
        let _ = writeln!(
            text,
            "- {} {}. {}",
            subject.name,
            subject.version,
            settings(subject)
        );
    }
    text += "\n## What is measured\n\n";
    for workload in Workload::ALL
        .into_iter()
        .filter(|one| rows.iter().any(|row| row.workload == one.name()))
    {
        let (name, passes) = (workload.name(), workload.passes(sizes));
        let _ = writeln!(
            text,
            "- {name}: {}; passes: {passes}.",
            workload.says(sizes)
        );
    }
    text += NOTES;
    text += "\n## Figures\n\n";
    let head = HEAD[1..].join(" | ").replace('/', "× ");
    let _ = writeln!(
        text,
        "| workload | {head} |\n|{}",
        "---|".repeat(HEAD.len())
    );
    for row in rows {
        let _ = writeln!(text, "| {} |", cells(row).join(" | "));
    }
    text + "\n## Where another engine is ahead\n\n" + &lost(rows)
}

const NOTES: &str = "
CPU is that of the process, without the server's. Statements are what `pg_stat_statements` counts, transactions' `begin`
and `commit` among them. In W5 a message is sent 25 ms after the workflow came to its waiting. In W6 the worker is one
that was started after the process that parked the workflows had been killed: what an engine keeps in memory it has
recovered there before it is watched. A workflow that takes less than a byte counts as one byte, and a worker that uses
less than a tick of 10 ms as one that uses a tick. In W7 the process is started again the moment that it is killed: how
long somebody takes to notice is not in that figure.
";

fn settings(subject: &Subject) -> String {
    let on = |store: Store| match subject.about.on(store) {
        Ok(settings) => format!("Settings on {}: {settings}.", store.name()),
        Err(reason) => format!("On {}: not possible, {reason}.", store.name()),
    };
    let succession = match subject.about.succession {
        Succession::TakeOver => "W7: other workers take over by themselves, after a lease of 5 s.",
        Succession::Restart => {
            "W7: no worker notices by itself that another is dead; a process that is started again under the same `executor_id` \
             recovers it."
        }
    };
    format!("{} {} {succession}", on(Store::Postgres), on(Store::Sqlite))
}

/// Lists the rows in which another engine is better.
fn lost(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        for (name, ratio) in row.ratios.iter().filter(|(_, ratio)| **ratio < 1.0) {
            let (store, measure) = (row.store.name(), &row.measure);
            let _ = writeln!(
                text,
                "- {} on {store}, {measure}: {name}, ratio {}",
                row.workload,
                short(*ratio)
            );
        }
    }
    match text.is_empty() {
        true => "Nowhere.\n".to_owned(),
        false => text,
    }
}
