//! Keeps runs in memory: the reference that other backends are compared with, and the store of tests.
//!
//! Invariants: nothing outlives the last handle of a store. Every method takes one lock and holds it over no await, so
//! each request is applied whole or not at all.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests may panic"))]

mod commit;
mod config;
mod events;
mod inspect;
mod state;
mod store;
mod tasks;
mod timers;
mod workers;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use longhaul_core::backend::{Backend, PARTITIONS_DEFAULT, StoreInfo};
use longhaul_core::clock::{BackendClock, Timestamp, random_bytes_of_the_system};
use tokio::sync::watch;

pub use crate::config::MemoryConfig;
use crate::store::Store;

/// Is one store in memory; clones and handles of the same name share it.
#[derive(Clone)]
pub struct MemoryBackend(Arc<Shared>);

struct Shared {
    store: Mutex<Store>,
    clock: BackendClock,
    info: StoreInfo,
    changes: watch::Sender<u64>,
}

static NAMED: LazyLock<Mutex<HashMap<String, Weak<Shared>>>> = LazyLock::new(Mutex::default);

impl MemoryBackend {
    /// Opens a store: a new one without a name, else the one that lives under the name in this process.
    ///
    /// The clock of a named store is that of whoever opened it first.
    #[must_use]
    pub fn open(config: MemoryConfig) -> Self {
        let Some(name) = config.full_name() else {
            return Self(Arc::new(Shared::new(config.into_clock())));
        };
        let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = named.get(&name).and_then(Weak::upgrade) {
            return Self(shared);
        }
        let shared = Arc::new(Shared::new(config.into_clock()));
        named.retain(|_, store| store.strong_count() > 0);
        named.insert(name, Arc::downgrade(&shared));
        Self(shared)
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Gives a hint to whoever waits for one.
    fn tell(&self) {
        self.0.changes.send_modify(|count| *count += 1);
    }
}

impl Shared {
    fn new(clock: BackendClock) -> Self {
        let mut hash_key = [0; 16];
        for (byte, random) in hash_key.iter_mut().zip(random_bytes_of_the_system()) {
            *byte = random;
        }
        Self {
            store: Mutex::default(),
            clock,
            info: StoreInfo {
                hash_key,
                partitions: PARTITIONS_DEFAULT,
            },
            changes: watch::Sender::new(0),
        }
    }
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackend").finish_non_exhaustive()
    }
}

impl Backend for MemoryBackend {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn store(&self) -> StoreInfo {
        self.0.info.clone()
    }

    fn clock(&self) -> Timestamp {
        self.now()
    }
}
