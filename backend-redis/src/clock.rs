//! What time it is on the servers, as far as this process knows.
//!
//! Invariants: never later than the clock of any node that answered lately, unless that goes back: a sample is from before
//! its answer came, only the time since then is added, and of several nodes the one that is behind counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use longhaul_core::clock::{BackendClock, Timestamp};

use crate::layout::Slot;

/// Is what the least of no samples is.
const UNKNOWN: i64 = i64::MAX;

/// Knows a lower bound of the servers' time, or follows the clock of a test.
#[derive(Debug)]
pub(crate) struct Clock {
    given: Option<BackendClock>,
    /// When this clock was made.
    origin: Instant,
    /// What time it was at `origin`, by the last sample from each slot.
    samples: Mutex<BTreeMap<Slot, i64>>,
    /// The least of these, as the time is read much more often than it is told.
    least: AtomicI64,
}

impl Clock {
    pub(crate) fn new(given: Option<BackendClock>) -> Self {
        Self {
            given,
            origin: Instant::now(),
            samples: Mutex::default(),
            least: AtomicI64::new(UNKNOWN),
        }
    }

    /// Returns the time that scripts are told, if it is not the server's own.
    pub(crate) fn given(&self) -> Option<i64> {
        self.given.as_ref().map(|clock| clock.now().as_micros())
    }

    /// Takes a sample that just came.
    pub(crate) fn note(&self, slot: Slot, now: Timestamp) {
        // What is cut off a microsecond must not make the sample later.
        let since = self.micros().saturating_add(1);
        let at_origin = now.as_micros().saturating_sub(since);
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.insert(slot, at_origin);
        let least = samples.values().min().copied().unwrap_or(UNKNOWN);
        self.least.store(least, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> Timestamp {
        if let Some(clock) = &self.given {
            return clock.now();
        }
        match self.least.load(Ordering::Relaxed) {
            UNKNOWN => Timestamp::from_micros(0),
            at_origin => Timestamp::from_micros(at_origin.saturating_add(self.micros())),
        }
    }

    fn micros(&self) -> i64 {
        i64::try_from(self.origin.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_that_is_behind_counts_and_time_goes_on() {
        let clock = Clock::new(None);
        assert_eq!(clock.now(), Timestamp::from_micros(0));
        clock.note(Slot::Partition(1), Timestamp::from_micros(9_000_000_000));
        let alone = clock.now().as_micros();
        assert!((8_999_999_999..9_900_000_000).contains(&alone), "{alone}");
        clock.note(Slot::Leases, Timestamp::from_micros(5_000_000_000));
        let behind = clock.now().as_micros();
        assert!((4_999_999_999..5_900_000_000).contains(&behind), "{behind}");
        assert!(clock.now().as_micros() >= behind);
        clock.note(Slot::Leases, Timestamp::from_micros(9_000_000_000));
        assert!(clock.now().as_micros() >= 8_999_999_999);
    }
}
