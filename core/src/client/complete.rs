//! Completing callbacks from outside.

use serde::Serialize;

use crate::client::Client;
use crate::client::signal::{arrive, write_of};
use crate::context::{completion, read_token, signal_name};
use crate::error::{Error, Result};
use crate::payload::Payload;

impl Client {
    /// Hands back the token of a callback with a value. The first completion counts; any later one changes nothing.
    ///
    /// # Errors
    /// `InvalidInput` when it is no token of this store; `NotFound` when there is no such run, `Finished` when it has
    /// ended; `LimitExceeded` when the value is too large; `Unavailable` when the backend cannot be reached.
    pub async fn complete<T: Serialize>(&self, token: &str, value: T) -> Result<()> {
        self.hand_back(token, completion(&Ok::<T, Error>(value))?)
            .await
    }

    /// Hands back the token of a callback with an error, which the workflow gets.
    ///
    /// # Errors
    /// As [`Client::complete`].
    pub async fn complete_with_error(&self, token: &str, error: Error) -> Result<()> {
        self.hand_back(token, completion(&Err::<(), Error>(error))?)
            .await
    }

    async fn hand_back(&self, token: &str, completion: Payload) -> Result<()> {
        let (id, run) = read_token(&self.settings().hash_key, token)?;
        let name = signal_name(id);
        let write = write_of(self, &run, &name, Some("completion"))?;
        arrive(self, &run, &name, write, completion).await
    }
}
