//! What only Postgres has: a server that refuses, goes away and comes back, schemas, hints between handles.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "tests may panic and print figures"
)]

#[path = "../fixture/mod.rs"]
mod fixture;

mod going_away;
mod hints;
mod opening;
mod refusals;
mod rows;
