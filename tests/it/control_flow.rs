//! Branches, races, timers, signals and timeouts.

use std::time::Duration;

use longhaul::prelude::*;

use crate::world::{World, reaches, result, until};

on_every_backend!(
    signal_sent_before_the_wait_is_kept,
    signals_of_a_name_come_in_order,
    receive_within_gives_up_in_time,
    signal_to_an_unknown_run_is_refused,
    signal_to_a_finished_run_is_refused,
    signal_wakes_a_parked_run,
    sleep_wakes_a_parked_run,
    race_drops_the_loser_and_records_that,
    timeout_ends_a_slow_task,
    join_five_thousand,
    signal_that_races_with_the_end_is_never_lost,
    cancelled_branch_leaves_no_wake_up,
    sleep_until_the_past_is_due_at_once,
);

const WORD: Signal<String> = Signal::new("word");
const STOP: Signal<()> = Signal::new("stop");

#[workflow]
async fn collect(ctx: Context, words: usize) -> Result<Vec<String>> {
    let mut collected = Vec::new();
    for _ in 0..words {
        collected.push(ctx.receive(WORD).await?);
    }
    Ok(collected)
}

async fn signal_sent_before_the_wait_is_kept(world: World) {
    let client = world.client().await;
    let run = client.start(collect(1)).await.unwrap();
    run.signal(WORD, "early").await.unwrap();
    let (_other, _worker) = world.worker().await;
    assert_eq!(result(&run).await.unwrap(), ["early"]);
}

async fn signals_of_a_name_come_in_order(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(collect(50)).await.unwrap();
    let sent: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    for word in &sent {
        run.signal(WORD, word.clone()).await.unwrap();
    }
    assert_eq!(result(&run).await.unwrap(), sent);
}

#[workflow]
async fn impatient(ctx: Context) -> Result<Option<String>> {
    ctx.receive(WORD).within(millis(30)).await
}

async fn receive_within_gives_up_in_time(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(impatient()).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), None);
}

async fn signal_to_an_unknown_run_is_refused(world: World) {
    let client = world.client().await;
    let run = client.handle::<()>("nobody").unwrap();
    let error = run.signal(WORD, "hello").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("nobody"));
}

async fn signal_to_a_finished_run_is_refused(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(collect(0).id("done")).await.unwrap();
    result(&run).await.unwrap();
    let error = run.signal(WORD, "late").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Finished);
}

async fn signal_wakes_a_parked_run(world: World) {
    let (client, worker) = world.worker().await;
    let run = client.start(collect(1)).await.unwrap();
    reaches(&run, Status::Waiting).await;
    until(|| worker.live_runs() == 0).await;
    run.signal(WORD, "wake").await.unwrap();
    assert_eq!(result(&run).await.unwrap(), ["wake"]);
}

#[workflow]
async fn naps(ctx: Context) -> Result<u32> {
    let before = ctx.now();
    ctx.sleep(millis(300)).await?;
    Ok(u32::try_from(ctx.now().since(before).as_millis()).unwrap_or(u32::MAX))
}

async fn sleep_wakes_a_parked_run(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(naps()).await.unwrap();
    reaches(&run, Status::Waiting).await;
    let slept = result(&run).await.unwrap();
    assert!(slept >= 300, "{slept}");
}

#[task]
async fn slow() -> Result<u32> {
    tokio::time::sleep(Duration::from_secs(60)).await;
    Ok(1)
}

#[workflow]
async fn race(ctx: Context) -> Result<String> {
    Ok(select! {
        value = ctx.run(slow()) => format!("slow {}", value?),
        stop = ctx.receive(STOP) => { stop?; "stopped".to_owned() },
    })
}

async fn race_drops_the_loser_and_records_that(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(race()).await.unwrap();
    run.signal(STOP, ()).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), "stopped");
    let history = format!("{:?}", run.history().await.unwrap());
    assert!(
        history.contains("OperationCancelled { operation: task:slow#1 }"),
        "{history}"
    );
}

#[workflow]
async fn bounded(ctx: Context) -> Result<String> {
    match ctx.timeout(millis(20), ctx.run(slow())).await {
        Ok(_) => Ok("in time".to_owned()),
        Err(error) => Ok(format!("{:?}", error.kind())),
    }
}

async fn timeout_ends_a_slow_task(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(bounded()).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), "TimedOut");
}

#[task]
async fn one() -> u32 {
    1
}

#[workflow]
async fn wide(ctx: Context) -> Result<u32> {
    let ours = join_all((0..2_500).map(|_| ctx.run(one()))).await;
    let theirs = futures::future::join_all((0..2_500).map(|_| ctx.run(one()))).await;
    ours.into_iter().chain(theirs).sum()
}

async fn join_five_thousand(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(wide()).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 5_000);
}

#[workflow]
async fn drains(ctx: Context) -> Result<u32> {
    let mut count = 0;
    while ctx.receive(WORD).within(millis(1)).await?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// P7: every signal that was accepted is in history before the end.
async fn signal_that_races_with_the_end_is_never_lost(world: World) {
    let (client, _worker) = world.worker().await;
    for round in 0..20 {
        let run = client
            .start(drains().id(format!("race-{round}")))
            .await
            .unwrap();
        let mut accepted = 0;
        // Who sends faster than a millisecond keeps the run going: not past what one history holds.
        while accepted < 5_000 && run.signal(WORD, "again").await.is_ok() {
            accepted += 1;
        }
        result(&run).await.unwrap();
        let received = run
            .history()
            .await
            .unwrap()
            .iter()
            .filter(|entry| {
                matches!(
                    entry.event.kind,
                    longhaul::history::EventKind::SignalReceived { .. }
                )
            })
            .count();
        assert_eq!(received, accepted);
    }
}

#[workflow]
async fn forgets_a_timer(ctx: Context) -> Result<()> {
    select! {
        value = ctx.run(one()) => drop(value?),
        slept = ctx.sleep(days(30)) => slept?,
    }
    ctx.receive(STOP).await
}

async fn cancelled_branch_leaves_no_wake_up(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(forgets_a_timer()).await.unwrap();
    reaches(&run, Status::Waiting).await;
    assert_eq!(run.info().await.unwrap().wake_at, None);
    run.signal(STOP, ()).await.unwrap();
    result(&run).await.unwrap();
}

#[workflow]
async fn oversleeps(ctx: Context) -> Result<()> {
    ctx.sleep_until(Timestamp::from_micros(1)).await
}

async fn sleep_until_the_past_is_due_at_once(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(oversleeps()).await.unwrap();
    result(&run).await.unwrap();
}
