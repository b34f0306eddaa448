//! Workflow data, deterministic values, and what survives a restart.

use longhaul::prelude::*;
use serde::{Deserialize, Serialize};

use crate::world::{World, quick, reaches, result};

on_every_backend!(
    data_is_seen_in_the_workflow_its_tasks_and_outside,
    data_survives_a_restart,
    two_runs_do_not_see_each_others_data,
    drawn_values_are_the_same_after_a_restart,
    time_never_goes_back,
    value_without_a_json_form_fails_the_run,
    oversized_data_fails_the_run_with_the_limit,
    oversized_arguments_are_refused_at_the_start,
);

const STAGE: Data<String> = Data::new("stage");
const COUNT: Data<u32> = Data::new("count");
const NEXT: Signal<()> = Signal::new("next");

#[task]
async fn reads_stage(ctx: TaskContext) -> Result<Option<String>> {
    ctx.get(STAGE).await
}

#[workflow]
async fn keeps_data(ctx: Context) -> Result<(u32, Option<String>)> {
    ctx.set(STAGE, "begun");
    for _ in 0..3 {
        ctx.update(COUNT, |count| count.unwrap_or(0) + 1)?;
    }
    let seen = ctx.run(reads_stage()).await?;
    ctx.receive(NEXT).await?;
    ctx.remove(STAGE);
    Ok((ctx.get(COUNT)?.unwrap_or_default(), seen))
}

async fn data_is_seen_in_the_workflow_its_tasks_and_outside(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(keeps_data()).await.unwrap();
    reaches(&run, Status::Waiting).await;
    assert_eq!(run.get(STAGE).await.unwrap().as_deref(), Some("begun"));
    assert_eq!(run.get(COUNT).await.unwrap(), Some(3));
    run.signal(NEXT, ()).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), (3, Some("begun".to_owned())));
    assert_eq!(run.get(STAGE).await.unwrap(), None);
}

async fn data_survives_a_restart(world: World) {
    let (client, worker) = world.worker().await;
    let run = client.start(keeps_data()).await.unwrap();
    reaches(&run, Status::Waiting).await;
    drop((client, worker));
    let (_client, _worker) = world.worker().await;
    run.signal(NEXT, ()).await.unwrap();
    assert_eq!(result(&run).await.unwrap().0, 3);
}

#[workflow]
async fn named_stage(ctx: Context, name: String) -> Result<Option<String>> {
    ctx.set(STAGE, name);
    ctx.receive(NEXT).await?;
    ctx.get(STAGE)
}

/// P9.
async fn two_runs_do_not_see_each_others_data(world: World) {
    let (client, _worker) = world.worker().await;
    let one = client.start(named_stage("one".to_owned())).await.unwrap();
    let two = client.start(named_stage("two".to_owned())).await.unwrap();
    one.signal(NEXT, ()).await.unwrap();
    two.signal(NEXT, ()).await.unwrap();
    assert_eq!(result(&one).await.unwrap().as_deref(), Some("one"));
    assert_eq!(result(&two).await.unwrap().as_deref(), Some("two"));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Drawn {
    now: Timestamp,
    random: u64,
    below: u64,
    uuid: Uuid,
    recorded: u128,
    order: Vec<u8>,
}

fn draw(ctx: &Context) -> Result<Drawn> {
    let mut order = vec![1, 2, 3, 4, 5, 6, 7, 8];
    ctx.shuffle(&mut order);
    Ok(Drawn {
        now: ctx.now(),
        random: ctx.random(),
        below: ctx.rng().below(1_000_000),
        uuid: ctx.uuid(),
        recorded: ctx.record("clock", || std::process::id().into())?,
        order,
    })
}

const FIRST: Data<Drawn> = Data::new("first");

#[workflow]
async fn draws(ctx: Context) -> Result<(Drawn, Drawn)> {
    let first = draw(&ctx)?;
    let copy = draw_again(&first);
    ctx.set(FIRST, copy);
    ctx.receive(NEXT).await?;
    let second = draw(&ctx)?;
    Ok((first, second))
}

fn draw_again(drawn: &Drawn) -> Drawn {
    Drawn {
        order: drawn.order.clone(),
        ..*drawn
    }
}

async fn drawn_values_are_the_same_after_a_restart(world: World) {
    let (client, worker) = world.worker().await;
    let run = client.start(draws()).await.unwrap();
    reaches(&run, Status::Waiting).await;
    let before = run.get(FIRST).await.unwrap().unwrap();
    drop((client, worker));
    let (_client, _worker) = world.worker().await;
    run.signal(NEXT, ()).await.unwrap();
    let (first, second) = result(&run).await.unwrap();
    assert_eq!(first, before);
    assert_ne!(first.random, second.random);
    assert_ne!(first.uuid, second.uuid);
}

#[task]
async fn tick() {}

#[workflow]
async fn watches_time(ctx: Context) -> Result<bool> {
    let mut times = vec![ctx.now()];
    for _ in 0..20 {
        ctx.run(tick()).await?;
        times.push(ctx.now());
    }
    ctx.sleep(millis(5)).await?;
    times.push(ctx.now());
    Ok(times.is_sorted())
}

async fn time_never_goes_back(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(watches_time()).await.unwrap();
    assert!(result(&run).await.unwrap());
    let times: Vec<_> = run
        .history()
        .await
        .unwrap()
        .iter()
        .map(|entry| entry.event.at)
        .collect();
    assert!(times.is_sorted());
}

const ODD: Data<std::collections::BTreeMap<(u8, u8), u8>> = Data::new("odd");

#[workflow]
async fn sets_odd(ctx: Context) -> Result<()> {
    ctx.set(ODD, std::collections::BTreeMap::from([((1, 2), 3)]));
    ctx.run(tick()).await
}

async fn value_without_a_json_form_fails_the_run(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(sets_odd()).await.unwrap();
    assert_eq!(
        result(&run).await.unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

#[workflow]
async fn sets_much(ctx: Context) -> Result<()> {
    ctx.set(STAGE, "x".repeat(3 << 20));
    ctx.run(tick()).await
}

/// P13.
async fn oversized_data_fails_the_run_with_the_limit(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(sets_much()).await.unwrap();
    let error = result(&run).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert!(error.message().contains("2097152"), "{error}");
}

async fn oversized_arguments_are_refused_at_the_start(world: World) {
    let client = world.client().await;
    let _worker = quick(&client).start().await.unwrap();
    let call = named_stage("x".repeat(3 << 20)).id("large");
    let error = client.start(call).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    let run = client.handle::<()>("large").unwrap();
    assert_eq!(run.status().await.unwrap_err().kind(), ErrorKind::NotFound);
}
