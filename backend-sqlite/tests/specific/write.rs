//! The writer: group commit, its cost, and what a dropped or repeated request leaves.

use super::*;

#[tokio::test]
async fn warm_step_costs_one_commit_and_no_read() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open_with_run(&folder.path().join("orders.db")).await;
    let before = backend.statistics();
    for turn in 1..=10 {
        let verdicts = backend.commit(lane(1), vec![turn_of("a", turn, 1)]).await;
        assert_eq!(verdicts.unwrap(), [Verdict::Committed]);
    }
    let after = backend.statistics();
    assert_eq!(after.commits - before.commits, 10);
    assert_eq!(after.reads, before.reads);
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_wait_share_a_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Arc::new(open_with_run(&folder.path().join("orders.db")).await);
    let ids: Vec<String> = (0..64).map(|number| format!("run-{number}")).collect();
    let starts = ids.iter().map(|id| start_of(id)).collect();
    backend.start(Some(lane(1)), starts).await.unwrap();
    let before = backend.statistics();
    let commits: Vec<_> = ids
        .iter()
        .map(|id| {
            let (backend, id) = (Arc::clone(&backend), id.clone());
            tokio::spawn(async move {
                for turn in 1..=8 {
                    let verdicts = backend.commit(lane(1), vec![turn_of(&id, turn, 1)]).await;
                    assert_eq!(verdicts.unwrap(), [Verdict::Committed]);
                }
            })
        })
        .collect();
    for commit in commits {
        commit.await.unwrap();
    }
    let after = backend.statistics();
    assert_eq!(after.jobs - before.jobs, 64 * 8);
    let commits = after.commits - before.commits;
    assert!(commits <= 64 * 8 / 3, "{commits} commits for 512 turns");
}

#[tokio::test]
async fn job_that_fails_spoils_no_other_in_its_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open_with_run(&folder.path().join("orders.db")).await;
    let (of_nobody, good, signal) = tokio::join!(
        backend.start(Some(lane(9)), vec![start_of("b")]),
        backend.commit(lane(1), vec![turn_of("a", 1, 1)]),
        backend.arrive(vec![signal_of("a", 2)]),
    );
    assert_eq!(of_nobody.unwrap_err().kind(), Kind::WorkerDead);
    assert_eq!(good.unwrap(), [Verdict::Committed]);
    assert!(matches!(signal.unwrap()[0], Arrived::Accepted { .. }));
    let id = WorkflowId::new("b").unwrap();
    assert!(backend.run(&id).await.unwrap().is_none());
}

#[tokio::test]
async fn dropped_request_is_applied_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open_with_run(&folder.path().join("orders.db")).await;
    for number in 0..50 {
        let starts = vec![
            start_of(&format!("x-{number}")),
            start_of(&format!("y-{number}")),
        ];
        let start = backend.start(None, starts);
        tokio::select! {
            biased;
            _ = start => {}
            () = tokio::task::yield_now() => {}
        }
    }
    backend.start(None, vec![start_of("last")]).await.unwrap();
    for number in 0..50 {
        let ids = ["x", "y"].map(|name| WorkflowId::new(format!("{name}-{number}")).unwrap());
        let states = backend.states(&ids).await.unwrap();
        assert_eq!(states[0].is_some(), states[1].is_some());
    }
}

#[tokio::test]
async fn repeated_write_is_recognised_after_the_file_was_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let backend = open_with_run(&path).await;
    let mut park = turn_of("a", 1, 4);
    park.update = RunUpdate::Park {
        read: Default::default(),
        wake_at: None,
    };
    let first = backend.commit(lane(1), vec![park.clone()]).await.unwrap();
    assert_eq!(first, [Verdict::Committed]);
    let accepted = backend.arrive(vec![signal_of("a", 5)]).await.unwrap();
    drop(backend);

    let backend = open(&path).await;
    let second = backend.commit(lane(1), vec![park]).await.unwrap();
    assert_eq!(second, [Verdict::Committed]);
    assert_eq!(
        backend.arrive(vec![signal_of("a", 5)]).await.unwrap(),
        accepted
    );
    assert_eq!(history(&backend, "a").await, 2);
}

async fn history(backend: &SqliteBackend, id: &str) -> usize {
    let request = longhaul_core::backend::HistoryRequest {
        run: WorkflowId::new(id).unwrap(),
        segment: None,
        from: TurnNumber(0),
        limit: 100,
    };
    backend.history(request).await.unwrap().len()
}

#[tokio::test]
async fn commit_extends_a_lease_of_which_half_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let config = SqliteConfig::new(folder.path()).clock(clock.clone());
    let backend = SqliteBackend::open(config).await.unwrap();
    join(&backend, 1).await;
    backend
        .start(Some(lane(1)), vec![start_of("a")])
        .await
        .unwrap();
    let joined_until = backend.workers().await.unwrap()[0].lease_until;
    clock.advance(Duration::from_secs(1));
    backend
        .commit(lane(1), vec![turn_of("a", 1, 1)])
        .await
        .unwrap();
    assert_eq!(
        backend.workers().await.unwrap()[0].lease_until,
        joined_until
    );
    clock.advance(Duration::from_secs(3));
    backend
        .commit(lane(1), vec![turn_of("a", 2, 2)])
        .await
        .unwrap();
    assert_eq!(
        backend.workers().await.unwrap()[0].lease_until,
        backend.clock().after(LEASE)
    );
}
