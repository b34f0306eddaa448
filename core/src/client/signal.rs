//! Sending a signal.

use std::future::IntoFuture;

use crate::backend::{ArrivalBody, ArrivalKind, ArriveRequest};
use crate::client::Client;
use crate::clock::BoxFuture;
use crate::engine::identifiers;
use crate::engine::machine::check_payload;
use crate::error::Result;
use crate::id::{Epoch, Segment, SignalName, WorkflowId, WriteId, check_name};
use crate::payload::{Binding, Payload};

/// Sends a signal; made by [`Handle::signal`](crate::client::Handle::signal) and awaited.
#[must_use = "nothing is sent until it is awaited"]
#[derive(Debug)]
pub struct SendSignal {
    client: Client,
    run: WorkflowId,
    name: String,
    payload: Result<Payload>,
    key: Option<String>,
}

impl SendSignal {
    pub(crate) fn new(
        client: Client,
        run: WorkflowId,
        name: &str,
        payload: Result<Payload>,
    ) -> Self {
        Self {
            client,
            run,
            name: name.to_owned(),
            payload,
            key: None,
        }
    }

    /// Names the sending: a signal of the same name with the same key arrives at the run once, however often and by
    /// whomever it is sent, until the run has ended. The first value counts.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    async fn send(self) -> Result<()> {
        let name = SignalName::new(&self.name)?;
        let write = write_of(&self.client, &self.run, name.as_str(), self.key.as_deref())?;
        arrive(&self.client, &self.run, name.as_str(), write, self.payload?).await
    }
}

/// Names a sending: by its key, the same each time, or anew.
pub(super) fn write_of(
    client: &Client,
    run: &WorkflowId,
    name: &str,
    key: Option<&str>,
) -> Result<WriteId> {
    let Some(key) = key else {
        return Ok(WriteId(client.environment().uuid()));
    };
    check_name("idempotency key", key)?;
    let purpose = format!("signal {name} {key}");
    let hash_key = &client.settings().hash_key;
    Ok(identifiers::write_id(
        hash_key,
        run,
        Segment::FIRST,
        Epoch(0),
        purpose.as_bytes(),
        0,
    ))
}

/// Puts a signal into the inbox of a run.
pub(super) async fn arrive(
    client: &Client,
    run: &WorkflowId,
    name: &str,
    write: WriteId,
    payload: Payload,
) -> Result<()> {
    let settings = client.settings();
    check_payload(&payload, &settings.limits, "signal", name)?;
    let binding = Binding {
        run,
        kind: "signal",
        key: name,
    };
    let payload = settings.codecs.encode(payload, &binding)?;
    let request = ArriveRequest {
        run: run.clone(),
        write,
        body: ArrivalBody {
            kind: ArrivalKind::Signal,
            name: name.to_owned(),
            content: payload.as_bytes().to_vec(),
        },
        inbox_max: settings.limits.inbox_max,
    };
    client.arrive(request).await
}

impl IntoFuture for SendSignal {
    type Output = Result<()>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
