//! The simulator judged: a right engine keeps its promises, a wrong one is found out, and a seed says all.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use longhaul_testing::simulate::{self, FAULTS, MARKS, Report};

/// Is how many seeds a right engine is judged by here; `cargo xtask simulate` takes as many as wanted.
const SEEDS: u64 = 1_500;

/// Are seeds besides, which reach what one of thousands does: a signal and a time limit in one turn.
const RARE_SEEDS: [u64; 2] = [12_686, 18_253];

/// Is how many seeds may pass before a wrong engine is found out.
const SEEDS_UNTIL_FOUND: u64 = 3_000;

/// Calls `work` with each number below `count`, on every processor.
fn on_every_processor(count: u64, work: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    work(number);
                }
            });
        }
    });
}

fn add(total: &mut BTreeMap<&'static str, u64>, counts: &BTreeMap<&'static str, u64>) {
    for (name, count) in counts {
        *total.entry(name).or_default() += count;
    }
}

#[test]
fn right_engine_keeps_p1_to_p9_under_every_fault_and_reaches_every_rare_branch() {
    let reports: Mutex<Vec<Report>> = Mutex::default();
    let seeds: Vec<u64> = (1..=SEEDS).chain(RARE_SEEDS).collect();
    on_every_processor(seeds.len() as u64, |at| {
        let seed = usize::try_from(at).ok().and_then(|at| seeds.get(at));
        let report = simulate::simulate(*seed.unwrap());
        let mut reports = reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.push(report);
    });
    let (mut faults, mut marks) = (BTreeMap::new(), BTreeMap::new());
    for report in reports.into_inner().unwrap_or_else(PoisonError::into_inner) {
        assert_eq!(report.violations, [], "{}", simulate::shrink(report.seed));
        add(&mut faults, &report.faults);
        add(&mut marks, &report.marks);
    }
    let missing = |names: &[&'static str], reached: &BTreeMap<&'static str, u64>| -> Vec<_> {
        let missing = names.iter().filter(|name| !reached.contains_key(*name));
        missing.copied().collect()
    };
    assert_eq!(missing(FAULTS, &faults), Vec::<&str>::new());
    assert_eq!(missing(MARKS, &marks), Vec::<&str>::new());
}

#[test]
fn same_seed_gives_the_same_trace_and_another_seed_another() {
    let traces: Vec<_> = (1..=40)
        .map(|seed| simulate::simulate(seed).trace)
        .collect();
    let again: Vec<_> = (1..=40)
        .map(|seed| simulate::simulate(seed).trace)
        .collect();
    assert_eq!(traces, again);
    let different: std::collections::BTreeSet<_> = traces.iter().collect();
    assert!(different.len() > 35, "{} different traces", different.len());
}

#[test]
fn every_wrong_engine_and_store_is_found_out() {
    let names: Vec<_> = simulate::broken().collect();
    assert!(names.len() >= 12);
    let missed: Mutex<Vec<&str>> = Mutex::default();
    on_every_processor(names.len() as u64, |at| {
        let Some(name) = usize::try_from(at).ok().and_then(|at| names.get(at)) else {
            return;
        };
        let is_found = (1..=SEEDS_UNTIL_FOUND).any(|seed| {
            let report = simulate::simulate_broken(seed, name);
            report.is_some_and(|report| !report.violations.is_empty())
        });
        if !is_found {
            let mut missed = missed.lock().unwrap_or_else(PoisonError::into_inner);
            missed.push(name);
        }
    });
    let missed = missed.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(missed, Vec::<&str>::new());
}

#[test]
fn text_that_is_no_scenario_is_refused() {
    let error = simulate::simulate_scenario("{\"seed\":1}").err();
    assert!(error.is_some_and(|error| error.to_string().contains("missing field")));
}
