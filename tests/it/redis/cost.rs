//! What a workflow costs on Redis: commands and bytes as the server counts them.

use std::time::Duration;

use longhaul::prelude::*;

use super::own::{DURABLE, Server};
use crate::cost::steps;
use crate::world::{Rate, is_asked_for, result};

/// Is what the server counted: scripts, all commands that clients sent, and bytes both ways.
#[derive(Debug, Clone, Copy)]
struct Cost {
    scripts: u64,
    commands: u64,
    received: u64,
    sent: u64,
}

impl Cost {
    fn of(server: &Server) -> Self {
        let stats = server.ask(&["INFO", "commandstats"]);
        let calls = |line: &str| -> Option<(String, u64)> {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
        };
        let calls: Vec<_> = stats.lines().filter_map(calls).collect();
        let sum = |names: &[&str]| {
            let named = calls
                .iter()
                .filter(|(name, _)| names.contains(&name.as_str()));
            named.map(|(_, calls)| calls).sum()
        };
        let info = server.ask(&["INFO", "stats"]);
        let number = |name: &str| {
            let line = info
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap();
            line.trim().parse().unwrap()
        };
        Self {
            scripts: sum(&["evalsha", "eval"]),
            commands: number("total_commands_processed:"),
            received: number("total_net_input_bytes:"),
            sent: number("total_net_output_bytes:"),
        }
    }

    const fn since(self, before: Self) -> Self {
        Self {
            scripts: self.scripts - before.scripts,
            commands: self.commands - before.commands,
            received: self.received - before.received,
            sent: self.sent - before.sent,
        }
    }
}

struct Counted {
    server: Server,
    client: Client,
    _worker: Worker,
}

impl Counted {
    /// Opens a store of one partition, so that beats are told from the rest by their number.
    async fn open() -> Self {
        let server = Server::start(&DURABLE);
        let client = Client::connect(&server.url("partitions=1")).await.unwrap();
        let worker = Worker::builder(&client)
            .provide(Rate(1))
            .lease(Duration::from_secs(3_600))
            .start()
            .await
            .unwrap();
        Self {
            server,
            client,
            _worker: worker,
        }
    }

    async fn cost_of(&self, workflows: u32, tasks: u32) -> Cost {
        let before = Cost::of(&self.server);
        let runs = (0..workflows).map(async |_| {
            let run = self.client.start(steps(tasks)).await.unwrap();
            assert_eq!(result(&run).await.unwrap(), (0..tasks).sum::<u32>());
        });
        futures::future::join_all(runs).await;
        Cost::of(&self.server).since(before)
    }
}

/// A beat is two scripts, and may fall into the time of the measurement, as may a hint's beat.
const BEATS: u64 = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_tasks_are_six_scripts_the_start_included() {
    if !is_asked_for("redis") {
        return;
    }
    let counted = Counted::open().await;
    counted.cost_of(1, 5).await;
    let cost = counted.cost_of(1, 5).await;
    println!("a workflow of five tasks on redis: {cost:?}");
    assert!((6..6 + BEATS).contains(&cost.scripts), "{cost:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn warm_step_costs_one_script() {
    if !is_asked_for("redis") {
        return;
    }
    let counted = Counted::open().await;
    let few = counted.cost_of(1, 10).await;
    let many = counted.cost_of(1, 110).await;
    println!("100 warm steps on redis: {few:?} {many:?}");
    let steps = many.scripts - few.scripts;
    assert!(
        (100 - BEATS..100 + BEATS).contains(&steps),
        "{few:?} {many:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workflows_in_flight_share_scripts() {
    if !is_asked_for("redis") {
        return;
    }
    let counted = Counted::open().await;
    let cost = counted.cost_of(64, 5).await;
    println!("64 workflows of five tasks on redis: {cost:?}, 384 scripts if each were alone");
    assert!(cost.scripts * 2 < 384, "{cost:?}");
}
