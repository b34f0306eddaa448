//! Several worker processes on one store: killed, stopped and continued, shut down, and with different things to do.

mod crew;
mod roles;

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use longhaul::client::HistoryEntry;
use tokio::runtime::Runtime;

use self::crew::{Fleet, Member};
use crate::kill::ledger::Ledger;
use crate::kill::shop::Shop;
use crate::kill::{PATIENCE, Waits, check_ledger, check_outcomes};
use crate::world::World;

/// Runs each test on each store that processes can share.
macro_rules! on_every_shared_store {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[test]
            fn $name() {
                if crate::world::is_asked_for("sqlite") {
                    super::alone(crate::world::World::sqlite(), super::$name);
                }
            })*
        }
        mod redis {
            $(#[test]
            fn $name() {
                if crate::world::is_asked_for("redis") {
                    super::alone(crate::world::World::redis(), super::$name);
                }
            })*
        }
        mod redis_cluster {
            $(#[test]
            fn $name() {
                if crate::world::is_asked_for("redis") {
                    super::alone(crate::world::World::redis_cluster(), super::$name);
                }
            })*
        }
        mod postgres {
            $(#[test]
            fn $name() {
                if crate::world::is_asked_for("postgres") {
                    super::alone(crate::world::World::postgres(), super::$name);
                }
            })*
        }
    };
}

on_every_shared_store!(
    orders_survive_kills_of_random_workers,
    worker_that_was_stopped_for_three_leases_makes_nothing_visible,
    runs_of_a_killed_worker_go_on_within_a_lease_and_a_second,
    runs_of_a_worker_that_is_shut_down_go_on_at_once,
);

/// Runs a test when no other fleet is under way in this process, as several would take each other's time.
fn alone(world: impl Future<Output = World>, test: fn(Fleet)) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let _entered = RUNTIME.enter();
    test(Fleet::at(&RUNTIME, world));
}

/// Reads how often something is done from the environment.
fn number(variable: &str, default: u32) -> u32 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

const SEED: u64 = 0x0f1e_e7ed;
const WORKERS: usize = 4;

/// Is the lease of workers that are killed; what is not recorded for longer is lost by its lease alone.
const LEASE_OF_A_FLEET: Duration = Duration::from_secs(3);
const SLOTS: usize = 8;

/// P1, P3, P6 for a fleet. `LONGHAUL_TEST_KILLS=30` lets the kills go on for half a minute.
fn orders_survive_kills_of_random_workers(mut fleet: Fleet) {
    let kills = number("LONGHAUL_TEST_KILLS", 8);
    // What is to be done takes a few seconds longer than the kills.
    let pace = 10 * (kills + 4);
    let options = [
        format!("--lease={}s", LEASE_OF_A_FLEET.as_secs()),
        format!("--slots={SLOTS}"),
        format!("--pace={pace}"),
        "--approval-timeout=1s".to_owned(),
    ];
    let shop = fleet.open(Shop::new(500));
    let mut ledger = Ledger::new(shop.effects());
    let mut draw = Waits(SEED);
    fleet.start(0..500);
    let mut workers: Vec<_> = (0..WORKERS).map(|_| fleet.worker(&options)).collect();
    ledger.begin_life();
    ledger.wait_for_effect(&mut workers[0].process, PATIENCE);
    for kill in 1..=kills {
        ledger.watch(Duration::from_secs(1));
        let at = draw.draw(WORKERS as u64).as_millis();
        let victim = workers.swap_remove(usize::try_from(at).unwrap());
        victim.process.kill();
        ledger.end_life();
        ledger.begin_life();
        workers.push(fleet.worker(&options));
        println!("kill {kill}: {} of 500 done", ledger.done());
        assert!(ledger.done() < 500, "no run was open at kill {kill}");
    }
    let begun = Instant::now();
    while fleet.completed() < 500 {
        assert!(begun.elapsed() < 3 * PATIENCE, "{}", shop.status());
        ledger.watch(Duration::from_millis(100));
    }
    println!("all done {:?} after the last kill", begun.elapsed());
    for worker in workers {
        assert!(worker.process.terminate().success());
    }
    ledger.read();
    let output = shop.finish(&[]);
    check_outcomes(&shop, &ledger, &output);
    let losses: u64 = fleet.reports().iter().map(|report| report.deaths).sum();
    println!("{kills} kills, {losses} leases lost without one");
    if losses == 0 {
        check_ledger(&ledger, SLOTS, LEASE_OF_A_FLEET);
    } else {
        check_repeats(&ledger, u64::from(kills) + losses, SLOTS);
    }
}

/// Checks that no more was done again than was in flight when somebody died or lost a lease.
fn check_repeats(ledger: &Ledger, ends: u64, slots: usize) {
    let mut repeated = 0;
    for (key, lines) in ledger.by_key() {
        let again = lines.len() as u64 - 1;
        assert!(again <= ends, "{key} was done {} times", lines.len());
        repeated += again;
    }
    println!("{repeated} effects were repeated in {ends} ends of leases");
    assert!(repeated <= ends.saturating_mul(slots as u64));
}

const LEASE: Duration = Duration::from_millis(300);
const OWNED: usize = 50;

/// P3: `LONGHAUL_TEST_ROUNDS` says how many rounds; three by default.
///
/// The stopped worker has runs whose timers run out meanwhile, so that it writes as soon as it is continued, and no
/// attempt is under way, so that it has no excuse for an effect.
fn worker_that_was_stopped_for_three_leases_makes_nothing_visible(mut fleet: Fleet) {
    let rounds = number("LONGHAUL_TEST_ROUNDS", 3) as usize;
    let shop = fleet.open(Shop::of_orders(OWNED * rounds, |_| true));
    let mut ledger = Ledger::new(shop.effects());
    ledger.begin_life();
    let options = ["--lease=300ms", "--approval-timeout=1500ms"].map(str::to_owned);
    let mut wrote = 0;
    for round in 1..=rounds {
        let orders = (round - 1) * OWNED..round * OWNED;
        let done = (round * OWNED) as u64;
        let first = fleet.worker(&options);
        fleet.until("the first worker has joined", || fleet.joined(&first));
        fleet.start(orders.clone());
        fleet.until("all wait for approval", || {
            fleet.approving(orders.clone()) == OWNED
        });
        assert_eq!(fleet.owned(&first), OWNED);
        let second = fleet.worker(&options);
        fleet.until("the second worker has joined", || fleet.joined(&second));

        let tries = stop_until_taken_over(&fleet, &first);
        fleet.until("the second has done all", || fleet.completed() == done);
        let before = fleet.histories(orders.clone());
        first.process.signal("CONT");
        fleet.until("the first has noticed", || fleet.report(&first).deaths > 0);
        let (stopped, other) = (first.name.clone(), second.name.clone());
        assert!(first.process.terminate().success());
        assert!(second.process.terminate().success());
        let (stopped, other) = (fleet.report_of(&stopped), fleet.report_of(&other));
        println!(
            "round {round}: stopped {tries} times, {} stale writes refused, died {} and {} times",
            stopped.refused, stopped.deaths, other.deaths
        );
        wrote += usize::from(stopped.refused > 0);
        let after = fleet.histories(orders);
        after.iter().for_each(|history| check_history(history));
        assert_eq!(before, after);
    }
    // Seldom a worker hears of its death before it has written anything.
    assert!(
        2 * wrote > rounds,
        "stale writes were refused in {wrote} of {rounds} rounds"
    );
    ledger.read();
    let losses: u64 = fleet.reports().iter().map(|report| report.deaths).sum();
    if losses == rounds as u64 {
        assert!(ledger.by_key().values().all(|lines| lines.len() == 1));
    } else {
        check_repeats(&ledger, losses, 64);
    }
    let output = shop.finish(&[]);
    check_outcomes(&shop, &ledger, &output);
}

/// Stops a worker for three leases, again when it had the only lock of an embedded store just then, with which nobody
/// can take anything over. Returns how often it was stopped.
fn stop_until_taken_over(fleet: &Fleet, worker: &Member) -> usize {
    for tries in 1..=20 {
        worker.process.signal("STOP");
        std::thread::sleep(3 * LEASE);
        if !fleet.joined(worker) {
            return tries;
        }
        worker.process.signal("CONT");
    }
    panic!("nobody takes over from a stopped worker");
}

fn has_ended(history: &[HistoryEntry]) -> bool {
    history
        .last()
        .is_some_and(|last| last.event.kind.is_terminal())
}

/// Checks that events are numbered without a gap, that the last one alone ends the run, and that an operation has one
/// command and at most one outcome that is not a failed or lost attempt.
fn check_history(history: &[HistoryEntry]) {
    assert!(has_ended(history), "{history:?}");
    for (number, entry) in history.iter().enumerate() {
        assert_eq!(entry.number.0, number as u64);
        assert!(number == 0 || entry.turn >= history[number - 1].turn);
        assert!(number + 1 == history.len() || !entry.event.kind.is_terminal());
    }
    let mut seen = std::collections::BTreeSet::new();
    for entry in history {
        let kind = serde_json::to_value(&entry.event.kind).unwrap();
        let name = kind
            .as_object()
            .and_then(|kind| kind.keys().next())
            .cloned();
        let Some((name, operation)) = name.zip(entry.event.kind.operation()) else {
            continue;
        };
        if !name.starts_with("Attempt") {
            let is_new = seen.insert((name, operation.to_string()));
            assert!(is_new, "{operation} has two of one event: {history:?}");
        }
    }
}

/// P5.
fn runs_of_a_killed_worker_go_on_within_a_lease_and_a_second(mut fleet: Fleet) {
    let lease = Duration::from_secs(1);
    let options = [
        "--lease=1s",
        "--slots=64",
        "--pace=400",
        "--approval-timeout=500ms",
    ];
    let (first, mut second, mut ledger) = hand_over(&mut fleet, &options);
    first.process.kill();
    let killed = Instant::now();
    // What the dead one did last is no sign of the other's life.
    ledger.end_life();
    ledger.begin_life();
    // A task's own time is not the takeover's.
    let pace = Duration::from_millis(400);
    ledger
        .wait_for_effect(&mut second.process, PATIENCE)
        .unwrap();
    let took = killed.elapsed().saturating_sub(pace);
    println!("kill to the first effect {took:?}, without the task's own {pace:?}; lease {lease:?}");
    assert!(took < lease + Duration::from_secs(3), "{took:?}");
    finish_all(&mut fleet, second, &mut ledger);
}

fn runs_of_a_worker_that_is_shut_down_go_on_at_once(mut fleet: Fleet) {
    let options = [
        "--lease=1h",
        "--slots=64",
        "--pace=400",
        "--approval-timeout=500ms",
    ];
    let (first, mut second, mut ledger) = hand_over(&mut fleet, &options);
    let told = Instant::now();
    assert!(first.process.terminate().success());
    let drained = told.elapsed();
    ledger.end_life();
    ledger.begin_life();
    let took = ledger
        .wait_for_effect(&mut second.process, PATIENCE)
        .unwrap();
    println!("drained in {drained:?}, the next effect {took:?} later; lease 1 h");
    assert!(took < Duration::from_secs(5), "{took:?}");
    finish_all(&mut fleet, second, &mut ledger);
    assert!(
        ledger.by_key().values().all(|lines| lines.len() == 1),
        "something was repeated"
    );
}

/// Lets a first worker own 30 orders, and a second one wait beside it.
fn hand_over(fleet: &mut Fleet, options: &[&str]) -> (Member, Member, Ledger) {
    let options: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
    let shop = fleet.open(Shop::new(30));
    let mut ledger = Ledger::new(shop.effects());
    ledger.begin_life();
    let mut first = fleet.worker(&options);
    fleet.until("the first worker has joined", || fleet.joined(&first));
    fleet.start(0..30);
    fleet.until("the first worker owns all", || fleet.owned(&first) == 30);
    let second = fleet.worker(&options);
    fleet.until("the second worker has joined", || fleet.joined(&second));
    ledger
        .wait_for_effect(&mut first.process, PATIENCE)
        .unwrap();
    (first, second, ledger)
}

fn finish_all(fleet: &mut Fleet, last: Member, ledger: &mut Ledger) {
    fleet.until("all is done", || fleet.completed() == 30);
    assert!(last.process.terminate().success());
    ledger.read();
    let shop = fleet.shop();
    let output = shop.finish(&[]);
    check_outcomes(&shop, ledger, &output);
}
