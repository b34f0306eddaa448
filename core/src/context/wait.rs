//! Waiting for time and for signals.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as PollContext, Poll};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::command::Command;
use crate::context::operation::{Operation, cancelled};
use crate::context::receivable::{Opening, Receivable};
use crate::engine::machine::{Machine, Resolution};
use crate::error::{Error, ErrorKind, Result};
use crate::history::{OperationKey, OperationKind};
use crate::payload::Payload;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    Time(Timestamp),
    After(Duration),
}

impl Until {
    fn due(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Time(time) => time,
            Self::After(duration) => now.after(duration),
        }
    }
}

/// Waits for a time; made by `ctx.sleep` and `ctx.sleep_until`.
#[derive(Debug)]
#[must_use = "a sleep does nothing until it is awaited"]
pub struct Sleep {
    operation: Operation,
    until: Until,
}

impl Sleep {
    pub(crate) fn new(machine: &Arc<Machine>, purpose: &str, until: Until) -> Self {
        Self {
            operation: Operation::new(machine, OperationKind::Timer, purpose),
            until,
        }
    }
}

impl Future for Sleep {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut PollContext<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let until = this.until;
        let polled = this.operation.poll(context, |now, key| {
            Some(Command::StartTimer {
                operation: key.clone(),
                due: until.due(now),
            })
        });
        polled.map(|resolution| match resolution {
            Resolution::Cancelled(reason) => Err(cancelled(&this.operation.key, &reason)),
            Resolution::Fired | Resolution::Outcome(_) => Ok(()),
        })
    }
}

/// Bounds a future in time; made by `ctx.timeout`.
#[must_use = "a timeout does nothing until it is awaited"]
pub struct Timeout<F> {
    future: Pin<Box<F>>,
    sleep: Sleep,
    limit: Duration,
}

impl<F> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timeout({:?}, {:?})", self.sleep.operation, self.limit)
    }
}

impl<F> Timeout<F> {
    pub(crate) fn new(machine: &Arc<Machine>, limit: Duration, future: F) -> Self {
        Self {
            future: Box::pin(future),
            sleep: Sleep::new(machine, "timeout", Until::After(limit)),
            limit,
        }
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut PollContext<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(value) = self.future.as_mut().poll(context) {
            return Poll::Ready(Ok(value));
        }
        let limit = self.limit;
        Pin::new(&mut self.sleep).poll(context).map(|slept| {
            slept?;
            Err(Error::new(
                ErrorKind::TimedOut,
                format!("took longer than {limit:?}"),
            ))
        })
    }
}

pub(super) struct Wait {
    pub(super) operation: Operation,
    within: Option<Duration>,
}

pub(super) enum Received {
    Value(Payload),
    TimeUp,
}

impl Wait {
    pub(super) fn new(machine: &Arc<Machine>, name: &str) -> Self {
        Self {
            operation: Operation::new(machine, OperationKind::Receive, name),
            within: None,
        }
    }

    pub(super) fn within(mut self, limit: Duration) -> Self {
        self.within = Some(limit);
        self
    }

    pub(super) fn poll(&mut self, context: &PollContext<'_>) -> Poll<Result<Received>> {
        let within = self.within;
        let key = &self.operation.key;
        let polled = self
            .operation
            .machine
            .poll_receive(key, context.waker(), |now| Command::AwaitSignal {
                operation: key.clone(),
                due: within.map(|within| now.after(within)),
            });
        let Some(polled) = polled else {
            return Poll::Pending;
        };
        self.operation.finish();
        Poll::Ready(match polled {
            Ok(payload) => Ok(Received::Value(payload)),
            Err(resolution) => ended(&self.operation.key, resolution),
        })
    }

    fn open<S: Receivable>(&self, signal: S, payload: Payload) -> Result<S::Value> {
        let machine = &self.operation.machine;
        let name = &self.operation.key.name;
        let payload = machine.unseal(payload, "signal", name)?;
        signal.open(Opening { machine, payload })
    }
}

fn ended(key: &OperationKey, resolution: Resolution) -> Result<Received> {
    match resolution {
        Resolution::Cancelled(reason) => Err(cancelled(key, &reason)),
        Resolution::Fired | Resolution::Outcome(_) => Ok(Received::TimeUp),
    }
}

/// Waits for a signal or an update; made by `ctx.receive`.
#[must_use = "a receive does nothing until it is awaited"]
pub struct Receive<S> {
    wait: Wait,
    signal: S,
}

impl<S> fmt::Debug for Receive<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receive({:?})", self.wait.operation)
    }
}

impl<S: Receivable> Receive<S> {
    pub(crate) fn new(machine: &Arc<Machine>, signal: S) -> Self {
        Self {
            wait: Wait::new(machine, &signal.stored_name()),
            signal,
        }
    }

    /// Gives up after `limit`, counted from the first poll, and yields `None` then.
    pub fn within(self, limit: Duration) -> ReceiveWithin<S> {
        ReceiveWithin {
            wait: self.wait.within(limit),
            signal: self.signal,
        }
    }
}

impl<S> Unpin for Receive<S> {}

impl<S: Receivable> Future for Receive<S> {
    type Output = Result<S::Value>;

    fn poll(mut self: Pin<&mut Self>, context: &mut PollContext<'_>) -> Poll<Self::Output> {
        let received = std::task::ready!(self.wait.poll(context));
        Poll::Ready(match received {
            Ok(Received::Value(payload)) => self.wait.open(self.signal, payload),
            Ok(Received::TimeUp) => Err(without_limit()),
            Err(error) => Err(error),
        })
    }
}

pub(super) fn without_limit() -> Error {
    Error::new(ErrorKind::Bug, "a wait without a limit ran out of time")
}

/// Waits for a signal or an update for a limited time; made by [`Receive::within`].
#[must_use = "a receive does nothing until it is awaited"]
pub struct ReceiveWithin<S> {
    wait: Wait,
    signal: S,
}

impl<S> fmt::Debug for ReceiveWithin<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReceiveWithin({:?})", self.wait.operation)
    }
}

impl<S> Unpin for ReceiveWithin<S> {}

impl<S: Receivable> Future for ReceiveWithin<S> {
    type Output = Result<Option<S::Value>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut PollContext<'_>) -> Poll<Self::Output> {
        let received = std::task::ready!(self.wait.poll(context));
        Poll::Ready(match received {
            Ok(Received::Value(payload)) => self.wait.open(self.signal, payload).map(Some),
            Ok(Received::TimeUp) => Ok(None),
            Err(error) => Err(error),
        })
    }
}
