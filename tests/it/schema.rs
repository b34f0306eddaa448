//! Schemas of the server that tests use, each dropped with its test.

use longhaul_tests::server;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// Is a schema that nobody else uses.
pub(crate) struct Schema {
    server: String,
    name: String,
}

impl Schema {
    /// Draws a name; the first who opens the store makes the schema.
    pub(crate) fn new() -> Self {
        Self {
            server: server::named("LONGHAUL_TEST_POSTGRES"),
            name: server::unused_name("it"),
        }
    }

    /// Returns the URL of the store.
    pub(crate) fn url(&self) -> String {
        let (server, name) = (&self.server, &self.name);
        format!("{server}?schema={name}&checks=off&pooler=none&pool=4")
    }

    /// Runs a statement with `{schema}` in it.
    pub(crate) async fn run(&self, statement: &str) {
        self.rows(statement).await;
    }

    /// Returns the one row of a statement with `{schema}` in it.
    pub(crate) async fn row(&self, statement: &str) -> PgRow {
        self.rows(statement).await.remove(0)
    }

    async fn rows(&self, statement: &str) -> Vec<PgRow> {
        let text = statement.replace("{schema}", &self.name);
        let mut connection = PgConnection::connect(&self.server).await.unwrap();
        let text = sqlx::raw_sql(AssertSqlSafe(text));
        connection.fetch_all(text).await.unwrap()
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let dropped = std::thread::scope(|scope| {
            let work = scope.spawn(|| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap()
                    .block_on(self.run("drop schema if exists \"{schema}\" cascade"));
            });
            work.join()
        });
        if dropped.is_err() {
            println!("schema {} is left behind", self.name);
        }
    }
}
