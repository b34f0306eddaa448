//! The Postgres server that was started for the measurement, as the environment names it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Returns the URL of the server's own database.
///
/// # Errors
/// When the environment does not name it.
pub fn url() -> Result<String> {
    named("LONGHAUL_BENCH_POSTGRES")
}

/// Asks the server one question and returns its answer.
///
/// # Errors
/// What the server complains about.
pub fn psql(text: &str) -> Result<String> {
    let program = PathBuf::from(named("LONGHAUL_BENCH_POSTGRES_BIN")?).join("psql");
    let output = Command::new(program)
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
        .args(["--dbname", &url()?, "--command", text])
        .output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "psql failed: {}", complaint.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn named(variable: &str) -> Result<String> {
    std::env::var(variable).with_context(|| {
        format!("{variable} is not set; run `cargo xtask bench --peers`, which starts the servers")
    })
}
