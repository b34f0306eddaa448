//! `cargo xtask simulate`: many seeds, counted.
//!
//! Invariants: it fails on any violation, and on a fault or a rare branch that no seed reached.
#![expect(clippy::print_stdout, reason = "it talks to a person")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::Parser;
use longhaul_testing::simulate::{self, FAULTS, MARKS, Report};

/// Is how many seeds are simulated twice, in a hundred, to see that the trace is the same.
const TWICE_PERCENT: u64 = 5;

#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Judge engines that are wrong on purpose: `all`, or one by its name
    #[arg(long)]
    broken: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let is_good = match &arguments.broken {
        Some(which) => broken(&arguments, which),
        None => clean(&arguments),
    };
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[derive(Default)]
struct Total {
    commits: u64,
    requests: u64,
    faults: BTreeMap<&'static str, u64>,
    marks: BTreeMap<&'static str, u64>,
    failed: Vec<Report>,
    differing: Vec<u64>,
}

impl Total {
    fn add(&mut self, report: Report) {
        self.commits += report.commits;
        self.requests += report.requests;
        for (name, count) in &report.faults {
            *self.faults.entry(name).or_default() += count;
        }
        for (name, count) in &report.marks {
            *self.marks.entry(name).or_default() += count;
        }
        if !report.violations.is_empty() {
            self.failed.push(report);
        }
    }
}

fn clean(arguments: &Arguments) -> bool {
    let since = Instant::now();
    let next = AtomicU64::new(arguments.seed);
    let end = arguments.seed + arguments.seeds;
    let total = Mutex::new(Total::default());
    let lock = || total.lock().unwrap_or_else(PoisonError::into_inner);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let report = simulate::simulate(seed);
                    let is_twice = seed % 100 < TWICE_PERCENT;
                    if is_twice && simulate::simulate(seed).trace != report.trace {
                        lock().differing.push(seed);
                    }
                    lock().add(report);
                }
            });
        }
    });
    let total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    let seconds = since.elapsed().as_secs_f64();
    print_counts("faults", FAULTS, &total.faults);
    print_counts("rare branches", MARKS, &total.marks);
    print_failures(&total);
    let violations: usize = total
        .failed
        .iter()
        .map(|report| report.violations.len())
        .sum();
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = arguments.seeds as f64 / seconds;
    println!("{} requests", total.requests);
    println!(
        "{} seeds, {violations} violations, {} commits, {rate:.0} seeds/s",
        arguments.seeds, total.commits
    );
    let is_missing = |names: &[&'static str], counts: &BTreeMap<&'static str, u64>| {
        names.iter().any(|name| !counts.contains_key(name))
    };
    let is_vacuous = is_missing(FAULTS, &total.faults) || is_missing(MARKS, &total.marks);
    if is_vacuous {
        println!("a fault or a rare branch was not reached; take more seeds");
    }
    violations == 0 && total.differing.is_empty() && !is_vacuous
}

fn print_counts(what: &str, names: &[&'static str], counts: &BTreeMap<&'static str, u64>) {
    println!("{what}:");
    for name in names {
        println!(
            "  {:>9}  {name}",
            counts.get(name).copied().unwrap_or_default()
        );
    }
}

fn print_failures(total: &Total) {
    for seed in &total.differing {
        println!("seed {seed} gives another trace the second time");
    }
    let mut failed: Vec<_> = total.failed.iter().collect();
    failed.sort_by_key(|report| report.seed);
    for report in failed.iter().take(20) {
        for violation in report.violations.iter().take(3) {
            println!(
                "seed {}: {}: {}",
                report.seed, violation.promise, violation.what
            );
        }
    }
    if let Some(first) = failed.first() {
        println!("\n{}\n", simulate::shrink(first.seed));
    }
}

#[cfg(feature = "broken")]
fn broken(arguments: &Arguments, which: &str) -> bool {
    let names: Vec<_> = simulate::broken()
        .filter(|name| which == "all" || *name == which)
        .collect();
    let next = AtomicU64::new(0);
    let caught = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = usize::try_from(next.fetch_add(1, Ordering::Relaxed));
                    let Some(name) = at.ok().and_then(|at| names.get(at)) else {
                        return;
                    };
                    caught.fetch_add(u64::from(find_out(arguments, name)), Ordering::Relaxed);
                }
            });
        }
    });
    let caught = caught.into_inner();
    println!("{caught} of {} caught", names.len());
    !names.is_empty() && caught == names.len() as u64
}

#[cfg(feature = "broken")]
fn find_out(arguments: &Arguments, name: &str) -> bool {
    for seed in arguments.seed..arguments.seed + arguments.seeds {
        let report = simulate::simulate_broken(seed, name);
        let found = report.as_ref().and_then(|report| report.violations.first());
        if let Some(found) = found {
            let tried = seed - arguments.seed + 1;
            println!(
                "{name}: caught by seed {seed} ({tried} tried): {}: {}",
                found.promise, found.what
            );
            return true;
        }
    }
    println!("{name}: not caught by {} seeds", arguments.seeds);
    false
}

#[cfg(not(feature = "broken"))]
fn broken(_: &Arguments, _: &str) -> bool {
    println!("this build has no broken engines; build it with --features broken");
    false
}
