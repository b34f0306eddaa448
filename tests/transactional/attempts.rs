//! Calls of shared transactions that go wrong: refused, or applied without an answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use longhaul::prelude::*;
use longhaul_tests::faulty::{Fault, Faulty, Lot, Operation, Plan};

use crate::world::{World, books, quick, soon, times_run};

/// Lets the first calls of some methods go wrong.
#[derive(Debug)]
struct First(Mutex<HashMap<Operation, Vec<Fault>>>);

impl First {
    fn of(faults: impl IntoIterator<Item = (Operation, Vec<Fault>)>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(faults.into_iter().collect())))
    }
}

impl Plan for First {
    fn draw(&self, operation: Operation) -> Lot {
        let mut left = self.0.lock().unwrap();
        let mut lot = Lot::default();
        lot.fault = left.get_mut(&operation).and_then(Vec::pop);
        lot
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
    let faults = [
        (
            Operation::Finish,
            vec![Fault::LoseAnswer, Fault::LoseAnswer],
        ),
        (Operation::Recorded, vec![Fault::Refuse, Fault::LoseAnswer]),
    ];
    let booked = book(&world, "unclear", First::of(faults)).await.unwrap();
    assert_eq!(booked, ["seat of unclear-1", "seat of unclear-2"]);
    assert_eq!(world.seats("unclear").await, ["unclear-1", "unclear-2"]);
    assert_eq!(times_run("unclear-1") + times_run("unclear-2"), 2);
}

#[tokio::test]
async fn commit_that_did_not_happen_is_a_failed_attempt() {
    let world = World::new().await;
    let faults = [(Operation::Finish, vec![Fault::Refuse])];
    let failed = book(&world, "refused", First::of(faults))
        .await
        .unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Unavailable);
    assert!(world.seats("refused").await.is_empty());
}

#[tokio::test]
async fn transaction_that_cannot_be_begun_is_no_fault_of_the_task() {
    let world = World::new().await;
    let faults = vec![
        Fault::Refuse,
        Fault::LoseAnswer,
        Fault::Duplicate,
        Fault::Refuse,
    ];
    let plan = First::of([(Operation::Begin, faults)]);
    let booked = book(&world, "begun", plan).await.unwrap();
    assert_eq!(booked.len(), 2);
    assert_eq!(world.seats("begun").await, ["begun-1", "begun-2"]);
    assert_eq!(times_run("begun-1") + times_run("begun-2"), 2);
}
