//! The diagram in `docs/status.md`, rendered from the one transition table.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use crate::process::root;

const BEGIN: &str = "<!-- diagram:begin -->\n";
const END: &str = "<!-- diagram:end -->";

/// Renders the diagram into the file.
pub(crate) fn write() -> Result<()> {
    let (before, after) = (read()?, rendered()?);
    if before != after {
        std::fs::write(path(), after)?;
        println!("docs/status.md written");
    }
    Ok(())
}

/// Fails when the file is out of step with the table.
pub(crate) fn check() -> Result<()> {
    ensure!(
        read()? == rendered()?,
        "docs/status.md is out of step with the transition table; run `cargo xtask diagram`"
    );
    Ok(())
}

fn path() -> PathBuf {
    root().join("docs/status.md")
}

fn read() -> Result<String> {
    std::fs::read_to_string(path()).context("docs/status.md cannot be read")
}

fn rendered() -> Result<String> {
    let text = read()?;
    let (head, rest) = text
        .split_once(BEGIN)
        .context("docs/status.md has no line that begins the diagram")?;
    let (_, tail) = rest
        .split_once(END)
        .context("docs/status.md has no line that ends the diagram")?;
    let diagram = longhaul_core::status::diagram();
    Ok(format!(
        "{head}{BEGIN}```mermaid\n{diagram}```\n{END}{tail}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diagram_is_in_step_with_the_table() -> Result<()> {
        check()
    }
}
