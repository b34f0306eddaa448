//! What holds of SQLite alone: one file, one writer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use longhaul::backend::{Backend as _, Begun, OutcomeKey, Transaction};
use longhaul::history::{OperationKey, OperationKind};
use longhaul::id::Segment;
use longhaul::prelude::*;
use longhaul::sqlx09::{StartIn as _, sqlx};
use longhaul_backend_sqlite::{SqliteBackend, SqliteConfig};

use crate::store::Connection;
use crate::world::{World, books, insert, soon, waits};

#[tokio::test]
async fn connection_to_another_file_is_refused_and_left_as_it_was() {
    let world = World::new().await;
    let other = world.store.folder().join("other.db");
    for url in [
        format!("sqlite://{}?mode=rwc", other.display()),
        "sqlite::memory:".to_owned(),
    ] {
        let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
        let mut transaction = pool.begin().await.unwrap();
        let call = waits("x".to_owned());
        let refused = world.client.start_in(&mut transaction, call).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert!(refused.message().contains("store.db"), "{refused}");
        assert!(
            refused.message().contains("the file of the store"),
            "{refused}"
        );
        transaction.rollback().await.unwrap();
    }
}

#[tokio::test]
async fn file_is_known_under_other_names() {
    let world = World::new().await;
    let link = world.store.folder().join("link.db");
    let path = world.store.folder().join("store.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let url = format!("sqlite://{}", link.display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let mut transaction = pool.begin().await.unwrap();
    let call = waits("x".to_owned()).id("linked");
    let started = world.client.start_in(&mut transaction, call).await.unwrap();
    transaction.commit().await.unwrap();
    let run = started.wake().await;
    assert_eq!(run.history().await.unwrap().len(), 1);
}

#[tokio::test]
async fn transaction_that_was_begun_by_hand_is_refused_with_what_to_write() {
    let world = World::new().await;
    let mut connection = world.pool.acquire().await.unwrap();
    sqlx::raw_sql("begin")
        .execute(&mut *connection)
        .await
        .unwrap();
    let call = waits("x".to_owned());
    let refused = world.client.start_in(&mut *connection, call).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(
        refused.message().contains("`begin_with` of sqlx"),
        "{refused}"
    );
    sqlx::raw_sql("rollback")
        .execute(&mut *connection)
        .await
        .unwrap();
}

#[task(transactional)]
async fn holds_on(tx: &mut Connection, name: String) -> Result<()> {
    insert(tx, &name).await?;
    std::future::pending().await
}

#[task(transactional)]
async fn counts_for_ever(tx: &mut Connection, name: String) -> Result<i64> {
    insert(tx, &name).await?;
    let endless = "with recursive number (n) as (select 1 union all select n + 1 from number)
        select count(*) from number";
    Ok(sqlx::query_scalar(endless).fetch_one(tx).await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn body_that_holds_the_writer_for_over_a_second_is_rolled_back() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let started = Instant::now();
    let holding = world.client.start(holds_on("held-1".to_owned()));
    let holding = holding.await.unwrap();
    let counting = world.client.start(counts_for_ever("held-2".to_owned()));
    let counting = counting.await.unwrap();
    let failed = soon(holding.result()).await.unwrap_err();
    let other = soon(counting.result()).await.unwrap_err();
    for failed in [failed, other] {
        assert_eq!(failed.kind(), ErrorKind::TimedOut);
        assert!(
            failed.message().contains("open for longer than 1s"),
            "{failed}"
        );
        assert!(failed.message().contains("`sqlite`"), "{failed}");
    }
    assert!(
        started.elapsed() < Duration::from_secs(6),
        "{:?}",
        started.elapsed()
    );
    assert!(world.seats("held").await.is_empty());
}

#[task(transactional)]
async fn waits_for_itself(tx: &mut Connection, url: String) -> Result<()> {
    let _ = tx;
    let client = Client::connect(&url).await?;
    client.start(waits("x".to_owned())).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn body_that_waits_for_the_store_it_holds_fails_and_the_store_goes_on() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let call = waits_for_itself(world.store.url().to_owned());
    let run = world.client.start(call).await.unwrap();
    let failed = soon(run.result()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::TimedOut, "{failed}");
    soon(world.client.start(waits("y".to_owned())))
        .await
        .unwrap();
}

async fn open(world: &World) -> Arc<SqliteBackend> {
    let config = SqliteConfig::new(world.store.folder().join("store.db"));
    Arc::new(SqliteBackend::open(config).await.unwrap())
}

async fn begin(world: &World, backend: &SqliteBackend) -> Box<dyn Transaction> {
    let run = world.client.start(waits("x".to_owned())).await.unwrap();
    let key = OutcomeKey {
        run: run.id().clone(),
        segment: Segment::FIRST,
        operation: OperationKey::new(OperationKind::Task, "reserve", 1),
    };
    match backend.transactions().unwrap().begin(key).await.unwrap() {
        Begun::Open(transaction) => transaction,
        Begun::Recorded(outcome) => panic!("{outcome:?} stands already"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_can_be_closed_while_a_transaction_is_open() {
    let world = World::new().await;
    let backend = open(&world).await;
    let transaction = begin(&world, &backend).await;
    let closing = tokio::task::spawn_blocking(move || drop(backend));
    soon(closing).await.unwrap();
    transaction.finish(b"value".to_vec()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_while_a_transaction_is_open_shares_the_next_commit() {
    let world = World::new().await;
    let backend = open(&world).await;
    let transaction = begin(&world, &backend).await;
    let client = Client::of(Arc::<SqliteBackend>::clone(&backend));
    let before = backend.statistics().commits;
    let mut starts = Vec::new();
    for number in 0..10 {
        let call = waits("x".to_owned()).id(format!("meanwhile-{number}"));
        let mut start = Box::pin(client.start(call));
        assert!(futures::poll!(&mut start).is_pending());
        starts.push(start);
        if number == 0 {
            // A writer that does not wait has begun with the first one when the others come.
            tokio::time::sleep(millis(20)).await;
        }
    }
    drop(transaction);
    for start in starts {
        soon(start).await.unwrap();
    }
    assert_eq!(backend.statistics().commits - before, 1);
}

#[task(transactional)]
async fn counts_turns(ctx: TaskContext, tx: &mut Connection) -> Result<i64> {
    let count = "select count(*) from turn where run = (select number from run where id = $1)";
    let count = sqlx::query_scalar(count).bind(ctx.identity().workflow_id.to_string());
    Ok(count.fetch_one(tx).await?)
}

#[tokio::test]
async fn first_task_of_a_run_begins_after_the_turn_that_asked_for_it() {
    let world = World::new().await;
    let _worker = world.worker().await;
    for _ in 0..5 {
        let run = world.client.start(counts_turns()).await.unwrap();
        assert_eq!(soon(run.result()).await.unwrap(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_of_two_processes_share_the_file() {
    let world = World::new().await;
    let other = Client::connect(world.store.url()).await.unwrap();
    let _worker = world.worker().await;
    let _other_worker = crate::world::quick(&other).start().await.unwrap();
    let mut runs = Vec::new();
    for number in 0..20 {
        for (client, name) in [(&world.client, "here"), (&other, "there")] {
            let call = books(format!("{name}-{number}"));
            runs.push(client.start(call).await.unwrap());
        }
    }
    for run in &runs {
        soon(run.result()).await.unwrap();
    }
    let (here, there) = (world.seats("here").await, world.seats("there").await);
    assert_eq!((here.len(), there.len()), (40, 40));
    assert!(here.windows(2).all(|pair| pair[0] != pair[1]));
    assert!(there.windows(2).all(|pair| pair[0] != pair[1]));
}

/// Keeps the writer of a client busy until it is dropped.
struct Busy(Vec<tokio::task::JoinHandle<()>>);

impl Busy {
    fn of(client: &Client) -> Self {
        let keep_busy = |number| {
            let client = client.clone();
            tokio::spawn(async move {
                for started in 0_u64.. {
                    let id = format!("busy-{number}-{started}");
                    client.start(waits(id.clone()).id(&id)).await.unwrap();
                }
            })
        };
        Self((0..8).map(keep_busy).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_of_the_user_get_the_lock_beside_a_busy_writer() {
    let world = World::new().await;
    let _busy = Busy::of(&world.client);
    soon(async {
        for number in 0..30 {
            // The writer is in its stride again before the next transaction.
            for after in 0..5 {
                let call = waits("x".to_owned()).id(format!("stride-{number}-{after}"));
                world.client.start(call).await.unwrap();
            }
            let mut transaction = world.pool.begin_with("begin immediate").await.unwrap();
            let call = waits("x".to_owned()).id(format!("beside-{number}"));
            world.client.start_in(&mut transaction, call).await.unwrap();
            transaction.commit().await.unwrap();
        }
    })
    .await;
}
