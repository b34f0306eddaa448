//! What a workflow's context gives: the same at each replay.

use std::time::Duration;

use longhaul_core::Result;
use longhaul_core::context::{Context, Signal, TaskContext};
use longhaul_macros::{task, workflow};

use crate::{client, outcome, worker};

const WORD: Signal<String> = Signal::new("word");

#[task(crate = "longhaul_core")]
async fn echo(number: u32) -> u32 {
    number
}

#[task(crate = "longhaul_core")]
async fn dawdle(context: TaskContext, seconds: u64) -> u32 {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    context.attempt()
}

type Drawn = (u64, String, Vec<u32>, u64, i64);

/// Draws everything before and after each of several awaits.
#[workflow(crate = "longhaul_core")]
async fn draws(ctx: Context) -> Result<Vec<Drawn>> {
    let mut drawn = Vec::new();
    for number in 0..3 {
        let mut items: Vec<u32> = (0..20).collect();
        ctx.shuffle(&mut items);
        drawn.push((
            ctx.random::<u64>(),
            ctx.uuid().to_string(),
            items,
            ctx.rng().below(1_000),
            ctx.now().as_micros(),
        ));
        ctx.run(echo(number)).await?;
        ctx.sleep(Duration::from_secs(5)).await?;
    }
    Ok(drawn)
}

#[tokio::test(start_paused = true)]
async fn everything_drawn_is_new_each_time_and_the_same_at_each_replay() {
    let client = client();
    let _worker = worker(&client).always_park().start().await.unwrap();
    let run = client.start(draws()).await.unwrap();
    let drawn = run.result().await.unwrap();
    let history = run.history().await.unwrap();
    let events: Vec<_> = history.into_iter().map(|entry| entry.event).collect();
    client
        .check_replay(draws().registration(), &events)
        .unwrap();
    for (one, next) in drawn.iter().zip(&drawn[1..]) {
        assert!(one.0 != next.0 && one.1 != next.1 && one.2 != next.2);
        assert!(next.4 - one.4 >= 5_000_000, "time went on");
    }
    let again = client.start(draws()).await.unwrap().result().await.unwrap();
    assert_ne!(drawn[0].1, again[0].1, "another run draws other values");
}

#[workflow(crate = "longhaul_core")]
async fn joins(ctx: Context) -> Result<Vec<u32>> {
    let slow_first = [3, 2, 1].map(|seconds| ctx.run(dawdle(seconds)));
    let attempts = longhaul_core::context::join_all(slow_first).await;
    let mut all: Vec<u32> = attempts.into_iter().collect::<Result<_>>()?;
    all.extend(ctx.join_all((10..13).map(echo)).await?);
    Ok(all)
}

#[tokio::test(start_paused = true)]
async fn joined_results_come_in_the_order_of_the_calls() {
    assert_eq!(outcome(joins()).await.unwrap(), [1, 1, 1, 10, 11, 12]);
}

#[workflow(crate = "longhaul_core")]
async fn chooses(ctx: Context) -> Result<Vec<String>> {
    let mut chosen = Vec::new();
    for (left, right) in [(1, 9), (9, 1)] {
        chosen.push(longhaul_core::select! {
            _ = ctx.run(dawdle(left)) => "left".to_owned(),
            _ = ctx.sleep(Duration::from_secs(right)) => "right".to_owned(),
        });
    }
    Ok(chosen)
}

#[tokio::test(start_paused = true)]
async fn select_takes_the_first_and_cancels_the_other() {
    let (chosen, run) = crate::outcome_and_run(chooses()).await;
    assert_eq!(chosen.unwrap(), ["left", "right"]);
    let history = run.history().await.unwrap();
    let cancelled = history.iter().filter(|entry| {
        let kind = &entry.event.kind;
        matches!(
            kind,
            longhaul_core::history::EventKind::OperationCancelled { .. }
        )
    });
    assert_eq!(cancelled.count(), 2);
}

#[workflow(crate = "longhaul_core")]
async fn listens(ctx: Context) -> Result<Vec<Option<String>>> {
    let mut heard = Vec::new();
    for _ in 0..3 {
        let limit = Duration::from_secs(3_600);
        heard.push(ctx.receive(WORD).within(limit).await?);
    }
    Ok(heard)
}

#[tokio::test(start_paused = true)]
async fn signals_come_in_order_and_a_wait_gives_up_in_time() {
    let client = client();
    let run = client.start(listens()).await.unwrap();
    for word in ["one", "two"] {
        run.signal(WORD, word).await.unwrap();
    }
    let _worker = worker(&client).start().await.unwrap();
    let heard = run.result().await.unwrap();
    assert_eq!(
        heard,
        [Some("one".to_owned()), Some("two".to_owned()), None]
    );
}

#[workflow(crate = "longhaul_core")]
async fn tells_replays(ctx: Context) -> Result<(bool, bool)> {
    let at_first = ctx.record("first", || true)?;
    ctx.sleep(Duration::from_secs(60)).await?;
    Ok((at_first, ctx.is_replaying()))
}

#[tokio::test(start_paused = true)]
async fn recorded_value_is_the_first_one_and_new_code_is_not_replaying() {
    assert_eq!(outcome(tells_replays()).await.unwrap(), (true, false));
}

#[workflow(crate = "longhaul_core")]
async fn bounds(ctx: Context) -> Result<String> {
    let slow = ctx.timeout(Duration::from_secs(1), ctx.run(dawdle(60)));
    let error = slow.await.unwrap_err();
    Ok(format!("{:?}", error.kind()))
}

#[tokio::test(start_paused = true)]
async fn timeout_gives_up_what_takes_longer() {
    assert_eq!(outcome(bounds()).await.unwrap(), "TimedOut");
}
