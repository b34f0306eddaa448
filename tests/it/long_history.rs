//! Histories that grow: their length, their limit, and what stays below it.

use std::io;
use std::sync::{Arc, Mutex};

use longhaul::history::EventKind;
use longhaul::options::Limits;
use longhaul::prelude::*;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::world::{World, quick, result, until};

on_every_backend!(
    length_of_a_history_counts_the_events_up_to_the_one_being_handled,
    length_of_a_history_is_the_same_in_each_replay,
    history_past_its_limit_fails_the_run_and_says_what_to_do,
    work_divided_among_subworkflows_stays_below_the_limit,
);

const EVENTS_MAX: u64 = 60;

#[task]
async fn measured(length: u64) -> Result<u64> {
    Ok(length)
}

#[workflow]
async fn measures(ctx: Context, times: usize) -> Result<Vec<u64>> {
    let mut lengths = vec![ctx.history_len()];
    for _ in 1..times {
        ctx.run(measured(ctx.history_len())).await?;
        lengths.push(ctx.history_len());
    }
    Ok(lengths)
}

async fn length_of_a_history_counts_the_events_up_to_the_one_being_handled(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(measures(4)).await.unwrap();
    let lengths = result(&run).await.unwrap();
    let told: Vec<u64> = (1_u64..)
        .zip(run.history().await.unwrap())
        .filter(|(_, entry)| {
            matches!(
                entry.event.kind,
                EventKind::RunStarted(_) | EventKind::TaskCompleted { .. }
            )
        })
        .map(|(number, _)| number)
        .collect();
    assert_eq!(lengths, told);
}

async fn length_of_a_history_is_the_same_in_each_replay(world: World) {
    let client = world.client().await;
    let _worker = quick(&client).always_park().start().await.unwrap();
    let run = client.start(measures(6)).await.unwrap();
    let lengths = result(&run).await.unwrap();
    let arguments: Vec<u64> = run
        .history()
        .await
        .unwrap()
        .iter()
        .filter_map(|entry| match &entry.event.kind {
            EventKind::TaskCompleted { result, .. } => result.decode().ok(),
            _ => None,
        })
        .collect();
    assert_eq!(lengths[..5], arguments);
}

async fn connect_with_limit(world: &World, events: u64) -> Client {
    let mut limits = Limits::default();
    limits.history_events_max = events;
    let builder = Client::builder().limits(limits);
    builder.connect(world.url()).await.unwrap()
}

async fn history_past_its_limit_fails_the_run_and_says_what_to_do(world: World) {
    let client = connect_with_limit(&world, EVENTS_MAX).await;
    let _worker = quick(&client).start().await.unwrap();
    let run = client.start(measures(1_000)).await.unwrap();
    let error = result(&run).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert!(
        error.message().contains("the limit is 60")
            && error.message().contains("ctx.history_len()"),
        "{error}"
    );
    let events = run.history().await.unwrap().len() as u64;
    assert!(events > EVENTS_MAX, "{events}");
}

#[workflow]
async fn divides(ctx: Context, mut left: u32) -> Result<u32> {
    while ctx.history_len() < EVENTS_MAX / 2 {
        if left == 0 {
            return Ok(0);
        }
        ctx.run(measured(u64::from(left))).await?;
        left -= 1;
    }
    ctx.run(divides(left)).await.map(|runs| runs + 1)
}

async fn work_divided_among_subworkflows_stays_below_the_limit(world: World) {
    let client = connect_with_limit(&world, EVENTS_MAX).await;
    let _worker = quick(&client).start().await.unwrap();
    let run = client.start(divides(60)).await.unwrap();
    assert!(result(&run).await.unwrap() >= 3);
}

/// Keeps what is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[workflow]
async fn sleeps_four_times(ctx: Context) -> Result<()> {
    let sleeps = (0..4).map(|_| ctx.sleep(days(30)));
    for slept in longhaul::context::join_all(sleeps).await {
        slept?;
    }
    Ok(())
}

// All of it happens on this thread, as what is logged elsewhere is not kept.
#[tokio::test]
async fn worker_warns_of_a_long_history_also_when_its_turn_parks_the_run() {
    let log = Log::default();
    let writer = log.clone();
    let _logging = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .set_default();
    let world = World::memory().await;
    let client = connect_with_limit(&world, 5).await;
    let _worker = quick(&client).start().await.unwrap();
    let run = client.start(sleeps_four_times()).await.unwrap();
    let warned = || {
        let lines = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        lines
            .lines()
            .any(|line| line.contains("nears its limit") && line.contains(run.id().as_str()))
    };
    until(warned).await;
}
