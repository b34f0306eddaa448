//! What a workflow can receive: signals, and updates, which are answered.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::context::keys::Signal;
use crate::engine::machine::Machine;
use crate::error::{Error, Result};
use crate::payload::Payload;

/// Is what `ctx.receive` takes: a [`Signal`], or an [`Update`](super::Update).
pub trait Receivable: Copy + sealed::Sealed {
    /// What the workflow gets.
    type Value;

    #[doc(hidden)]
    fn stored_name(&self) -> Cow<'static, str>;

    #[doc(hidden)]
    fn open(&self, opening: Opening<'_>) -> Result<Self::Value>;
}

/// Is what arrived, with what its receiver needs to make a value of it.
#[doc(hidden)]
pub struct Opening<'a> {
    pub(super) machine: &'a Arc<Machine>,
    pub(super) payload: Payload,
}

impl fmt::Debug for Opening<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opening({:?})", self.payload)
    }
}

pub(super) mod sealed {
    pub trait Sealed {}
}

impl<T> sealed::Sealed for Signal<T> {}

impl<T: DeserializeOwned> Receivable for Signal<T> {
    type Value = T;

    fn stored_name(&self) -> Cow<'static, str> {
        self.name().into()
    }

    fn open(&self, opening: Opening<'_>) -> Result<T> {
        let value = opening.payload.decode_as("signal", self.name());
        value.map_err(Error::permanent)
    }
}
