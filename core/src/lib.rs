//! The engine, the backend contract and the client of Longhaul.
//!
//! Users depend on the facade crate `longhaul`; implementors of backends depend on this one. Modules stand in reading
//! order: each uses only those above it.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "tests may panic"
    )
)]

pub mod backend;
pub mod call;
pub mod client;
pub mod clock;
mod command;
pub mod context;
mod engine;
pub mod error;
pub mod history;
mod hub;
pub mod id;
pub mod identity;
#[doc(hidden)]
pub mod macro_support;
mod map;
pub mod options;
pub mod payload;
pub mod registry;
pub mod retry;
#[cfg(feature = "sabotage")]
#[doc(hidden)]
pub mod sabotage;
#[cfg(not(feature = "sabotage"))]
mod sabotage;
pub mod status;
pub mod worker;

#[doc(hidden)]
pub use macro_support as __private;

pub use error::{Error, ErrorKind, Result};
