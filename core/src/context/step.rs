//! A task written in place.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as PollContext, Poll};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::BoxFuture;
use crate::command::Command;
use crate::context::operation::{Operation, cancelled};
use crate::engine::machine::{Machine, Resolution};
use crate::error::{Error, ErrorKind, Result};
use crate::history::{OperationKind, Outcome};
use crate::payload::Payload;

/// Waits for a step; made by `ctx.step`.
#[must_use = "a step does nothing until it is awaited"]
pub struct Step<T> {
    operation: Operation,
    body: Option<BoxFuture<'static, Outcome>>,
    value: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Step<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Step({:?})", self.operation)
    }
}

impl<T: Serialize> Step<T> {
    pub(crate) fn new(
        machine: &Arc<Machine>,
        name: &str,
        step: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Self {
        let operation = Operation::new(machine, OperationKind::Step, name);
        let sealing = Arc::clone(machine);
        let name = Arc::clone(&operation.key.name);
        let body = async move {
            let result = step.await?;
            sealing.seal(Payload::encode(&result)?, "result", &name)
        };
        Self {
            operation,
            body: Some(Box::pin(body)),
            value: PhantomData,
        }
    }
}

impl<T> Unpin for Step<T> {}

impl<T: DeserializeOwned> Future for Step<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut PollContext<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(body) = this.body.take() {
            this.operation.machine.keep_step(&this.operation.key, body);
        }
        let polled = this.operation.poll(context, |_, key| {
            Some(Command::StartStep {
                operation: key.clone(),
            })
        });
        polled.map(|resolution| match resolution {
            Resolution::Outcome(outcome) => {
                let name = &this.operation.key.name;
                let machine = &this.operation.machine;
                let result = machine.unseal(outcome?, "result", name)?;
                result.decode_as("result", name)
            }
            Resolution::Cancelled(reason) => Err(cancelled(&this.operation.key, &reason)),
            Resolution::Fired => Err(Error::new(
                ErrorKind::Bug,
                format!("`{}` is no timer and fired", this.operation.key),
            )),
        })
    }
}
