//! Hints between handles: NOTIFY outside any statement that matters, LISTEN on a connection of its own.
//!
//! Invariants: a hint says only that something changed, and nothing depends on it. At most one notification goes out per
//! pause, whatever happens meanwhile. Without anybody who waits for hints, nobody listens.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use longhaul_core::backend::{Hint, HintStream, Hints as Streams};
use longhaul_core::clock::random_bytes_of_the_system;
use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::task::JoinHandle;

use crate::config::PostgresConfig;
use crate::session::{Session, Sessions, arguments};

/// Is how long notifications are gathered.
const PAUSE: Duration = Duration::from_millis(10);

/// Is how long a listener waits that lost its connection.
const RETRY: Duration = Duration::from_secs(1);

/// Marks a hint that runs ended and nothing else.
const ENDED: &str = "ended";

const NOTIFY: &str = "select pg_notify($1, $2)";

/// Tells and hears of changes.
#[derive(Debug)]
pub(crate) struct Hints {
    /// What this process is told.
    here: Streams,
    /// What other processes are to be told.
    elsewhere: Streams,
    channel: String,
    own: String,
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
            here: Streams::default(),
            elsewhere: Streams::default(),
            channel: format!("longhaul {schema}"),
            own: own.map(|byte| format!("{byte:02x}")).collect(),
            listening,
            runtime: tokio::runtime::Handle::current(),
            listener: Mutex::default(),
            notifier: Mutex::default(),
        }
    }

    /// Opens a stream of hints, and begins to listen.
    pub(crate) fn subscribe(&self) -> Box<dyn HintStream> {
        let stream = self.here.subscribe();
        if let Some(pool) = &self.listening {
            let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
            let listen = || {
                let (pool, channel) = (pool.clone(), self.channel.clone());
                let (own, here) = (self.own.clone(), self.here.clone());
                self.runtime.spawn(listen(pool, channel, own, here))
            };
            listener.get_or_insert_with(listen);
        }
        stream
    }

    /// Tells whoever waits for hints, here at once and elsewhere soon.
    pub(crate) fn tell(&self, session: &Arc<Session>, hint: Hint) {
        self.here.tell(hint);
        let mut notifier = self.notifier.lock().unwrap_or_else(PoisonError::into_inner);
        notifier.get_or_insert_with(|| {
            let (session, news) = (Arc::clone(session), self.elsewhere.subscribe());
            let (channel, own) = (self.channel.clone(), self.own.clone());
            self.runtime.spawn(notify(session, news, channel, own))
        });
        self.elsewhere.tell(hint);
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

/// Tells other handles what this one is told, until it is dropped.
async fn notify(
    session: Arc<Session>,
    mut news: Box<dyn HintStream>,
    channel: String,
    own: String,
) {
    loop {
        let payload = payload(&own, news.next().await);
        let sent = async { session.ask(NOTIFY, arguments!(&channel, &payload)).await };
        if let Err(cause) = sent.await {
            tracing::debug!(%cause, "others could not be told of a change");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Says who tells, and what.
fn payload(own: &str, hint: Hint) -> String {
    match hint {
        Hint::Ended => format!("{own} {ENDED}"),
        _ => own.to_owned(),
    }
}

/// Returns the hint of another handle; none of our own.
fn heard(payload: &str, own: &str) -> Option<Hint> {
    let (teller, what) = payload.split_once(' ').unwrap_or((payload, ""));
    let hint = if what == ENDED {
        Hint::Ended
    } else {
        Hint::Changed
    };
    (teller != own).then_some(hint)
}

/// Passes on what other handles tell, until the handle is dropped.
async fn listen(pool: PgPool, channel: String, own: String, here: Streams) {
    loop {
        if let Err(cause) = listen_once(&pool, &channel, &own, &here).await {
            tracing::debug!(%cause, "changes of others cannot be heard");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn listen_once(
    pool: &PgPool,
    channel: &str,
    own: &str,
    here: &Streams,
) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(channel).await?;
    here.tell(Hint::Changed);
    loop {
        // Without a notification the connection was lost, and with it what was told meanwhile.
        let hint = match listener.try_recv().await? {
            Some(notification) => heard(notification.payload(), own),
            None => Some(Hint::Changed),
        };
        if let Some(hint) = hint {
            here.tell(hint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handle_hears_what_others_tell_and_not_what_it_told_itself() {
        for hint in [Hint::Ended, Hint::Changed] {
            let payload = payload("ab", hint);
            assert_eq!(heard(&payload, "cd"), Some(hint));
            assert_eq!(heard(&payload, "ab"), None);
        }
    }
}
