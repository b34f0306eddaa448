//! One measure of one workload, of all engines.
//!
//! Invariants: the names of fields are those of `--json`, and do not change. What an engine cannot do is said, not left
//! out.

use std::collections::BTreeMap;

use peers::figure::{Better, Figure};
use peers::{Store, Workload};
use serde::Serialize;

use crate::subject::{OURS, Subject};

/// Is what one engine showed in all passes of a workload.
#[derive(Debug, Default)]
pub(crate) struct Cell {
    pub(crate) passes: Vec<Vec<Figure>>,
    refused: Option<String>,
}

impl Cell {
    /// Notes why a pass has no figures.
    pub(crate) fn refuse(&mut self, reason: String) {
        self.refused = Some(reason);
    }
}

/// Is one measure of all engines.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// The workload, from `W1` to `W7`.
    pub(crate) workload: String,
    pub(crate) store: Store,
    /// What was measured, and in which unit.
    pub(crate) measure: String,
    pub(crate) better: Better,
    /// What each engine showed.
    pub(crate) engines: BTreeMap<&'static str, Shown>,
    /// How many times as good as each other engine ours is.
    pub(crate) ratios: BTreeMap<&'static str, f64>,
}

/// Is what one engine showed of one measure.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Shown {
    /// The median of its passes.
    Measured { median: f64, passes: Vec<f64> },
    /// Why there is none.
    Refused { reason: String },
}

impl Shown {
    fn of(cell: &Cell, measure: &str) -> Self {
        if let Some(reason) = &cell.refused {
            return Self::Refused {
                reason: reason.clone(),
            };
        }
        let figures = cell.passes.iter().flatten();
        let values = figures
            .filter(|one| one.measure == measure)
            .map(|one| one.value.clone());
        let passes: Vec<f64> = match values.collect() {
            Ok(passes) => passes,
            Err(reason) => return Self::Refused { reason },
        };
        let mut sorted = passes.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.get(sorted.len() / 2) {
            Some(median) => Self::Measured {
                median: *median,
                passes,
            },
            None => Self::Refused {
                reason: "not measured".to_owned(),
            },
        }
    }

    fn median(&self) -> Option<f64> {
        match self {
            Self::Measured { median, .. } => Some(*median),
            Self::Refused { .. } => None,
        }
    }

    /// Returns it as the cell of a table.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Measured { median, .. } => short(*median),
            Self::Refused { reason } => reason.clone(),
        }
    }
}

/// Makes the rows of a workload: one for each measure that any engine showed.
pub(crate) fn rows_of(
    workload: Workload,
    store: Store,
    subjects: &[Subject],
    cells: &[Cell],
) -> Vec<Row> {
    let full = cells.iter().find_map(|cell| cell.passes.first());
    let figures = full.into_iter().flatten();
    let row = |figure: &Figure| {
        let shown = subjects
            .iter()
            .zip(cells)
            .map(|(subject, cell)| (subject.name, Shown::of(cell, &figure.measure)));
        let engines: BTreeMap<_, _> = shown.collect();
        Row {
            workload: workload.name(),
            store,
            measure: figure.measure.clone(),
            better: figure.better,
            ratios: ratios(&engines, figure.better),
            engines,
        }
    };
    figures.map(row).collect()
}

fn ratios(engines: &BTreeMap<&'static str, Shown>, better: Better) -> BTreeMap<&'static str, f64> {
    let Some(ours) = engines.get(OURS).and_then(Shown::median) else {
        return BTreeMap::new();
    };
    let others = engines.iter().filter(|(name, _)| **name != OURS);
    let ratio = |(name, shown): (&&'static str, &Shown)| {
        let theirs = shown.median()?;
        let ratio = match better {
            Better::More => ours / theirs,
            Better::Less => theirs / ours,
        };
        ratio.is_finite().then_some((*name, ratio))
    };
    others.filter_map(ratio).collect()
}

/// Prints a number with three digits that say something.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_is_above_one_where_ours_is_better() {
        let shown = |median| Shown::Measured {
            median,
            passes: vec![median],
        };
        let engines = BTreeMap::from([(OURS, shown(10.0)), ("other", shown(5.0))]);
        assert_eq!(ratios(&engines, Better::More).get("other"), Some(&2.0));
        assert_eq!(ratios(&engines, Better::Less).get("other"), Some(&0.5));
    }

    #[test]
    fn median_counts_and_a_refusal_is_shown() {
        let mut cell = Cell::default();
        for value in [3.0, 1.0, 2.0] {
            cell.passes.push(vec![Figure::less("ms", value)]);
        }
        assert_eq!(Shown::of(&cell, "ms").median(), Some(2.0));
        cell.refuse("not possible: it has none".to_owned());
        assert_eq!(Shown::of(&cell, "ms").text(), "not possible: it has none");
    }
}
