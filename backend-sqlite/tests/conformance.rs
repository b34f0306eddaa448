//! The conformance suite over a file.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::sync::Arc;

use longhaul_backend_sqlite::{SqliteBackend, SqliteConfig};
use longhaul_core::backend::Backend;
use longhaul_core::clock::{BackendClock, Timestamp};
use longhaul_tests::Fixture;
use tempfile::TempDir;

struct SqliteFixture {
    backend: Option<Arc<dyn Backend>>,
    clock: BackendClock,
    folder: TempDir,
}

impl SqliteFixture {
    async fn connect(&mut self) -> Arc<dyn Backend> {
        let config = SqliteConfig::new(self.folder.path()).clock(self.clock.clone());
        self.backend = Some(Arc::new(SqliteBackend::open(config).await.unwrap()));
        self.backend()
    }
}

#[async_trait::async_trait]
impl Fixture for SqliteFixture {
    async fn open() -> Self {
        let mut fixture = Self {
            backend: None,
            clock: BackendClock::manual(Timestamp::from_micros(1_000_000)),
            folder: tempfile::tempdir().unwrap(),
        };
        fixture.connect().await;
        fixture
    }

    fn backend(&self) -> Arc<dyn Backend> {
        self.backend.clone().unwrap()
    }

    fn clock(&self) -> &BackendClock {
        &self.clock
    }

    async fn reopen(&mut self) -> Arc<dyn Backend> {
        self.backend = None;
        self.connect().await
    }
}

longhaul_tests::conformance!(SqliteFixture);
