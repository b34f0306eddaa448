//! Callbacks: a secret that an outside system hands back, once, with a value.
//!
//! Invariants: a token names the run and a random number of it, and proves that this store made it; nobody can make up
//! one. What comes with it is a signal of a name of its own, so it waits until it is awaited and survives like one.

use std::fmt;
use std::future::Future;
use std::hash::Hasher as _;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as PollContext, Poll};
use std::time::Duration;

use serde::de::DeserializeOwned;
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use super::wait::{Received, Wait, without_limit};
use crate::engine::chance::Use;
use crate::engine::machine::Machine;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{OWN, Uuid, WorkflowId};
use crate::payload::Payload;

/// Waits for what an outside system hands back; made by `ctx.callback`.
#[must_use = "hand out its token, and await it"]
pub struct Callback<T> {
    wait: Wait,
    token: String,
    value: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Callback<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Callback({:?})", self.wait.operation)
    }
}

impl<T> Unpin for Callback<T> {}

impl<T: DeserializeOwned> Callback<T> {
    pub(crate) fn new(machine: &Arc<Machine>) -> Self {
        let id = machine.rng(Use::Uuid).uuid();
        Self {
            wait: Wait::new(machine, &signal_name(id)),
            token: token(&machine.hash_key, id, &machine.identity.workflow_id),
            value: PhantomData,
        }
    }

    /// Returns the secret to hand out: whoever has it can complete the callback, and nobody else. It is the same at each
    /// replay.
    #[must_use]
    pub fn token(&self) -> String {
        self.token.clone()
    }

    /// Gives up after `limit`, counted from the first poll, and yields `None` then.
    pub fn within(self, limit: Duration) -> CallbackWithin<T> {
        CallbackWithin(Self {
            wait: self.wait.within(limit),
            ..self
        })
    }

    fn poll_value(&mut self, context: &PollContext<'_>) -> Poll<Result<Option<T>>> {
        let received = std::task::ready!(self.wait.poll(context));
        Poll::Ready(match received {
            Ok(Received::Value(payload)) => self.open(payload).map(Some),
            Ok(Received::TimeUp) => Ok(None),
            Err(error) => Err(error),
        })
    }

    fn open(&self, payload: Payload) -> Result<T> {
        let machine = &self.wait.operation.machine;
        let name = &self.wait.operation.key.name;
        let payload = machine.unseal(payload, "signal", name)?;
        let completed: std::result::Result<serde_json::Value, Error> =
            payload.decode_as("callback", name)?;
        let value = serde_json::from_value(completed?);
        value.map_err(|cause| {
            let message = format!("the callback was completed with another type: {cause}");
            Error::permanent(Error::new(ErrorKind::InvalidInput, message))
        })
    }
}

impl<T: DeserializeOwned> Future for Callback<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut PollContext<'_>) -> Poll<Self::Output> {
        self.poll_value(context)
            .map(|value| value?.ok_or_else(without_limit))
    }
}

/// Waits for a callback for a limited time; made by [`Callback::within`].
#[must_use = "it does nothing until it is awaited"]
pub struct CallbackWithin<T>(Callback<T>);

impl<T> fmt::Debug for CallbackWithin<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T> Unpin for CallbackWithin<T> {}

impl<T: DeserializeOwned> Future for CallbackWithin<T> {
    type Output = Result<Option<T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut PollContext<'_>) -> Poll<Self::Output> {
        self.0.poll_value(context)
    }
}

/// Returns the name of the signal that completes a callback.
pub(crate) fn signal_name(id: Uuid) -> String {
    format!("{OWN}callback:{id}")
}

fn token(hash_key: &[u8; 16], id: Uuid, run: &WorkflowId) -> String {
    format!("{id}.{}@{run}", proof(hash_key, id, run))
}

/// Proves that a token is of this store.
///
/// Source: SipHash-2-4 with 128 bits, J.-P. Aumasson and D. J. Bernstein, 2012, under the key of the store.
fn proof(hash_key: &[u8; 16], id: Uuid, run: &WorkflowId) -> Uuid {
    let mut hasher = SipHasher24::new_with_key(hash_key);
    hasher.write(b"callback");
    hasher.write(id.as_bytes());
    hasher.write(run.as_str().as_bytes());
    Uuid::from_random_bytes(hasher.finish128().as_bytes())
}

/// Reads a token: which callback of which run.
///
/// # Errors
/// `InvalidInput` when it is none of this store.
pub(crate) fn read_token(hash_key: &[u8; 16], token: &str) -> Result<(Uuid, WorkflowId)> {
    let read = || {
        let (secret, run) = token.split_once('@')?;
        let (id, given) = secret.split_once('.')?;
        let (id, given): (Uuid, Uuid) = (id.parse().ok()?, given.parse().ok()?);
        let run = WorkflowId::from_stored(run);
        (proof(hash_key, id, &run) == given).then_some((id, run))
    };
    read().ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidInput,
            "this is no token of a callback in this store; hand it back as it was given",
        )
    })
}

/// Encodes what completes a callback.
pub(crate) fn completion<T: serde::Serialize>(
    outcome: &std::result::Result<T, Error>,
) -> Result<Payload> {
    Payload::encode(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_read_by_its_own_store_alone_and_as_it_was_given() {
        let (id, run) = (
            Uuid::from_random_bytes([7; 16]),
            WorkflowId::from_stored("a@b.c"),
        );
        let made = token(&[1; 16], id, &run);
        assert_eq!(read_token(&[1; 16], &made).unwrap(), (id, run.clone()));
        assert!(read_token(&[2; 16], &made).is_err());
        let other = made.replace("a@b", "a@c");
        for wrong in [other.as_str(), "", "x", "@", ".@", &made[1..]] {
            assert!(read_token(&[1; 16], wrong).is_err(), "{wrong}");
        }
    }
}
