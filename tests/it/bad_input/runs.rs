//! Runs that are not there, have ended, or are taken.

use longhaul::prelude::*;

use crate::world::{World, result};

on_every_backend!(
    everything_asked_of_an_unknown_run_says_that_there_is_none,
    finished_run_refuses_signals_and_keeps_its_result,
    taken_id_names_the_run_that_has_it_and_harms_it_not,
    result_asked_for_as_another_type_is_refused_and_still_there,
);

const MORE: Signal<u32> = Signal::new("more");
const SUM: Data<u32> = Data::new("sum");

#[workflow]
async fn adds(ctx: Context, first: u32) -> Result<u32> {
    let second = ctx.receive(MORE).await?;
    ctx.set(SUM, first + second);
    Ok(first + second)
}

#[workflow]
async fn subtracts(ctx: Context, first: u32) -> Result<u32> {
    let _ = ctx;
    Ok(first)
}

fn check(error: &Error, kind: ErrorKind, parts: &[&str]) {
    assert_eq!(error.kind(), kind, "{error:#}");
    for part in parts {
        assert!(error.message().contains(part), "`{error}` lacks `{part}`");
    }
}

async fn everything_asked_of_an_unknown_run_says_that_there_is_none(world: World) {
    let client = world.client().await;
    let run: Handle<u32> = client.handle("nobody").unwrap();
    let errors = [
        run.signal(MORE, 1_u32).await.unwrap_err(),
        run.get(SUM).await.unwrap_err(),
        run.status().await.unwrap_err(),
        run.info().await.unwrap_err(),
        run.history().await.unwrap_err(),
        result(&run).await.unwrap_err(),
    ];
    for error in errors {
        check(&error, ErrorKind::NotFound, &["nobody"]);
    }
}

async fn finished_run_refuses_signals_and_keeps_its_result(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(adds(1).id("sum")).await.unwrap();
    run.signal(MORE, 2_u32).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 3);
    let error = run.signal(MORE, 9_u32).await.unwrap_err();
    check(&error, ErrorKind::Finished, &["`sum`", "Completed"]);
    assert_eq!(result(&run).await.unwrap(), 3);
    assert_eq!(run.get(SUM).await.unwrap(), Some(3));
}

async fn taken_id_names_the_run_that_has_it_and_harms_it_not(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(adds(1).id("taken")).await.unwrap();
    let error = client.start(adds(2).id("taken")).await.unwrap_err();
    check(
        &error,
        ErrorKind::AlreadyExists,
        &["taken", "other arguments", "use another id"],
    );
    let error = client.start(subtracts(1).id("taken")).await.unwrap_err();
    check(
        &error,
        ErrorKind::AlreadyExists,
        &["taken", "another type", "`adds`"],
    );
    run.signal(MORE, 4_u32).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 5);
}

async fn result_asked_for_as_another_type_is_refused_and_still_there(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(subtracts(8).id("eight")).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 8);
    let text: Handle<String> = client.handle("eight").unwrap();
    let error = result(&text).await.unwrap_err();
    check(&error, ErrorKind::InvalidInput, &[]);
    assert_eq!(result(&run).await.unwrap(), 8);
}
