//! What holds of SQLite alone: one file, one writer.

use std::time::{Duration, Instant};

use longhaul::prelude::*;
use longhaul::sqlx09::{StartIn as _, sqlx};

use crate::store::Connection;
use crate::world::{World, insert, soon, waits};

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
    assert!(
        refused.message().contains("within a transaction"),
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_can_be_closed_while_a_transaction_is_open() {
    use longhaul::backend::{Backend as _, Begun, OutcomeKey};
    use longhaul_backend_sqlite::{SqliteBackend, SqliteConfig};
    let world = World::new().await;
    let run = world.client.start(waits("x".to_owned())).await.unwrap();
    let key = OutcomeKey {
        run: run.id().clone(),
        segment: longhaul::id::Segment::FIRST,
        operation: longhaul::history::OperationKey::new(
            longhaul::history::OperationKind::Task,
            "reserve",
            1,
        ),
    };
    let config = SqliteConfig::new(world.store.folder().join("store.db"));
    let backend = SqliteBackend::open(config).await.unwrap();
    let begun = backend.transactions().unwrap().begin(key).await.unwrap();
    let closing = tokio::task::spawn_blocking(move || drop(backend));
    soon(closing).await.unwrap();
    let Begun::Open(transaction) = begun else {
        panic!("{begun:?}")
    };
    transaction.finish(b"value".to_vec()).await.unwrap();
}
