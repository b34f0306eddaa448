//! What is measured, as it is printed and written.
//!
//! Invariants: the names of fields are those of `--json`, and do not change. A figure that was not measured is not there.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Is one figure, with the limit that it is compared with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The workload, from `W1` to `W10`, or `SCALE`.
    pub(crate) workload: String,
    /// `memory`, `sqlite`, `postgres` or `redis`.
    pub(crate) backend: String,
    /// How many of it there are at a time.
    pub(crate) in_flight: usize,
    /// What an acknowledged write survives, in the backend's words.
    pub(crate) durability: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    pub(crate) limit: Option<f64>,
    pub(crate) limit_of: Option<String>,
    /// The value over the limit, or the limit over the value where less is better: 1 is as good as the limit.
    pub(crate) ratio: Option<f64>,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    /// What was counted besides.
    pub(crate) counts: BTreeMap<String, f64>,
    /// What differs from the default options, and what is measured.
    pub(crate) note: String,
}

impl Row {
    pub(crate) fn new(workload: &str, value: f64, unit: &str) -> Self {
        Self {
            workload: workload.to_owned(),
            backend: String::new(),
            in_flight: 1,
            durability: String::new(),
            value,
            unit: unit.to_owned(),
            limit: None,
            limit_of: None,
            ratio: None,
            p50_ms: None,
            p99_ms: None,
            counts: BTreeMap::new(),
            note: String::new(),
        }
    }

    pub(crate) const fn in_flight(mut self, in_flight: usize) -> Self {
        self.in_flight = in_flight;
        self
    }

    /// Compares a rate with the highest there can be.
    pub(crate) fn below(mut self, limit: f64, of: &str) -> Self {
        self.limit = Some(limit);
        self.limit_of = Some(of.to_owned());
        self.ratio = Some(self.value / limit);
        self
    }

    /// Compares a time with the shortest there can be.
    pub(crate) fn above(mut self, limit: f64, of: &str) -> Self {
        self = self.below(limit, of);
        self.ratio = Some(limit / self.value);
        self
    }

    pub(crate) fn latencies(mut self, times: &mut [Duration]) -> Self {
        times.sort_unstable();
        self.p50_ms = Some(millis(percentile(times, 50)));
        self.p99_ms = Some(millis(percentile(times, 99)));
        self
    }

    pub(crate) fn count(mut self, name: &str, value: f64) -> Self {
        self.counts.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Returns the row as a line of a table.
    pub(crate) fn cells(&self) -> [String; 8] {
        let some = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), short);
        let counts: Vec<_> = self
            .counts
            .iter()
            .map(|(name, value)| format!("{name} {}", short(*value)))
            .collect();
        [
            self.workload.clone(),
            format!("{} {}", self.backend, self.durability),
            self.in_flight.to_string(),
            format!("{} {}", short(self.value), self.unit),
            match (&self.limit, &self.limit_of) {
                (Some(limit), Some(of)) => format!("{} {of}", short(*limit)),
                _ => "-".to_owned(),
            },
            some(self.ratio),
            match (self.p50_ms, self.p99_ms) {
                (Some(half), Some(most)) => format!("{} / {}", short(half), short(most)),
                _ => "-".to_owned(),
            },
            [counts.join(", "), self.note.clone()]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("; "),
        ]
    }
}

/// Returns the time below which so many percent are; 0 of none.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or_default()
}

pub(crate) const fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
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
    fn percentiles_are_those_of_what_was_measured() {
        let mut times: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        let row = Row::new("W2", 1.0, "ms").latencies(&mut times);
        assert_eq!((row.p50_ms, row.p99_ms), (Some(51.0), Some(100.0)));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }

    #[test]
    fn ratio_is_one_at_the_limit_and_less_where_it_is_worse() {
        let rate = Row::new("W3", 50.0, "steps/s").below(100.0, "commits/s");
        let time = Row::new("W2", 4.0, "ms").above(2.0, "ms of a commit");
        assert_eq!((rate.ratio, time.ratio), (Some(0.5), Some(0.5)));
    }
}
