//! End-to-end tests: the public surface over every backend.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may panic"
)]

mod basic_workflow;
