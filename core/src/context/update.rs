//! Updates: signals with an answer.
//!
//! Invariants: a request is a signal whose content names it; its answer is a value of the run's data under that name, so
//! it is durable with the turn that gave it, and there when it is asked for again.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::receivable::{Opening, Receivable, sealed};
use crate::engine::machine::Machine;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{DataKey, OWN, Uuid};
use crate::payload::Payload;

/// Names an update: a request of type `Q` to a run, and its answer of type `A`.
///
/// ```
/// use longhaul_core::context::Update;
/// use longhaul_core::{Result, failure};
///
/// const BOOK: Update<u32, String> = Update::validated("book", |seats| match seats {
///     0 => Err(failure!("book one seat at least")),
///     _ => Ok(()),
/// });
/// ```
pub struct Update<Q, A> {
    name: &'static str,
    validate: fn(&Q) -> Result<()>,
    answer: PhantomData<fn(Q) -> A>,
}

impl<Q, A> Update<Q, A> {
    /// Makes a name; the constant is the only place that spells it.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self::validated(name, |_| Ok(()))
    }

    /// Makes a name with a check of requests, which must depend on the request alone. A request that it refuses is not
    /// sent, and the sender gets its error.
    #[must_use]
    pub const fn validated(name: &'static str, validate: fn(&Q) -> Result<()>) -> Self {
        Self {
            name,
            validate,
            answer: PhantomData,
        }
    }

    /// Returns the text.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn check(&self, request: &Q) -> Result<()> {
        (self.validate)(request)
    }

    pub(crate) fn signal_name(&self) -> String {
        format!("{OWN}update:{}", self.name)
    }
}

impl<Q, A> Clone for Update<Q, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Q, A> Copy for Update<Q, A> {}

impl<Q, A> fmt::Debug for Update<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Update({:?})", self.name)
    }
}

/// Is a request as it is sent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Asked<Q> {
    pub(crate) id: Uuid,
    pub(crate) request: Q,
}

impl<Q, A> sealed::Sealed for Update<Q, A> {}

impl<Q: DeserializeOwned, A: Serialize> Receivable for Update<Q, A> {
    type Value = (Q, Reply<A>);

    fn stored_name(&self) -> Cow<'static, str> {
        self.signal_name().into()
    }

    fn open(&self, opening: Opening<'_>) -> Result<(Q, Reply<A>)> {
        let asked: Asked<serde_json::Value> = opening
            .payload
            .decode_as("update", self.name)
            .map_err(Error::permanent)?;
        let reply = Reply {
            machine: Arc::clone(opening.machine),
            id: asked.id,
            is_given: false,
            answer: PhantomData,
        };
        match serde_json::from_value(asked.request) {
            Ok(request) => Ok((request, reply)),
            Err(cause) => {
                let message = format!("the request of update `{}` cannot be read", self.name);
                let error = Error::new(ErrorKind::InvalidInput, message).caused_by(cause);
                reply.refuse(error.clone());
                Err(Error::permanent(error))
            }
        }
    }
}

/// Answers an update, once. One that is dropped answers with an error.
#[must_use = "whoever asked waits for the answer"]
pub struct Reply<A> {
    machine: Arc<Machine>,
    id: Uuid,
    is_given: bool,
    answer: PhantomData<fn(A)>,
}

impl<A> fmt::Debug for Reply<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({})", self.id)
    }
}

impl<A: Serialize> Reply<A> {
    /// Gives the answer; it is durable with the turn. One that has no JSON form, or is too large, fails the run.
    pub fn send(mut self, answer: A) {
        self.give(&Ok::<A, Error>(answer));
    }
}

impl<A> Reply<A> {
    /// Answers with an error.
    pub fn refuse(mut self, error: Error) {
        self.give(&Err::<(), Error>(error));
    }

    fn give<T: Serialize>(&mut self, answer: &std::result::Result<T, Error>) {
        self.is_given = true;
        let key = DataKey::of_answer(self.id);
        let stored = Payload::encode(answer)
            .and_then(|value| self.machine.seal(value, "data", key.as_str()));
        match stored {
            Ok(value) => self.machine.set_data(key, Some(value)),
            Err(error) => self.machine.fail(error),
        }
    }
}

impl<A> Drop for Reply<A> {
    fn drop(&mut self) {
        if !self.is_given && !self.machine.is_torn_down() {
            let error = Error::failed("the workflow dropped the request without an answer");
            self.give(&Err::<(), Error>(error));
        }
    }
}
