//! What time it is on the servers, as far as this process knows.
//!
//! Invariants: never later than the clock of any node that answered lately, unless that goes back: a sample is from before
//! its answer came, only the time since then is added, and of several nodes the one that is behind counts.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use longhaul_core::clock::{BackendClock, Timestamp};

use crate::layout::Slot;

/// Knows a lower bound of the servers' time, or follows the clock of a test.
#[derive(Debug)]
pub(crate) struct Clock {
    given: Option<BackendClock>,
    samples: Mutex<BTreeMap<Slot, (Timestamp, Instant)>>,
}

impl Clock {
    pub(crate) fn new(given: Option<BackendClock>) -> Self {
        Self {
            given,
            samples: Mutex::default(),
        }
    }

    /// Returns the time that scripts are told, if it is not the server's own.
    pub(crate) fn given(&self) -> Option<i64> {
        self.given.as_ref().map(|clock| clock.now().as_micros())
    }

    /// Takes a sample that just came.
    pub(crate) fn note(&self, slot: Slot, now: Timestamp) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.insert(slot, (now, Instant::now()));
    }

    pub(crate) fn now(&self) -> Timestamp {
        if let Some(clock) = &self.given {
            return clock.now();
        }
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let times = samples
            .values()
            .map(|(at, since)| at.after(since.elapsed()));
        times.min().unwrap_or(Timestamp::from_micros(0))
    }
}
