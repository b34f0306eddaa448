//! The suite of transactions over Postgres.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "tests may panic"
)]

#[path = "../attempts.rs"]
mod attempts;
#[path = "../contract.rs"]
mod contract;
#[path = "../kill.rs"]
mod kill;
#[path = "../refusals.rs"]
mod refusals;
mod server;
#[path = "../start_in.rs"]
mod start_in;
mod store;
#[path = "../tasks.rs"]
mod tasks;
#[path = "../world.rs"]
mod world;
