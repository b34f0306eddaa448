//! End-to-end tests: the public surface over every backend.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "tests may panic"
)]

#[macro_use]
mod world;

mod bad_input;
mod basic_workflow;
mod claims;
mod codec;
mod control;
mod control_flow;
mod cost;
mod cost_postgres;
mod error_recovery;
mod example;
mod fan_out;
mod faults;
mod fleet;
mod golden;
mod health;
mod idle;
mod kill;
mod long_history;
mod messages;
mod nested_workflow;
mod parking;
mod queues;
mod redis;
mod restart;
mod server_restart;
mod state_persistence;
mod web;
