//! What requests meet between the processes and the store.
//!
//! Invariants: every draw comes from the scenario's seed. After mending nothing goes wrong any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use longhaul_core::clock::Timestamp;

use super::record::Log;
use super::scenario::Weather;
use crate::chance::Chance;
use crate::wire::{Applied, Fault, Lot, Path};

/// Lists the faults by name.
pub(crate) const FAULTS: [&str; 11] = [
    "answer lost",
    "applied after the answer",
    "applied twice",
    "clock slow",
    "crash",
    "hint lost",
    "pause past the lease",
    "request refused",
    "request stalled",
    "shutdown",
    "store away",
];

/// Is how many requests are more than any scenario needs.
const REQUESTS_MAX: u64 = 40_000;

/// Is the store's surroundings, common to all processes.
pub(crate) struct Sky {
    state: Mutex<State>,
    log: Mutex<Log>,
}

struct State {
    chance: Chance,
    weather: Weather,
    away: u32,
    faults: BTreeMap<&'static str, u64>,
}

impl Sky {
    pub(crate) fn new(chance: Chance, weather: Weather) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                chance,
                weather,
                away: 0,
                faults: BTreeMap::new(),
            }),
            log: Mutex::default(),
        })
    }

    /// Takes the store away, once more, or gives it back.
    pub(crate) fn take_away(&self, away: bool) {
        let mut state = self.state();
        if away {
            state.away += 1;
        } else {
            state.away = state.away.saturating_sub(1);
        }
    }

    /// Lets nothing go wrong from now on.
    pub(crate) fn mend(&self) {
        let mut state = self.state();
        state.away = 0;
        state.weather = Weather {
            delay_ms: state.weather.delay_ms,
            ..Weather::default()
        };
    }

    pub(crate) fn count(&self, fault: &'static str) {
        *self.state().faults.entry(fault).or_default() += 1;
    }

    pub(crate) fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.state().faults.clone()
    }

    /// Tells whether somebody asks without end; from then on each request takes long, so that time passes.
    fn is_spinning(&self, what: &str) -> bool {
        let mut log = self.log();
        if log.requests == REQUESTS_MAX {
            log.violated(
                "P14",
                format!("the store was asked for ever, last for {what}"),
            );
        }
        log.requests >= REQUESTS_MAX
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count(&mut self, fault: &'static str) {
        *self.faults.entry(fault).or_default() += 1;
    }

    fn lot(&mut self) -> Lot {
        let Weather {
            delay_ms,
            stalled,
            refused,
            answer_lost,
            applied_late,
            doubled,
            ..
        } = self.weather;
        let mut lot = Lot {
            before: Duration::from_millis(self.chance.within(0..=delay_ms)),
            after: Duration::from_millis(self.chance.within(0..=delay_ms)),
            fault: None,
        };
        if self.away > 0 {
            self.count("store away");
            lot.fault = Some(Fault::Refused);
            return lot;
        }
        if self.chance.happens(stalled) {
            self.count("request stalled");
            lot.before += Duration::from_millis(self.chance.within(200..=4_000));
        }
        let later = Duration::from_millis(self.chance.within(1..=3_000));
        let choices = [
            (refused, "request refused", Fault::Refused),
            (answer_lost, "answer lost", Fault::AnswerLost),
            (
                applied_late,
                "applied after the answer",
                Fault::AppliedLate(later),
            ),
            (doubled, "applied twice", Fault::Doubled),
        ];
        for (strength, name, fault) in choices {
            if self.chance.happens(strength) {
                self.count(name);
                lot.fault = Some(fault);
                return lot;
            }
        }
        lot
    }
}

/// Is the way of one process to the store.
pub(crate) struct NodePath {
    pub(crate) sky: Arc<Sky>,
    pub(crate) wrong_clock: i64,
    pub(crate) checks_in_two_steps: bool,
}

impl Path for NodePath {
    fn lot(&self, what: &'static str) -> Lot {
        let mut lot = self.sky.state().lot();
        if self.sky.is_spinning(what) {
            lot.before += Duration::from_secs(1);
        }
        lot
    }

    fn loses_hint(&self) -> bool {
        let mut state = self.sky.state();
        let strength = state.weather.hint_lost;
        let is_lost = state.chance.happens(strength);
        if is_lost {
            state.count("hint lost");
        }
        is_lost
    }

    fn applied(&self, at: Timestamp, what: &Applied<'_>) {
        self.sky.log().applied(at, what);
    }

    fn wrong_clock(&self) -> i64 {
        self.wrong_clock
    }

    fn checks_in_two_steps(&self) -> bool {
        self.checks_in_two_steps
    }
}
