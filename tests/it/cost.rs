//! What a step costs on SQLite: commits and reads, counted.

use std::sync::Arc;
use std::time::Duration;

use longhaul::prelude::*;
use longhaul_backend_sqlite::{SqliteBackend, SqliteConfig};

use crate::world::{Rate, result};

#[task]
async fn trivial(step: u32) -> u32 {
    step
}

#[workflow]
pub(crate) async fn steps(ctx: Context, count: u32) -> Result<u32> {
    let mut sum = 0;
    for step in 0..count {
        sum += ctx.run(trivial(step)).await?;
    }
    Ok(sum)
}

#[derive(Debug)]
struct Cost {
    commits: u64,
    reads: u64,
}

struct Counted {
    backend: Arc<SqliteBackend>,
    client: Client,
    _worker: Worker,
    _folder: tempfile::TempDir,
}

impl Counted {
    /// Opens a store whose worker beats without writing, as its lease is long.
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = SqliteConfig::new(folder.path().join("cost.db"));
        let backend = Arc::new(SqliteBackend::open(config).await.unwrap());
        let client = Client::of(Arc::clone(&backend) as Arc<_>);
        let worker = Worker::builder(&client)
            .provide(Rate(1))
            .lease(Duration::from_secs(3_600))
            .start()
            .await
            .unwrap();
        Self {
            backend,
            client,
            _worker: worker,
            _folder: folder,
        }
    }

    async fn cost_of(&self, work: impl Future<Output = ()>) -> Cost {
        let before = self.backend.statistics();
        work.await;
        let after = self.backend.statistics();
        Cost {
            commits: after.commits - before.commits,
            reads: after.reads - before.reads,
        }
    }

    async fn run(&self, count: u32) {
        let run = self.client.start(steps(count)).await.unwrap();
        assert_eq!(result(&run).await.unwrap(), (0..count).sum::<u32>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_tasks_are_six_commits_the_start_included() {
    let counted = Counted::open().await;
    let cost = counted.cost_of(counted.run(5)).await;
    assert_eq!(cost.commits, 6, "{cost:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn warm_step_costs_one_commit_and_no_read() {
    let counted = Counted::open().await;
    let few = counted.cost_of(counted.run(10)).await;
    let many = counted.cost_of(counted.run(110)).await;
    assert_eq!(many.commits - few.commits, 100, "{few:?} {many:?}");
    // The worker's beat reads, about once a second and whatever the runs do.
    assert!(many.reads <= few.reads + 5, "{few:?} {many:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_workflows_in_flight_share_commits() {
    let counted = Counted::open().await;
    let cost = counted
        .cost_of(async {
            let runs = (0..64).map(|_| counted.run(5));
            futures::future::join_all(runs).await;
        })
        .await;
    let alone = 64 * 6;
    println!(
        "64 workflows of 5 tasks: {} commits, {alone} if each were alone",
        cost.commits
    );
    assert!(cost.commits * 3 < alone, "{cost:?}");
}
