//! The simulator: whole fleets in virtual time, judged against the promises.
//!
//! A simulation runs the real engine: workers with clients and stores of their own, random workflow programs, and
//! whatever can go wrong between them, all drawn from one seed. In the end every run is held against a direct evaluator
//! of its program and against the promises. Equal seeds give equal traces, so a seed is a bug report.
//!
//! Invariants: nothing waits for real time, and nothing is left to the operating system's chance.

mod abroad;
#[cfg(feature = "broken")]
mod broken;
mod check;
mod evaluate;
mod fleet;
mod program;
mod record;
mod scenario;
mod shrink;
mod weather;
mod workflow;

use std::collections::BTreeMap;
use std::sync::Arc;

use longhaul_core::backend::Backend;
use longhaul_core::clock::BackendClock;

use self::abroad::Abroad;
pub use self::record::Violation;
use self::scenario::Scenario;

/// Is what a simulation found.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed that it was drawn from.
    pub seed: u64,
    /// Promises that were not kept; none in a right engine.
    pub violations: Vec<Violation>,
    /// How many turns were committed.
    pub commits: u64,
    /// How many requests the store answered.
    pub requests: u64,
    /// A hash of everything that happened.
    pub trace: u64,
    /// How often each fault was injected.
    pub faults: BTreeMap<&'static str, u64>,
    /// How often each rare branch was reached.
    pub marks: BTreeMap<&'static str, u64>,
}

/// Lists the names of all faults, in order.
pub const FAULTS: &[&str] = &weather::FAULTS;

/// Lists the names of all rare branches, in order.
pub const MARKS: &[&str] = &record::MARKS;

/// Simulates the fleet and the programs that a seed stands for.
#[must_use]
pub fn simulate(seed: u64) -> Report {
    fleet::run(&Scenario::draw(seed), Flaw::default())
}

/// Simulates what a seed stands for on a store that lives on another runtime, such as a server's.
///
/// `open` gets the clock that the store must compare times with, and returns one that is empty. It is called once, and the
/// store is asked from `runtime`, which must not be the one of the caller.
#[must_use]
pub fn simulate_on(
    seed: u64,
    runtime: &tokio::runtime::Handle,
    open: impl FnOnce(BackendClock) -> Arc<dyn Backend>,
) -> Report {
    let abroad = |simulated: BackendClock| -> Arc<dyn Backend> {
        let clock = BackendClock::manual(simulated.now());
        let store = open(clock.clone());
        Arc::new(Abroad::new(store, runtime.clone(), simulated, clock))
    };
    fleet::run_on(&Scenario::draw(seed), Flaw::default(), abroad)
}

/// Simulates a scenario that was written down, such as a shrunk one.
///
/// # Errors
/// When the text is no scenario.
pub fn simulate_scenario(text: &str) -> Result<Report, serde_json::Error> {
    let scenario: Scenario = serde_json::from_str(text)?;
    Ok(fleet::run(&scenario, Flaw::default()))
}

/// Makes the smallest test it can find of a seed that breaks a promise: the source of a Rust test.
#[must_use]
pub fn shrink(seed: u64) -> String {
    shrink::to_test(&Scenario::draw(seed), Flaw::default())
}

/// Names every wrong engine and store that the simulator must find out.
#[cfg(feature = "broken")]
pub fn broken() -> impl Iterator<Item = &'static str> {
    broken::ALL.iter().map(|(name, _)| *name)
}

/// Simulates a seed with an engine or a store that is wrong; none when no such variant exists.
#[cfg(feature = "broken")]
#[must_use]
pub fn simulate_broken(seed: u64, name: &str) -> Option<Report> {
    let (_, wrong) = broken::ALL.iter().find(|(known, _)| *known == name)?;
    Some(fleet::run(&Scenario::draw(seed), Flaw(Some(*wrong))))
}

/// Says what is wrong on purpose.
#[derive(Debug, Clone, Copy, Default)]
#[cfg(feature = "broken")]
struct Flaw(Option<broken::Wrong>);

/// Says what is wrong on purpose: nothing, in this build.
#[derive(Debug, Clone, Copy, Default)]
#[cfg(not(feature = "broken"))]
struct Flaw(());
