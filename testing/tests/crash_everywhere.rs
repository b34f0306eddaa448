//! `crash_everywhere` judged: good code passes at every crash, and each kind of bad code is found out.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use longhaul_core::context::{Context, Data, Signal, TaskContext};
use longhaul_core::registry::Dep;
use longhaul_core::worker::WorkerBuilder;
use longhaul_core::{Error, Result};
use longhaul_macros::{task, workflow};
use longhaul_testing::crash_everywhere;

const APPROVED: Signal<bool> = Signal::new("approved");
const STAGE: Data<String> = Data::new("stage");
const MONTH: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Is a pretended outside world: what was done under which key, and how often each key was seen.
#[derive(Debug, Default, Clone)]
struct Shop(Arc<Mutex<BTreeMap<String, u32>>>);

impl Shop {
    fn new() -> Self {
        Self::default()
    }

    fn note(&self, key: &str) -> u32 {
        let mut seen = self.0.lock().unwrap();
        let times = seen.entry(key.to_owned()).or_default();
        *times += 1;
        *times
    }

    fn keys(&self) -> BTreeSet<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }

    fn times(&self) -> u32 {
        self.0.lock().unwrap().values().sum()
    }
}

/// Serves what stands here, whatever else is linked in.
fn set_up(builder: WorkerBuilder, shop: &Shop) -> WorkerBuilder {
    let names = [
        "charge",
        "ship",
        "invoice",
        "checkout",
        "fickle",
        "attempts",
        "telltale",
        "checkout_without_limit",
    ];
    builder.only(names).provide(shop.clone())
}

#[task(crate = "longhaul_core")]
async fn charge(context: TaskContext, order: u32, shop: Dep<Shop>) -> u32 {
    shop.note(&format!("charge {} {order}", context.idempotency_key()));
    order * 100
}

#[task(crate = "longhaul_core", retries = 3, backoff = "1s..1s")]
async fn ship(context: TaskContext, item: u32, shop: Dep<Shop>) -> Result<u32> {
    let times = shop.note(&format!("ship {}", context.idempotency_key()));
    if times < 2 {
        return Err(Error::failed("the carrier is busy"));
    }
    Ok(item)
}

#[workflow(crate = "longhaul_core")]
async fn invoice(ctx: Context, order: u32) -> Result<u32> {
    ctx.sleep(MONTH).await?;
    ctx.run(charge(order)).await
}

#[workflow(crate = "longhaul_core")]
async fn checkout(ctx: Context, order: u32) -> Result<(Vec<u32>, u32, String)> {
    ctx.set(STAGE, "begun");
    let is_approved = ctx.receive(APPROVED).within(MONTH).await?;
    if is_approved != Some(true) {
        return Err(longhaul_core::failure!("not approved"));
    }
    let shipped = ctx.join_all([1, 2, 3].map(ship)).await?;
    ctx.set(STAGE, "shipped");
    let paid = ctx.run(invoice(order)).await?;
    Ok((shipped, paid, ctx.uuid().to_string()))
}

#[test]
fn workflow_of_two_months_survives_a_crash_at_every_write() {
    let report = crash_everywhere(|| checkout(7))
        .state(Shop::new)
        .worker(set_up)
        .drive(|run, _| async move { run.signal(APPROVED, true).await })
        .effects(Shop::keys)
        .check();
    assert!(report.writes > 10, "{report:?}");
    assert_eq!(report.crashes, 2 * report.writes);
}

#[test]
fn workflow_that_is_replayed_at_every_await_ends_the_same() {
    let report = crash_everywhere(|| checkout(7))
        .state(Shop::new)
        .worker(set_up)
        .drive(|run, _| async move { run.signal(APPROVED, true).await })
        .effects(Shop::keys)
        .always_park()
        .check();
    assert!(report.crashes > 20, "{report:?}");
}

#[test]
fn workflow_that_fails_fails_the_same_way_at_every_crash() {
    let report = crash_everywhere(|| checkout(7))
        .state(Shop::new)
        .worker(set_up)
        .drive(|run, _| async move { run.signal(APPROVED, false).await })
        .check();
    assert!(report.crashes > 4, "{report:?}");
}

#[test]
fn effect_that_is_not_idempotent_is_found_out() {
    let found = crash_everywhere(|| checkout(7))
        .state(Shop::new)
        .worker(set_up)
        .drive(|run, _| async move { run.signal(APPROVED, true).await })
        .effects(Shop::times)
        .run();
    let what = found.unwrap_err();
    assert!(what.contains("the effects are"), "{what}");
}

/// Counts how often its own code ran, which no replay may depend on.
static RUNS: AtomicU32 = AtomicU32::new(0);

#[workflow(crate = "longhaul_core")]
async fn fickle(ctx: Context) -> Result<u32> {
    let runs = RUNS.fetch_add(1, Ordering::SeqCst);
    if runs == 0 {
        ctx.sleep(MONTH).await?;
    }
    ctx.run(charge(1)).await
}

#[test]
fn code_that_takes_another_path_at_replay_is_found_out_with_the_reason() {
    let found = crash_everywhere(fickle)
        .state(|| {
            RUNS.store(0, Ordering::SeqCst);
            Shop::new()
        })
        .worker(set_up)
        .run();
    let what = found.unwrap_err();
    assert!(what.contains("was blocked"), "{what}");
    assert!(what.contains("timer:sleep#1"), "{what}");
}

#[task(crate = "longhaul_core")]
async fn attempts(context: TaskContext, shop: Dep<Shop>) -> u32 {
    shop.note("attempt");
    context.attempt()
}

#[workflow(crate = "longhaul_core")]
async fn telltale(ctx: Context) -> Result<u32> {
    ctx.run(charge(1)).await?;
    ctx.run(attempts()).await
}

#[test]
fn result_that_depends_on_the_crash_is_found_out() {
    let found = crash_everywhere(telltale)
        .state(Shop::new)
        .worker(set_up)
        .run();
    let what = found.unwrap_err();
    assert!(what.contains("the outcome is Ok(Number(2))"), "{what}");
}

#[test]
fn workflow_that_waits_for_ever_is_found_out() {
    let found = crash_everywhere(|| checkout_without_limit(1))
        .state(Shop::new)
        .worker(set_up)
        .run();
    assert_eq!(found.unwrap_err(), "it did not end within 400 days");
}

#[workflow(crate = "longhaul_core")]
async fn checkout_without_limit(ctx: Context, _order: u32) -> Result<bool> {
    ctx.receive(APPROVED).await
}
