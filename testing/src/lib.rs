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

#[cfg_attr(
    all(not(feature = "simulator"), not(test)),
    expect(dead_code, reason = "the simulator draws more")
)]
mod chance;
mod crash;
#[cfg_attr(
    not(feature = "simulator"),
    expect(dead_code, reason = "the simulator does more to a process")
)]
mod node;
#[cfg(feature = "simulator")]
pub mod simulate;
#[cfg_attr(
    not(feature = "simulator"),
    expect(dead_code, reason = "the simulator looks at more of it")
)]
mod wire;

pub use self::crash::{CrashEverywhere, CrashReport, crash_everywhere};
