//! The statements behind ownership, arrivals and filters, one rule each.

use longhaul_core::backend::{Due, ListRequest, Message, RunFilter, Timers};
use longhaul_core::history::{OperationKey, OperationKind};
use longhaul_core::id::ArrivalNumber;
use longhaul_core::status::Status;

use super::store::{Store, attempt};
use super::*;

#[tokio::test]
async fn turn_with_a_gap_or_of_another_owner_is_lost() {
    let store = Store::open().await;
    assert_eq!(store.commit(1, turn_of("a", 2, 1)).await, Verdict::Lost);
    assert_eq!(store.commit(2, turn_of("a", 1, 1)).await, Verdict::Lost);
    assert_eq!(
        store.commit(1, turn_of("a", 1, 1)).await,
        Verdict::Committed
    );
    assert_eq!(
        store.commit(1, turn_of("a", 1, 1)).await,
        Verdict::Committed
    );
    assert_eq!(store.commit(1, turn_of("a", 1, 2)).await, Verdict::Lost);
    assert_eq!(
        store.commit(1, turn_of("unknown", 1, 3)).await,
        Verdict::Lost
    );
}

#[tokio::test]
async fn unread_arrival_refuses_a_park_and_a_seal_refuses_arrivals() {
    let store = Store::open().await;
    store.backend.arrive(vec![signal_of("a", 5)]).await.unwrap();
    let park = |read| RunUpdate::Park {
        read: ArrivalNumber(read),
        wake_at: None,
    };
    assert_eq!(store.update(1, 1, 10, park(0)).await, Verdict::Unread);
    let drain = RunUpdate::Drain {
        read: ArrivalNumber(1),
        seal: true,
    };
    assert_eq!(store.update(1, 1, 11, drain).await, Verdict::Committed);
    let sealed = store
        .backend
        .arrive(vec![signal_of("a", 6), signal_of("a", 5)])
        .await
        .unwrap();
    assert_eq!(sealed[0], Arrived::Sealed);
    assert!(matches!(
        sealed[1],
        Arrived::Accepted {
            number: ArrivalNumber(1),
            ..
        }
    ));
    assert_eq!(store.update(1, 1, 12, park(1)).await, Verdict::Committed);
    let accepted = store.backend.arrive(vec![signal_of("a", 6)]).await.unwrap();
    assert!(matches!(
        accepted[0],
        Arrived::Accepted {
            number: ArrivalNumber(2),
            ..
        }
    ));
    assert_eq!(store.record("a").await.wake_at, Some(store.clock.now()));
}

#[tokio::test]
async fn parked_run_is_due_by_the_clock_and_goes_to_another_worker() {
    let store = Store::open().await;
    let wake_at = store.clock.now().after(Duration::from_secs(2));
    let park = RunUpdate::Park {
        read: ArrivalNumber(0),
        wake_at: Some(wake_at),
    };
    assert_eq!(
        store.update(1, 1, 10, park.clone()).await,
        Verdict::Committed
    );
    let next = Some(wake_at);
    assert_eq!(
        store.backend.due(&serves()).await.unwrap(),
        Due { now: 0, next }
    );
    assert!(store.acquire(2, "build").await.is_empty());
    store.clock.advance(Duration::from_secs(2));
    assert_eq!(store.backend.due(&serves()).await.unwrap().now, 1);
    assert_eq!(store.acquire(2, "build").await[0].run.epoch, Epoch(2));
    assert_eq!(
        store.update(1, 1, 10, park.clone()).await,
        Verdict::Committed
    );
    assert_eq!(store.update(1, 1, 11, park).await, Verdict::Lost);
}

#[tokio::test]
async fn run_blocked_by_a_build_is_due_for_every_other() {
    let store = Store::open().await;
    for (epoch, other) in [(1, "aaa"), (2, "zzz")] {
        let block = RunUpdate::Block {
            read: ArrivalNumber(0),
            reason: "it differs".to_owned(),
            build: BuildId::new("build").unwrap(),
        };
        let write = u8::try_from(epoch).unwrap();
        assert_eq!(
            store.update(1, epoch, write, block).await,
            Verdict::Committed
        );
        assert_eq!(store.record("a").await.blocked.unwrap().0, "it differs");
        assert!(store.acquire(1, "build").await.is_empty());
        assert_eq!(store.acquire(1, other).await.len(), 1, "{other}");
        assert_eq!(store.record("a").await.blocked, None);
    }
}

#[tokio::test]
async fn subworkflow_starts_with_its_parents_turn_or_is_refused_by_message() {
    let store = Store::open().await;
    let child = |id: &str| {
        let mut child = start_of(id);
        let workflow_type = WorkflowType::new("order").unwrap();
        child.identity = start_of("a")
            .identity
            .child(WorkflowId::new(id).unwrap(), workflow_type);
        child.parent_operation = Some(OperationKey::new(OperationKind::Subworkflow, "order", 1));
        child
    };
    let mut commit = turn_of("a", 1, 1);
    commit.subworkflows = vec![child("child"), child("child"), child("a")];
    commit.outbox = vec![Message {
        to: WorkflowId::new("child").unwrap(),
        write: WriteId(uuid(77)),
        body: signal_of("a", 1).body,
    }];
    assert_eq!(store.commit(1, commit).await, Verdict::Committed);
    assert_eq!(store.backend.deliver(10).await.unwrap(), 2);
    assert_eq!(store.backend.deliver(10).await.unwrap(), 0);
    let started = store.record("child").await;
    assert_eq!(
        (started.status, started.arrivals),
        (Status::Pending, ArrivalNumber(1))
    );
    let id = WorkflowId::new("a").unwrap();
    let inbox = store
        .backend
        .inbox(worker(1), vec![(id, ArrivalNumber(0))])
        .await
        .unwrap();
    let refusal = &inbox[0].1[0].body;
    assert_eq!(
        (refusal.kind, refusal.content.len()),
        (ArrivalKind::SubworkflowClosed, 0)
    );
}

#[tokio::test]
async fn finished_run_keeps_its_last_turn_and_refuses_arrivals() {
    let store = Store::open().await;
    store.enqueue(vec![attempt(1, 0, None)]).await;
    let mut end = turn_of("a", 2, 9);
    end.update = RunUpdate::End {
        read: ArrivalNumber(0),
        status: Status::Completed,
    };
    assert_eq!(store.commit(1, end.clone()).await, Verdict::Committed);
    assert_eq!(store.commit(1, end).await, Verdict::Committed);
    let refused = store.backend.arrive(vec![signal_of("a", 5)]).await.unwrap();
    assert_eq!(refused, [Arrived::Finished(Status::Completed)]);
    assert!(store.backend.queues().await.unwrap().is_empty());
    let ids = ["a", "unknown"].map(|id| WorkflowId::new(id).unwrap());
    let states = store.backend.states(&ids).await.unwrap();
    let last = states[0].as_ref().unwrap().last_turn.as_ref().unwrap();
    assert_eq!(last.turn, TurnNumber(2));
    assert!(states[1].is_none());
}

#[tokio::test]
async fn each_part_of_a_filter_chooses_runs() {
    let store = Store::open().await;
    let mut child = start_of("a-child");
    let workflow_type = WorkflowType::new("pack").unwrap();
    let id = WorkflowId::new("a-child").unwrap();
    child.identity = start_of("a")
        .identity
        .child(id.clone(), workflow_type.clone());
    child.tags.clear();
    store
        .backend
        .start(None, vec![child, start_of("b")])
        .await
        .unwrap();
    let a = WorkflowId::new("a").unwrap();
    let chosen = [
        (RunFilter::default(), 3),
        (
            RunFilter {
                parent: Some(a.clone()),
                ..RunFilter::default()
            },
            1,
        ),
        (
            RunFilter {
                root: Some(a),
                ..RunFilter::default()
            },
            2,
        ),
        (
            RunFilter {
                root: Some(id),
                ..RunFilter::default()
            },
            0,
        ),
        (
            RunFilter {
                id_prefix: Some("a".to_owned()),
                ..RunFilter::default()
            },
            2,
        ),
        (
            RunFilter {
                id_prefix: Some("a-child".to_owned()),
                ..RunFilter::default()
            },
            1,
        ),
        (
            RunFilter {
                tags: start_of("a").tags,
                ..RunFilter::default()
            },
            2,
        ),
        (
            RunFilter {
                workflow_type: Some(workflow_type),
                ..RunFilter::default()
            },
            1,
        ),
        (
            RunFilter {
                kind: Some(RunKind::Task),
                ..RunFilter::default()
            },
            0,
        ),
        (
            RunFilter {
                statuses: vec![Status::Running],
                ..RunFilter::default()
            },
            1,
        ),
        (
            RunFilter {
                statuses: vec![Status::Running, Status::Pending],
                ..RunFilter::default()
            },
            3,
        ),
    ];
    for (filter, count) in chosen {
        assert_eq!(
            store.backend.count(&filter).await.unwrap(),
            count,
            "{filter:?}"
        );
        let request = ListRequest {
            filter,
            after: None,
            limit: 10,
        };
        let listed = store.backend.list(request).await.unwrap();
        assert_eq!(u64::try_from(listed.len()).unwrap(), count);
    }
}
