//! The contract of shared transactions, asked of the store itself.

use longhaul::backend::{Begun, Finished, Kind, OutcomeKey, Transaction, Transactions};
use longhaul::history::{OperationKey, OperationKind};
use longhaul::id::Segment;
use longhaul::prelude::*;

use crate::store::Connection;
use crate::world::{World, drop_after, insert, soon, waits};

fn key(run: &Handle<String>, nth: u32) -> OutcomeKey {
    OutcomeKey {
        run: run.id().clone(),
        segment: Segment::FIRST,
        operation: OperationKey::new(OperationKind::Task, "reserve", nth),
    }
}

async fn run(world: &World) -> Handle<String> {
    let call = waits("x".to_owned()).id("contract");
    world.client.start(call).await.unwrap()
}

async fn open(transactions: &dyn Transactions, key: OutcomeKey) -> Box<dyn Transaction> {
    match soon(transactions.begin(key)).await.unwrap() {
        Begun::Open(transaction) => transaction,
        Begun::Recorded(outcome) => panic!("{outcome:?} stands already"),
    }
}

async fn write(transaction: &mut dyn Transaction, name: &str) {
    let connection = transaction.connection().downcast_mut::<Connection>();
    insert(connection.unwrap(), name).await.unwrap();
}

#[tokio::test]
async fn outcome_and_row_stand_after_the_end_and_not_before() {
    let world = World::new().await;
    let key = key(&run(&world).await, 1);
    let backend = world.client.backend();
    let transactions = backend.transactions().unwrap();
    let mut transaction = open(transactions, key.clone()).await;
    write(&mut *transaction, "row").await;
    assert!(world.seats("row").await.is_empty());
    let finished = transaction.finish(b"value".to_vec()).await.unwrap();
    assert_eq!(finished, Finished::Recorded);
    assert_eq!(world.seats("row").await.len(), 1);
    let stands = transactions.recorded(&key).await.unwrap();
    assert_eq!(stands.as_deref(), Some(&b"value"[..]));
    let again = transactions.begin(key).await.unwrap();
    assert!(matches!(again, Begun::Recorded(value) if value == b"value"));
}

#[tokio::test]
async fn dropped_transaction_is_rolled_back_and_another_can_begin() {
    let world = World::new().await;
    let key = key(&run(&world).await, 1);
    let backend = world.client.backend();
    let transactions = backend.transactions().unwrap();
    for _ in 0..3 {
        let mut transaction = open(transactions, key.clone()).await;
        write(&mut *transaction, "dropped").await;
    }
    assert_eq!(soon(transactions.recorded(&key)).await.unwrap(), None);
    assert!(world.seats("dropped").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_attempts_at_once_see_the_outcome_of_the_first_commit() {
    let world = World::new().await;
    let run = run(&world).await;
    let backend = world.client.backend();
    for round in 0..20 {
        let key = key(&run, round);
        let attempts = (0..2).map(|attempt| {
            let (backend, key) = (world.client.backend(), key.clone());
            tokio::spawn(async move {
                let own = format!("{round:02}-{attempt}");
                let transactions = backend.transactions().unwrap();
                let mut transaction = match transactions.begin(key).await.unwrap() {
                    Begun::Open(transaction) => transaction,
                    Begun::Recorded(stands) => return stands,
                };
                write(&mut *transaction, &own).await;
                match transaction.finish(own.clone().into_bytes()).await.unwrap() {
                    Finished::Recorded => own.into_bytes(),
                    Finished::Adopted(stands) => stands,
                }
            })
        });
        let mut seen = Vec::new();
        for attempt in attempts.collect::<Vec<_>>() {
            seen.push(soon(attempt).await.unwrap());
        }
        assert_eq!(seen[0], seen[1]);
        let stands = backend.transactions().unwrap().recorded(&key).await;
        assert_eq!(stands.unwrap().as_ref(), seen.first());
        let rows = world.seats(&format!("{round:02}-")).await;
        assert_eq!(rows, [String::from_utf8(seen.remove(0)).unwrap()]);
    }
}

#[tokio::test]
async fn outcomes_of_operations_and_runs_are_apart() {
    let world = World::new().await;
    let run = run(&world).await;
    let backend = world.client.backend();
    let transactions = backend.transactions().unwrap();
    let other = world.client.start(waits("y".to_owned()).id("other"));
    let other = other.await.unwrap();
    for (run, nth) in [(&run, 1), (&run, 2), (&other, 1)] {
        let transaction = open(transactions, key(run, nth)).await;
        let own = format!("{:?} {nth}", run.id()).into_bytes();
        transaction.finish(own.clone()).await.unwrap();
        let stands = transactions.recorded(&key(run, nth)).await.unwrap();
        assert_eq!(stands, Some(own));
    }
}

#[tokio::test]
async fn run_that_is_unknown_or_over_gets_no_transaction() {
    let world = World::new().await;
    let run = run(&world).await;
    let backend = world.client.backend();
    let transactions = backend.transactions().unwrap();
    let mut unknown = key(&run, 1);
    unknown.run = WorkflowId::new("nobody").unwrap();
    let refused = transactions.begin(unknown).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::NotFound);
    let mut earlier = key(&run, 1);
    earlier.segment = Segment(7);
    let refused = transactions.begin(earlier).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Finished);

    let transaction = open(transactions, key(&run, 1)).await;
    transaction.finish(b"value".to_vec()).await.unwrap();
    let _worker = world.worker().await;
    run.signal(Signal::new("go"), ()).await.unwrap();
    soon(run.result()).await.unwrap();
    let refused = transactions.begin(key(&run, 1)).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Finished, "{refused}");
}

#[tokio::test]
async fn dropped_begin_leaves_nothing_open() {
    let world = World::new().await;
    let key = key(&run(&world).await, 1);
    let backend = world.client.backend();
    let transactions = backend.transactions().unwrap();
    let mut opened = 0;
    for polls in 0..40 {
        let begun = drop_after(polls, transactions.begin(key.clone())).await;
        opened += usize::from(begun.is_some());
        drop(begun);
        let id = format!("after-{polls}");
        let start = world.client.start(waits("x".to_owned()).id(&id));
        soon(start).await.unwrap();
    }
    assert!((1..40).contains(&opened), "{opened}");
}

#[tokio::test]
async fn dropped_end_is_whole_or_nothing_and_can_be_asked_for() {
    let world = World::new().await;
    let run = run(&world).await;
    let backend = world.client.backend();
    let transactions = backend.transactions().unwrap();
    let mut stood = 0;
    for polls in 0..20 {
        let key = key(&run, polls);
        let name = format!("end-{polls:02}");
        let mut transaction = open(transactions, key.clone()).await;
        write(&mut *transaction, &name).await;
        let polls = usize::try_from(polls).unwrap();
        let ended = drop_after(polls, transaction.finish(b"value".to_vec())).await;
        let stands = soon(transactions.recorded(&key)).await.unwrap().is_some();
        assert_eq!(
            world.seats(&name).await.len(),
            usize::from(stands),
            "{name}"
        );
        assert!(stands || ended.is_none(), "{name}");
        stood += usize::from(stands);
    }
    assert!((1..20).contains(&stood), "{stood}");
}
