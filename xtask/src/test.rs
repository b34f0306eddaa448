//! `cargo xtask test`: every test, counted.
//!
//! The conformance binary of each backend runs by itself, so that its count is the runner's own word. A backend without
//! one, or with no case in it, is a failure. The toy backend comes last, over the crates as they are packed.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use crate::package;
use crate::process::{cargo, packages, root, step, stream};

/// Is what a run of tests said of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Runs everything and prints the counts last.
pub(crate) fn run() -> Result<()> {
    let backends = backends(&root())?;
    step(
        "examples",
        &mut cargo(&["build", "--workspace", "--examples"]),
    )?;
    let mut total = Count::default();
    let mut all_ok = true;
    let mut line = Vec::new();
    for backend in &backends {
        let package = format!("longhaul-backend-{backend}");
        let arguments = ["test", "--package", &package, "--test", "conformance"];
        let (text, is_ok) = stream(&mut cargo(&arguments))?;
        let count = counts(&text);
        ensure!(
            count.passed + count.failed > 0,
            "backend `{backend}` ran no conformance case"
        );
        line.push(format!("{backend} {}", count.passed));
        total += count;
        all_ok &= is_ok;
    }
    let mut rest = vec!["test", "--workspace", "--no-fail-fast", "--lib", "--bins"];
    let targets = other_targets(&packages()?);
    for target in &targets {
        rest.extend(["--test", target]);
    }
    let simulator = vec![
        "test",
        "--package",
        "longhaul-testing",
        "--features",
        "broken",
        "--test",
        "simulator",
        "--test",
        "regressions",
    ];
    let docs = vec![
        "test",
        "--workspace",
        "--doc",
        "--no-fail-fast",
        "--features",
        "longhaul/full",
    ];
    for arguments in [rest, simulator, docs] {
        let (text, is_ok) = stream(&mut cargo(&arguments))?;
        total += counts(&text);
        all_ok &= is_ok;
    }
    match package::run() {
        Ok(count) => total += count,
        Err(error) => {
            println!("error: {error:#}");
            all_ok = false;
        }
    }
    println!("conformance: {} passed", line.join(", "));
    println!("total: {} tests", total.passed + total.failed);
    println!("{} passed, {} failed", total.passed, total.failed);
    ensure!(all_ok && total.failed == 0, "tests failed");
    Ok(())
}

/// Lists the backends by their folders, in order.
fn backends(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let Some(backend) = name.strip_prefix("backend-") else {
            continue;
        };
        if !root.join(&name).join("tests/conformance.rs").exists() {
            bail!(
                "backend `{backend}` has no tests/conformance.rs, so nothing says that it is right"
            );
        }
        found.push(backend.to_owned());
    }
    ensure!(!found.is_empty(), "there is no backend");
    found.sort();
    Ok(found)
}

/// Lists the names of the test targets that run without being asked for, besides `conformance`, each once.
fn other_targets(packages: &[Value]) -> BTreeSet<String> {
    let list = |of: &Value, field: &str| of.get(field).and_then(Value::as_array).cloned();
    let targets = packages
        .iter()
        .filter_map(|package| list(package, "targets"));
    let is_test = |target: &Value| {
        let kinds = list(target, "kind").unwrap_or_default();
        let asked_for = list(target, "required-features").unwrap_or_default();
        kinds.contains(&Value::from("test")) && asked_for.is_empty()
    };
    let name = |target: Value| Some(target.get("name")?.as_str()?.to_owned());
    targets
        .flatten()
        .filter(is_test)
        .filter_map(name)
        .filter(|name| name != "conformance")
        .collect()
}

/// Adds up the `test result:` lines of cargo's test runner.
pub(crate) fn counts(text: &str) -> Count {
    let mut total = Count::default();
    for line in text.lines().filter(|line| line.starts_with("test result:")) {
        total += Count {
            passed: number_before(line, " passed"),
            failed: number_before(line, " failed"),
        };
    }
    total
}

fn number_before(line: &str, word: &str) -> usize {
    line.split(word)
        .next()
        .and_then(|text| text.rsplit(' ').next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_several_binaries_are_added_up() {
        let text = "running 2 tests\n\
            test result: ok. 150 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\
            test result: FAILED. 7 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out\n";
        let expected = Count {
            passed: 157,
            failed: 3,
        };
        assert_eq!(counts(text), expected);
    }

    #[test]
    fn output_without_a_result_counts_nothing() {
        assert_eq!(counts("running 0 tests\n"), Count::default());
    }

    #[test]
    fn every_test_target_that_needs_no_feature_is_found() -> Result<()> {
        let found = other_targets(&packages()?);
        for target in ["behaviour", "broken", "compile", "it", "specific"] {
            assert!(found.contains(target), "{target}");
        }
        assert!(!found.contains("conformance"));
        Ok(())
    }

    #[test]
    fn every_backend_folder_is_found() {
        let found = backends(&root()).unwrap_or_default();
        assert!(found.contains(&"memory".to_owned()) && found.contains(&"sqlite".to_owned()));
    }
}
