//! Two backends asked the same random operations, answer by answer.
//!
//! Invariants: a seed decides a list, so that a difference comes again. Every answer is compared, evened out only where
//! the contract leaves open what it is; each such place says why. A list that differs is shrunk before it is shown. A
//! comparison that never came by one of the [`Branch`]es fails, as it proves nothing about it.

mod action;
mod branch;
mod draw;
mod names;
mod pair;
mod perform;
mod send;
mod settle;
mod take;
mod turns;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

pub use self::action::Action;
pub use self::branch::Branch;
pub use self::pair::Difference;
use self::pair::Pair;
use crate::Fixture;

/// Is the variable that says how many lists are compared.
pub const VARIABLE: &str = "LONGHAUL_DIFFERENTIAL_LISTS";

/// Is how often a list is tried with some operations left out, at most.
const SHRINKS_MAX: usize = 400;

/// Tells what a comparison came to.
#[derive(Debug, Default)]
pub struct Report {
    /// How many calls were answered by both and compared.
    pub operations: usize,
    /// How many lists there were.
    pub lists: usize,
    /// How often each branch was reached.
    pub branches: BTreeMap<Branch, usize>,
    /// The lists that differ, shrunk.
    pub differences: Vec<Shrunk>,
}

/// Is a list on which the stores differ.
#[derive(Debug)]
pub struct Shrunk {
    /// Draws the list that it was shrunk from.
    pub seed: u64,
    /// What is left of it.
    pub actions: Vec<Action>,
    /// How the answers to the last one differ, or to what is read at the end.
    pub difference: Difference,
}

impl fmt::Display for Shrunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} differs after", self.seed)?;
        for action in &self.actions {
            writeln!(f, "  {action:?}")?;
        }
        writeln!(f, "{}", self.difference)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let differences = self.differences.len();
        let (operations, lists) = (self.operations, self.lists);
        writeln!(
            f,
            "{operations} operations compared, {lists} lists, {differences} differences"
        )?;
        for branch in Branch::ALL {
            let count = self.branches.get(branch).unwrap_or(&0);
            writeln!(f, "{count:>8}  {}", branch.as_str())?;
        }
        self.differences
            .iter()
            .try_for_each(|differs| differs.fmt(f))
    }
}

impl Report {
    /// Returns the branches that were not reached.
    #[must_use]
    pub fn missed(&self) -> Vec<&'static str> {
        let is_missed = |branch: &&Branch| !self.branches.contains_key(branch);
        let missed = Branch::ALL.iter().filter(is_missed);
        missed.map(|branch| branch.as_str()).collect()
    }
}

/// Compares two backends on the lists of some seeds, of `length` operations each, and prints what it came to.
///
/// # Panics
/// When they differ, or a branch was not reached.
#[expect(
    clippy::print_stdout,
    reason = "the figures are what the test is read for"
)]
pub fn compare<L, R>(
    seeds: Range<u64>,
    length: usize,
    left: impl AsyncFn() -> L,
    right: impl AsyncFn() -> R,
) where
    L: Fixture + 'static,
    R: Fixture + 'static,
{
    let report = run(seeds, length, left, right);
    println!("{report}");
    assert!(report.differences.is_empty(), "the backends differ");
    let missed = report.missed();
    assert!(missed.is_empty(), "never reached: {missed:?}");
}

/// Compares two backends on the lists of some seeds; ends with the first that differs.
pub fn run<L, R>(
    seeds: Range<u64>,
    length: usize,
    left: impl AsyncFn() -> L,
    right: impl AsyncFn() -> R,
) -> Report
where
    L: Fixture + 'static,
    R: Fixture + 'static,
{
    let open = async || {
        let (left, right) = (left().await, right().await);
        Pair::new(Box::new(left), Box::new(right), draw::WORKERS)
    };
    crate::runtime().block_on(async {
        let mut report = Report::default();
        for seed in seeds {
            let list: Vec<_> = (0..).zip(draw::draw(seed, length)).collect();
            let (pair, failed) = try_list(open().await, &list).await;
            report.lists += 1;
            report.operations += pair.operations;
            for (branch, count) in pair.branches {
                *report.branches.entry(branch).or_default() += count;
            }
            if let Some(failed) = failed {
                report
                    .differences
                    .push(shrink(seed, list, failed, open).await);
                break;
            }
        }
        report
    })
}

/// Returns the first seed whose list finds a difference, and what differs; for tests of the comparison itself.
pub fn first_difference<L, R>(
    seeds: Range<u64>,
    length: usize,
    left: impl AsyncFn() -> L,
    right: impl AsyncFn() -> R,
) -> Option<(u64, Difference)>
where
    L: Fixture + 'static,
    R: Fixture + 'static,
{
    crate::runtime().block_on(async {
        for seed in seeds {
            let (left, right) = (Box::new(left().await), Box::new(right().await));
            let pair = Pair::new(left, right, draw::WORKERS);
            let list: Vec<_> = (0..).zip(draw::draw(seed, length)).collect();
            let (_, failed) = try_list(pair, &list).await;
            if let Some(failed) = failed {
                return Some((seed, failed.difference));
            }
        }
        None
    })
}

/// Is an action with its tag, which draws the names of what it writes.
type Tagged = (u64, Action);

/// Says at which action of a list answers differed, or behind the last.
struct Failed {
    at: usize,
    difference: Difference,
}

async fn try_list(mut pair: Pair, list: &[Tagged]) -> (Pair, Option<Failed>) {
    for (at, (tag, action)) in list.iter().enumerate() {
        pair.begin(*tag);
        if let Err(difference) = perform::perform(&mut pair, action).await {
            return (pair, Some(Failed { at, difference }));
        }
    }
    pair.begin(u64::MAX >> 1);
    let settled = settle::settle(&mut pair).await;
    let at = list.len();
    let failed = settled.err().map(|difference| Failed { at, difference });
    (pair, failed)
}

/// Leaves operations out as long as the stores still differ: halves first, then quarters, down to single ones.
async fn shrink(
    seed: u64,
    mut list: Vec<Tagged>,
    mut failed: Failed,
    open: impl AsyncFn() -> Pair,
) -> Shrunk {
    list.truncate(failed.at + 1);
    let mut size = list.len().div_ceil(2);
    let mut tries = 0;
    while size > 0 {
        let mut from = 0;
        while from < list.len() && tries < SHRINKS_MAX {
            let mut fewer = list.clone();
            fewer.drain(from..list.len().min(from + size));
            tries += 1;
            match try_list(open().await, &fewer).await {
                (_, Some(still)) => {
                    fewer.truncate(still.at + 1);
                    list = fewer;
                    failed = still;
                }
                (_, None) => from += size,
            }
        }
        size /= 2;
    }
    Shrunk {
        seed,
        actions: list.into_iter().map(|(_, action)| action).collect(),
        difference: failed.difference,
    }
}

/// Returns how many lists [`VARIABLE`] asks for, or `usual`.
///
/// # Panics
/// When it is no number.
#[must_use]
pub fn lists_or(usual: u64) -> u64 {
    std::env::var(VARIABLE).map_or(usual, |lists| lists.parse().unwrap())
}
