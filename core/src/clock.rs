//! Points in time, and the seam through which the shell reaches time, chance and spawning.
//!
//! Invariants: a [`Timestamp`] comes from a backend's clock, never from this process's; durations are measured on the
//! monotonic clock of [`Environment`] alone. The engine takes timestamps as values and reads no clock.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::id::Uuid;

/// Is a boxed future that can move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Is a point in time in microseconds since 1970-01-01 00:00 UTC; prints and parses as RFC 3339.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Takes microseconds since 1970.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Returns microseconds since 1970.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Returns the time `duration` later, or the last one there is.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// Returns how long after `earlier` this is; zero when it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads the clock of this machine; for embedded backends, whose clock that is.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let since_1970 = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Self::default().after(since_1970)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(timestamp) => timestamp.fmt(f),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.parse::<jiff::Timestamp>()
            .map(|timestamp| Self(timestamp.as_microsecond()))
            .map_err(|cause| {
                Error::new(
                    ErrorKind::InvalidInput,
                    format!("`{text}` is not an RFC 3339 time such as 2026-01-31T09:30:00Z"),
                )
                .caused_by(cause)
            })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            return text.parse().map_err(serde::de::Error::custom);
        }
        i64::deserialize(deserializer).map(Self)
    }
}

/// Tells what time it is for an embedded backend: this machine's clock, or one that a test controls.
#[derive(Debug, Clone, Default)]
pub struct BackendClock(Source);

#[derive(Debug, Clone, Default)]
enum Source {
    #[default]
    Machine,
    Manual(Arc<AtomicI64>),
    Runtime(Timestamp, tokio::time::Instant),
}

impl BackendClock {
    /// Makes a clock that follows this machine's.
    #[must_use]
    pub const fn machine() -> Self {
        Self(Source::Machine)
    }

    /// Makes a clock that stands at `start` until [`BackendClock::advance`] moves it; clones move together.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start.as_micros()))))
    }

    /// Makes a clock that shows `start` now and follows the clock of the tokio runtime, paused or not.
    #[must_use]
    pub fn of_the_runtime(start: Timestamp) -> Self {
        Self(Source::Runtime(start, tokio::time::Instant::now()))
    }

    /// Returns the time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::Machine => Timestamp::of_this_machine(),
            Source::Manual(micros) => Timestamp(micros.load(Ordering::SeqCst)),
            Source::Runtime(start, since) => start.after(since.elapsed()),
        }
    }

    /// Moves a manual clock forward; does nothing to another.
    pub fn advance(&self, duration: Duration) {
        if let Source::Manual(manual) = &self.0 {
            let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
            manual.fetch_add(micros, Ordering::SeqCst);
        }
    }
}

/// Stops a spawned future when asked to.
pub trait Abort: Send + Sync + fmt::Debug {
    /// Drops the future at its next await; does nothing when it has ended.
    fn abort(&self);
}

/// Gives the shell its time, chance and tasks, so that the whole engine can run in simulation.
///
/// The engine proper never calls it: only worker and client do.
pub trait Environment: Send + Sync + fmt::Debug + 'static {
    /// Returns the monotonic time since some fixed point in the past.
    fn elapsed(&self) -> Duration;

    /// Ends after `duration` on the monotonic clock.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// Runs `future` beside the caller.
    fn spawn(&self, future: BoxFuture<'static, ()>) -> Box<dyn Abort>;

    /// Runs `work` where it may block a thread.
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>);

    /// Returns random bytes that nobody can guess.
    fn random_bytes(&self) -> [u8; 32];

    /// Draws a random uuid.
    fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        for (byte, random) in bytes.iter_mut().zip(self.random_bytes()) {
            *byte = random;
        }
        Uuid::from_random_bytes(bytes)
    }
}

/// Is the environment of production: tokio's clock and tasks, the operating system's chance.
#[derive(Debug)]
pub struct TokioEnvironment {
    started: tokio::time::Instant,
}

impl TokioEnvironment {
    /// Starts its clock now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            started: tokio::time::Instant::now(),
        }
    }
}

impl Default for TokioEnvironment {
    fn default() -> Self {
        Self::new()
    }
}

impl Abort for tokio::task::AbortHandle {
    fn abort(&self) {
        Self::abort(self);
    }
}

impl Environment for TokioEnvironment {
    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn spawn(&self, future: BoxFuture<'static, ()>) -> Box<dyn Abort> {
        Box::new(tokio::spawn(future).abort_handle())
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        drop(tokio::task::spawn_blocking(work));
    }

    fn random_bytes(&self) -> [u8; 32] {
        random_bytes_of_the_system()
    }
}

/// Draws random bytes from the operating system.
///
/// # Panics
/// When the operating system has no source of randomness, as no safe seed could be made without one.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "no seed can be made without a source of randomness"
)]
pub fn random_bytes_of_the_system() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamp_reads_what_it_prints() {
        let time = Timestamp::from_micros(1_767_225_600_250_000);
        assert_eq!(time.to_string(), "2026-01-01T00:00:00.25Z");
        assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
    }

    #[test]
    fn time_saturates_instead_of_wrapping() {
        let end = Timestamp::default().after(Duration::MAX);
        assert_eq!(end.after(Duration::from_secs(1)), end);
        assert_eq!(Timestamp::default().since(end), Duration::ZERO);
    }
}
