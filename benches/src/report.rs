//! Shows rows: on the terminal as they come, and as a document with a plot for each workload.

use std::fmt::Write as _;
use std::path::Path;

use longhaul::Result;

use crate::plot;
use crate::row::Row;

const HEAD: [&str; 8] = [
    "workload",
    "backend",
    "in flight",
    "figure",
    "limit",
    "ratio",
    "p50 / p99 ms",
    "counts",
];

const WIDTHS: [usize; 8] = [4, 14, 6, 28, 46, 6, 14, 0];

#[expect(clippy::print_stdout, reason = "it talks to a person")]
fn print(cells: [&str; 8]) {
    let mut line = String::new();
    for (cell, width) in cells.into_iter().zip(WIDTHS) {
        let _ = write!(line, "{cell:width$}  ");
    }
    println!("{}", line.trim_end());
}

/// Prints the names of the columns.
pub(crate) fn print_head() {
    print(HEAD);
}

/// Prints a row.
pub(crate) fn print_row(row: &Row) {
    let cells = row.cells();
    print(cells.each_ref().map(String::as_str));
}

/// Writes `RESULTS.md` and a plot for each workload.
pub(crate) fn write(folder: &Path, rows: &[Row]) -> Result<()> {
    let mut text = "# Results\n\nWritten by `cargo xtask bench --report benches`. ".to_owned();
    text += "Ratios compare with the limit that was measured in the same run: 1 is as good as the limit.\n\n";
    text += &machine();
    let mut names: Vec<&str> = rows.iter().map(|row| row.workload.as_str()).collect();
    names.dedup();
    names.sort_by_key(|name| (name.len(), (*name).to_owned()));
    names.dedup();
    for name in names {
        let of: Vec<&Row> = rows.iter().filter(|row| row.workload == name).collect();
        let _ = write!(text, "\n## {name}\n\n![{name}](plots/{name}.svg)\n\n");
        let _ = writeln!(
            text,
            "| {} |\n|{}",
            HEAD[1..].join(" | "),
            "---|".repeat(HEAD.len() - 1)
        );
        for row in &of {
            let _ = writeln!(text, "| {} |", row.cells()[1..].join(" | "));
        }
        let plots = folder.join("plots");
        std::fs::create_dir_all(&plots)?;
        std::fs::write(plots.join(format!("{name}.svg")), plot::bars(name, &of))?;
    }
    std::fs::write(folder.join("RESULTS.md"), text)?;
    Ok(())
}

/// Says on what machine and with which versions and settings it was measured.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let of = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or_else(
            || "unknown".to_owned(),
            |(_, value)| value.trim().to_owned(),
        )
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let versions = std::env::var("LONGHAUL_BENCH_VERSIONS").unwrap_or_default();
    format!(
        "- Machine: {cores} cores of {}, {} of memory, Linux {}.\n\
         - Versions: {versions}, SQLite {}.\n\
         - Settings: Postgres `fsync=on`, `synchronous_commit=on`; SQLite `journal_mode=wal`, `synchronous=full`; Redis \
         `appendonly yes` with `appendfsync always` (`local`) and `everysec` (`fast`). All else is the server's default. \
         `flushes` counts how often the disk was told to keep what it has.\n",
        of(&read("/proc/cpuinfo"), "model name"),
        of(&read("/proc/meminfo"), "MemTotal"),
        read("/proc/sys/kernel/osrelease").trim(),
        rusqlite::version(),
    )
}
