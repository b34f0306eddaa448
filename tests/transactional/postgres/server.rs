//! What holds of Postgres alone: other databases, other isolations, pools.

use std::time::Duration;

use longhaul::prelude::*;
use longhaul::sqlx09::{FromPool as _, PgPool, StartIn as _, sqlx};

use crate::store::{Connection, Store};
use crate::world::{World, insert, quick, reserve, seats, soon, waits};

#[tokio::test]
async fn connection_to_another_database_is_refused_and_its_transaction_goes_on() {
    let world = World::new().await;
    let other = World::new().await;
    let mut transaction = other.pool.begin().await.unwrap();
    let refused = world
        .client
        .start_in(&mut transaction, waits("x".to_owned()))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(refused.message().contains("the database of the store"), "{refused}");
    insert(&mut transaction, "goes on").await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(other.seats("goes on").await, ["goes on"]);
}

#[tokio::test]
async fn database_without_a_store_is_refused_and_its_transaction_goes_on() {
    let world = World::new().await;
    let empty = Store::new();
    let pool = Store::pool(empty.url()).await;
    let mut transaction = pool.begin().await.unwrap();
    let refused = world
        .client
        .start_in(&mut transaction, waits("x".to_owned()))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    sqlx::raw_sql("select 1").execute(&mut *transaction).await.unwrap();
}

#[tokio::test]
async fn start_in_a_repeatable_read_joins_or_fails_and_never_starts_twice() {
    let world = World::new().await;
    let call = || waits("x".to_owned()).id("one");
    let begin = "begin isolation level repeatable read";
    let mut transaction = world.pool.begin_with(begin).await.unwrap();
    assert!(world.seats("x").await.is_empty());
    sqlx::raw_sql("select 1 from seat").execute(&mut *transaction).await.unwrap();
    world.client.start(call()).await.unwrap();
    let refused = world.client.start_in(&mut transaction, call()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    drop(transaction);
    let mut transaction = world.pool.begin_with(begin).await.unwrap();
    world.client.start_in(&mut transaction, call()).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(world.client.handle::<String>("one").unwrap().history().await.unwrap().len(), 1);
}

#[tokio::test]
async fn search_path_of_the_user_changes_nothing() {
    let world = World::new().await;
    let mut transaction = world.pool.begin().await.unwrap();
    let elsewhere = "create schema elsewhere; create table elsewhere.run (id text); set local search_path = elsewhere";
    sqlx::raw_sql(elsewhere).execute(&mut *transaction).await.unwrap();
    let call = waits("x".to_owned()).id("there");
    let started = world.client.start_in(&mut transaction, call).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(started.wake().await.history().await.unwrap().len(), 1);
}

#[task(transactional)]
async fn goes_on_after_an_error(tx: &mut Connection) -> Result<()> {
    insert(tx, "before").await?;
    let failed = sqlx::raw_sql("select 1 / 0").execute(&mut *tx).await;
    assert!(failed.is_err());
    Ok(())
}

#[tokio::test]
async fn body_that_swallows_an_error_of_a_statement_fails_and_leaves_nothing() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let run = world.client.start(goes_on_after_an_error()).await.unwrap();
    let failed = soon(run.result()).await.unwrap_err();
    assert!(failed.message().contains("return the error of a statement"), "{failed}");
    assert!(world.seats("before").await.is_empty());
}

#[task(transactional)]
async fn breaks_a_rule_at_the_commit(tx: &mut Connection) -> Result<()> {
    insert(tx, "twice").await?;
    insert(tx, "twice").await
}

#[tokio::test]
async fn rule_that_is_checked_at_the_commit_fails_the_attempt_and_leaves_nothing() {
    let world = World::new().await;
    let rule = "alter table seat add constraint one unique (name) deferrable initially deferred";
    sqlx::raw_sql(rule).execute(&world.pool).await.unwrap();
    let _worker = world.worker().await;
    let run = world.client.start(breaks_a_rule_at_the_commit()).await.unwrap();
    let failed = soon(run.result()).await.unwrap_err();
    assert!(failed.message().contains("unique constraint"), "{failed}");
    assert!(world.seats("twice").await.is_empty());
}

#[task(transactional)]
async fn plans_as_the_role_does(tx: &mut Connection) -> Result<String> {
    let setting = sqlx::query_scalar("select current_setting('enable_seqscan')");
    Ok(setting.fetch_one(tx).await?)
}

#[tokio::test]
async fn users_statements_are_planned_with_the_users_settings() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let run = world.client.start(plans_as_the_role_does()).await.unwrap();
    assert_eq!(soon(run.result()).await.unwrap(), "on");
}

#[task(transactional)]
async fn takes_long(tx: &mut Connection, name: String) -> Result<()> {
    insert(tx, &name).await?;
    sqlx::raw_sql("select pg_sleep(3)").execute(tx).await?;
    Ok(())
}

#[tokio::test]
async fn tasks_that_hold_their_connections_leave_some_for_leases() {
    let world = World::new().await;
    let lease = Duration::from_millis(600);
    let worker = quick(&world.client).lease(lease).start().await.unwrap();
    let before = worker.id();
    let mut runs = Vec::new();
    for number in 0..8 {
        let call = takes_long(format!("long {number}"));
        runs.push(world.client.start(call).await.unwrap());
    }
    for run in runs {
        soon(run.result()).await.unwrap();
    }
    assert_eq!(worker.id(), before);
    assert_eq!(world.seats("long").await.len(), 8);
}

#[tokio::test]
async fn store_on_a_pool_of_the_users_works_within_the_pools_size() {
    let store = Store::new();
    let (url, _) = store.url().split_once('?').unwrap();
    let options = sqlx::pool::PoolOptions::new().max_connections(5);
    let pool: PgPool = options.connect(url).await.unwrap();
    let client = Client::from_pool_in(pool.clone(), "checks=off&pooler=none&schema=own").await;
    let client = client.unwrap();
    sqlx::raw_sql("create table seat (name text not null)").execute(&pool).await.unwrap();
    let _worker = quick(&client).start().await.unwrap();
    let run = client.start(reserve("pooled".to_owned())).await.unwrap();
    soon(run.result()).await.unwrap();
    assert_eq!(seats(&pool, "pooled").await, ["pooled"]);
    let schema = "select true from pg_namespace where nspname = 'own'";
    let found: Option<bool> = sqlx::query_scalar(schema).fetch_optional(&pool).await.unwrap();
    assert_eq!(found, Some(true));
}
