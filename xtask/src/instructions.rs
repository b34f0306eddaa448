//! `cargo xtask instructions`: what a workflow costs in instructions, which unlike time are the same on a busy machine.
//!
//! Invariants: start-up and warm-up are not counted, as each figure is the difference of two runs that have both. Figures
//! of another compiler or target are shown and not judged. What is known stays true: a figure that fell is a failure too.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::process::{cargo, printed, root, step, target};
use crate::servers::valgrind;

/// Is the file of what is known.
const FILE: &str = "benches/instructions.json";

/// Is by how much a figure may differ from what is known; between two runs it differs by less than a tenth of a percent.
const PERCENT_MAX: f64 = 5.0;

/// Says whether to write down what is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Write what is measured to `benches/instructions.json`
    #[arg(long)]
    write: bool,
}

/// Is what was measured, and with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Figures {
    rustc: String,
    target: String,
    w1_instructions_per_workflow: u64,
    w8_instructions_per_event: u64,
}

/// Measures, and compares with what is known or writes it down.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let measured = measure()?;
    let file = root().join(FILE);
    if arguments.write {
        std::fs::write(&file, serde_json::to_string_pretty(&measured)? + "\n")?;
        println!("{FILE} is written");
        return Ok(());
    }
    let text = std::fs::read_to_string(&file).context(FILE)?;
    let known: Figures = serde_json::from_str(&text).context(FILE)?;
    let mut wrong = Vec::new();
    for (workload, measured, known) in measured.beside(&known) {
        let percent = (measured / known - 1.0) * 100.0;
        println!("{workload}: {measured} instructions, {percent:+.1} % of the {known} known");
        wrong.extend(complaint(workload, percent));
    }
    if !measured.is_comparable_with(&known) {
        println!(
            "warning: not judged, as {FILE} was measured with rustc {} for {} and this is {} for {}",
            known.rustc, known.target, measured.rustc, measured.target
        );
        return Ok(());
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

impl Figures {
    fn beside(&self, known: &Self) -> [(&'static str, f64, f64); 2] {
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        let of = |workload, measured: u64, known: u64| (workload, measured as f64, known as f64);
        [
            of(
                "W1 per workflow",
                self.w1_instructions_per_workflow,
                known.w1_instructions_per_workflow,
            ),
            of(
                "W8 per event",
                self.w8_instructions_per_event,
                known.w8_instructions_per_event,
            ),
        ]
    }

    fn is_comparable_with(&self, other: &Self) -> bool {
        self.rustc == other.rustc && self.target == other.target
    }
}

/// Says what to do about a figure that is not what is known.
fn complaint(workload: &str, percent: f64) -> Option<String> {
    if percent > PERCENT_MAX {
        return Some(format!(
            "{workload}: {percent:.1} % more instructions than {FILE} knows; make it cheaper, or write the new figure with \
             `cargo xtask instructions --write` and say in the commit what it buys"
        ));
    }
    (percent < -PERCENT_MAX).then(|| {
        format!(
            "{workload}: {:.1} % fewer instructions than {FILE} knows, which is good; lower the figure with \
             `cargo xtask instructions --write`",
            -percent
        )
    })
}

fn measure() -> Result<Figures> {
    let version = printed(&mut rustc())?;
    let said = |name: &str| {
        let value = version.lines().find_map(|line| line.strip_prefix(name));
        value
            .map(str::to_owned)
            .with_context(|| format!("rustc says no `{name}`"))
    };
    let build = ["build", "--release", "--package", "longhaul-instructions"];
    step("build what is counted", &mut cargo(&build))?;
    let counter = Counter {
        valgrind: valgrind()?,
        folder: tempfile::tempdir()?,
    };
    Ok(Figures {
        rustc: said("release: ")?,
        target: said("host: ")?,
        w1_instructions_per_workflow: counter.difference("w1", 200, 1_200)?,
        w8_instructions_per_event: counter.difference("w8", 2, 22)?,
    })
}

fn rustc() -> Command {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command.arg("-vV").current_dir(root());
    command
}

/// Counts what the program does.
struct Counter {
    valgrind: PathBuf,
    folder: tempfile::TempDir,
}

impl Counter {
    /// Returns how many instructions one unit of work takes, by what a long run has more than a short one.
    fn difference(&self, workload: &str, short: u64, long: u64) -> Result<u64> {
        let short = self.count(workload, short)?;
        let long = self.count(workload, long)?;
        let units = long
            .units
            .checked_sub(short.units)
            .filter(|units| *units > 0);
        let units = units.context("the long run did no more than the short one")?;
        Ok(long.instructions.saturating_sub(short.instructions) / units)
    }

    fn count(&self, workload: &str, amount: u64) -> Result<Count> {
        let file = self.folder.path().join("counted");
        let mut command = Command::new(&self.valgrind);
        command
            .args(["--quiet", "--tool=callgrind"])
            .arg(format!("--callgrind-out-file={}", file.display()))
            .arg(target().join("release/longhaul-instructions"))
            .args([workload, &amount.to_string()]);
        let units = printed(&mut command)?;
        Ok(Count {
            units: units.trim().parse().context("the units of work")?,
            instructions: total(&file)?,
        })
    }
}

/// Is what one run did.
struct Count {
    units: u64,
    instructions: u64,
}

fn total(file: &Path) -> Result<u64> {
    let text = std::fs::read_to_string(file)?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = total.context("callgrind wrote no `totals: `")?;
    Ok(total.trim().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figure_that_rose_or_fell_much_is_a_failure_that_says_what_to_do() {
        assert_eq!(complaint("W1", 4.9), None);
        assert_eq!(complaint("W1", -4.9), None);
        for percent in [5.1, -5.1] {
            let text = complaint("W1", percent).unwrap_or_default();
            assert!(text.contains("5.1 %") && text.contains("--write"), "{text}");
        }
    }

    #[test]
    fn figures_of_another_compiler_are_not_judged() {
        let known = Figures {
            rustc: "1.95.0".to_owned(),
            target: "x86_64-unknown-linux-gnu".to_owned(),
            w1_instructions_per_workflow: 1,
            w8_instructions_per_event: 1,
        };
        let other = Figures {
            rustc: "1.96.0".to_owned(),
            ..known.clone()
        };
        assert!(known.is_comparable_with(&known) && !known.is_comparable_with(&other));
    }

    #[test]
    fn known_figures_can_be_read() -> Result<()> {
        let text = std::fs::read_to_string(root().join(FILE))?;
        let known: Figures = serde_json::from_str(&text)?;
        assert!(known.w1_instructions_per_workflow > 0 && known.w8_instructions_per_event > 0);
        Ok(())
    }
}
