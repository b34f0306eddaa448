//! The plans of the faulty runs: one that only counts, and one that injects a single fault.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::{Injection, Mishap};
use crate::faulty::{Fault, Lot, Operation, Plan};

/// Is how long a delayed call waits, before it is applied and after.
const DELAY: Duration = Duration::from_millis(2);

/// Counts calls.
#[derive(Debug, Default)]
pub(super) struct Recorder(Mutex<BTreeMap<Operation, usize>>);

impl Recorder {
    pub(super) fn calls(&self) -> BTreeMap<Operation, usize> {
        self.0.lock().unwrap().clone()
    }
}

impl Plan for Recorder {
    fn draw(&self, operation: Operation) -> Lot {
        *self.0.lock().unwrap().entry(operation).or_default() += 1;
        Lot::default()
    }
}

/// Lets one call go wrong.
#[derive(Debug)]
pub(super) struct One {
    injection: Injection,
    calls: AtomicUsize,
    is_injected: AtomicBool,
}

impl One {
    pub(super) const fn new(injection: Injection) -> Self {
        Self {
            injection,
            calls: AtomicUsize::new(0),
            is_injected: AtomicBool::new(false),
        }
    }

    pub(super) fn is_injected(&self) -> bool {
        self.is_injected.load(Ordering::SeqCst)
    }
}

impl Plan for One {
    fn draw(&self, operation: Operation) -> Lot {
        let is_it = operation == self.injection.operation
            && self.calls.fetch_add(1, Ordering::SeqCst) == self.injection.nth;
        if !is_it {
            return Lot::default();
        }
        self.is_injected.store(true, Ordering::SeqCst);
        lot_of(self.injection.mishap)
    }
}

const fn lot_of(mishap: Mishap) -> Lot {
    let (fault, delay) = match mishap {
        Mishap::Refused => (Some(Fault::Refuse), Duration::ZERO),
        Mishap::AnswerLost => (Some(Fault::LoseAnswer), Duration::ZERO),
        Mishap::Doubled => (Some(Fault::Duplicate), Duration::ZERO),
        Mishap::Delayed => (None, DELAY),
    };
    Lot {
        before: delay,
        fault,
        after: delay,
    }
}
