//! The simulator's programs and faults over a server: as many seeds as `LONGHAUL_SIMULATED_SEEDS` says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests may panic and print figures"
)]

use std::sync::Arc;

use longhaul_backend_redis::{RedisBackend, RedisConfig};
use longhaul_testing::simulate::{self, Report};
use longhaul_tests::server;

/// Is how many seeds are simulated.
const SEEDS: u64 = 30;

fn simulated(seed: u64, runtime: &tokio::runtime::Handle) -> Report {
    simulate::simulate_on(seed, runtime, |clock| {
        let server = server::named("LONGHAUL_TEST_REDIS");
        let config = RedisConfig::from_url(&server).unwrap();
        let config = config
            .namespace(server::unused_name("sim"))
            .unwrap()
            .clock(clock);
        let (tell, told) = std::sync::mpsc::channel();
        runtime.spawn(async move { tell.send(RedisBackend::open(config).await).unwrap() });
        Arc::new(told.recv().unwrap().unwrap())
    })
}

/// P1 to P11, as the simulator judges them.
#[test]
fn fleet_on_a_server_keeps_every_promise_under_faults() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let seeds = std::env::var("LONGHAUL_SIMULATED_SEEDS");
    let seeds = seeds.map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let (mut commits, mut requests, mut faults) = (0, 0, 0);
    for seed in 0..seeds {
        let report = simulated(seed, runtime.handle());
        assert_eq!(report.violations, [], "seed {seed}");
        commits += report.commits;
        requests += report.requests;
        faults += report.faults.values().sum::<u64>();
    }
    println!(
        "{seeds} seeds, {commits} commits, {requests} requests, {faults} faults, 0 violations"
    );
    assert!(commits > 0 && faults > 0);
}
