//! The Redis backend of Longhaul.
#![forbid(unsafe_code)]
