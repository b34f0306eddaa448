//! The store that the suite runs over: SQLite.

use longhaul::sqlx09::sqlx;

pub(crate) type Database = sqlx::Sqlite;
pub(crate) type Connection = longhaul::sqlx09::SqliteConnection;

/// Is a store of its own for each test.
pub(crate) struct Store {
    url: String,
    folder: tempfile::TempDir,
}

impl Store {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let url = format!("sqlite://{}", path.display());
        Self { url, folder }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Connects as the user's own code does; the store is there already.
    pub(crate) async fn pool(url: &str) -> sqlx::Pool<Database> {
        let options = sqlx::pool::PoolOptions::new().max_connections(4);
        options.connect(url).await.unwrap()
    }
}
