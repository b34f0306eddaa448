//! File locks: death is seen before the lease is over.

use super::*;

#[tokio::test]
async fn worker_whose_handle_is_gone_is_dead_before_its_lease_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let one = open_with_run(&path).await;
    let other = open(&path).await;
    join(&other, 2).await;
    assert_eq!(dead(&other, 2).await, []);
    drop(one);
    assert_eq!(dead(&other, 2).await, [worker(1)]);
    let taken = other
        .take_over(TakeOverRequest { force: Vec::new() })
        .await
        .unwrap();
    assert_eq!((taken.workers, taken.runs), (vec![worker(1)], 1));
    assert_eq!(
        lock_files(folder.path()),
        [format!("orders.db-worker-{}", worker(2))]
    );
}

#[tokio::test]
async fn without_locks_only_the_lease_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let clock = clock();
    let config = SqliteConfig::new(&path)
        .clock(clock.clone())
        .without_locks();
    let one = SqliteBackend::open(config.clone()).await.unwrap();
    let other = SqliteBackend::open(config).await.unwrap();
    join(&one, 1).await;
    clock.advance(Duration::from_secs(3));
    join(&other, 2).await;
    drop(one);
    assert_eq!(dead(&other, 2).await, []);
    clock.advance(Duration::from_secs(3));
    assert_eq!(dead(&other, 2).await, [worker(1)]);
    assert_eq!(lock_files(folder.path()), Vec::<String>::new());
}

#[tokio::test]
async fn worker_that_leaves_takes_its_lock_file_away() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open_with_run(&folder.path().join("orders.db")).await;
    assert_eq!(lock_files(folder.path()).len(), 1);
    backend.leave(worker(1)).await.unwrap();
    assert_eq!(lock_files(folder.path()), Vec::<String>::new());
}

fn lock_files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap();
    names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("-worker-"))
        .collect()
}

const DATABASE_OF_CHILD: &str = "LONGHAUL_TEST_DATABASE_OF_CHILD";

/// Is the process that the next test kills; does nothing unless that test started it.
#[tokio::test]
async fn child_that_owns_a_run_until_it_is_killed() {
    let Ok(path) = std::env::var(DATABASE_OF_CHILD) else {
        return;
    };
    let _backend = open_with_run(&PathBuf::from(path)).await;
    eprintln!("owned");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn runs_of_a_killed_process_are_taken_over_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let backend = open(&path).await;
    join(&backend, 2).await;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "locks::child_that_owns_a_run_until_it_is_killed",
            "--nocapture",
        ])
        .env(DATABASE_OF_CHILD, &path)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.map(Result::unwrap).any(|line| line == "owned"));
    assert_eq!(dead(&backend, 2).await, []);

    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(dead(&backend, 2).await, [worker(1)]);
    backend
        .take_over(TakeOverRequest { force: Vec::new() })
        .await
        .unwrap();
    let request = AcquireRequest {
        lane: lane(2),
        serves: serves(),
        limit: 10,
    };
    let acquired = backend.acquire(request).await.unwrap();
    assert_eq!(acquired.len(), 1);
    assert_eq!((acquired[0].run.epoch, acquired[0].run.lost), (Epoch(2), 1));
    assert_eq!(lock_files(folder.path()).len(), 1);
}
