//! Whether a load balancer should send requests here.
//!
//! Invariants: asking costs the store nothing. A process that has begun to drain is never ready again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use longhaul::worker::{Monitor, Phase};

/// Tells whether this process is ready, and whether it lives.
#[derive(Debug, Clone)]
pub(crate) struct Readiness {
    worker: Monitor,
    drains: Arc<AtomicBool>,
}

impl Readiness {
    pub(crate) fn of(worker: Monitor) -> Self {
        let drains = Arc::default();
        Self { worker, drains }
    }

    /// Takes note that the process is about to end.
    pub(crate) fn drain(&self) {
        self.drains.store(true, Ordering::SeqCst);
    }

    /// Tells why the process is not ready, if it is not.
    pub(crate) fn obstacle(&self) -> Option<String> {
        let health = self.worker.health();
        if self.drains.load(Ordering::SeqCst) {
            return Some("not ready: the process drains".to_owned());
        }
        (!health.is_ready()).then(|| health.to_string())
    }

    /// Tells whether a restart could help no more than waiting does; a store that is away is no reason to restart.
    pub(crate) fn is_alive(&self) -> bool {
        self.worker.health().phase != Phase::Stopped
    }
}
