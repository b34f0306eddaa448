//! The memory backend: a store inside the process, for tests and as the reference of the contract.
//!
//! Invariants: each request is applied whole under one lock, which is never held over an await; the clock is read
//! inside it, so that requests see time in the order they are applied. Every comparison of times uses the configured
//! clock.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "tests may panic"
    )
)]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use longhaul_core::backend::{Backend, PARTITIONS_DEFAULT, StoreInfo};
use longhaul_core::clock::{BackendClock, Timestamp, random_bytes_of_the_system};

use crate::events::Changes;
use crate::store::Store;

mod commit;
mod config;
mod error;
mod events;
mod inspect;
mod queue;
mod state;
mod store;
mod tasks;
mod timers;
mod workers;

pub use config::MemoryConfig;

/// Finds the named stores of this process, by name and namespace, as long as a handle is alive.
static NAMED: Mutex<BTreeMap<(String, String), Weak<Shared>>> = Mutex::new(BTreeMap::new());

/// Is a store in the memory of this process. Clones share it.
///
/// It is gone when the last handle is dropped. A worker that dies with its handle is known by its lease alone.
#[derive(Clone)]
pub struct MemoryBackend {
    shared: Arc<Shared>,
}

/// Is what the handles of a store have in common.
struct Shared {
    name: Option<String>,
    info: StoreInfo,
    clock: BackendClock,
    store: Mutex<Store>,
    changes: Arc<Changes>,
}

impl Shared {
    fn new(config: MemoryConfig) -> Self {
        let mut hash_key = [0; 16];
        for (byte, random) in hash_key.iter_mut().zip(random_bytes_of_the_system()) {
            *byte = random;
        }
        Self {
            name: config.key().map(|(name, _)| name),
            info: StoreInfo {
                hash_key,
                partitions: PARTITIONS_DEFAULT,
            },
            clock: config.into_clock(),
            store: Mutex::default(),
            changes: Arc::default(),
        }
    }
}

impl MemoryBackend {
    /// Opens the store of that name, and makes it when no handle of this process has it open; makes one without a name.
    #[must_use]
    pub fn open(config: MemoryConfig) -> Self {
        let Some(key) = config.key() else {
            let shared = Arc::new(Shared::new(config));
            return Self { shared };
        };
        let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = named.get(&key).and_then(Weak::upgrade) {
            return Self { shared };
        }
        named.retain(|_, store| store.strong_count() > 0);
        let shared = Arc::new(Shared::new(config));
        named.insert(key, Arc::downgrade(&shared));
        Self { shared }
    }

    /// Applies a request at the current time, and hints at what others may care about.
    fn apply<T>(&self, work: impl FnOnce(&mut Store, Timestamp) -> T) -> T {
        let mut store = self
            .shared
            .store
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let done = work(&mut store, self.shared.clock.now());
        let news = store.news.take();
        drop(store);
        if let Some(hint) = news {
            self.shared.changes.tell(hint);
        }
        done
    }
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackend")
            .field("name", &self.shared.name)
            .finish_non_exhaustive()
    }
}

impl Backend for MemoryBackend {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn store(&self) -> StoreInfo {
        self.shared.info.clone()
    }

    fn clock(&self) -> Timestamp {
        self.shared.clock.now()
    }
}
