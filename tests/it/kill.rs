//! The checkout example as processes that are killed: what a kill at any moment may and may not do.

pub(crate) mod ledger;
pub(crate) mod shop;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use self::ledger::{Ledger, Life};
use self::shop::Shop;

/// Is where the pseudo-random waits come from.
const SEED: u64 = 0x1bad_5eed;
const KILLS: usize = 25;
const KILLS_MIN: usize = 20;
const ORDERS: usize = 100;
const SLOTS: usize = 6;
const PACE: u64 = 100;

/// Is the age from which an effect's line counts as recorded when its process is killed, which is alone.
const RECORDED_AFTER: Duration = Duration::from_millis(500);

/// Is how long a process may go without a new effect.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Draws waits.
///
/// Source: Marsaglia, "Xorshift RNGs", 2003.
pub(crate) struct Waits(pub(crate) u64);

impl Waits {
    pub(crate) fn draw(&mut self, below_ms: u64) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_millis(self.0 % below_ms)
    }
}

#[test]
fn orders_survive_kills_at_any_moment() {
    let shop = Shop::new(ORDERS);
    let mut ledger = Ledger::new(shop.effects());
    let mut waits = Waits(SEED);
    let mut to_first_effect = Vec::new();
    let mut kills = 0;
    println!("seed {SEED:#x}, {ORDERS} orders, {SLOTS} slots, {PACE} ms per task");
    while kills < KILLS {
        // Other options at each start are no reason not to go on.
        let limit = format!("{}ms", 1_000 + kills);
        let mut child = shop.run(&[
            &format!("--slots={SLOTS}"),
            &format!("--pace={PACE}"),
            &format!("--approval-timeout={limit}"),
        ]);
        let life = ledger.begin_life();
        let Some(first) = ledger.wait_for_effect(&mut child, PATIENCE) else {
            break;
        };
        to_first_effect.push(first);
        // Each third kill lands while the effect that was just seen is being recorded.
        ledger.watch(waits.draw(if kills % 3 == 2 { 3 } else { 350 }));
        child.kill();
        ledger.end_life();
        kills += 1;
        let (done, new) = (ledger.done(), ledger.lines_in(life));
        println!(
            "kill {kills}: {done} of {ORDERS} done, {} new effects, last: {}; first after {first:?}",
            new.len(),
            new.last().unwrap().key,
        );
        assert!(done < ORDERS, "no run was open at kill {kills}");
    }
    assert!(kills >= KILLS_MIN, "only {kills} kills landed");

    let begun = Instant::now();
    ledger.begin_life();
    let output = shop.finish(&[&format!("--slots={SLOTS}"), "--pace=10"]);
    ledger.read();
    println!("finished in {:?}", begun.elapsed());
    print_percentiles(&mut to_first_effect);
    check_ledger(&ledger, SLOTS, RECORDED_AFTER);
    check_outcomes(&shop, &ledger, &output);
}

fn print_percentiles(times: &mut [Duration]) {
    times.sort();
    let at = |share: usize| times[(times.len() * share).div_ceil(100) - 1];
    let pace = Duration::from_millis(PACE);
    println!(
        "start to first new effect: p50 {:?}, p99 {:?}; without the task's own {PACE} ms: p50 {:?}, p99 {:?}",
        at(50),
        at(99),
        at(50).saturating_sub(pace),
        at(99).saturating_sub(pace),
    );
}

/// Checks that only what was in flight at a kill was done again: nothing that was `recorded_after` old.
pub(crate) fn check_ledger(ledger: &Ledger, slots: usize, recorded_after: Duration) {
    let lives = ledger.lives();
    let mut repeated_of_life = BTreeMap::<usize, usize>::new();
    let mut repeated = 0;
    for (key, lines) in ledger.by_key() {
        let first = lines[0];
        assert!(lines.len() <= 1 + lives.len() - 1 - first.life, "{key}");
        for pair in lines.windows(2) {
            let (line, again) = (pair[0], pair[1]);
            assert!(line.life < again.life, "{key} was done twice in one life");
            assert!(line.attempt < again.attempt, "{key}: attempts went back");
            let Life {
                ended: Some(killed),
            } = lives[line.life]
            else {
                panic!("{key} was done again after a life that was not killed");
            };
            let age = killed.duration_since(line.seen);
            assert!(
                age < recorded_after,
                "{key} was written {age:?} before kill {} and done again",
                line.life + 1
            );
            *repeated_of_life.entry(line.life).or_default() += 1;
            repeated += 1;
        }
    }
    let most = repeated_of_life.values().max().copied().unwrap_or(0);
    println!("{repeated} effects were repeated, at most {most} of one kill");
    assert!(most <= slots, "more was repeated than was in flight");
}

/// Checks that every order has one outcome, and the effects that belong to it.
pub(crate) fn check_outcomes(shop: &Shop, ledger: &Ledger, output: &str) {
    let count = shop.orders().len();
    assert_eq!(
        output.lines().last().unwrap(),
        format!("{count} orders: {count} completed, 0 failed")
    );
    let mut keys: Vec<String> = ledger.by_key().into_keys().collect();
    for order in shop.orders() {
        let outcome = output
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{} ", order.id)));
        let is_shipped = match outcome {
            Some("shipped") => true,
            Some("refunded") => false,
            other => panic!("{} ended as {other:?}", order.id),
        };
        assert_eq!(is_shipped, !order.is_big, "{}", order.id);
        for expected in order.effects(is_shipped) {
            let found = keys.iter().position(|key| *key == expected);
            keys.swap_remove(found.unwrap_or_else(|| panic!("{expected} is missing")));
        }
    }
    assert!(keys.is_empty(), "too much was done: {keys:?}");
}

#[test]
fn second_worker_goes_on_when_the_first_is_killed() {
    let shop = Shop::new(30);
    let mut ledger = Ledger::new(shop.effects());
    let options = ["--slots=4", "--pace=50", "--approval-timeout=500ms"];
    let mut first = shop.run(&options);
    let life = ledger.begin_life();
    ledger.wait_for_effect(&mut first, PATIENCE).unwrap();
    let mut second = shop.spawn("worker", &[&["worker"], &options[..]].concat());
    ledger.watch(Duration::from_millis(700));
    first.kill();
    ledger.end_life();
    assert!(ledger.done() < 30);
    let taken_over = Instant::now();
    ledger.begin_life();
    ledger.wait_for_effect(&mut second, PATIENCE).unwrap();
    println!("next effect after {:?}", taken_over.elapsed());
    assert!(!ledger.lines_in(life).is_empty());

    let deadline = Instant::now() + PATIENCE;
    while shop.status().matches("Completed").count() < 30 {
        assert!(Instant::now() < deadline, "{}", shop.status());
        ledger.watch(Duration::from_millis(50));
    }
    assert!(second.terminate().success());
    let output = shop.finish(&[]);
    ledger.read();
    check_outcomes(&shop, &ledger, &output);
    // Two processes with four slots each.
    check_ledger(&ledger, 8, RECORDED_AFTER);
}

#[test]
fn approval_from_a_second_process_ships_a_big_order() {
    let shop = Shop::new(10);
    let big: Vec<_> = shop.orders().iter().filter(|order| order.is_big).collect();
    let (approved, refused) = (&big[0].id, &big[1].id);
    let child = shop.run(&["--pace=5", "--approval-timeout=10m"]);
    let deadline = Instant::now() + PATIENCE;
    while shop.status().matches("approving").count() < big.len() {
        assert!(Instant::now() < deadline, "{}", shop.status());
        std::thread::sleep(Duration::from_millis(20));
    }
    let told = shop.command(&["approve", approved]).output().unwrap();
    assert!(told.status.success());
    assert_eq!(told.stdout, format!("{approved} approved\n").as_bytes());
    for order in &big[1..] {
        let told = shop.command(&["approve", "--refuse", &order.id]).output();
        assert!(told.unwrap().status.success());
    }
    let output = shop.output_of(child);
    assert!(output.contains(&format!("{approved} shipped")), "{output}");
    assert!(output.contains(&format!("{refused} refunded")), "{output}");

    let status = shop.status();
    assert!(status.lines().all(|line| line.chars().count() <= 80));
    let row = status.lines().find(|line| line.starts_with(approved));
    let words: Vec<_> = row.unwrap().split_whitespace().collect();
    assert_eq!(words, [approved, "Completed", "done", "shipped"]);

    let late = shop.command(&["approve", approved]).output().unwrap();
    assert_eq!(late.status.code(), Some(1));
    let unknown = shop.command(&["approve", "order-9"]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&unknown.stderr),
        "error: there is no run `order-9` in this store\n"
    );
}

const GOOD: &str =
    r#"{"id":"order-1","customer":"a@b.c","items":[{"sku":"lamp","quantity":1,"price_cents":5}]}"#;

#[test]
fn broken_orders_are_named_and_start_nothing() {
    let item = |item: &str| format!(r#"{{"id":"order-2","customer":"a@b.c","items":[{item}]}}"#);
    let lamp = r#"{"sku":"lamp","quantity":1,"price_cents":5}"#;
    let cases: [(String, &str); 16] = [
        ("{".into(), "it is not JSON from column 1"),
        ("[]".into(), "it is not an object"),
        (GOOD.into(), "field `id`: `order-1` was used before"),
        (GOOD.replace("order-1", "order/1"), "field `id`"),
        (GOOD.replace("order-1", ""), "field `id`: it is empty"),
        (
            GOOD.replace("\"order-1\"", "7"),
            "field `id`: it is not a text",
        ),
        (
            GOOD.replace("\"customer\":\"a@b.c\",", ""),
            "field `customer` is missing",
        ),
        (
            GOOD.replace("customer", "costumer"),
            "field `costumer` is not known",
        ),
        (item(""), "field `items`: it is empty"),
        (item("7"), "field `items[0]`: it is not an object"),
        (
            item(r#"{"sku":"lamp","quantity":0,"price_cents":5}"#),
            "field `items[0].quantity`",
        ),
        (
            item(r#"{"sku":"lamp","quantity":1.5,"price_cents":5}"#),
            "field `items[0].quantity`",
        ),
        (
            item(r#"{"sku":"lamp","quantity":1,"price_cents":-5}"#),
            "field `items[0].price_cents`",
        ),
        (
            item(r#"{"sku":"lamp","quantity":1,"price_cents":5,"x":1}"#),
            "field `items[0].x` is not known",
        ),
        (
            item(&[lamp, lamp].join(",")),
            "field `items`: the same `sku` occurs twice",
        ),
        (
            item(lamp).replace("{\"id\"", "{\"gift\":true,\"id\""),
            "field `gift` is not known",
        ),
    ];
    for (line, expected) in cases {
        let shop = Shop::of(&format!("{GOOD}\n\n{line}\n"));
        let message = refusal(&shop, &[]);
        let place = format!("orders.jsonl: line 3: {expected}");
        assert!(message.contains(&place), "{message} is not {place}");
        assert!(!shop.data().exists(), "{message}");
    }
    assert!(refusal(&Shop::of("\n"), &[]).contains("there is no order in it"));
}

#[test]
fn wrong_options_are_told() {
    let shop = Shop::of(GOOD);
    for (options, code, expected) in [
        (&["status"][..], 1, "there are no records at"),
        (
            &["--orders", "missing.jsonl"],
            1,
            "orders file missing.jsonl cannot be read",
        ),
        (&["--url", "sqlit:x"], 1, "no backend is named `sqlit`"),
        (&["--lease", "5"], 2, "`5` is not a duration"),
        (
            &["--approval-timeout", "soon"],
            2,
            "`soon` is not a duration",
        ),
        (&["--slots", "0"], 1, "0 slots"),
        (&["--lease", "1ms"], 1, "at least 100ms"),
    ] {
        let output = shop.command(options).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

fn refusal(shop: &Shop, options: &[&str]) -> String {
    let mut child = shop.run(options);
    assert_eq!(child.wait().code(), Some(1));
    let message = shop.error_output();
    assert!(message.starts_with("error: "), "{message}");
    message
}
