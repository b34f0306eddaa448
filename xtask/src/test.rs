//! `cargo xtask test`: every test, counted.
//!
//! The conformance binary of each backend runs by itself, so that its count is the runner's own word. A backend without
//! one, or with no case in it, is a failure. The toy backend comes last, over the crates as they are packed. Servers that
//! a backend needs are started, and stopped whatever happens.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use crate::package;
use crate::process::{cargo, packages, root, step, stream};
use crate::servers::{Servers, stop_on_signal};

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

/// Names the backends that end-to-end tests run over; all when it is not set.
const BACKENDS: &str = "LONGHAUL_TEST_BACKENDS";

/// Lists the backends that need servers, each with what its URLs begin with.
const NEED_SERVERS: [(&str, &str); 2] = [("postgres", "postgres"), ("redis", "redis")];

/// Says what to test.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// Only this backend: its suites, and the end-to-end tests over it
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// A Postgres or Redis to use instead of a throw-away one
    #[arg(long)]
    url: Option<String>,
}

/// Runs everything that was asked for and prints the counts last.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let backends = chosen(backends(&root())?, arguments)?;
    stop_on_signal(130)?;
    let needing: Vec<&str> = needing(&backends).map(|(name, _)| name).collect();
    let servers = (!needing.is_empty())
        .then(|| Servers::start(&needing, arguments.url.as_deref()))
        .transpose()?;
    let mut tests = Tests {
        servers,
        total: Count::default(),
        all_ok: true,
    };
    step(
        "examples",
        &mut cargo(&["build", "--workspace", "--examples"]),
    )?;
    let line = tests.conformance(&backends)?;
    match &arguments.backend {
        Some(backend) => tests.of_backend(backend)?,
        None => tests.of_all()?,
    }
    let Tests { total, all_ok, .. } = tests;
    println!("conformance: {} passed", line.join(", "));
    println!("total: {} tests", total.passed + total.failed);
    println!("{} passed, {} failed", total.passed, total.failed);
    ensure!(all_ok && total.failed == 0, "tests failed");
    Ok(())
}

/// Runs tests, and counts them.
struct Tests {
    servers: Option<Servers>,
    total: Count,
    all_ok: bool,
}

impl Tests {
    /// Runs the conformance suite over each backend and returns how many cases passed on each.
    fn conformance(&mut self, backends: &[String]) -> Result<Vec<String>> {
        let mut line = Vec::new();
        for backend in backends {
            let package = format!("longhaul-backend-{backend}");
            let arguments = ["test", "--package", &package, "--test", "conformance"];
            let count = self.count(&mut cargo(&arguments))?;
            ensure!(
                count.passed + count.failed > 0,
                "backend `{backend}` ran no conformance case"
            );
            line.push(format!("{backend} {}", count.passed));
        }
        Ok(line)
    }

    fn of_backend(&mut self, backend: &str) -> Result<()> {
        let package = format!("longhaul-backend-{backend}");
        let mut packages = packages()?;
        packages.retain(|found| found.get("name").and_then(Value::as_str) == Some(&package));
        let targets = other_targets(&packages);
        let mut own = vec!["test", "--package", &package, "--no-fail-fast", "--lib"];
        own.extend(targets.iter().flat_map(|target| ["--test", target]));
        self.count(&mut cargo(&own))?;
        let mut it = cargo(&["test", "--package", "longhaul-tests", "--test", "it"]);
        self.count(it.env(BACKENDS, backend)).map(drop)
    }

    fn of_all(&mut self) -> Result<()> {
        let mut rest = vec!["test", "--workspace", "--no-fail-fast", "--lib", "--bins"];
        let targets = other_targets(&packages()?);
        rest.extend(targets.iter().flat_map(|target| ["--test", target]));
        self.count(&mut cargo(&rest))?;
        self.count(&mut cargo(&SIMULATOR))?;
        self.count(&mut cargo(&DOCS))?;
        match package::run() {
            Ok(count) => self.total += count,
            Err(error) => {
                println!("error: {error:#}");
                self.all_ok = false;
            }
        }
        Ok(())
    }

    fn count(&mut self, command: &mut Command) -> Result<Count> {
        if let Some(servers) = &self.servers {
            command.envs(servers.variables());
        }
        let (text, is_ok) = stream(command)?;
        let count = counts(&text);
        self.total += count;
        self.all_ok &= is_ok;
        Ok(count)
    }
}

/// Runs what only the simulator's feature builds.
const SIMULATOR: [&str; 11] = [
    "test",
    "--package",
    "longhaul-testing",
    "--features",
    "broken",
    "--test",
    "simulator",
    "--test",
    "regressions",
    "--test",
    "redis",
];

const DOCS: [&str; 6] = [
    "test",
    "--workspace",
    "--doc",
    "--no-fail-fast",
    "--features",
    "longhaul/full",
];

/// Narrows the backends to the one that was asked for.
fn chosen(mut backends: Vec<String>, arguments: &Arguments) -> Result<Vec<String>> {
    if let Some(name) = &arguments.backend {
        let there_are = backends.join(", ");
        backends.retain(|backend| backend == name);
        ensure!(
            !backends.is_empty(),
            "there is no backend `{name}`; there are {there_are}"
        );
    }
    let url = arguments.url.as_deref();
    let is_used = |url: &str| needing(&backends).any(|(_, scheme)| url.starts_with(scheme));
    ensure!(
        url.is_none_or(is_used),
        "--url names a server that no backend that is tested here uses"
    );
    Ok(backends)
}

/// Lists those that need servers, each with what its URLs begin with.
fn needing(backends: &[String]) -> impl Iterator<Item = (&'static str, &'static str)> {
    let is_tested = |(name, _): &(&str, &str)| backends.iter().any(|backend| backend == name);
    NEED_SERVERS.into_iter().filter(is_tested)
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
    fn one_backend_is_chosen_by_its_name_and_a_wrong_name_is_told() {
        let all = || vec!["memory".to_owned(), "postgres".to_owned()];
        let of = |backend: Option<&str>, url: Option<&str>| Arguments {
            backend: backend.map(str::to_owned),
            url: url.map(str::to_owned),
        };
        assert_eq!(
            chosen(all(), &of(None, Some("postgres://x"))).ok(),
            Some(all())
        );
        assert_eq!(
            chosen(all(), &of(Some("memory"), None)).ok(),
            Some(vec!["memory".to_owned()])
        );
        let wrong = chosen(all(), &of(Some("oracle"), None)).map_err(|error| error.to_string());
        let expected = "there is no backend `oracle`; there are memory, postgres";
        assert_eq!(wrong.err().as_deref(), Some(expected));
        assert!(chosen(all(), &of(Some("memory"), Some("postgres://x"))).is_err());
    }

    #[test]
    fn every_backend_folder_is_found() {
        let found = backends(&root()).unwrap_or_default();
        assert!(found.contains(&"memory".to_owned()) && found.contains(&"sqlite".to_owned()));
    }
}
