//! The stored forms of what runs and workers send each other through the backend.
//!
//! Invariants: each starts with the record format byte, like a turn.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::history::{OperationKey, Outcome, PausedTimers};
use crate::id::Segment;
use crate::identity::WorkflowIdentity;
use crate::options::TaskOptions;
use crate::payload::Payload;

/// Is the first byte of every message that this version writes.
const MESSAGE_FORMAT: u8 = 1;

/// Is what the worker of a queued attempt needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AttemptContent {
    pub(crate) identity: WorkflowIdentity,
    pub(crate) arguments: Payload,
    pub(crate) options: TaskOptions,
}

/// Is how a queued attempt ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OutcomeContent {
    pub(crate) segment: Segment,
    pub(crate) operation: OperationKey,
    pub(crate) attempt: u32,
    pub(crate) outcome: Outcome,
}

/// Is how a subworkflow ended, or why it was refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClosedContent {
    pub(crate) segment: Segment,
    pub(crate) operation: OperationKey,
    pub(crate) outcome: Outcome,
}

/// Is a control request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum ControlContent {
    Cancel {
        reason: String,
    },
    Terminate {
        reason: String,
    },
    Pause {
        reason: String,
        timers: PausedTimers,
    },
    Resume {
        reason: String,
    },
    MoveTimer {
        operation: OperationKey,
        to: TimerMove,
        reason: String,
    },
}

/// Says where a timer is moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TimerMove {
    Now,
    Later(Duration),
}

impl TimerMove {
    /// Returns when a timer is due that was due at `due`.
    pub(crate) fn due(self, due: Timestamp, now: Timestamp) -> Timestamp {
        match self {
            Self::Now => now.min(due),
            Self::Later(by) => due.after(by),
        }
    }
}

/// Encodes a message.
pub(crate) fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>> {
    let mut bytes = vec![MESSAGE_FORMAT];
    rmp_serde::encode::write(&mut bytes, message).map_err(|cause| {
        Error::new(ErrorKind::Bug, "a message has no stored form").caused_by(cause)
    })?;
    Ok(bytes)
}

/// Decodes a message.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    match bytes.split_first() {
        Some((&MESSAGE_FORMAT, message)) => rmp_serde::from_slice(message).map_err(|cause| {
            Error::new(ErrorKind::Corrupt, "a stored message cannot be read").caused_by(cause)
        }),
        Some((&newer, _)) if newer > MESSAGE_FORMAT => Err(Error::new(
            ErrorKind::NewerVersion,
            format!(
                "a stored message has format {newer}; this version reads up to {MESSAGE_FORMAT}"
            ),
        )),
        _ => Err(Error::new(
            ErrorKind::Corrupt,
            "a stored message has no format byte",
        )),
    }
}
