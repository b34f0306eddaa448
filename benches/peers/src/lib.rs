//! What is the same for every engine that is measured: the workloads, and the program that runs them on one engine.
//!
//! Invariants: workloads go through an engine's public API, in a process of its own, on a store of its own; all engines
//! get the same calls. Nothing here knows an engine.

mod child;
mod count;
pub mod engine;
pub mod figure;
mod kill;
pub mod parked;
pub mod program;
pub mod server;
pub mod sizes;
mod workload;

pub use child::{About, run as run_engine};
pub use engine::{Engine, Program, Store, Succession};
pub use workload::Workload;
