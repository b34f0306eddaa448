//! Calls of shared transactions that go wrong: refused, or applied without an answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use longhaul::prelude::*;
use longhaul_tests::faulty::{Fault, Faulty, Lot, Operation, Plan};

use crate::store::Connection;
use crate::world::{World, books, insert, quick, reserve, soon, times_run};

/// Gives the first calls of some methods these lots, the last one first.
#[derive(Debug)]
struct First(Mutex<HashMap<Operation, Vec<Lot>>>);

impl First {
    fn of(lots: impl IntoIterator<Item = (Operation, Vec<Lot>)>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(lots.into_iter().collect())))
    }

    fn is_used_up(&self, operation: Operation) -> bool {
        self.0.lock().unwrap()[&operation].is_empty()
    }
}

fn faults(faults: impl IntoIterator<Item = Fault>) -> Vec<Lot> {
    let lot = |fault| Lot {
        fault: Some(fault),
        ..Lot::default()
    };
    faults.into_iter().map(lot).collect()
}

impl Plan for First {
    fn draw(&self, operation: Operation) -> Lot {
        let mut left = self.0.lock().unwrap();
        let lot = left.get_mut(&operation).and_then(Vec::pop);
        lot.unwrap_or_default()
    }
}

async fn book(world: &World, name: &str, plan: Arc<First>) -> Result<Vec<String>> {
    let backend = Arc::new(Faulty::new(world.client.backend(), plan));
    let client = Client::of(backend);
    let _worker = quick(&client).start().await.unwrap();
    let run = client.start(books(name.to_owned())).await.unwrap();
    soon(run.result()).await
}

#[tokio::test]
async fn commit_without_an_answer_is_found_out() {
    let world = World::new().await;
    let lots = [
        (Operation::Finish, faults([Fault::LoseAnswer; 2])),
        (
            Operation::Recorded,
            faults([Fault::Refuse, Fault::LoseAnswer]),
        ),
    ];
    let booked = book(&world, "unclear", First::of(lots)).await.unwrap();
    assert_eq!(booked, ["seat of unclear-1", "seat of unclear-2"]);
    assert_eq!(world.seats("unclear").await, ["unclear-1", "unclear-2"]);
    assert_eq!(times_run("unclear-1") + times_run("unclear-2"), 2);
}

#[tokio::test]
async fn commit_that_did_not_happen_is_a_failed_attempt() {
    let world = World::new().await;
    let lots = [(Operation::Finish, faults([Fault::Refuse]))];
    let failed = book(&world, "refused", First::of(lots)).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Unavailable);
    assert!(world.seats("refused").await.is_empty());
}

#[tokio::test]
async fn transaction_that_cannot_be_begun_is_no_fault_of_the_task() {
    let world = World::new().await;
    let faults = faults([
        Fault::Refuse,
        Fault::LoseAnswer,
        Fault::Duplicate,
        Fault::Refuse,
    ]);
    let plan = First::of([(Operation::Begin, faults)]);
    let booked = book(&world, "begun", plan).await.unwrap();
    assert_eq!(booked.len(), 2);
    assert_eq!(world.seats("begun").await, ["begun-1", "begun-2"]);
    assert_eq!(times_run("begun-1") + times_run("begun-2"), 2);
}

#[task(transactional, timeout = "250ms")]
async fn reserve_in_time(tx: &mut Connection, name: String) -> Result<String> {
    insert(tx, &name).await?;
    Ok(name)
}

#[tokio::test]
async fn time_limit_of_an_attempt_is_that_of_its_body_and_not_of_its_commit() {
    let world = World::new().await;
    let slow = Lot {
        before: Duration::from_millis(300),
        fault: None,
        after: Duration::from_millis(300),
    };
    let plan = First::of([(Operation::Finish, vec![slow])]);
    let client = Client::of(Arc::new(Faulty::new(world.client.backend(), plan)));
    let _worker = quick(&client).start().await.unwrap();
    let run = client
        .start(reserve_in_time("late".to_owned()))
        .await
        .unwrap();
    assert_eq!(soon(run.result()).await.unwrap(), "late");
    assert_eq!(world.seats("late").await.len(), 1);
}

#[tokio::test]
async fn commit_goes_on_when_its_attempt_is_given_up_and_the_next_one_adopts_it() {
    let world = World::new().await;
    let slow = Lot {
        before: Duration::from_millis(400),
        ..Lot::default()
    };
    let plan = First::of([(Operation::Finish, vec![slow])]);
    let left = Arc::clone(&plan);
    let client = Client::of(Arc::new(Faulty::new(world.client.backend(), plan)));
    let worker = quick(&client).start().await.unwrap();
    let run = client.start(reserve("kept".to_owned())).await.unwrap();
    soon(async {
        while !left.is_used_up(Operation::Finish) {
            tokio::time::sleep(millis(1)).await;
        }
    })
    .await;
    drop(worker);
    let _next = quick(&client).start().await.unwrap();
    assert_eq!(soon(run.result()).await.unwrap(), "seat of kept");
    assert_eq!(world.seats("kept").await.len(), 1);
    assert_eq!(times_run("kept"), 1);
}
