//! The conformance suite over a named store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use longhaul_backend_memory::{MemoryBackend, MemoryConfig};
use longhaul_core::backend::Backend;
use longhaul_core::clock::{BackendClock, Timestamp};
use longhaul_tests::Fixture;

static OPENED: AtomicU64 = AtomicU64::new(0);

struct MemoryFixture {
    backend: Arc<dyn Backend>,
    config: MemoryConfig,
    clock: BackendClock,
}

#[async_trait::async_trait]
impl Fixture for MemoryFixture {
    async fn open() -> Self {
        let clock = BackendClock::manual(Timestamp::from_micros(1_000_000));
        let name = format!("conformance {}", OPENED.fetch_add(1, Ordering::Relaxed));
        let config = MemoryConfig::new().name(name).clock(clock.clone());
        Self {
            backend: Arc::new(MemoryBackend::open(config.clone())),
            config,
            clock,
        }
    }

    fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.backend)
    }

    fn clock(&self) -> &BackendClock {
        &self.clock
    }

    // The store would be gone with its last handle, so the next one is opened first.
    async fn reopen(&mut self) -> Arc<dyn Backend> {
        self.backend = Arc::new(MemoryBackend::open(self.config.clone()));
        self.backend()
    }
}

longhaul_tests::conformance!(MemoryFixture);

// The clock of the runtime is paused so that a case which waits for something gives up at once.
#[tokio::test(start_paused = true)]
async fn every_case_fails_on_a_backend_that_is_wrong() {
    longhaul_tests::broken::check_proofs::<MemoryFixture>().await;
}
