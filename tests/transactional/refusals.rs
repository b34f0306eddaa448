//! What is refused, and how it is told.

use longhaul::prelude::*;
use longhaul::sqlx09::{StartIn as _, sqlx};

use crate::store::Connection;
use crate::world::{World, quick, reserve, seats, soon, waits};

#[tokio::test]
async fn store_without_transactions_says_so() {
    let world = World::new().await;
    let memory = Client::connect("memory:").await.unwrap();
    let mut transaction = world.pool.begin().await.unwrap();
    let call = waits("x".to_owned());
    let refused = memory.start_in(&mut transaction, call).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(
        refused
            .message()
            .contains("`memory` shares no transactions"),
        "{refused}"
    );
}

#[tokio::test]
async fn worker_whose_store_shares_no_transactions_does_not_start() {
    let memory = Client::connect("memory:").await.unwrap();
    let refused = quick(&memory).start().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotRegistered);
    for part in ["task `reserve`", "Connection`", "`memory`", ".only("] {
        assert!(refused.message().contains(part), "{refused}");
    }
    quick(&memory).only(["waits"]).start().await.unwrap();
}

#[tokio::test]
async fn transactional_task_is_tested_on_a_transaction_of_the_test() {
    let world = World::new().await;
    let mut transaction = world.pool.begin().await.unwrap();
    let call = reserve("tried".to_owned());
    let seat = call
        .clone()
        .local()
        .within(&mut *transaction)
        .await
        .unwrap();
    assert_eq!(seat, "seat of tried");
    transaction.rollback().await.unwrap();
    assert!(world.seats("tried").await.is_empty());
    let refused = call.local().await.unwrap_err();
    assert!(refused.message().contains(".local().within("), "{refused}");
}

#[task(transactional)]
async fn commits_itself(tx: &mut Connection) -> Result<()> {
    sqlx::raw_sql("commit").execute(&mut *tx).await?;
    Ok(())
}

#[task(transactional)]
async fn rolls_back_itself(tx: &mut Connection, name: String) -> Result<()> {
    sqlx::raw_sql("rollback").execute(&mut *tx).await?;
    sqlx::raw_sql("begin").execute(&mut *tx).await?;
    crate::world::insert(tx, &name).await
}

#[tokio::test]
async fn body_that_ends_its_transaction_fails_and_records_nothing() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let wayward = [commits_itself(), rolls_back_itself("wayward".to_owned())];
    for call in wayward {
        let run = world.client.start(call).await.unwrap();
        let failed = soon(run.result()).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::InvalidInput);
        assert!(
            failed
                .message()
                .contains("leave `commit` and `rollback` to the worker"),
            "{failed}"
        );
    }
    assert!(seats(&world.pool, "wayward").await.is_empty());
    let run = world
        .client
        .start(reserve("after".to_owned()))
        .await
        .unwrap();
    soon(run.result()).await.unwrap();
}
