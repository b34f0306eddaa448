//! The simplest backend of Longhaul that keeps the contract, to be read by those who write another.
//!
//! Invariants: all is in one [`Store`] behind one lock, which is never held over an await; each request takes the lock
//! once, so it is applied whole or not at all. The clock is read under the lock. Nothing is fast: what is looked for is
//! found by looking at everything.
//!
//! Read `store.rs` first, which has the tables, then `state.rs`, `commit.rs`, `events.rs`, `timers.rs`, `tasks.rs` and
//! `inspect.rs`, one for each part of the contract. `docs/write-a-backend.md` tells the story in the same order.
//!
//! # Example
//!
//! A program links the backend by naming the crate, and then opens it by its URL:
//!
//! ```standalone_crate
//! use longhaul::prelude::*;
//! use toy_backend as _;
//!
//! #[task]
//! async fn greet(name: String) -> Result<String> {
//!     Ok(format!("hello, {name}"))
//! }
//!
//! #[workflow]
//! async fn welcome(ctx: Context, name: String) -> Result<String> {
//!     let greeting = ctx.run(greet(name)).await?;
//!     ctx.sleep(millis(10)).await?;
//!     Ok(greeting)
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<()> {
//! let client = Client::connect("toy:").await?;
//! let worker = Worker::builder(&client).start().await?;
//! let run = client.start(welcome("Ada".into()).id("welcome-ada")).await?;
//! assert_eq!(run.result().await?, "hello, Ada");
//! worker.shutdown().await
//! # }
//! ```

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use longhaul_core::backend::{Backend, PARTITIONS_DEFAULT, StoreInfo};
use longhaul_core::clock::{BackendClock, Timestamp, random_bytes_of_the_system};
use longhaul_core::{Error, ErrorKind, Result};
use tokio::sync::watch;

use crate::store::Store;

mod commit;
mod events;
mod inspect;
mod state;
mod store;
mod tasks;
mod timers;

longhaul_core::connector!("toy", open_url);

/// Is a handle on a store in the memory of this process. Clones share the store, which is gone with the last of them.
#[derive(Clone)]
pub struct ToyBackend {
    shared: Arc<Shared>,
}

/// Is what all handles of a store have in common.
struct Shared {
    info: StoreInfo,
    clock: BackendClock,
    store: Mutex<Store>,
    changes: watch::Sender<()>,
}

impl ToyBackend {
    /// Makes an empty store that compares times with this clock.
    #[must_use]
    pub fn new(clock: BackendClock) -> Self {
        let [hash_key, _] = halves(random_bytes_of_the_system());
        let shared = Shared {
            info: StoreInfo {
                hash_key,
                partitions: PARTITIONS_DEFAULT,
            },
            clock,
            store: Mutex::default(),
            changes: watch::Sender::new(()),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Reads, at the current time.
    fn read<T>(&self, look: impl FnOnce(&Store, Timestamp) -> T) -> T {
        let store = self.shared.store.lock();
        let store = store.unwrap_or_else(PoisonError::into_inner);
        look(&store, self.shared.clock.now())
    }

    /// Applies a request at the current time, and hints that something may have changed.
    fn write<T>(&self, change: impl FnOnce(&mut Store, Timestamp) -> T) -> T {
        let store = self.shared.store.lock();
        let mut store = store.unwrap_or_else(PoisonError::into_inner);
        let answer = change(&mut store, self.shared.clock.now());
        drop(store);
        self.shared.changes.send_replace(());
        answer
    }
}

impl fmt::Debug for ToyBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToyBackend").finish_non_exhaustive()
    }
}

impl Backend for ToyBackend {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn store(&self) -> StoreInfo {
        self.shared.info.clone()
    }

    fn clock(&self) -> Timestamp {
        self.shared.clock.now()
    }
}

/// Opens what a URL names: `toy:` is a new store, and there is nothing else to say.
async fn open_url(url: String) -> Result<Arc<dyn Backend>> {
    if url != "toy:" {
        let message = format!("`{url}` is not the URL of a toy store; write `toy:`");
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(Arc::new(ToyBackend::new(BackendClock::machine())))
}

fn halves(bytes: [u8; 32]) -> [[u8; 16]; 2] {
    let mut halves = [[0; 16]; 2];
    for (byte, random) in halves.iter_mut().flatten().zip(bytes) {
        *byte = random;
    }
    halves
}
