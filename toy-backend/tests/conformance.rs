//! The conformance suite over the toy backend.

use std::sync::Arc;

use async_trait::async_trait;
use longhaul_core::backend::Backend;
use longhaul_core::clock::{BackendClock, Timestamp};
use longhaul_tests::Fixture;
use toy_backend::ToyBackend;

longhaul_tests::conformance!(ToyFixture);

struct ToyFixture {
    clock: BackendClock,
    backend: ToyBackend,
}

#[async_trait]
impl Fixture for ToyFixture {
    async fn open() -> Self {
        let clock = BackendClock::manual(Timestamp::from_micros(1_700_000_000_000_000));
        let backend = ToyBackend::new(clock.clone());
        Self { clock, backend }
    }

    fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(self.backend.clone())
    }

    fn clock(&self) -> &BackendClock {
        &self.clock
    }

    async fn reopen(&mut self) -> Arc<dyn Backend> {
        // The store lives as long as a handle does, so a second handle is all that can be opened.
        self.backend = self.backend.clone();
        self.backend()
    }
}
