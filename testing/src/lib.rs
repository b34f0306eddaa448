//! Tests of Longhaul workflows, and the simulator that tests Longhaul itself.
//!
//! Everything here runs in one thread and in virtual time: a month of waiting takes as long as the code around it.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "tests may panic"
    )
)]

mod chance;
mod node;
#[cfg(feature = "simulator")]
pub mod simulate;
mod wire;
