//! The contract between the engine and a store: narrow traits with few, batch-first methods.
//!
//! Invariants: a backend holds storage and decides nothing that core can decide. Only the owner of a run writes it, in
//! [`State::commit`]; everybody else writes its inbox. Each method either applies a request whole or not at all, and a
//! request that is asked again with the same identifiers is answered as before. Histories are opaque bytes here.
//! Time is the backend's own ([`Backend::clock`]).

mod error;
mod events;
mod hint;
mod inspect;
mod request;
mod state;
mod tasks;
mod timers;
mod transactions;
pub mod url;

use std::fmt;

pub use error::{Error, Kind, Result};
pub use events::Events;
pub use hint::{Hint, HintCount, HintStream, Hints};
pub use inspect::Inspect;
pub use request::*;
pub use state::State;
pub use tasks::Tasks;
pub use timers::Timers;
pub use transactions::{
    AnyConnection, Begun, ConnectionType, ExistingRun, Finished, OutcomeKey, StartedInside,
    Transaction, Transactions,
};

use crate::clock::Timestamp;

/// Is a store of runs: the sum of the narrow traits, used as `Arc<dyn Backend>`.
pub trait Backend: State + Events + Timers + Tasks + Inspect + fmt::Debug + 'static {
    /// Returns the store's name as shown to people, such as `sqlite`.
    fn name(&self) -> &'static str;

    /// Returns what was fixed when the store was made.
    fn store(&self) -> StoreInfo;

    /// Returns a lower bound of the backend's time; exact where the store is embedded.
    ///
    /// # Guarantees
    /// - Never later than the time that the backend compares due times with.
    fn clock(&self) -> Timestamp;

    /// Returns the part that shares transactions with the user's own SQL, where the store has it.
    ///
    /// A backend that wraps another passes it on.
    fn transactions(&self) -> Option<&dyn Transactions> {
        None
    }
}
