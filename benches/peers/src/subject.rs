//! An engine that is measured: its program, and the processes of it that a pass takes.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use peers::figure::Figure;
use peers::parked::Idle;
use peers::sizes::Sizes;
use peers::{About, Store, Succession, Workload};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use crate::place::Place;

/// Is which engine the others are compared with.
pub(crate) const OURS: &str = "longhaul";

/// Lists the engines with the lock files that hold their versions.
const ENGINES: [(&str, &str); 3] = [
    (OURS, include_str!("../Cargo.lock")),
    ("durare", include_str!("../durare/Cargo.lock")),
    ("dbos", include_str!("../Cargo.lock")),
];

/// Is how long a process may be silent.
const PATIENCE: Duration = Duration::from_mins(10);

/// Is the least that the memory of so many parked workflows can be told apart by.
const LEAST_BYTES: f64 = 1.0;

/// Is an engine with its program.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    pub(crate) about: About,
    program: PathBuf,
    is_quick: bool,
}

impl Subject {
    /// Finds the programs of all engines beside this one.
    pub(crate) fn all(is_quick: bool) -> Result<Vec<Self>> {
        ENGINES
            .map(|(name, lock)| Self::find(name, lock, is_quick))
            .into_iter()
            .collect()
    }

    fn find(name: &'static str, lock: &str, is_quick: bool) -> Result<Self> {
        let here = std::env::current_exe()?;
        let program = here.with_file_name(format!("peer-{name}"));
        let output = Command::new(&program).arg("about").output();
        let output = output.with_context(|| format!("{} cannot be started", program.display()))?;
        ensure!(output.status.success(), "{name} says nothing about itself");
        Ok(Self {
            name,
            version: locked_version(lock, name).context("it is in the lock file")?,
            about: serde_json::from_slice(&output.stdout)?,
            program,
            is_quick,
        })
    }

    /// Measures one pass on an empty store.
    pub(crate) async fn pass(
        &self,
        workload: Workload,
        store: Store,
        sizes: &Sizes,
    ) -> Result<Vec<Figure>> {
        match workload {
            Workload::W6 => self.parked(sizes).await,
            Workload::W7 => self.killed().await,
            _ => {
                let place = Place::new(store)?;
                let name = workload.name();
                let mut process = self.process(&["pass", &name, &place.url])?;
                Ok(serde_json::from_str(&process.line().await?)?)
            }
        }
    }

    /// Compares an idle worker beside an empty store with one beside parked workflows.
    async fn parked(&self, sizes: &Sizes) -> Result<Vec<Figure>> {
        let place = Place::new(Store::Postgres)?;
        let empty = self.idle(&place, 0).await?;
        let mut filler = self.process(&["fill", &place.url])?;
        filler.line().await?;
        filler.child.kill().await?;
        let idle = self.idle(&place, sizes.parked).await?;
        let runs = f64::from(u32::try_from(sizes.parked)?);
        let bytes = (idle.resident_bytes - empty.resident_bytes) / runs;
        Ok(vec![
            Figure::less(
                "bytes of memory per parked workflow",
                bytes.max(LEAST_BYTES),
            ),
            Figure::less("MB of memory of the idle worker", idle.resident_bytes / 1e6),
            Figure::less("% of a core of the idle worker", idle.cpu_percent),
            Figure::less("statements/s of the idle worker", idle.statements),
        ])
    }

    async fn idle(&self, place: &Place, parked: usize) -> Result<Idle> {
        let mut process = self.process(&["idle", &place.url, &parked.to_string()])?;
        Ok(serde_json::from_str(&process.line().await?)?)
    }

    /// Kills a worker, and waits for the results of its workflows elsewhere.
    async fn killed(&self) -> Result<Vec<Figure>> {
        let elsewhere = "s, another worker runs already";
        let taken_over = match self.about.succession {
            Succession::TakeOver => Figure::less(elsewhere, self.taken_over().await?.as_secs_f64()),
            Succession::Restart => Figure::not_possible(
                elsewhere,
                "no worker notices by itself that another is dead",
            ),
        };
        let again = self.restarted().await?.as_secs_f64();
        let again = Figure::less("s, the process is started again at once", again);
        Ok(vec![taken_over, again])
    }

    async fn taken_over(&self) -> Result<Duration> {
        let place = Place::new(Store::Postgres)?;
        let mut victim = self.process(&["victim", &place.url])?;
        victim.line().await?;
        let mut heir = self.process(&["heir", &place.url])?;
        heir.line().await?;
        let begun = Instant::now();
        victim.child.kill().await?;
        heir.line().await?;
        Ok(begun.elapsed())
    }

    async fn restarted(&self) -> Result<Duration> {
        let place = Place::new(Store::Postgres)?;
        let mut victim = self.process(&["victim", &place.url])?;
        victim.line().await?;
        let begun = Instant::now();
        victim.child.kill().await?;
        let mut heir = self.process(&["heir", &place.url])?;
        heir.line().await?;
        heir.line().await?;
        Ok(begun.elapsed())
    }

    fn process(&self, arguments: &[&str]) -> Result<Process> {
        let mut child = tokio::process::Command::new(&self.program)
            .args(arguments)
            .args(self.is_quick.then_some("--quick"))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().context("the process has an output")?;
        Ok(Process {
            child,
            lines: BufReader::new(output).lines(),
        })
    }
}

/// Is a process of an engine, which dies with this.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    async fn line(&mut self) -> Result<String> {
        let next = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        match next.context("it was silent for too long")?? {
            Some(line) => Ok(line),
            None => bail!("the process ended: {}", self.child.wait().await?),
        }
    }
}

/// Returns the version of a package in a lock file.
fn locked_version(lock: &str, name: &str) -> Option<String> {
    let (_, after) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    Some(after.split('"').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_has_a_version() {
        for (name, lock) in ENGINES {
            assert!(locked_version(lock, name).is_some(), "{name}");
        }
    }
}
