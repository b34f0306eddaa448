//! Following a value of the data of a run.

use std::fmt;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::client::looks::Looks;
use crate::context::Data;
use crate::error::Result;
use crate::id::{DataKey, WorkflowId};
use crate::payload::Payload;

/// Follows a value of a run's workflow data; made by [`Handle::watch`](crate::client::Handle::watch).
#[must_use = "nothing is read until `next` is awaited"]
pub struct Watch<T> {
    client: Client,
    run: WorkflowId,
    key: Data<T>,
    looks: Looks,
    /// What was told last; none before anything was.
    told: Option<Option<Payload>>,
    value: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Watch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch({:?}, {})", self.run, self.key.name())
    }
}

impl<T: DeserializeOwned> Watch<T> {
    pub(crate) fn new(client: Client, run: WorkflowId, key: Data<T>) -> Self {
        Self {
            looks: Looks::new(&client),
            client,
            run,
            key,
            told: None,
            value: PhantomData,
        }
    }

    /// Waits for the next value that the run sets: first the one that stands, then each that differs from the one told
    /// before. Values that stand for less than a look may be left out, the last one never is. `None` once the run has
    /// ended and its last value was told.
    ///
    /// # Errors
    /// `NotFound` when there is no such run; `InvalidInput` when a stored value is not a `T`.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn next(&mut self) -> Result<Option<T>> {
        let name = DataKey::new(self.key.name())?;
        loop {
            // The end is asked for first: what is read after it is the last value.
            let row = self.client.row(&self.run).await?;
            let value = self.client.value(&self.run, &name).await?;
            let is_new = self.told.as_ref() != Some(&value);
            self.told = Some(value.clone());
            match value {
                Some(value) if is_new => {
                    self.looks.be_quick();
                    return value.decode_as("data", self.key.name()).map(Some);
                }
                _ if row.status.is_terminal() => return Ok(None),
                _ => self.looks.next().await,
            }
        }
    }
}
