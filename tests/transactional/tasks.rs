//! The user's rows and the outcomes of tasks: together, or neither.

use std::time::Duration;

use longhaul::prelude::*;
use longhaul::sqlx09::sqlx;

use crate::store::Connection;
use crate::world::{World, books, insert, note, reserve, soon, times_run};

async fn outcomes(world: &World) -> i64 {
    let count = sqlx::query_scalar("select count(*) from outcome");
    count.fetch_one(&world.pool).await.unwrap()
}

#[tokio::test]
async fn rows_come_with_outcomes_which_go_with_the_run() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let run = world.client.start(books("plain".to_owned())).await.unwrap();
    let result = soon(run.result()).await.unwrap();
    assert_eq!(result, ["seat of plain-1", "seat of plain-2"]);
    assert_eq!(world.seats("plain").await, ["plain-1", "plain-2"]);
    assert_eq!(outcomes(&world).await, 0);
}

#[tokio::test]
async fn task_that_is_started_alone_is_transactional_too() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let run = world
        .client
        .start(reserve("alone".to_owned()))
        .await
        .unwrap();
    assert_eq!(soon(run.result()).await.unwrap(), "seat of alone");
    assert_eq!(world.seats("alone").await.len(), 1);
}

#[task(transactional, queue = "seats")]
async fn reserve_queued(ctx: TaskContext, tx: &mut Connection, name: String) -> Result<u32> {
    insert(tx, &name).await?;
    Ok(ctx.attempt())
}

#[workflow]
async fn books_queued(ctx: Context, name: String) -> Result<u32> {
    ctx.run(reserve_queued(name)).await
}

#[tokio::test]
async fn task_of_a_queue_is_transactional_too() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let run = world.client.start(books_queued("queued".to_owned()));
    assert_eq!(soon(run.await.unwrap().result()).await.unwrap(), 1);
    assert_eq!(world.seats("queued").await.len(), 1);
}

/// Fails after its insert, in the way of its attempt, until the fourth.
#[task(transactional, retries = 5, backoff = "1ms..1ms", timeout = "300ms")]
async fn fails_thrice(ctx: TaskContext, tx: &mut Connection, name: String) -> Result<u32> {
    insert(tx, &format!("{name}-{}", ctx.attempt())).await?;
    match ctx.attempt() {
        1 => Err(Error::failed("not yet")),
        2 => panic!("as it should"),
        3 => std::future::pending().await,
        attempt => Ok(attempt),
    }
}

#[tokio::test]
async fn attempt_that_errs_panics_or_takes_too_long_leaves_nothing() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let call = fails_thrice("thrice".to_owned());
    let run = world.client.start(call).await.unwrap();
    assert_eq!(soon(run.result()).await.unwrap(), 4);
    assert_eq!(world.seats("thrice").await, ["thrice-4"]);
}

#[task(transactional, retries = 1, backoff = "1ms..1ms")]
async fn breaks_a_promise(ctx: TaskContext, tx: &mut Connection, name: String) -> Result<u32> {
    if ctx.attempt() == 1 {
        let orphan = "insert into ticket (seat) values ('none')";
        sqlx::raw_sql(orphan).execute(&mut *tx).await?;
    }
    insert(tx, &name).await?;
    Ok(ctx.attempt())
}

#[tokio::test]
async fn commit_that_the_database_refuses_is_a_failed_attempt() {
    let world = World::new().await;
    let tables = "create table chair (name text primary key);
        create table ticket (seat text references chair (name) deferrable initially deferred)";
    sqlx::raw_sql(tables).execute(&world.pool).await.unwrap();
    let _worker = world.worker().await;
    let call = breaks_a_promise("broken".to_owned()).retry(RetryPolicy::NONE);
    let failed = world.client.start(call).await.unwrap();
    let failed = soon(failed.result()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::InvalidInput, "{failed}");
    assert!(world.seats("broken").await.is_empty());
}

#[task(transactional)]
async fn nests(tx: &mut Connection, name: String) -> Result<()> {
    use sqlx::Connection as _;
    let mut kept = tx.begin().await?;
    insert(&mut kept, &format!("{name}-kept")).await?;
    kept.commit().await?;
    let mut undone = tx.begin().await?;
    insert(&mut undone, &format!("{name}-undone")).await?;
    undone.rollback().await?;
    Ok(())
}

#[tokio::test]
async fn transactions_inside_the_transaction_are_savepoints() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let run = world
        .client
        .start(nests("nested".to_owned()))
        .await
        .unwrap();
    soon(run.result()).await.unwrap();
    assert_eq!(world.seats("nested").await, ["nested-kept"]);
}

#[task(transactional)]
async fn takes_a_while(tx: &mut Connection, name: String) -> Result<()> {
    insert(tx, &name).await?;
    tokio::time::sleep(Duration::from_millis(40)).await;
    Ok(())
}

#[workflow]
async fn takes_many(ctx: Context, many: u32) -> Result<()> {
    let calls = (0..many).map(|one| takes_a_while(format!("many-{one}")));
    ctx.join_all(calls).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_transactions_at_once_do_not_cost_the_lease() {
    let world = World::new().await;
    let worker = crate::world::quick(&world.client)
        .lease(Duration::from_millis(500))
        .start()
        .await
        .unwrap();
    let run = world.client.start(takes_many(40)).await.unwrap();
    soon(run.result()).await.unwrap();
    assert_eq!(world.seats("many").await.len(), 40);
    let shown = format!("{:?}", run.history().await.unwrap());
    assert!(!shown.contains("AttemptLost"), "{shown}");
    worker.shutdown().await.unwrap();
}

#[task(transactional)]
async fn once(tx: &mut Connection, name: String) -> Result<String> {
    note(&name);
    insert(tx, &name).await?;
    Ok(name)
}

#[workflow]
async fn gives_up(ctx: Context, name: String) -> Result<u32> {
    let calls = (0..8).map(|number| once(format!("{name}-{number}")));
    let calls = ctx.join_all(calls);
    let timer = ctx.sleep(millis(3));
    longhaul::select! {
        done = calls => { done?; }
        slept = timer => { slept?; }
    }
    Ok(1)
}

#[tokio::test]
async fn attempts_that_the_workflow_gives_up_are_whole_or_nothing() {
    let world = World::new().await;
    let worker = world.worker().await;
    for round in 0..10 {
        let name = format!("given-{round}");
        let run = world.client.start(gives_up(name)).await.unwrap();
        assert_eq!(soon(run.result()).await.unwrap(), 1);
    }
    worker.shutdown().await.unwrap();
    let seats = world.seats("given").await;
    for pair in seats.windows(2) {
        assert_ne!(pair[0], pair[1]);
    }
    for seat in &seats {
        assert_eq!(times_run(seat), 1, "{seat}");
    }
}
