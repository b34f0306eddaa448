//! Runs that come with the user's commit.

use longhaul::prelude::*;
use longhaul::sqlx09::StartIn as _;

use crate::world::{World, books, drop_after, insert, soon, waits};

#[tokio::test]
async fn rollback_leaves_neither_row_nor_run() {
    let world = World::new().await;
    let mut transaction = world.pool.begin().await.unwrap();
    insert(&mut transaction, "gone").await.unwrap();
    let call = books("gone".to_owned()).id("gone");
    let started = world.client.start_in(&mut transaction, call).await.unwrap();
    assert_eq!(started.id().as_str(), "gone");
    transaction.rollback().await.unwrap();
    let run: Handle<()> = world.client.handle("gone").unwrap();
    assert_eq!(run.status().await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(world.seats("gone").await.is_empty());
}

#[tokio::test]
async fn run_is_seen_with_the_commit_and_not_before() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut transaction = world.pool.begin().await.unwrap();
    let call = books("booked".to_owned()).id("booked").tag("city", "Oslo");
    let started = world.client.start_in(&mut transaction, call).await.unwrap();
    let run: Handle<Vec<String>> = world.client.handle("booked").unwrap();
    assert_eq!(run.status().await.unwrap_err().kind(), ErrorKind::NotFound);
    transaction.commit().await.unwrap();
    let result = soon(started.wake().await.result()).await.unwrap();
    assert_eq!(result, ["seat of booked-1", "seat of booked-2"]);
    assert_eq!(run.info().await.unwrap().tags.len(), 1);
}

#[tokio::test]
async fn run_without_a_wake_is_found_all_the_same() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut transaction = world.pool.begin().await.unwrap();
    let call = books("quiet".to_owned()).id("quiet");
    drop(world.client.start_in(&mut transaction, call).await.unwrap());
    transaction.commit().await.unwrap();
    let run: Handle<Vec<String>> = world.client.handle("quiet").unwrap();
    assert_eq!(soon(run.result()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn same_id_joins_and_another_call_is_refused_while_the_transaction_goes_on() {
    let world = World::new().await;
    let before = world.client.start(waits("a".to_owned()).id("before"));
    before.await.unwrap();
    let mut transaction = world.pool.begin().await.unwrap();
    for (id, times) in [("before", 1), ("inside", 2)] {
        for _ in 0..times {
            let same = waits("a".to_owned()).id(id);
            world.client.start_in(&mut transaction, same).await.unwrap();
        }
        let other = waits("canary".to_owned()).id(id);
        let refused = world.client.start_in(&mut transaction, other).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        assert!(refused.message().contains("other arguments"), "{refused}");
        assert!(!format!("{refused:?}").contains("canary"), "{refused:?}");
        let another = books("a".to_owned()).id(id);
        let refused = world.client.start_in(&mut transaction, another).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::AlreadyExists);
    }
    insert(&mut transaction, "beside").await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(world.client.list().all().await.unwrap().len(), 2);
    assert_eq!(world.seats("beside").await.len(), 1);
}

#[tokio::test]
async fn bare_connection_starts_the_run_at_once() {
    let world = World::new().await;
    let mut connection = world.pool.acquire().await.unwrap();
    let call = waits("bare".to_owned()).id("bare");
    let started = world.client.start_in(&mut *connection, call).await.unwrap();
    let run = started.wake().await;
    assert_eq!(run.history().await.unwrap().len(), 1);
}

#[tokio::test]
async fn dropped_start_leaves_the_run_whole_or_nothing_of_it() {
    let world = World::new().await;
    let mut ended = 0;
    let mut polls = 0;
    while ended < 3 {
        let id = format!("dropped-{polls}");
        let mut transaction = world.pool.begin().await.unwrap();
        let call = waits("x".to_owned())
            .id(&id)
            .tag("one", "1")
            .tag("two", "2");
        let start = world.client.start_in(&mut transaction, call);
        let started = drop_after(polls, start).await;
        insert(&mut transaction, &id).await.unwrap();
        transaction.commit().await.unwrap();
        let run: Handle<String> = world.client.handle(&id).unwrap();
        match run.info().await {
            Ok(info) => {
                assert_eq!(info.tags.len(), 2, "after {polls} polls");
                assert_eq!(run.history().await.unwrap().len(), 1, "after {polls} polls");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
                assert!(started.is_none(), "after {polls} polls");
            }
        }
        ended += usize::from(started.is_some());
        polls += 1;
    }
    assert_eq!(world.seats("dropped-").await.len(), polls);
    assert!(polls > 8, "it was never dropped halfway: {polls} polls");
}
