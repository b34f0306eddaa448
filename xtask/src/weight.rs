//! What a program that uses Longhaul has to compile: how many crates, and for how long.
//!
//! Invariants: crates are counted without compiling and without asking a registry. The time is that of a program of its
//! own with nothing compiled before.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::process::{cargo, printed, root};

/// Is a set of features that users choose, and what it may cost them.
struct Choice {
    name: &'static str,
    features: &'static [&'static str],
    crates_max: usize,
    /// The time that a release build should take on two cores.
    target: Duration,
}

const CHOICES: [Choice; 3] = [
    Choice {
        name: "memory alone",
        features: &["macros", "memory"],
        crates_max: 65,
        target: Duration::from_secs(40),
    },
    Choice {
        name: "default features",
        features: &["default"],
        crates_max: 140,
        target: Duration::from_secs(100),
    },
    Choice {
        name: "default features and postgres",
        features: &["default", "postgres"],
        // 155 without what the crate `sqlx` asks for unasked: migrations, which bring ten crates.
        crates_max: 163,
        target: Duration::from_secs(180),
    },
];

/// Is the first program of a user.
const HELLO: &str = r#"//! Runs one workflow.

use longhaul::prelude::*;

#[task]
async fn greet(name: String) -> Result<String> {
    Ok(format!("hello {name}"))
}

#[workflow]
async fn hello(ctx: Context, name: String) -> Result<String> {
    ctx.run(greet(name)).await
}

#[tokio::main]
async fn main() -> Result<()> {
    let client = Client::connect("memory:").await?;
    let worker = Worker::builder(&client).start().await?;
    let run = client.start(hello("world".into()).id("hello")).await?;
    println!("{}", run.result().await?);
    worker.shutdown().await
}
"#;

/// Fails when a choice brings more crates than it may.
pub(crate) fn check() -> Result<()> {
    for choice in &CHOICES {
        let crates = choice.crates()?;
        println!(
            "--- crates with {}: {} of {}",
            choice.name,
            crates.len(),
            choice.crates_max
        );
        ensure!(
            crates.len() <= choice.crates_max,
            "{} brings {} crates, and may bring {}; see who needs them with `cargo tree --package longhaul \
             --no-default-features --features {} --edges normal,build`, or raise the limit in xtask/src/weight.rs and say \
             why",
            choice.name,
            crates.len(),
            choice.crates_max,
            choice.features.join(",")
        );
    }
    Ok(())
}

/// Builds a first program with each choice, and prints how long that takes.
pub(crate) fn measure() -> Result<()> {
    for choice in &CHOICES {
        let (time, processor_time) = choice.build()?;
        println!(
            "{}: {} crates, release build from nothing in {:.0} s (target: {} s), {:.0} s of processors",
            choice.name,
            choice.crates()?.len(),
            time.as_secs_f64(),
            choice.target.as_secs(),
            processor_time.as_secs_f64()
        );
    }
    Ok(())
}

impl Choice {
    /// Lists the crates that are compiled for this machine, those of Longhaul among them.
    fn crates(&self) -> Result<BTreeSet<String>> {
        let features = self.features.join(",");
        let tree = printed(&mut cargo(&[
            "tree",
            "--package=longhaul",
            "--no-default-features",
            "--features",
            &features,
            "--edges=normal,build",
            "--prefix=none",
            "--format={p}",
            "--locked",
            "--offline",
        ]))?;
        Ok(names(&tree))
    }

    /// Returns how long it took, and how long processors were busy with it.
    fn build(&self) -> Result<(Duration, Duration)> {
        let folder = tempfile::Builder::new()
            .prefix("longhaul-build-")
            .tempdir()?;
        self.write_program(folder.path())?;
        // Whatever is not there yet is downloaded before the time counts.
        let is_fetched = cargo(&["fetch"]).current_dir(&folder).status()?.success();
        ensure!(is_fetched, "the dependencies cannot be fetched");
        let (begun, busy_before) = (Instant::now(), busy_with_children()?);
        let status = cargo(&["build", "--release", "--offline", "--quiet"])
            .current_dir(&folder)
            .env("CARGO_TARGET_DIR", folder.path().join("target"))
            .env_remove("RUSTC_WRAPPER")
            .status()?;
        ensure!(status.success(), "the build failed");
        let busy = busy_with_children()?.saturating_sub(busy_before);
        Ok((begun.elapsed(), busy))
    }

    fn write_program(&self, folder: &Path) -> Result<()> {
        let manifest = format!(
            "[package]\nname = \"hello\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
             longhaul = {{ path = {:?}, default-features = false, features = {:?} }}\n\
             serde = {{ version = \"1\", features = [\"derive\"] }}\n\
             tokio = {{ version = \"1\", features = [\"macros\", \"rt-multi-thread\"] }}\n",
            root(),
            self.features
        );
        std::fs::write(folder.join("Cargo.toml"), manifest)?;
        std::fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock"))?;
        std::fs::create_dir(folder.join("src"))?;
        Ok(std::fs::write(folder.join("src/main.rs"), HELLO)?)
    }
}

/// Returns the processor time of this process's children that have ended, and of theirs.
fn busy_with_children() -> Result<Duration> {
    /// Is the unit of `/proc/self/stat`: 100 ticks a second, on every Linux of today.
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(13).take(2);
    let ticks: u32 = ticks.map(|one| one.parse().unwrap_or(0)).sum();
    Ok(TICK * ticks)
}

/// Reads name and version from each line of `cargo tree`, which names a crate as often as it is needed.
fn names(tree: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let words: Vec<_> = line.split(' ').take(2).collect();
        words.join(" ")
    };
    let is_crate = |line: &&str| !line.is_empty() && !line.starts_with('[');
    tree.lines().filter(is_crate).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crate_counts_once_and_each_version_of_it() {
        let tree = "a v1.0.0 (/some/where)\nb v1.0.0\nb v2.0.0 (proc-macro)\n\nb v1.0.0 (*)\n";
        assert_eq!(
            names(tree).into_iter().collect::<Vec<_>>(),
            ["a v1.0.0", "b v1.0.0", "b v2.0.0"]
        );
    }
}
