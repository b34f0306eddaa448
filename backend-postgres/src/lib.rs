//! The Postgres backend: one schema, shared by any number of processes on any number of machines.
//!
//! Invariants: each contract call is one statement, or a fixed sequence of them, each safe to stop after; the texts are
//! constant, in `sql/`. An acknowledgement is sent after the commit. Every comparison of times is the server's.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "tests may panic"
    )
)]

use std::fmt;
use std::sync::Arc;

use longhaul_core::backend::{
    Backend, Error, Hint, Kind, Result as Answered, StoreInfo, Transactions,
};
use longhaul_core::clock::Timestamp;
use sqlx::PgPool;

use crate::clock::Clock;
use crate::error::Result;
use crate::hints::Hints;
use crate::lanes::Lanes;
use crate::session::Session;

#[cfg(test)]
extern crate self as longhaul_backend_postgres;

mod clock;
mod columns;
mod commit;
mod config;
mod error;
mod events;
#[cfg(test)]
#[path = "../tests/fixture/mod.rs"]
mod fixture;
mod hints;
mod inspect;
#[cfg(test)]
mod interleavings;
mod lanes;
#[cfg(test)]
mod plans;
mod row;
mod schema;
mod session;
mod state;
mod takeover;
mod tasks;
mod timers;
mod transactions;

pub use config::{Checks, Pooler, PostgresConfig};

/// Is a store in a schema of a Postgres database.
///
/// Dropping it closes its connections. A request that is under way then ends with the statement that it is at.
pub struct PostgresBackend {
    store: Arc<Store>,
}

/// Is what all requests of a handle share.
#[derive(Debug)]
struct Store {
    session: Arc<Session>,
    clock: Clock,
    lanes: Lanes,
    hints: Hints,
    info: StoreInfo,
}

impl Store {
    /// Tells whoever waits for hints.
    fn tell(&self, hint: Hint) {
        self.hints.tell(&self.session, hint);
    }
}

impl PostgresBackend {
    /// Opens the schema, and makes or migrates it when it has to.
    ///
    /// # Errors
    /// - `Invalid` when the server refuses the user, has no such database, is too old, may lose what it acknowledged, or
    ///   the schema is of something else or the user may not use it.
    /// - `NewerVersion` when a newer version wrote the schema.
    /// - `Unavailable` when the server cannot be reached or is a standby.
    ///
    /// # Cancel safety
    /// A dropped call opens nothing; the schema may have been made.
    pub async fn open(config: PostgresConfig) -> Answered<Self> {
        Self::open_within(config, None).await
    }

    /// Opens the schema on the database of `pool`, whose connections are shared: those of the store count as the pool's.
    ///
    /// The store makes its connections with the pool's options and with settings of its own; the pool's hooks are not
    /// called for them. Host, user and password of `config` are not used.
    ///
    /// # Errors
    /// As [`PostgresBackend::open`].
    ///
    /// # Cancel safety
    /// As [`PostgresBackend::open`].
    pub async fn from_pool(pool: PgPool, mut config: PostgresConfig) -> Answered<Self> {
        config.connect = (*pool.connect_options()).clone();
        config = config.pool(pool.options().get_max_connections());
        Self::open_within(config, Some(pool)).await
    }

    async fn open_within(config: PostgresConfig, parent: Option<PgPool>) -> Answered<Self> {
        let schema = config
            .schema_name()
            .map_err(|wrong| Error::new(Kind::Invalid, wrong.message()))?;
        let opening = {
            let (config, schema) = (config.clone(), schema.clone());
            session::detached(Box::pin(
                async move { schema::open(&config, &schema).await },
            ))
        };
        let opened = opening.await?;
        let session = Session::new(&config, schema.clone(), opened.sessions, parent);
        Ok(Self {
            store: Arc::new(Store {
                hints: Hints::new(&config, &schema, opened.sessions),
                session: Arc::new(session),
                clock: Clock::new(config.clock, opened.now),
                lanes: Lanes::default(),
                info: opened.info,
            }),
        })
    }

    /// Tells whether sessions are its own, so that statements are prepared once; behind a pooler that lends them by the
    /// transaction they are not.
    #[must_use]
    pub fn prepares_statements(&self) -> bool {
        self.store.session.prepares_statements()
    }

    /// Runs a call to its end, also when its caller is dropped.
    async fn call<T, F>(&self, call: impl FnOnce(Arc<Store>) -> F) -> Answered<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        Ok(session::detached(Box::pin(call(Arc::clone(&self.store)))).await?)
    }
}

impl Drop for PostgresBackend {
    fn drop(&mut self) {
        self.store.hints.close();
        self.store.session.close();
    }
}

impl fmt::Debug for PostgresBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresBackend")
            .field("schema", &self.store.session.schema())
            .finish_non_exhaustive()
    }
}

impl Backend for PostgresBackend {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn store(&self) -> StoreInfo {
        self.store.info.clone()
    }

    fn transactions(&self) -> Option<&dyn Transactions> {
        Some(self)
    }

    fn clock(&self) -> Timestamp {
        self.store.clock.now()
    }
}
