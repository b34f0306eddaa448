//! The store that the suite runs over: Postgres, a database for each test.

use longhaul::sqlx09::sqlx;
use longhaul_tests::server;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

pub(crate) type Database = sqlx::Postgres;
pub(crate) type Connection = longhaul::sqlx09::PgConnection;

/// Counts the outcomes that the store keeps.
pub(crate) const OUTCOMES: &str = "select count(*) from longhaul.outcome";

/// Is a store of its own for each test.
pub(crate) struct Store {
    server: String,
    database: String,
    url: String,
}

impl Store {
    pub(crate) fn new() -> Self {
        let server = server::named("LONGHAUL_TEST_POSTGRES");
        let database = server::unused_name("tx");
        let (address, _) = server.rsplit_once('/').unwrap();
        let url = format!("{address}/{database}?checks=off&pooler=none&pool=6");
        let store = Self {
            server,
            database,
            url,
        };
        let made = store.run(&[format!("create database {}", store.database)]);
        made.unwrap();
        store
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Runs statements on the server, beside any runtime.
    fn run(&self, statements: &[String]) -> Result<(), sqlx::Error> {
        let work = async {
            let mut connection = Connection::connect(&self.server).await?;
            for statement in statements {
                let text = sqlx::raw_sql(AssertSqlSafe(statement.clone()));
                connection.execute(text).await?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let done = scope.spawn(|| {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                runtime.enable_all().build().unwrap().block_on(work)
            });
            done.join().unwrap()
        })
    }

    /// Connects as the user's own code does; the store is there already.
    pub(crate) async fn pool(url: &str) -> sqlx::Pool<Database> {
        let (url, _) = url.split_once('?').unwrap();
        let options = sqlx::pool::PoolOptions::new().max_connections(4);
        options.connect(url).await.unwrap()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The server waits for each of its processes to notice, which takes a minute now and then.
        let dropped = self.run(&[
            "set statement_timeout = 1000".to_owned(),
            format!("drop database {} with (force)", self.database),
        ]);
        if let Err(error) = dropped {
            println!("database {} is left behind: {error}", self.database);
        }
    }
}
