//! Pausing from inside.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as PollContext, Poll};

use super::operation::{Operation, cancelled};
use crate::command::Command;
use crate::engine::machine::{Machine, Resolution};
use crate::error::Result;
use crate::history::OperationKind;

/// Waits until somebody resumes the run; made by `ctx.pause`.
#[must_use = "a pause does nothing until it is awaited"]
pub struct Pause {
    operation: Operation,
    reason: String,
}

impl fmt::Debug for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pause({:?})", self.operation)
    }
}

impl Pause {
    pub(crate) fn new(machine: &Arc<Machine>, reason: String) -> Self {
        Self {
            operation: Operation::new(machine, OperationKind::Pause, "pause"),
            reason,
        }
    }
}

impl Future for Pause {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut PollContext<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let reason = &this.reason;
        let polled = this.operation.poll(context, |_, key| {
            Some(Command::Pause {
                operation: key.clone(),
                reason: reason.clone(),
            })
        });
        polled.map(|resolution| match resolution {
            Resolution::Cancelled(reason) => Err(cancelled(&this.operation.key, &reason)),
            Resolution::Fired | Resolution::Outcome(_) => Ok(()),
        })
    }
}
