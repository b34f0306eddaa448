//! The pure part: events and timestamps in, commands and decisions out.
//!
//! ```text
//!  inputs ──► live ──► execution ──► machine ◄── operations of the workflow's code
//!               │          ▲            │
//!             ledger     replay      commands
//! ```
//!
//! Invariants: nothing here reads a clock, draws chance, or reaches a backend; equal histories give equal commands.

pub(crate) mod chance;
pub(crate) mod execution;
pub(crate) mod identifiers;
pub(crate) mod ledger;
pub(crate) mod live;
pub(crate) mod machine;
pub(crate) mod messages;
pub(crate) mod outside;
pub(crate) mod replay;

#[cfg(test)]
mod tests;
