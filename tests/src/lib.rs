//! The conformance suite: what every backend guarantees, as tests that anyone can run against their own.
//!
//! Implement [`Fixture`] and write `longhaul_tests::conformance!(MyFixture);` into a test of your crate: each case is
//! then a test of its own, such as `start::same_id_starts_once`, and an upgrade brings new ones. Cases use nothing but
//! the contract and a clock that they move themselves.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    reason = "a case fails by a panic"
)]
#![allow(
    missing_docs,
    reason = "the name of a case is a sentence that says what it checks"
)]

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use longhaul_core::backend::Backend;
use longhaul_core::clock::BackendClock;

#[macro_use]
mod cases;
pub mod broken;
pub mod chance;
pub mod differential;
pub mod faults;
pub mod faulty;
pub mod insistent;
pub mod server;
pub mod world;

pub mod arrivals;
pub mod cancellation;
pub mod commit;
pub mod control;
pub mod hostile;
pub mod inspect;
pub mod ownership;
pub mod reopening;
pub mod start;
pub mod tasks;
pub mod timers;

pub use cases::CASES;
pub use world::World;

/// Opens the stores that cases run on.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// Opens an empty store of its own.
    async fn open() -> Self
    where
        Self: Sized;

    /// Returns the open backend.
    fn backend(&self) -> Arc<dyn Backend>;

    /// Returns the clock that the backend compares times with: [`BackendClock::manual`].
    fn clock(&self) -> &BackendClock;

    /// Lets go of the backend and opens the same store again with the same clock, as a restart does.
    async fn reopen(&mut self) -> Arc<dyn Backend>;
}

/// Is one case of the suite.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What it is about; the module of its function.
    pub topic: &'static str,
    /// What it says.
    pub name: &'static str,
    /// Makes the future that checks it and panics when it does not hold.
    pub check: fn(World) -> Checking,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.topic, self.name)
    }
}

/// Finds a case by its `topic::name`.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn case_of(name: &str) -> &'static Case {
    let found = CASES
        .iter()
        .find(|case| name.split_once("::") == Some((case.topic, case.name)));
    found.unwrap_or_else(|| panic!("`{name}` is no case"))
}

/// Is a case under way.
pub type Checking = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs a case on a new store, on a runtime of its own.
pub fn run<F: Fixture + 'static>(check: fn(World) -> Checking) {
    runtime().block_on(async {
        let fixture: Box<dyn Fixture> = Box::new(F::open().await);
        check(World::over(fixture).await).await;
    });
}

/// Makes the runtime that cases run on.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}
