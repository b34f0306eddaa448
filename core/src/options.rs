//! What a user may say about a call, a task or a client, with defaults.
//!
//! Data only: nothing here decides anything.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::QueueName;
use crate::retry::RetryPolicy;

/// Says how an invocation of a task is executed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaskOptions {
    /// How failed attempts are followed by others; never by default.
    pub retry: RetryPolicy,
    /// How long one attempt may take; unlimited by default.
    pub timeout: Option<Duration>,
    /// The queue whose workers run it; by default the worker that owns the run does, or one that has less to do.
    pub queue: Option<QueueName>,
    /// Which of a queue's invocations go first: the higher number; 0 by default.
    pub priority: i16,
    /// How long after it was asked for the first attempt may start; at once by default.
    pub delay: Option<Duration>,
    /// What an outside system recognises a repeated effect by; made from run, segment and operation by default.
    pub idempotency_key: Option<String>,
    /// Whether a workflow that calls it starts a subworkflow instead.
    pub force_new_workflow: bool,
}

impl TaskOptions {
    /// Makes the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// Says what happens to an open subworkflow when its parent ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ClosePolicy {
    /// It is cancelled.
    #[default]
    Cancel,
    /// It goes on alone.
    Abandon,
    /// It is terminated.
    Terminate,
}

/// Bounds what one run may hold; passing one gives a `LimitExceeded` error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest payload in bytes; 2 MiB by default.
    pub payload_bytes_max: usize,
    /// The most events in a segment; 50,000 by default. A worker warns at four fifths of them, once.
    pub history_events_max: u64,
    /// The most unread arrivals of a run; 10,000 by default.
    pub inbox_max: u64,
    /// The most operations of a run that are open at once; 20,000 by default.
    pub open_operations_max: usize,
    /// The most tags of a run; 32 by default.
    pub tags_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            payload_bytes_max: 2 * 1024 * 1024,
            history_events_max: 50_000,
            inbox_max: 10_000,
            open_operations_max: 20_000,
            tags_max: 32,
        }
    }
}
