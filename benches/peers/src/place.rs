//! Where one pass of one engine keeps its records: a database or a file of its own, removed afterwards.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use peers::server::psql;
use peers::{Store, server};
use tempfile::TempDir;

static MADE: AtomicU32 = AtomicU32::new(0);

/// Is an empty store.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) url: String,
    database: Option<String>,
    _folder: Option<TempDir>,
}

impl Place {
    pub(crate) fn new(store: Store) -> Result<Self> {
        match store {
            Store::Postgres => Self::in_postgres(),
            Store::Sqlite => Self::in_a_folder(),
        }
    }

    fn in_postgres() -> Result<Self> {
        let count = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("peers_{}_{count}", std::process::id());
        psql(&format!("create database {name}"))?;
        let server = server::url()?;
        let (server, _) = server.rsplit_once('/').context("the URL has no database")?;
        Ok(Self {
            url: format!("{server}/{name}"),
            database: Some(name),
            _folder: None,
        })
    }

    fn in_a_folder() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("longhaul-peers-")
            .tempdir()?;
        Ok(Self {
            url: format!("sqlite://{}/peer.db", folder.path().display()),
            database: None,
            _folder: Some(folder),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(name) = &self.database else { return };
        if let Err(cause) = psql(&format!("drop database if exists {name} with (force)")) {
            eprintln!("{name} is left behind: {cause:#}");
        }
    }
}
