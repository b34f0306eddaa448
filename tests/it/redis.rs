//! What only a Redis of the test's own can show: it is killed, fails over, and hands slots on while workflows run.

mod cost;
mod load;
mod own;

use std::time::Duration;

use longhaul::prelude::*;

use self::load::Load;
use self::own::{Cluster, Server};
use crate::world::is_asked_for;

const KILLS: usize = 10;

/// P1: with `appendfsync always`, the death of the server takes nothing that was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_missing_after_the_server_was_killed_ten_times() {
    if !is_asked_for("redis") {
        return;
    }
    let mut server = Server::start(&own::DURABLE);
    let load = Load::begin(&server.url("timeout=2s")).await;
    for kill in 1..=KILLS {
        load.goes_on().await;
        server.kill();
        server.resume();
        println!("kill {kill}: {}", load.progress());
    }
    let (runs, signals) = load.end().await;
    println!("{KILLS} kills, {runs} runs and {signals} signals acknowledged, none missing");
}

/// P1 with `durability=replicated:1`: the death of a master takes nothing that its replica had acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_missing_after_a_replica_took_the_place_of_a_master() {
    if !is_asked_for("redis") {
        return;
    }
    let mut cluster = Cluster::start();
    let load = Load::begin(&cluster.url("durability=replicated:1&timeout=3s")).await;
    load.goes_on().await;
    let victim = cluster.kill_a_master();
    // The new master has no replica until the old one is back, and acknowledges nothing before.
    cluster.resume(victim);
    load.goes_on().await;
    let (runs, signals) = load.end().await;
    println!("1 failover, {runs} runs and {signals} signals acknowledged, none missing");
}

/// P1: slots that move to another node take their runs along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_missing_after_slots_moved_to_other_nodes() {
    if !is_asked_for("redis") {
        return;
    }
    let cluster = Cluster::start();
    let load = Load::begin(&cluster.url("timeout=3s")).await;
    load.goes_on().await;
    let moved = cluster.move_slots_of("default");
    load.goes_on().await;
    let (runs, signals) = load.end().await;
    println!("{moved} slots moved, {runs} runs and {signals} signals acknowledged, none missing");
    assert!(moved > 0, "no slot was moved");
}

#[tokio::test]
async fn server_that_may_lose_or_cannot_serve_is_refused_with_what_to_do() {
    if !is_asked_for("redis") {
        return;
    }
    let refused = async |url: String| Client::connect(&url).await.unwrap_err();
    let stock = Server::start(&[]);
    let error = refused(stock.url("")).await;
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    for part in [
        "CONFIG SET appendonly yes",
        "CONFIG SET appendfsync always",
        "?durability=none",
    ] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(Client::connect(&stock.url("durability=none")).await.is_ok());
    stock.ask(&["CONFIG", "SET", "appendonly", "yes"]);
    let error = refused(stock.url("")).await;
    assert!(error.to_string().contains("?durability=fast"), "{error}");
    assert!(Client::connect(&stock.url("durability=fast")).await.is_ok());
    stock.ask(&["CONFIG", "SET", "appendfsync", "always"]);
    assert!(Client::connect(&stock.url("")).await.is_ok());
    let error = refused(stock.url("durability=replicated:1")).await;
    assert!(error.to_string().contains("0 are connected"), "{error}");
    stock.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let error = refused(stock.url("durability=none")).await;
    assert!(error.to_string().contains("noeviction"), "{error}");

    let port = stock.port().to_string();
    let replica = Server::start(&["--replicaof", "127.0.0.1", &port]);
    let error = refused(replica.url("checks=off")).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("read-only replica"), "{error}");

    let lone = Server::start(&["--cluster-enabled", "yes"]);
    let error = refused(lone.url("checks=off")).await;
    assert!(error.to_string().contains("16384 hash slots"), "{error}");
}

#[tokio::test]
async fn wrong_password_and_missing_rights_are_told_without_showing_a_password() {
    if !is_asked_for("redis") {
        return;
    }
    let server = Server::start(&["--requirepass", "s3cret"]);
    for who in ["", ":wrong-s3cret@", "nobody:wrong-s3cret@"] {
        let url = format!("redis://{who}127.0.0.1:{}?durability=none", server.port());
        let error = Client::connect(&url).await.unwrap_err();
        assert!(error.to_string().contains("refuses user"), "{error}");
        assert!(!format!("{error:?} {error}").contains("s3cret"), "{error}");
    }
    let rules = ["on", ">s3cret", "~{lh:mine:*", "&*", "+@all"];
    server.ask_as("s3cret", &[&["ACL", "SETUSER", "ann"], &rules[..]].concat());
    let url = |namespace: &str| {
        let port = server.port();
        format!("redis://ann:s3cret@127.0.0.1:{port}?durability=none&namespace={namespace}")
    };
    assert!(Client::connect(&url("mine")).await.is_ok());
    let error = Client::connect(&url("other")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains("does not permit"), "{error}");
    assert!(!format!("{error:?} {error}").contains("s3cret"), "{error}");
    let error = Client::connect("redis://127.0.0.1:1?connect_timeout=500ms")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

/// A server without memory refuses what it cannot hold; what it holds goes on when there is room again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_server_refuses_and_loses_nothing() {
    if !is_asked_for("redis") {
        return;
    }
    let server = Server::start(&own::DURABLE);
    let load = Load::begin(&server.url("")).await;
    load.goes_on().await;
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let client = Client::connect(&server.url("")).await.unwrap();
    let refused = client.start(load::sum(0)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    assert!(refused.to_string().contains("maxmemory"), "{refused}");
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    load.goes_on().await;
    load.end().await;
}

/// Hints are heard again after the connection that hears them broke.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_hears_of_signals_after_all_connections_were_cut() {
    if !is_asked_for("redis") {
        return;
    }
    let server = Server::start(&own::DURABLE);
    let load = Load::begin(&server.url("")).await;
    load.goes_on().await;
    for kind in ["normal", "pubsub"] {
        server.ask(&["CLIENT", "KILL", "TYPE", kind]);
        load.goes_on().await;
    }
    tokio::time::timeout(Duration::from_secs(60), load.end())
        .await
        .unwrap();
}

/// Scripts that the server forgot are sent again, and what was not answered in time is asked again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_missing_after_scripts_were_flushed_and_answers_came_too_late() {
    if !is_asked_for("redis") {
        return;
    }
    let server = Server::start(&own::DURABLE);
    let load = Load::begin(&server.url("timeout=300ms")).await;
    for _ in 0..3 {
        load.goes_on().await;
        server.ask(&["SCRIPT", "FLUSH"]);
        load.goes_on().await;
        server.ask(&["CLIENT", "PAUSE", "700", "ALL"]);
    }
    load.goes_on().await;
    let (runs, signals) = load.end().await;
    println!("3 flushes and pauses, {runs} runs and {signals} signals acknowledged, none missing");
}

/// What a finished run leaves is two keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finished_run_keeps_its_row_and_its_history_and_nothing_else() {
    if !is_asked_for("redis") {
        return;
    }
    let server = Server::start(&own::DURABLE);
    let load = Load::begin(&server.url("partitions=1")).await;
    load.goes_on().await;
    let (runs, _) = load.end().await;
    let keys = server.ask(&["KEYS", "*"]);
    let of_runs = keys.lines().filter(|key| key.contains("run-"));
    let kinds = |key: &str| key.contains("}:run:") || key.contains("}:turns:");
    let of_runs: Vec<&str> = of_runs.collect();
    assert!(of_runs.iter().all(|key| kinds(key)), "{of_runs:#?}");
    assert_eq!(of_runs.len(), 2 * runs);
    let others = keys.lines().count() - of_runs.len();
    println!(
        "{runs} finished runs keep {} keys, and the store {others}",
        of_runs.len()
    );
    assert!(others < 20, "{keys}");
}
