//! Hints between handles: published by the scripts that change something, heard on a connection of its own.
//!
//! Invariants: a hint says only that something changed, and nothing depends on it. Without anybody who waits for hints,
//! nobody listens.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use longhaul_core::backend::{Hint, HintStream};
use redis::{Client, ConnectionInfo, RedisError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Is how long a listener waits that lost its connection.
const RETRY: Duration = Duration::from_secs(1);

/// Hears of changes.
#[derive(Debug)]
pub(crate) struct Hints {
    changes: watch::Sender<u64>,
    channel: String,
    nodes: Vec<ConnectionInfo>,
    runtime: tokio::runtime::Handle,
    listener: Mutex<Option<JoinHandle<()>>>,
}

impl Hints {
    pub(crate) fn new(nodes: Vec<ConnectionInfo>, channel: String) -> Self {
        Self {
            changes: watch::Sender::new(0),
            channel,
            nodes,
            runtime: tokio::runtime::Handle::current(),
            listener: Mutex::default(),
        }
    }

    /// Opens a stream of hints, and begins to listen.
    pub(crate) fn subscribe(&self) -> RedisHints {
        let stream = RedisHints(self.changes.subscribe());
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        listener.get_or_insert_with(|| {
            let (nodes, channel) = (self.nodes.clone(), self.channel.clone());
            self.runtime
                .spawn(listen(nodes, channel, self.changes.clone()))
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
async fn listen(nodes: Vec<ConnectionInfo>, channel: String, changes: watch::Sender<u64>) {
    for node in nodes.iter().cycle() {
        if let Err(cause) = listen_once(node.clone(), &channel, &changes).await {
            tracing::debug!(%cause, "changes of others cannot be heard");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn listen_once(
    node: ConnectionInfo,
    channel: &str,
    changes: &watch::Sender<u64>,
) -> Result<(), RedisError> {
    let mut heard = Client::open(node)?.get_async_pubsub().await?;
    heard.subscribe(channel).await?;
    changes.send_modify(|count| *count += 1);
    let mut messages = heard.into_on_message();
    while messages.next().await.is_some() {
        changes.send_modify(|count| *count += 1);
    }
    Ok(())
}

/// Yields hints of this process and of others.
pub(crate) struct RedisHints(watch::Receiver<u64>);

#[async_trait]
impl HintStream for RedisHints {
    async fn next(&mut self) -> Hint {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        Hint::Changed
    }
}
