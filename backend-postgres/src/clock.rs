//! What time it is on the server, as far as this process knows.
//!
//! Invariants: never later than the server's clock, unless that goes back: a sample is from before its answer came, and
//! only the time since then is added.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use longhaul_core::clock::{BackendClock, Timestamp};

/// Knows a lower bound of the server's time, or follows the clock of a test.
#[derive(Debug)]
pub(crate) struct Clock {
    given: Option<BackendClock>,
    sample: Mutex<(Timestamp, Instant)>,
}

impl Clock {
    pub(crate) fn new(given: Option<BackendClock>, now: Timestamp) -> Self {
        Self {
            given,
            sample: Mutex::new((now, Instant::now())),
        }
    }

    /// Returns the time that statements are told, if it is not the server's own.
    pub(crate) fn given(&self) -> Option<i64> {
        self.given.as_ref().map(|clock| clock.now().as_micros())
    }

    /// Takes a sample that just came.
    pub(crate) fn note(&self, now: Timestamp) {
        let mut sample = self.sample.lock().unwrap_or_else(PoisonError::into_inner);
        *sample = (now, Instant::now());
    }

    pub(crate) fn now(&self) -> Timestamp {
        if let Some(clock) = &self.given {
            return clock.now();
        }
        let (at, since) = *self.sample.lock().unwrap_or_else(PoisonError::into_inner);
        at.after(since.elapsed())
    }
}
