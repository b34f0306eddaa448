//! What one pass of a workload measured, as a process of an engine tells it to the one that started it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Is whether a figure is good when it is high or when it is low.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// The higher, the better.
    More,
    /// The lower, the better.
    Less,
}

/// Is one figure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figure {
    /// What was measured, and in which unit.
    pub measure: String,
    /// How much of it, or why it cannot be measured.
    pub value: Result<f64, String>,
    /// Whether that is good.
    pub better: Better,
}

impl Figure {
    /// Makes a figure that is good when it is high.
    #[must_use]
    pub fn more(measure: &str, value: f64) -> Self {
        Self {
            measure: measure.to_owned(),
            value: Ok(value),
            better: Better::More,
        }
    }

    /// Says why there is no figure.
    #[must_use]
    pub fn not_possible(measure: &str, reason: &str) -> Self {
        Self {
            measure: measure.to_owned(),
            value: Err(format!("not possible: {reason}")),
            better: Better::Less,
        }
    }

    /// Makes a figure that is good when it is low.
    #[must_use]
    pub fn less(measure: &str, value: f64) -> Self {
        Self {
            better: Better::Less,
            ..Self::more(measure, value)
        }
    }
}

/// Makes the figures of the middle and of the slowest of a hundred.
pub(crate) fn latencies(times: &mut [Duration]) -> Vec<Figure> {
    times.sort_unstable();
    let of = |percent: usize| {
        let place = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        millis(times.get(place).copied().unwrap_or_default())
    };
    vec![
        Figure::less("ms, p50", of(50)),
        Figure::less("ms, p99", of(99)),
    ]
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// Returns a count as a number to divide by.
pub(crate) fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_measured() {
        let mut times: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        let values = latencies(&mut times).into_iter().map(|one| one.value);
        assert_eq!(values.collect::<Vec<_>>(), [Ok(51.0), Ok(100.0)]);
        let none = latencies(&mut []);
        assert_eq!(none.first().map(|one| &one.value), Some(&Ok(0.0)));
    }
}
