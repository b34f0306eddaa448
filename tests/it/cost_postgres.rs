//! What a step costs on Postgres: statements as the server counts them, each one round trip and, where it writes, one
//! commit.

use std::time::Duration;

use longhaul::prelude::*;
use sqlx::Row as _;

use crate::cost::steps;
use crate::world::{Rate, Schema, result};

/// Is what the server counted of one store: calls, and how many of them wrote something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    statements: i64,
    commits: i64,
    wal: i64,
}

struct Counted {
    client: Client,
    _worker: Worker,
    schema: Schema,
}

impl Counted {
    /// Opens a store whose worker extends no lease meanwhile. Beats and notifications are left out: they come once a
    /// second and once per burst, whatever the runs do.
    async fn open() -> Self {
        let schema = Schema::new();
        schema
            .run("create extension if not exists pg_stat_statements")
            .await;
        let client = Client::connect(&schema.url()).await.unwrap();
        let worker = Worker::builder(&client)
            .provide(Rate(1))
            .lease(Duration::from_secs(3_600))
            .start()
            .await
            .unwrap();
        Self {
            client,
            _worker: worker,
            schema,
        }
    }

    async fn count(&self) -> Cost {
        let text = "
            select coalesce(sum(calls), 0)::bigint as statements,
                coalesce(sum(calls) filter (where wal_records > 0), 0)::bigint as commits,
                coalesce(sum(wal_bytes), 0)::bigint as wal
            from pg_stat_statements
            where query like '%\"{schema}\"%' and query not like '%Tells a worker%'
              and query not like '%create table%' and query not like '%pg_stat_statements%'";
        let row = self.schema.row(text).await;
        Cost {
            statements: row.get("statements"),
            commits: row.get("commits"),
            wal: row.get("wal"),
        }
    }

    async fn cost_of(&self, work: impl Future<Output = ()>) -> Cost {
        let before = self.count().await;
        work.await;
        let after = self.count().await;
        Cost {
            statements: after.statements - before.statements,
            commits: after.commits - before.commits,
            wal: after.wal - before.wal,
        }
    }

    async fn run(&self, count: u32) {
        let run = self.client.start(steps(count)).await.unwrap();
        assert_eq!(result(&run).await.unwrap(), (0..count).sum::<u32>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_tasks_are_six_statements_the_start_included() {
    if !crate::world::is_asked_for("postgres") {
        return;
    }
    let counted = Counted::open().await;
    counted.run(5).await;
    let cost = counted.cost_of(counted.run(5)).await;
    println!("a workflow of five tasks on postgres: {cost:?}");
    assert_eq!((cost.statements, cost.commits), (6, 6), "{cost:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn warm_step_costs_one_statement_and_no_read() {
    if !crate::world::is_asked_for("postgres") {
        return;
    }
    let counted = Counted::open().await;
    let few = counted.cost_of(counted.run(10)).await;
    let many = counted.cost_of(counted.run(110)).await;
    println!("100 warm steps on postgres: {few:?} {many:?}");
    assert_eq!(many.statements - few.statements, 100, "{few:?} {many:?}");
    assert_eq!(many.commits - few.commits, 100, "{few:?} {many:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_workflows_in_flight_share_statements() {
    if !crate::world::is_asked_for("postgres") {
        return;
    }
    let counted = Counted::open().await;
    let cost = counted
        .cost_of(async {
            let runs = (0..64).map(|_| counted.run(5));
            futures::future::join_all(runs).await;
        })
        .await;
    let alone = 64 * 6;
    println!(
        "64 workflows of 5 tasks on postgres: {cost:?}, {alone} statements if each were alone"
    );
    assert!(cost.statements * 2 < alone, "{cost:?}");
}

#[workflow]
async fn waits_for_good(ctx: Context) -> Result<()> {
    ctx.receive(Signal::<()>::new("never")).await
}

/// P14: with the default lease, over a window of real time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_with_nothing_to_do_asks_postgres_at_most_once_a_second() {
    if !crate::world::is_asked_for("postgres") {
        return;
    }
    let schema = Schema::new();
    schema
        .run("create extension if not exists pg_stat_statements")
        .await;
    let client = Client::connect(&schema.url()).await.unwrap();
    let builder = Worker::builder(&client).provide(Rate(1));
    let park_after = Duration::from_millis(10);
    let _worker = builder.park_after(park_after).start().await.unwrap();
    for _ in 0..50 {
        client.start(waits_for_good()).await.unwrap();
    }
    while client.list().status(Status::Waiting).count().await.unwrap() < 50 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;

    let count = async || {
        let text = "select coalesce(sum(calls), 0)::bigint as calls from pg_stat_statements
                    where query like '%\"{schema}\"%' and query not like '%pg_stat_statements%'";
        schema.row(text).await.get::<i64, _>("calls")
    };
    let before = count().await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let asked = count().await - before;
    println!("6 s idle with 50 parked runs on postgres: {asked} statements");
    assert!((3..=7).contains(&asked), "{asked} statements");
}
