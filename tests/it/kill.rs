//! The main job under `kill -9`: nothing acknowledged is lost, and little is done twice.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ORDERS: usize = 100;
const KILLS: usize = 25;
const LANDED_MIN: usize = 20;
const SLOTS: usize = 4;
const PACE_MS: &str = "15";

/// Is how long before a kill an effect must be in the log for its outcome to be recorded surely.
const WELL_BEFORE: Duration = Duration::from_millis(500);

/// Is how long anything may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the example as processes of its own.
struct Checkout {
    program: PathBuf,
    data: PathBuf,
    orders: PathBuf,
}

impl Checkout {
    fn new(folder: &Path, orders: &str) -> Self {
        let file = folder.join("orders.jsonl");
        std::fs::write(&file, orders).unwrap();
        Self {
            program: program(),
            data: folder.join("data"),
            orders: file,
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--data")
            .arg(&self.data)
            .args(arguments)
            .env_remove("LONGHAUL_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.arg("--orders").arg(&self.orders).spawn().unwrap()
    }

    /// Runs a command to its end; returns its output and whether it succeeded.
    fn run(&self, arguments: &[&str]) -> (String, bool) {
        let output = self.command(arguments).output().unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (text.into_owned(), output.status.success())
    }

    fn effects(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.data.join("effects.log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

/// Builds the example once and says where it is: beside the folder of this test's own program.
fn program() -> PathBuf {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let status = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--package",
                "longhaul",
                "--example",
                "checkout",
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "the example does not build");
        let this = std::env::current_exe().unwrap();
        this.ancestors().nth(2).unwrap().join("examples/checkout")
    });
    built.clone()
}

fn output_of(mut child: Child) -> String {
    let mut text = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    text
}

fn orders(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        let price = if number % 10 == 3 { 60_000 } else { 1_500 };
        writeln!(
            text,
            r#"{{"id":"o-{number:03}","customer":"c{number}@example.com","items":[{{"sku":"lamp","quantity":2,"price_cents":{price}}},{{"sku":"desk","quantity":1,"price_cents":900}}]}}"#
        )
        .unwrap();
    }
    text
}

fn wait_until(mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "nothing happens any more");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Draws numbers that are the same at each run of the test.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Counts orders that have sent their mail or released all they had.
fn ended(effects: &[String]) -> usize {
    let is_last = |line: &&String| line.contains(" mail ") || line.contains(" release desk ");
    let orders = effects
        .iter()
        .filter(is_last)
        .map(|line| line.split(' ').next().unwrap());
    orders.collect::<std::collections::BTreeSet<_>>().len()
}

/// P1, P2, P6 on a real process.
#[test]
fn twenty_five_kills_lose_nothing_and_repeat_only_what_was_in_flight() {
    let folder = tempfile::tempdir().unwrap();
    let checkout = Checkout::new(folder.path(), &orders(ORDERS));
    let slots = SLOTS.to_string();
    let arguments = [
        "--slots",
        &slots,
        "--pace",
        PACE_MS,
        "--approval-timeout",
        "200ms",
    ];
    let mut draw = Draw(7);
    let mut kills: Vec<(usize, usize)> = Vec::new();
    let mut landed = 0;
    let mut first_effects = Vec::new();
    for kill in 1..=KILLS {
        let before = checkout.effects().len();
        let since = Instant::now();
        let mut child = checkout.start(&arguments);
        wait_until(|| checkout.effects().len() > before || child.try_wait().unwrap().is_some());
        first_effects.push(since.elapsed());
        std::thread::sleep(Duration::from_millis(draw.below(120)));
        let is_running = child.try_wait().unwrap().is_none();
        let surely_recorded = checkout.effects().len();
        child.kill().unwrap();
        child.wait().unwrap();
        let effects = checkout.effects();
        let open = ORDERS - ended(&effects);
        if is_running && open > 0 && effects.len() > before {
            landed += 1;
        }
        kills.push((before, surely_recorded));
        println!(
            "kill {kill}: {open} of {ORDERS} orders open, {} new effects, last: {}",
            effects.len() - before,
            effects.last().unwrap()
        );
    }
    let text = output_of(checkout.start(&arguments));
    assert_eq!(
        text.lines().last().unwrap(),
        format!("{ORDERS} orders: {ORDERS} completed, 0 failed")
    );
    first_effects.sort();
    println!(
        "{landed} kills landed; from process start to its first effect: median {:?}, most {:?}",
        first_effects[KILLS / 2],
        first_effects[KILLS - 1]
    );
    assert!(
        landed >= LANDED_MIN,
        "only {landed} kills landed while a run was open"
    );
    check_ledger(&checkout.effects(), &kills);
}

fn check_ledger(effects: &[String], kills: &[(usize, usize)]) {
    let mut lines: BTreeMap<(&str, &str, &str), Vec<usize>> = BTreeMap::new();
    for (at, line) in effects.iter().enumerate() {
        let [order, task, detail, _attempt] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("a damaged line: {line}");
        };
        lines.entry((order, task, detail)).or_default().push(at);
    }
    let repeated: usize = lines.values().map(|at| at.len() - 1).sum();
    println!(
        "{} effects, {repeated} of them repeats, {} kills",
        effects.len(),
        kills.len()
    );
    assert!(repeated <= kills.len() * SLOTS, "{repeated} repeats");
    for number in 0..ORDERS {
        let order = format!("o-{number:03}");
        let has = |task: &str, detail: &str| lines.contains_key(&(order.as_str(), task, detail));
        assert!(
            has("reserve", "lamp") && has("reserve", "desk") && has("charge", "-"),
            "{order}"
        );
        if number % 10 == 3 {
            assert!(
                has("refund", "-") && has("release", "lamp") && has("release", "desk"),
                "{order}"
            );
            assert!(
                !has("ship", "-") && !has("mail", "-"),
                "{order} was shipped unapproved"
            );
        } else {
            assert!(has("ship", "-") && has("mail", "-"), "{order}");
            assert!(!has("refund", "-") && !has("release", "lamp"), "{order}");
        }
    }
    for (effect, at) in &lines {
        for pair in at.windows(2) {
            check_repeat(effect, pair[0], pair[1], kills);
        }
    }
}

/// A repeat is allowed only across a kill that the first line was written shortly before.
fn check_repeat(effect: &(&str, &str, &str), first: usize, again: usize, kills: &[(usize, usize)]) {
    // At this pace the slots write this many lines in the time that surely suffices to record an outcome.
    let lines_well_before = SLOTS * usize::try_from(WELL_BEFORE.as_millis()).unwrap() / 15;
    let is_in_flight = kills.iter().any(|(_, at_kill)| {
        first < at_kill + SLOTS && first + lines_well_before >= *at_kill && again >= *at_kill
    });
    assert!(
        is_in_flight,
        "{effect:?} was done at line {first} and again at line {again}"
    );
}

#[test]
fn approval_from_a_second_process_ships_a_large_order() {
    let folder = tempfile::tempdir().unwrap();
    let large = r#"{"id":"large","customer":"ada@example.com","items":[{"sku":"sofa","quantity":1,"price_cents":250000}]}"#;
    let checkout = Checkout::new(folder.path(), large);
    let child = checkout.start(&["--approval-timeout", "60s"]);
    wait_until(|| {
        checkout
            .effects()
            .iter()
            .any(|line| line.contains(" charge "))
    });
    wait_until(|| checkout.run(&["status"]).0.contains("approving"));
    let (text, is_done) = checkout.run(&["approve", "large"]);
    assert!(is_done && text.contains("large approved"), "{text}");
    let text = output_of(child);
    assert!(text.contains("large shipped"), "{text}");
    let (text, is_done) = checkout.run(&["approve", "large"]);
    assert!(!is_done && text.contains("Completed"), "{text}");
    let (text, is_done) = checkout.run(&["approve", "nobody"]);
    assert!(!is_done && text.contains("nobody"), "{text}");
}

#[test]
fn worker_of_its_own_goes_on_with_what_a_killed_process_left() {
    let folder = tempfile::tempdir().unwrap();
    let checkout = Checkout::new(folder.path(), &orders(8));
    let mut first = checkout.start(&["--pace", "100", "--slots", "2"]);
    wait_until(|| checkout.effects().len() > 2);
    let mut worker = checkout.command(&["worker"]).spawn().unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    wait_until(|| ended(&checkout.effects()) == 8);
    worker.kill().unwrap();
    worker.wait().unwrap();
}

#[test]
fn broken_orders_file_names_line_and_field_and_starts_nothing() {
    let good = r#"{"id":"a","customer":"c","items":[{"sku":"x","quantity":1,"price_cents":5}]}"#;
    for (line, why) in [
        ("{", "line 2: it is not JSON"),
        (
            r#"{"id":"b","customer":"c"}"#,
            "line 2: field `items` is missing",
        ),
        (
            r#"{"id":"b","customer":"c","items":[]}"#,
            "field `items`: it is empty",
        ),
        (
            r#"{"id":"b","customer":7,"items":[]}"#,
            "field `items`: it is empty",
        ),
        (
            r#"{"id":"b","customer":"c","item":[]}"#,
            "field `item` is not known",
        ),
        (
            r#"{"id":"b","customer":"c","items":[{"sku":"x","quantity":0,"price_cents":5}]}"#,
            "field `items[0].quantity`: it is 0",
        ),
        (
            r#"{"id":"b","customer":"c","items":[{"sku":"x","quantity":1,"price_cents":-5}]}"#,
            "field `items[0].price_cents`",
        ),
        (good, "line 2: field `id`: `a` was used before"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let checkout = Checkout::new(folder.path(), &format!("{good}\n{line}\n"));
        let orders = checkout.orders.display().to_string();
        let (text, is_done) = checkout.run(&["--orders", &orders]);
        assert!(!is_done && text.contains(why), "{line}: {text}");
        assert!(!checkout.data.exists(), "{line} started something");
    }
}
