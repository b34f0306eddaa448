//! Sending an update, and waiting for its answer.

use std::future::IntoFuture;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::client::looks::Looks;
use crate::client::signal::{arrive, write_of};
use crate::clock::BoxFuture;
use crate::context::{Asked, Update};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{DataKey, Uuid, WorkflowId, WriteId};
use crate::payload::Payload;

/// Sends an update; made by [`Handle::update`](crate::client::Handle::update) and awaited for the answer.
#[must_use = "nothing is sent until it is awaited"]
#[derive(Debug)]
pub struct SendUpdate<A> {
    client: Client,
    run: WorkflowId,
    name: &'static str,
    signal: String,
    request: Result<serde_json::Value>,
    key: Option<String>,
    within: Option<Duration>,
    answer: PhantomData<fn() -> A>,
}

impl<A> SendUpdate<A> {
    pub(crate) fn new<Q: Serialize>(
        client: Client,
        run: WorkflowId,
        update: Update<Q, A>,
        request: &Q,
    ) -> Self {
        let encode = || Ok(serde_json::to_value(request)?);
        Self {
            client,
            run,
            name: update.name(),
            signal: update.signal_name(),
            request: update.check(request).and_then(|()| encode()),
            key: None,
            within: None,
            answer: PhantomData,
        }
    }

    /// Names the request: sent again with the same key it reaches the run once, and gives the same answer.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Gives up waiting for the answer after `limit`. The run may answer all the same; ask again with the same
    /// idempotency key for that.
    pub const fn within(mut self, limit: Duration) -> Self {
        self.within = Some(limit);
        self
    }
}

impl<A: DeserializeOwned> SendUpdate<A> {
    async fn send(self) -> Result<A> {
        let environment = self.client.environment();
        let since = environment.elapsed();
        let request = self.request.clone()?;
        let key = self.key.as_deref();
        let WriteId(id) = write_of(&self.client, &self.run, &self.signal, key)?;
        let payload = Payload::encode(&Asked { id, request })?;
        let mut looks = Looks::new(&self.client);
        match arrive(&self.client, &self.run, &self.signal, WriteId(id), payload).await {
            // It may have been answered before the run ended.
            Err(error) if error.kind() == ErrorKind::Finished => {
                return self.answer(id).await?.unwrap_or(Err(error));
            }
            sent => sent?,
        }
        loop {
            // The end is asked for first: an answer that is not there after it never comes.
            let row = self.client.row(&self.run).await?;
            if let Some(answer) = self.answer(id).await? {
                return answer;
            }
            if row.status.is_terminal() {
                return Err(Error::new(
                    ErrorKind::Finished,
                    format!(
                        "run `{}` is {} and did not answer update `{}`",
                        self.run, row.status, self.name
                    ),
                ));
            }
            if let Some(limit) = self.within
                && environment.elapsed().saturating_sub(since) >= limit
            {
                return Err(Error::new(
                    ErrorKind::TimedOut,
                    format!(
                        "run `{}` has not answered update `{}` within {limit:?}; it may yet",
                        self.run, self.name
                    ),
                ));
            }
            looks.next().await;
        }
    }

    async fn answer(&self, id: Uuid) -> Result<Option<Result<A>>> {
        let key = DataKey::of_answer(id);
        let answer = self.client.value(&self.run, &key).await?;
        answer
            .map(|answer| answer.decode_as("answer to update", self.name))
            .transpose()
    }
}

impl<A: DeserializeOwned + 'static> IntoFuture for SendUpdate<A> {
    type Output = Result<A>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
