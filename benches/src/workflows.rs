//! The workflows that are measured: as little of their own as there can be.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use longhaul::prelude::*;

use crate::count::peak_bytes;

/// Wakes the workflows that wait for it.
pub(crate) const GO: Signal<u32> = Signal::new("go");

/// Counts the workflows of this process that came to their third task.
pub(crate) static AT_THE_THIRD: AtomicU64 = AtomicU64::new(0);

/// Says whether third tasks hang, as those of a worker do that is about to die.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hangs(pub(crate) bool);

#[task]
pub(crate) async fn trivial(step: u32) -> u32 {
    step
}

/// Runs tasks one after another.
#[workflow]
pub(crate) async fn sequence(ctx: Context, count: u32) -> Result<u32> {
    let mut sum = 0;
    for step in 0..count {
        sum += ctx.run(trivial(step)).await? & 1;
    }
    Ok(sum)
}

/// Runs tasks side by side.
#[workflow]
pub(crate) async fn fan_out(ctx: Context, count: u32) -> Result<u32> {
    let results = ctx.join_all((0..count).map(trivial)).await?;
    Ok(results.iter().map(|step| step & 1).sum())
}

/// Is how far the one run of this process was, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    pub(crate) at: Instant,
    pub(crate) peak_bytes: f64,
}

static MARKS: Mutex<Vec<Mark>> = Mutex::new(Vec::new());

/// Counts the results that the one run of this process came to.
static RESULTS: AtomicU32 = AtomicU32::new(0);

/// Returns a mark for each tenth of the results.
pub(crate) fn marks() -> Vec<Mark> {
    let marks = MARKS.lock().unwrap_or_else(PoisonError::into_inner);
    marks.clone()
}

/// Counts a result, and makes a mark when another tenth of all is there.
fn count_result(all: u32) {
    let count = RESULTS.fetch_add(1, Ordering::SeqCst) + 1;
    if count.is_multiple_of(all / 10) {
        let mark = Mark {
            at: Instant::now(),
            peak_bytes: peak_bytes().unwrap_or_default(),
        };
        let mut marks = MARKS.lock().unwrap_or_else(PoisonError::into_inner);
        marks.push(mark);
    }
}

/// Runs tasks one after another, and marks how far it is.
#[workflow]
pub(crate) async fn long(ctx: Context, count: u32) -> Result<u32> {
    let mut sum = 0;
    for step in 0..count {
        sum += ctx.run(trivial(step)).await? & 1;
        count_result(count);
    }
    Ok(sum)
}

/// Runs tasks side by side, and marks how far it is.
#[workflow]
pub(crate) async fn wide(ctx: Context, count: u32) -> Result<u32> {
    let tasks = (0..count).map(|step| {
        let task = ctx.run(trivial(step));
        async move {
            let result = task.await;
            count_result(count);
            result
        }
    });
    let results = futures::future::try_join_all(tasks).await?;
    Ok(results.iter().map(|step| step & 1).sum())
}

/// Waits for a signal.
#[workflow]
pub(crate) async fn waiting(ctx: Context) -> Result<u32> {
    ctx.receive(GO).await
}

/// Runs tasks, and waits for a signal then.
#[workflow]
pub(crate) async fn long_and_waiting(ctx: Context, count: u32) -> Result<u32> {
    for step in 0..count {
        ctx.run(trivial(step)).await?;
    }
    ctx.receive(GO).await
}

#[task]
async fn third(hangs: Dep<Hangs>) -> u32 {
    AT_THE_THIRD.fetch_add(1, Ordering::SeqCst);
    if hangs.0 {
        std::future::pending::<()>().await;
    }
    3
}

/// Runs five tasks, the third of which hangs in a worker that is about to die.
#[workflow]
pub(crate) async fn five(ctx: Context) -> Result<u32> {
    let mut sum = ctx.run(trivial(1)).await? + ctx.run(trivial(2)).await?;
    sum += ctx.run(third()).await?;
    sum += ctx.run(trivial(4)).await? + ctx.run(trivial(5)).await?;
    Ok(sum)
}

/// Returns this machine's time in microseconds since 1970.
pub(crate) fn machine_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    })
}

/// Sleeps until a time in microseconds, and returns when it woke by this machine's clock.
#[workflow]
pub(crate) async fn sleeper(ctx: Context, due: i64) -> Result<i64> {
    ctx.sleep_until(Timestamp::from_micros(due)).await?;
    ctx.step("wake", async { Ok(machine_micros()) }).await
}

/// Waits for a task in a queue that nobody serves: workers serve the queues that their tasks name, and none names this.
#[workflow]
pub(crate) async fn stuck_for_good(ctx: Context) -> Result<u32> {
    ctx.run(trivial(0).queue("nobody")).await
}
