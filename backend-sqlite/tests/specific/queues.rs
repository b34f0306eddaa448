//! The statements behind task queues and lost runs, one rule each.

use longhaul_core::backend::{AttemptReport, QueueRecord, Reported, Tasks};
use longhaul_core::history::{OperationKey, OperationKind};
use longhaul_core::id::{ArrivalNumber, QueueName, TaskName};

use super::store::{Store, attempt};
use super::*;

fn report(owner: u8, nth: u32, write: u8) -> AttemptReport {
    AttemptReport {
        worker: worker(owner),
        run: WorkflowId::new("a").unwrap(),
        segment: Segment::FIRST,
        operation: OperationKey::new(OperationKind::Task, "t", nth),
        attempt: 1,
        write: WriteId(uuid(write)),
        content: Vec::new(),
    }
}

#[tokio::test]
async fn attempts_are_claimed_by_priority_and_not_before_their_time() {
    let store = Store::open().await;
    let later = store.clock.now().after(Duration::from_secs(1));
    let attempts = vec![
        attempt(1, 0, None),
        attempt(2, 5, None),
        attempt(3, 9, Some(later)),
        attempt(4, 0, None),
    ];
    store.enqueue(attempts).await;
    let mut serves = serves();
    serves.queues = vec![QueueName::new("q").unwrap()];
    serves.tasks = vec![TaskName::new("t").unwrap(), TaskName::new("u").unwrap()];
    let request = BeatRequest {
        worker: worker(2),
        extend: None,
        serves,
    };
    let beat = store.backend.beat(request).await.unwrap();
    assert_eq!((beat.claimable, beat.next_claimable), (3, Some(later)));
    assert_eq!(store.claim(2, 2).await, [2, 1]);
    let queue = QueueName::new("q").unwrap();
    let (waiting, claimed) = (2, 2);
    assert_eq!(
        store.backend.queues().await.unwrap(),
        [QueueRecord {
            queue,
            waiting,
            claimed
        }]
    );
    store.clock.advance(Duration::from_secs(1));
    assert_eq!(store.claim(2, 9).await, [3, 4]);
}

#[tokio::test]
async fn outcome_is_taken_once_and_from_its_claimer_alone() {
    let store = Store::open().await;
    store.enqueue(vec![attempt(1, 0, None)]).await;
    assert_eq!(store.claim(2, 1).await, [1]);
    let reports = vec![
        report(1, 1, 90),
        report(2, 1, 91),
        report(2, 1, 91),
        report(2, 1, 92),
    ];
    let accepted = Reported::Accepted {
        owner: Some(worker(1)),
    };
    let stale = Reported::Stale;
    assert_eq!(
        store.backend.report(reports).await.unwrap(),
        [stale.clone(), accepted.clone(), accepted, stale]
    );
    assert_eq!(store.record("a").await.arrivals, ArrivalNumber(1));
}

#[tokio::test]
async fn run_that_is_lost_without_progress_counts_up() {
    let store = Store::open().await;
    store.enqueue(vec![attempt(7, 0, None)]).await;
    store.claim(1, 1).await;
    let force = vec![worker(1), worker(99)];
    let taken = store
        .backend
        .take_over(TakeOverRequest { force })
        .await
        .unwrap();
    assert_eq!(
        (taken.workers, taken.runs, taken.attempts),
        (vec![worker(1)], 1, 1)
    );
    let acquired = store.acquire(2, "build").await;
    assert_eq!(acquired[0].inbox[0].body.kind, ArrivalKind::AttemptLost);
    assert_eq!(acquired[0].inbox[0].body.content, [0, 0, 0, 1]);
    for (lost, owner) in [(1, 2), (2, 3), (3, 4)] {
        assert_eq!(store.record("a").await.lost, lost);
        store.backend.leave(worker(owner)).await.unwrap();
        join(&store.backend, owner + 1).await;
        store.acquire(owner + 1, "build").await;
    }
    let mut turn = turn_of("a", 2, 50);
    turn.epoch = store.record("a").await.epoch;
    assert_eq!(store.commit(5, turn).await, Verdict::Committed);
    store.backend.leave(worker(5)).await.unwrap();
    assert_eq!(store.record("a").await.lost, 1);
}
