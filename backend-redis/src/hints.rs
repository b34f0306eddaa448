//! Hints between handles: published by the scripts that change something, heard on a connection of its own.
//!
//! Invariants: a hint says only that something changed, and nothing depends on it. Without anybody who waits for hints,
//! nobody listens.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use longhaul_core::backend::{Hint, HintStream, Hints as Streams};
use redis::{Client, ConnectionInfo, Msg, RedisError};
use tokio::task::JoinHandle;

/// Is how long a listener waits that lost its connection.
const RETRY: Duration = Duration::from_secs(1);

/// Is what scripts publish when runs ended and nothing else happened.
const ENDED: &[u8] = b"ended";

/// Hears of changes.
#[derive(Debug)]
pub(crate) struct Hints {
    here: Streams,
    channel: String,
    nodes: Vec<ConnectionInfo>,
    runtime: tokio::runtime::Handle,
    listener: Mutex<Option<JoinHandle<()>>>,
}

impl Hints {
    pub(crate) fn new(nodes: Vec<ConnectionInfo>, channel: String) -> Self {
        Self {
            here: Streams::default(),
            channel,
            nodes,
            runtime: tokio::runtime::Handle::current(),
            listener: Mutex::default(),
        }
    }

    /// Opens a stream of hints, and begins to listen.
    pub(crate) fn subscribe(&self) -> Box<dyn HintStream> {
        let stream = self.here.subscribe();
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        listener.get_or_insert_with(|| {
            let (nodes, channel) = (self.nodes.clone(), self.channel.clone());
            self.runtime
                .spawn(listen(nodes, channel, self.here.clone()))
        });
        stream
    }

    /// Ends what runs in the background.
    pub(crate) fn close(&self) {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = listener.take() {
            listener.abort();
        }
    }
}

/// Passes on what is published, until the handle is dropped. Any node of a cluster tells of all.
async fn listen(nodes: Vec<ConnectionInfo>, channel: String, here: Streams) {
    for node in nodes.iter().cycle() {
        if let Err(cause) = listen_once(node.clone(), &channel, &here).await {
            tracing::debug!(%cause, "changes of others cannot be heard");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn listen_once(
    node: ConnectionInfo,
    channel: &str,
    here: &Streams,
) -> Result<(), RedisError> {
    let mut heard = Client::open(node)?.get_async_pubsub().await?;
    heard.subscribe(channel).await?;
    here.tell(Hint::Changed);
    let mut messages = heard.into_on_message();
    while let Some(message) = messages.next().await {
        here.tell(hint(&message));
    }
    Ok(())
}

fn hint(message: &Msg) -> Hint {
    if message.get_payload_bytes() == ENDED {
        Hint::Ended
    } else {
        Hint::Changed
    }
}
