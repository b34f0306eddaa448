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
        let settings = self.client.settings();
        let name = SignalName::new(&self.name)?;
        let payload = self.payload?;
        check_payload(&payload, &settings.limits, "signal", name.as_str())?;
        let binding = Binding {
            run: &self.run,
            kind: "signal",
            key: name.as_str(),
        };
        let payload = settings.codecs.encode(payload, &binding)?;
        let write = match &self.key {
            Some(key) => {
                check_name("idempotency key", key)?;
                let purpose = format!("signal {name} {key}");
                let (key, segment) = (&settings.hash_key, Segment::FIRST);
                identifiers::write_id(key, &self.run, segment, Epoch(0), purpose.as_bytes(), 0)
            }
            None => WriteId(self.client.environment().uuid()),
        };
        let request = ArriveRequest {
            run: self.run,
            write,
            body: ArrivalBody {
                kind: ArrivalKind::Signal,
                name: name.as_str().to_owned(),
                content: payload.as_bytes().to_vec(),
            },
            inbox_max: settings.limits.inbox_max,
        };
        self.client.arrive(request).await
    }
}

impl IntoFuture for SendSignal {
    type Output = Result<()>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
