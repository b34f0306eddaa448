//! When a failed attempt is followed by another.
//!
//! Pure: errors and counts in, a delay out; never reads a clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// Is the number of attempts of one invocation that may be lost to crashes before its run is blocked.
pub const LOST_ATTEMPTS_MAX: u32 = 10;

/// Is the number of lost attempts from which each further one is recorded before it starts.
///
/// A local attempt leaves no trace of its start, so one that only waited for a slot when its worker died counts as lost
/// too. From here on the trace is written, and only attempts that did start count.
pub const TRACED_FROM_LOST: u32 = 3;

/// Is the number of workers that may die in a row when they replay a run; then the run is blocked.
pub const RECOVERIES_MAX: usize = 5;

/// Is the number of ownerships lost in a row without progress from which a run is a suspect: it is replayed alone, and
/// after a record of that.
pub const SUSPECT_FROM_LOST: u32 = 2;

/// Says how often and how fast an invocation is tried again.
///
/// The delay doubles from `delay_min` to `delay_max`. Only recorded failures use up `retries`, not lost attempts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How many attempts may follow the first.
    pub retries: u32,
    /// The delay before the second attempt.
    pub delay_min: Duration,
    /// The longest delay.
    pub delay_max: Duration,
}

impl RetryPolicy {
    /// Never tries again; the default.
    pub const NONE: Self = Self::exponential(0);

    /// Tries `retries` times more, after 200 ms, 400 ms, ... 30 s.
    #[must_use]
    pub const fn exponential(retries: u32) -> Self {
        Self {
            retries,
            delay_min: Duration::from_millis(200),
            delay_max: Duration::from_secs(30),
        }
    }

    /// Sets the shortest and the longest delay.
    #[must_use]
    pub const fn backoff(mut self, delay_min: Duration, delay_max: Duration) -> Self {
        self.delay_min = delay_min;
        self.delay_max = delay_max;
        self
    }

    /// Returns the delay before the next attempt after `failures` recorded ones, the last of them `error`; none when
    /// the invocation has failed for good.
    #[must_use]
    pub fn next_delay(&self, failures: u32, error: &Error) -> Option<Duration> {
        if !error.is_retryable() || failures > self.retries {
            return None;
        }
        let doublings = failures.saturating_sub(1).min(31);
        let backoff = self
            .delay_min
            .saturating_mul(1 << doublings)
            .min(self.delay_max);
        Some(backoff.max(error.retry_delay().unwrap_or_default()))
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::NONE
    }
}

/// Reads a duration such as `500ms`, `10s`, `5m`, `24h` or `30d`.
///
/// # Errors
/// `InvalidInput` when the text is a number without a unit, or not a duration at all.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let wrong = || {
        Error::new(
            ErrorKind::InvalidInput,
            format!(
                "`{text}` is not a duration; write a number and ms, s, m, h or d, such as 500ms or 10s"
            ),
        )
    };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let millis_per_unit = match text.trim_start_matches(digits) {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(millis_per_unit)
        .map(Duration::from_millis)
        .ok_or_else(wrong)
}

macro_rules! duration_of {
    ($(#[$doc:meta])* $name:ident, $millis:literal) => {
        $(#[$doc])*
        #[must_use]
        pub const fn $name(count: u64) -> Duration {
            Duration::from_millis(count.saturating_mul($millis))
        }
    };
}

duration_of!(
    /// Returns a duration of `count` days of 24 hours.
    days, 86_400_000
);
duration_of!(
    /// Returns a duration of `count` hours.
    hours, 3_600_000
);
duration_of!(
    /// Returns a duration of `count` minutes.
    minutes, 60_000
);
duration_of!(
    /// Returns a duration of `count` seconds.
    seconds, 1_000
);
duration_of!(
    /// Returns a duration of `count` milliseconds.
    millis, 1
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_doubles_up_to_the_longest() {
        let policy = RetryPolicy::exponential(9)
            .backoff(Duration::from_millis(100), Duration::from_millis(350));
        let delays: Vec<_> = (1..=4)
            .map(|failures| {
                policy
                    .next_delay(failures, &Error::failed("x"))
                    .unwrap()
                    .as_millis()
            })
            .collect();
        assert_eq!(delays, [100, 200, 350, 350]);
    }

    #[test]
    fn retries_count_the_attempts_after_the_first() {
        let policy = RetryPolicy::exponential(1);
        assert!(policy.next_delay(1, &Error::failed("x")).is_some());
        assert_eq!(policy.next_delay(2, &Error::failed("x")), None);
        assert_eq!(RetryPolicy::NONE.next_delay(1, &Error::failed("x")), None);
    }

    #[test]
    fn permanent_error_ends_retries_and_a_hint_stretches_the_delay() {
        let policy = RetryPolicy::exponential(5);
        assert_eq!(
            policy.next_delay(1, &Error::permanent(Error::failed("x"))),
            None
        );
        let hinted = Error::retry_after(Error::failed("x"), Duration::from_secs(90));
        assert_eq!(policy.next_delay(1, &hinted), Some(Duration::from_secs(90)));
    }

    #[test]
    fn durations_are_written_as_words() {
        assert_eq!(days(2), hours(48));
        assert_eq!(hours(1), minutes(60));
        assert_eq!(minutes(1), seconds(60));
        assert_eq!(seconds(1), millis(1_000));
        assert!(days(u64::MAX) >= days(1));
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("24h").unwrap(), Duration::from_secs(86_400));
        assert_eq!(parse_duration("500ms").unwrap(), Duration::from_millis(500));
        for wrong in ["", "5", "s", "5 s", "-1s", "99999999999999999999d", "1w"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
