//! How a worker is: what it tells readiness handlers, dashboards and its log.
//!
//! Invariants: asking costs the backend nothing, as it is told by the calls that the worker makes anyway. Nothing here
//! keeps the worker or its backend alive. A failure is logged when it begins and then seldom, and its end is logged
//! when its beginning was.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::backend::Error as BackendError;
use crate::clock::{Environment, Timestamp};
use crate::id::WorkerId;
use crate::worker::lease::Lease;

/// Is the shortest time between two warnings about the store.
const WARNED_EVERY: Duration = Duration::from_secs(30);

/// Tells how a worker is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// What the worker is called now; it changes when the worker was declared dead and joined again.
    pub worker: WorkerId,
    /// How far the worker is in its life.
    pub phase: Phase,
    /// Whether the store answers.
    pub store: Store,
    /// Whether the worker may trust that its runs are still its own. Without, it starts no task.
    pub holds_lease: bool,
    /// How many runs are in memory.
    pub live_runs: usize,
    /// How many turns the store refused as their run was not this worker's any more. Each was a stale write that
    /// changed nothing.
    pub refused_turns: u64,
    /// How often the worker was declared dead, and joined again.
    pub deaths: u64,
}

impl Health {
    /// Tells whether new work should be sent here: the worker is not draining, its store answers, and its lease holds.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Working && self.store == Store::Reachable && self.holds_lease
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.phase, &self.store) {
            (Phase::Draining, _) => f.write_str("not ready: the worker drains"),
            (Phase::Stopped, _) => f.write_str("not ready: the worker has stopped"),
            (Phase::Working, Store::Unreachable(outage)) => write!(f, "not ready: {outage}"),
            (Phase::Working, Store::Reachable) if self.holds_lease => f.write_str("ready"),
            (Phase::Working, Store::Reachable) => {
                f.write_str("not ready: the lease is over and was not extended yet")
            }
        }
    }
}

/// Says how far a worker is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// It takes new runs.
    Working,
    /// It takes no new runs and brings what it has to where others can go on.
    Draining,
    /// It left, or was dropped.
    Stopped,
}

/// Tells whether the store answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Store {
    /// The last call was answered.
    Reachable,
    /// The last call was not; the worker goes on asking, with pauses.
    Unreachable(Outage),
}

/// Tells of a store that does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outage {
    /// When it was first noticed, by the backend's clock.
    pub since: Timestamp,
    /// What the last call was told.
    pub error: String,
    /// How many calls have failed since.
    pub retries: u32,
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            since,
            error,
            retries,
        } = self;
        write!(
            f,
            "the store has not answered since {since} ({retries} tries): {error}"
        )
    }
}

/// Tells how a worker is, also after the worker was shut down or dropped. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Monitor(pub(crate) Arc<Vitals>);

impl Monitor {
    /// Tells how the worker is, without asking the store.
    #[must_use]
    pub fn health(&self) -> Health {
        self.0.health()
    }
}

/// Is what the parts of a worker note of it.
#[derive(Debug)]
pub(crate) struct Vitals {
    pub(crate) lease: Lease,
    pub(crate) live: AtomicUsize,
    pub(crate) draining: AtomicBool,
    stopped: AtomicBool,
    refused_turns: AtomicU64,
    deaths: AtomicU64,
    environment: Arc<dyn Environment>,
    changing: Mutex<Changing>,
}

#[derive(Debug)]
struct Changing {
    worker: WorkerId,
    outage: Option<Outage>,
    /// When the present outage began, and whether anybody was told of it.
    begun: Duration,
    is_logged: bool,
    warned_at: Option<Duration>,
}

impl Vitals {
    pub(crate) fn new(worker: WorkerId, environment: Arc<dyn Environment>) -> Self {
        Self {
            lease: Lease::default(),
            live: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            refused_turns: AtomicU64::new(0),
            deaths: AtomicU64::new(0),
            environment,
            changing: Mutex::new(Changing {
                worker,
                outage: None,
                begun: Duration::ZERO,
                is_logged: false,
                warned_at: None,
            }),
        }
    }

    pub(crate) fn worker(&self) -> WorkerId {
        self.changing().worker
    }

    /// Takes note that the worker was declared dead and is called something else now.
    pub(crate) fn rise_as(&self, worker: WorkerId) {
        self.deaths.fetch_add(1, Ordering::SeqCst);
        self.changing().worker = worker;
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Counts turns that the store refused, as their runs were not this worker's any more.
    pub(crate) fn refuse(&self, turns: usize) {
        let turns = u64::try_from(turns).unwrap_or(u64::MAX);
        self.refused_turns.fetch_add(turns, Ordering::SeqCst);
    }

    /// Takes note that the store answered.
    pub(crate) fn reached(&self) {
        let mut changing = self.changing();
        let Some(outage) = changing.outage.take() else {
            return;
        };
        if std::mem::take(&mut changing.is_logged) {
            let after = self.environment.elapsed().saturating_sub(changing.begun);
            tracing::info!(?after, retries = outage.retries, "backend reached again");
        }
    }

    /// Takes note that the store did not answer what was asked at `clock`.
    pub(crate) fn failed(&self, error: &BackendError, clock: Timestamp) {
        let now = self.environment.elapsed();
        let mut changing = self.changing();
        let before = changing.outage.take();
        if before.is_none() {
            changing.begun = now;
        }
        let retries = before.as_ref().map_or(0, |outage| outage.retries) + 1;
        changing.outage = Some(Outage {
            since: before.map_or(clock, |outage| outage.since),
            error: error.to_string(),
            retries,
        });
        let is_due = |warned| now.saturating_sub(warned) >= WARNED_EVERY;
        if changing.warned_at.is_none_or(is_due) {
            changing.warned_at = Some(now);
            changing.is_logged = true;
            tracing::warn!(%error, retries, "backend not reached; asking again");
        } else {
            tracing::debug!(%error, retries, "backend not reached; asking again");
        }
    }

    fn health(&self) -> Health {
        let changing = self.changing();
        Health {
            worker: changing.worker,
            phase: self.phase(),
            store: changing
                .outage
                .clone()
                .map_or(Store::Reachable, Store::Unreachable),
            holds_lease: self.lease.is_trusted(self.environment.elapsed()),
            live_runs: self.live.load(Ordering::SeqCst),
            refused_turns: self.refused_turns.load(Ordering::SeqCst),
            deaths: self.deaths.load(Ordering::SeqCst),
        }
    }

    fn phase(&self) -> Phase {
        if self.is_stopped() {
            Phase::Stopped
        } else if self.draining.load(Ordering::SeqCst) {
            Phase::Draining
        } else {
            Phase::Working
        }
    }

    fn changing(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tracing::field::{Field, Visit};
    use tracing::{Event, Level, Metadata, Subscriber, span};

    use super::*;
    use crate::backend::Kind;
    use crate::clock::TokioEnvironment;

    /// Keeps what is logged at `info` and above.
    #[derive(Debug, Clone, Default)]
    struct Log(Arc<Mutex<Vec<String>>>);

    struct Message<'a>(&'a mut String);

    impl Visit for Message<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            if field.name() == "message" {
                self.0.push_str(&format!("{value:?}"));
            }
        }
    }

    impl Subscriber for Log {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() <= Level::INFO
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &Event<'_>) {
            let mut line = format!("{} ", event.metadata().level());
            event.record(&mut Message(&mut line));
            self.0.lock().unwrap().push(line);
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    fn vitals() -> Vitals {
        let environment = Arc::new(TokioEnvironment::new());
        Vitals::new(WorkerId(environment.uuid()), environment)
    }

    #[tokio::test(start_paused = true)]
    async fn long_outage_is_logged_when_it_begins_then_seldom_and_when_it_ends() {
        const WARNED: &str = "WARN backend not reached; asking again";
        let (log, vitals) = (Log::default(), vitals());
        let _logging = tracing::subscriber::set_default(log.clone());
        let error = BackendError::new(Kind::Unavailable, "no route to the host");
        vitals.reached();
        for second in 0..70 {
            vitals.failed(&error, Timestamp::from_micros(second));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let Store::Unreachable(outage) = vitals.health().store else {
            panic!("{:?}", vitals.health());
        };
        assert_eq!(
            (outage.since, outage.retries),
            (Timestamp::from_micros(0), 70)
        );
        vitals.reached();
        vitals.reached();
        let lines = log.0.lock().unwrap();
        assert_eq!(
            *lines,
            [WARNED, WARNED, WARNED, "INFO backend reached again"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn store_that_comes_and_goes_does_not_flood_the_log() {
        let (log, vitals) = (Log::default(), vitals());
        let _logging = tracing::subscriber::set_default(log.clone());
        let error = BackendError::new(Kind::Unclear, "connection reset");
        for _ in 0..100 {
            vitals.failed(&error, Timestamp::from_micros(0));
            vitals.reached();
        }
        assert_eq!(vitals.health().store, Store::Reachable);
        assert_eq!(log.0.lock().unwrap().len(), 2);
    }
}
