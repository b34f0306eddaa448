//! Licences, bans and sources of the dependencies, by cargo-deny, which is installed below `target/` when it is missing.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::process::{cargo, is_there, root, step};

/// Is the version that is installed.
const VERSION: &str = "0.20.2";

/// Checks the dependencies. Advisories are not checked, as their database may be out of reach.
pub(crate) fn run() -> Result<()> {
    let program = program()?;
    let mut check = Command::new(program);
    check.current_dir(root()).args([
        "--all-features",
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]);
    step("dependencies", &mut check)
}

fn program() -> Result<PathBuf> {
    if is_there(Command::new("cargo-deny").arg("--version")) {
        return Ok("cargo-deny".into());
    }
    let tools = root().join("target/tools");
    let program = tools.join("bin/cargo-deny");
    if !is_there(Command::new(&program).arg("--version")) {
        let tools = tools.to_str().context("a folder whose name is not UTF-8")?;
        // Built without optimisation: it runs for a second, and takes a third of the time to build.
        let arguments = [
            "install",
            "cargo-deny",
            "--locked",
            "--debug",
            "--version",
            VERSION,
            "--root",
            tools,
        ];
        step("install cargo-deny", &mut cargo(&arguments))?;
    }
    ensure!(program.exists(), "cargo-deny was not installed");
    Ok(program)
}
