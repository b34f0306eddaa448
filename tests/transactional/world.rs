//! What the tests have in common: a table of the user's beside the store, and the tasks that write it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Mutex;
use std::task::Poll;
use std::time::Duration;

use longhaul::prelude::*;
use longhaul::sqlx09::sqlx;
use longhaul::worker::WorkerBuilder;

use crate::store::{Connection, Database, Store};

/// Is the time after which a test that waits has failed.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) client: Client,
    pub(crate) pool: sqlx::Pool<Database>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let store = Store::new();
        let client = Client::connect(store.url()).await.unwrap();
        let pool = Store::pool(store.url()).await;
        sqlx::raw_sql("create table seat (name text not null)")
            .execute(&pool)
            .await
            .unwrap();
        Self {
            store,
            client,
            pool,
        }
    }

    pub(crate) async fn worker(&self) -> Worker {
        quick(&self.client).start().await.unwrap()
    }

    /// Returns the rows of the user's table whose names begin so.
    pub(crate) async fn seats(&self, prefix: &str) -> Vec<String> {
        seats(&self.pool, prefix).await
    }
}

pub(crate) async fn seats(pool: &sqlx::Pool<Database>, prefix: &str) -> Vec<String> {
    sqlx::query_scalar("select name from seat where name like $1 order by name")
        .bind(format!("{prefix}%"))
        .fetch_all(pool)
        .await
        .unwrap()
}

pub(crate) fn quick(client: &Client) -> WorkerBuilder {
    Worker::builder(client)
        .lease(Duration::from_millis(1_500))
        .park_after(Duration::from_millis(50))
        .drain_timeout(Duration::from_secs(5))
}

/// Writes a row, as the user's code does.
pub(crate) async fn insert(connection: &mut Connection, name: &str) -> Result<()> {
    sqlx::query("insert into seat (name) values ($1)")
        .bind(name.to_owned())
        .execute(connection)
        .await?;
    Ok(())
}

/// Notes what ran, by name.
static RAN: Mutex<Vec<String>> = Mutex::new(Vec::new());

pub(crate) fn note(name: &str) {
    RAN.lock().unwrap().push(name.to_owned());
}

pub(crate) fn times_run(name: &str) -> usize {
    RAN.lock()
        .unwrap()
        .iter()
        .filter(|ran| *ran == name)
        .count()
}

#[task(transactional)]
pub(crate) async fn reserve(tx: &mut Connection, name: String) -> Result<String> {
    note(&name);
    insert(tx, &name).await?;
    Ok(format!("seat of {name}"))
}

#[workflow]
pub(crate) async fn books(ctx: Context, name: String) -> Result<Vec<String>> {
    let first = ctx.run(reserve(format!("{name}-1"))).await?;
    let second = ctx.run(reserve(format!("{name}-2"))).await?;
    Ok(vec![first, second])
}

#[workflow]
pub(crate) async fn waits(ctx: Context, name: String) -> Result<String> {
    ctx.receive(Signal::<()>::new("go")).await?;
    Ok(name)
}

/// Waits for something with a bound.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.expect("it does not come to pass")
}

/// Polls a future that often, whenever it asks to be, and drops it then; tells whether it had ended.
pub(crate) async fn drop_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut polled = 0;
    soon(poll_fn(|context| {
        if polled == polls {
            return Poll::Ready(None);
        }
        polled += 1;
        future.as_mut().poll(context).map(Some)
    }))
    .await
}
