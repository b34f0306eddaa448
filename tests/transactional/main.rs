//! Runs that start inside the user's transaction, and tasks whose SQL is committed together with their outcome.
//!
//! Invariants: the suite knows the store by [`store`] alone, and its SQL is understood by SQLite and Postgres. A store of
//! another database is a test binary with a `store` of its own and these modules by their paths.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "tests may panic"
)]

mod attempts;
mod contract;
mod kill;
mod refusals;
mod sqlite;
mod start_in;
mod store;
mod tasks;
mod world;
