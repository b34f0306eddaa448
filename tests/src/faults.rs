//! Every case once more for each kind of fault, with one fault in each run, over a caller that keeps to the contract.
//!
//! Invariants: the name of a case decides which of its calls goes wrong. A run that its fault does not reach fails.
//! What the contract does not promise to a caller whose call went wrong stands in [`EXCEPTIONS`], each with its reason;
//! such a case gets the fault at another call, and none is left out.

mod exceptions;
mod plan;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use longhaul_core::backend::Backend;
use longhaul_core::clock::BackendClock;

pub use self::exceptions::{EXCEPTIONS, Exception};
use self::plan::{One, Recorder};
use crate::chance::Chance;
use crate::faulty::{Faulty, Operation, Plan};
use crate::insistent::Insistent;
use crate::{CASES, Case, Fixture, World};

/// Is the variable that asks for every fault at every call when it is `all`; a run with it takes minutes.
pub const VARIABLE: &str = "LONGHAUL_FAULTS";

/// Says what goes wrong with the one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mishap {
    /// It is refused.
    Refused,
    /// It is applied and its answer is lost.
    AnswerLost,
    /// It is applied twice.
    Doubled,
    /// It waits before it is applied, and its answer waits too.
    Delayed,
}

impl Mishap {
    /// Lists all.
    pub const ALL: [Self; 4] = [
        Self::Refused,
        Self::AnswerLost,
        Self::Doubled,
        Self::Delayed,
    ];
}

/// Is one call of a case and what goes wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Injection {
    /// The method.
    pub operation: Operation,
    /// Which of the case's calls of it, from 0.
    pub nth: usize,
    /// What goes wrong.
    pub mishap: Mishap,
}

/// Tells how the cases did with one fault each.
#[derive(Debug, Default)]
pub struct Report {
    /// How many cases there were.
    pub cases: usize,
    /// In how many runs of a case the fault was injected and the case held.
    pub reached: usize,
    /// How often each fault was injected.
    pub mishaps: BTreeMap<Mishap, usize>,
    /// How often each method was hit.
    pub operations: BTreeMap<Operation, usize>,
    /// What did not hold.
    pub wrong: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cases, {} runs reached by a fault:",
            self.cases, self.reached
        )?;
        for (mishap, count) in &self.mishaps {
            write!(f, " {mishap:?} {count}")?;
        }
        write!(f, "; by method:")?;
        for (operation, count) in &self.operations {
            write!(f, " {operation} {count}")?;
        }
        Ok(())
    }
}

impl Report {
    async fn check<F: Fixture + 'static>(&mut self, case: &Case, injection: Injection) {
        let mut held = holds_under::<F>(case, injection).await;
        if held == Ok(false) {
            // A case that drops calls makes more or fewer of them from run to run; it always makes the first.
            let first = Injection {
                nth: 0,
                ..injection
            };
            held = holds_under::<F>(case, first).await;
        }
        match held {
            Ok(true) => {
                self.reached += 1;
                *self.mishaps.entry(injection.mishap).or_default() += 1;
                *self.operations.entry(injection.operation).or_default() += 1;
            }
            Ok(false) => self
                .wrong
                .push(format!("{case} is not reached by {injection:?}")),
            Err(why) => self
                .wrong
                .push(format!("{case} fails under {injection:?}: {why}")),
        }
    }

    fn check_that_none_is_zero(&mut self) {
        for mishap in Mishap::ALL {
            if !self.mishaps.contains_key(&mishap) {
                self.wrong.push(format!("no call was {mishap:?}"));
            }
        }
    }
}

/// Runs every case under one fault, on stores of `F`, and prints how many there were of each kind; under every fault
/// at every call when [`VARIABLE`] says `all`.
///
/// # Panics
/// When a case does not hold, is not reached, or a kind of fault was never injected.
#[expect(
    clippy::print_stdout,
    reason = "the figures are what the test is read for"
)]
pub fn check_all<F: Fixture + 'static>() {
    let is_every_call = std::env::var(VARIABLE).is_ok_and(|value| value == "all");
    let report = crate::runtime().block_on(async {
        let mut report = Report::default();
        for case in CASES {
            report.cases += 1;
            let calls = calls_of::<F>(case).await;
            let injections = if is_every_call { every } else { draw }(case, &calls);
            for injection in injections {
                report.check::<F>(case, injection).await;
            }
        }
        report.check_that_none_is_zero();
        report
    });
    println!("{report}");
    assert!(report.wrong.is_empty(), "{:#?}", report.wrong);
}

/// Checks that each exception names cases that there are, and that they fail without it.
///
/// # Panics
/// When an exception is not needed.
pub fn check_exceptions<F: Fixture + 'static>() {
    crate::runtime().block_on(async {
        for exception in EXCEPTIONS {
            for case in exceptions::cases_of(exception) {
                assert!(
                    is_needed::<F>(exception, case).await,
                    "{case}: {exception:?}"
                );
            }
        }
    });
}

async fn is_needed<F: Fixture + 'static>(exception: &Exception, case: &Case) -> bool {
    let operation = exception.operation;
    let count = calls_of::<F>(case).await.remove(&operation).unwrap_or(0);
    for mishap in exception.mishaps {
        for nth in 0..count {
            let injection = Injection {
                operation,
                nth,
                mishap: *mishap,
            };
            if holds_under::<F>(case, injection).await.is_err() {
                return true;
            }
        }
    }
    false
}

/// Counts the calls of a case.
async fn calls_of<F: Fixture + 'static>(case: &Case) -> BTreeMap<Operation, usize> {
    let recorder = Arc::new(Recorder::default());
    let plan: Arc<dyn Plan> = Arc::<Recorder>::clone(&recorder);
    let ended = run_over::<F>(case, plan).await;
    assert_eq!(ended, Ok(()), "{case} fails without a fault");
    recorder.calls()
}

/// Tells whether a case was reached by a fault, or why it does not hold under it.
pub async fn holds_under<F: Fixture + 'static>(
    case: &Case,
    injection: Injection,
) -> Result<bool, String> {
    let one = Arc::new(One::new(injection));
    let plan: Arc<dyn Plan> = Arc::<One>::clone(&one);
    run_over::<F>(case, plan).await?;
    Ok(one.is_injected())
}

async fn run_over<F: Fixture + 'static>(case: &Case, plan: Arc<dyn Plan>) -> Result<(), String> {
    let fixture = FaultyFixture::over(F::open().await, plan);
    let check = case.check;
    let checking = async move { check(World::over(Box::new(fixture)).await).await };
    tokio::spawn(checking).await.map_err(|error| {
        let panic = error.into_panic();
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic without a text")
            .to_owned()
    })
}

/// Returns every fault at every call of a case.
fn every(case: &Case, calls: &BTreeMap<Operation, usize>) -> Vec<Injection> {
    let mut all = Vec::new();
    for mishap in Mishap::ALL {
        for (&operation, &count) in calls {
            if exceptions::allows(case, operation, mishap) {
                let of = |nth| Injection {
                    operation,
                    nth,
                    mishap,
                };
                all.extend((0..count).map(of));
            }
        }
    }
    all
}

/// Draws a call for each fault: first its method, so that those which a case calls often do not crowd out the others.
fn draw(case: &Case, calls: &BTreeMap<Operation, usize>) -> Vec<Injection> {
    let mut chance = Chance::of_name(&case.to_string());
    let mut draw_one = |mishap| {
        let mut operations: Vec<_> = calls.keys().copied().collect();
        operations.retain(|operation| exceptions::allows(case, *operation, mishap));
        if operations.len() > 1 {
            operations.retain(|operation| *operation != Operation::Join);
        }
        let operation = *chance.pick(&operations);
        let nth = chance.below(calls[&operation]);
        Injection {
            operation,
            nth,
            mishap,
        }
    };
    Mishap::ALL.map(&mut draw_one).to_vec()
}

/// Opens stores of `F` in which calls go wrong, behind a caller that asks again.
struct FaultyFixture<F> {
    inner: F,
    backend: Option<Arc<dyn Backend>>,
    plan: Arc<dyn Plan>,
}

impl<F: Fixture> FaultyFixture<F> {
    fn over(inner: F, plan: Arc<dyn Plan>) -> Self {
        Self {
            backend: Some(wrap(inner.backend(), &plan)),
            inner,
            plan,
        }
    }
}

fn wrap(right: Arc<dyn Backend>, plan: &Arc<dyn Plan>) -> Arc<dyn Backend> {
    let faulty = Faulty::new(Arc::clone(&right), Arc::clone(plan));
    Arc::new(Insistent::new(Arc::new(faulty), right))
}

#[async_trait]
impl<F: Fixture> Fixture for FaultyFixture<F> {
    async fn open() -> Self {
        Self::over(F::open().await, Arc::new(Recorder::default()))
    }

    fn backend(&self) -> Arc<dyn Backend> {
        self.backend.clone().unwrap()
    }

    fn clock(&self) -> &BackendClock {
        self.inner.clock()
    }

    async fn reopen(&mut self) -> Arc<dyn Backend> {
        // The old handle goes first, as in a restart.
        self.backend = None;
        self.backend = Some(wrap(self.inner.reopen().await, &self.plan));
        self.backend()
    }
}
