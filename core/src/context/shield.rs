//! What outlives a cancel, and what waits for one.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as PollContext, Poll};

use crate::engine::machine::Machine;

/// Keeps a cancel from what a future asks for; made by `ctx.shield`.
#[must_use = "a shield does nothing until it is awaited"]
pub struct Shield<F> {
    machine: Arc<Machine>,
    future: Pin<Box<F>>,
}

impl<F> fmt::Debug for Shield<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shield").finish_non_exhaustive()
    }
}

impl<F> Shield<F> {
    pub(crate) fn new(machine: &Arc<Machine>, future: F) -> Self {
        Self {
            machine: Arc::clone(machine),
            future: Box::pin(future),
        }
    }
}

impl<F: Future> Future for Shield<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut PollContext<'_>) -> Poll<Self::Output> {
        let _inside = Inside::enter(&self.machine);
        self.future.as_mut().poll(context)
    }
}

/// Marks that a shield is being polled, until it is dropped.
struct Inside(Arc<Machine>);

impl Inside {
    fn enter(machine: &Arc<Machine>) -> Self {
        machine.enter_shield();
        Self(Arc::clone(machine))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.leave_shield();
    }
}

/// Waits for a cancel; made by `ctx.cancelled`.
#[must_use = "it does nothing until it is awaited"]
pub struct Cancelled {
    machine: Arc<Machine>,
    place: Option<u64>,
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancelled").finish_non_exhaustive()
    }
}

impl Cancelled {
    pub(crate) fn new(machine: &Arc<Machine>) -> Self {
        Self {
            machine: Arc::clone(machine),
            place: None,
        }
    }
}

impl Future for Cancelled {
    type Output = String;

    fn poll(mut self: Pin<&mut Self>, context: &mut PollContext<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        match this
            .machine
            .poll_cancelled(&mut this.place, context.waker())
        {
            Some(reason) => Poll::Ready(reason),
            None => Poll::Pending,
        }
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.machine.leave_cancelled(place);
        }
    }
}
