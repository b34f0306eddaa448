//! Telling a person how a worker is whenever that changes.

use std::time::Duration;

use longhaul::worker::{Health, Monitor, Store};

/// Is how often the worker is looked at; looking costs the store nothing.
const LOOK: Duration = Duration::from_millis(200);

/// Prints a line now and at each change, until it is dropped.
pub(crate) async fn tell(monitor: Monitor) {
    let mut told = None;
    loop {
        let health = monitor.health();
        let news = Some(what_matters(&health));
        if told != news {
            println!("worker {}: {health}; {}", health.worker, counters(&health));
            told = news;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Prints the last line.
pub(crate) fn tell_end(health: &Health) {
    println!("worker {} left; {}", health.worker, counters(health));
}

fn what_matters(health: &Health) -> (bool, bool, u64, u64) {
    (
        health.is_ready(),
        health.store == Store::Reachable,
        health.deaths,
        health.refused_turns,
    )
}

fn counters(health: &Health) -> String {
    format!(
        "declared dead {} times, {} stale writes refused",
        health.deaths, health.refused_turns
    )
}
