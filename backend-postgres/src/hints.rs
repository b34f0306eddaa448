//! Hints between handles: NOTIFY outside any statement that matters, LISTEN on a connection of its own.
//!
//! Invariants: a hint says only that something changed, and nothing depends on it. At most one notification goes out per
//! pause, whatever happens meanwhile. Without anybody who waits for hints, nobody listens.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use longhaul_core::backend::{Hint, HintStream};
use longhaul_core::clock::random_bytes_of_the_system;
use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::config::PostgresConfig;
use crate::session::{Session, Sessions, arguments};

/// Is how long notifications are gathered.
const PAUSE: Duration = Duration::from_millis(10);

/// Is how long a listener waits that lost its connection.
const RETRY: Duration = Duration::from_secs(1);

const NOTIFY: &str = "select pg_notify($1, $2)";

/// Tells and hears of changes.
#[derive(Debug)]
pub(crate) struct Hints {
    changes: watch::Sender<u64>,
    channel: String,
    own: String,
    news: Arc<Notify>,
    listening: Option<PgPool>,
    runtime: tokio::runtime::Handle,
    listener: Mutex<Option<JoinHandle<()>>>,
    notifier: Mutex<Option<JoinHandle<()>>>,
}

impl Hints {
    pub(crate) fn new(config: &PostgresConfig, schema: &str, sessions: Sessions) -> Self {
        let listening = (sessions == Sessions::Own).then(|| {
            PgPoolOptions::new()
                .max_connections(1)
                .acquire_timeout(config.connect_timeout)
                .connect_lazy_with(config.connect.clone().extra_float_digits(None))
        });
        let random = random_bytes_of_the_system();
        let own = random.iter().take(8);
        Self {
            changes: watch::Sender::new(0),
            channel: format!("longhaul {schema}"),
            own: own.map(|byte| format!("{byte:02x}")).collect(),
            news: Arc::default(),
            listening,
            runtime: tokio::runtime::Handle::current(),
            listener: Mutex::default(),
            notifier: Mutex::default(),
        }
    }

    /// Opens a stream of hints, and begins to listen.
    pub(crate) fn subscribe(&self) -> PostgresHints {
        let stream = PostgresHints(self.changes.subscribe());
        if let Some(pool) = &self.listening {
            let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
            let listen = || {
                let (pool, channel) = (pool.clone(), self.channel.clone());
                let (own, changes) = (self.own.clone(), self.changes.clone());
                self.runtime.spawn(listen(pool, channel, own, changes))
            };
            listener.get_or_insert_with(listen);
        }
        stream
    }

    /// Ends what runs in the background.
    pub(crate) fn close(&self) {
        for task in [&self.listener, &self.notifier] {
            let task = task.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(task) = task {
                task.abort();
            }
        }
    }
}

impl Hints {
    /// Tells whoever waits for hints, here at once and elsewhere soon.
    pub(crate) fn tell(&self, session: &Arc<Session>) {
        self.changes.send_modify(|count| *count += 1);
        self.news.notify_one();
        let mut notifier = self.notifier.lock().unwrap_or_else(PoisonError::into_inner);
        notifier.get_or_insert_with(|| {
            let (session, news) = (Arc::clone(session), Arc::clone(&self.news));
            let (channel, own) = (self.channel.clone(), self.own.clone());
            self.runtime.spawn(notify(session, news, channel, own))
        });
    }
}

/// Tells other handles what this one is told, until it is dropped.
async fn notify(session: Arc<Session>, news: Arc<Notify>, channel: String, own: String) {
    loop {
        news.notified().await;
        let sent = async { session.ask(NOTIFY, arguments!(&channel, &own)).await };
        if let Err(cause) = sent.await {
            tracing::debug!(%cause, "others could not be told of a change");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Passes on what other handles tell, until the handle is dropped.
async fn listen(pool: PgPool, channel: String, own: String, changes: watch::Sender<u64>) {
    loop {
        if let Err(cause) = listen_once(&pool, &channel, &own, &changes).await {
            tracing::debug!(%cause, "changes of others cannot be heard");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn listen_once(
    pool: &PgPool,
    channel: &str,
    own: &str,
    changes: &watch::Sender<u64>,
) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(channel).await?;
    changes.send_modify(|count| *count += 1);
    loop {
        let is_own = listener
            .try_recv()
            .await?
            .is_some_and(|notification| notification.payload() == own);
        if !is_own {
            changes.send_modify(|count| *count += 1);
        }
    }
}

/// Yields hints of this process and of others.
pub(crate) struct PostgresHints(watch::Receiver<u64>);

#[async_trait]
impl HintStream for PostgresHints {
    async fn next(&mut self) -> Hint {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        Hint::Changed
    }
}
