//! Several handles on one file, and hints between them.

use super::*;

#[tokio::test]
async fn two_handles_on_one_file_see_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let one = open_with_run(&path).await;
    let other = open(&path).await;
    join(&other, 2).await;
    let accepted = other.arrive(vec![signal_of("a", 5)]).await.unwrap();
    let Arrived::Accepted { number, owner, .. } = &accepted[0] else {
        panic!("{accepted:?}");
    };
    assert_eq!(*owner, Some(worker(1)));
    let id = WorkflowId::new("a").unwrap();
    let inbox = one
        .inbox(worker(1), vec![(id, Default::default())])
        .await
        .unwrap();
    let numbers: Vec<_> = inbox[0]
        .1
        .iter()
        .map(|arrival: &Arrival| arrival.number)
        .collect();
    assert_eq!(numbers, [*number]);
    assert_eq!(one.workers().await.unwrap().len(), 2);
}

#[tokio::test]
async fn change_by_another_handle_gives_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let one = open(&path).await;
    let other = open(&path).await;
    let mut hints = one.hints();
    // The first look at the file counts as a change when no other handle has workers.
    assert_eq!(hints.next().await, Hint::Changed);
    other.start(None, vec![start_of("a")]).await.unwrap();
    assert_eq!(hints.next().await, Hint::Changed);
}

#[tokio::test]
async fn change_by_the_same_handle_gives_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(&folder.path().join("orders.db")).await;
    let mut hints = backend.hints();
    backend.start(None, vec![start_of("a")]).await.unwrap();
    assert_eq!(hints.next().await, Hint::Changed);
}

#[tokio::test]
async fn lease_that_moves_gives_no_hint() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open_with_run(&folder.path().join("orders.db")).await;
    let mut hints = backend.hints();
    // The first look at the file counts as a change.
    assert_eq!(hints.next().await, Hint::Changed);
    let request = BeatRequest {
        worker: worker(1),
        extend: Some(LEASE),
        serves: serves(),
    };
    backend.beat(request).await.unwrap();
    tokio::select! {
        biased;
        _ = hints.next() => panic!("a hint"),
        () = std::future::ready(()) => {}
    }
}
