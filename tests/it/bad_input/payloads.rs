//! Values over the limit, and values that are not what was asked for, wherever one enters.

use longhaul::prelude::*;
use serde_json::Value;

use crate::world::{World, result};

on_every_backend!(
    values_over_two_mebibytes_are_refused_on_every_entry,
    value_of_just_the_limit_passes,
    arguments_that_are_no_json_or_too_deep_are_refused_and_start_nothing,
    recorded_result_of_another_shape_fails_the_await_with_its_name,
);

/// Is a string whose JSON form has exactly 2 MiB.
const FULL: usize = 2 * 1024 * 1024 - 2;

const PARCEL: Signal<String> = Signal::new("parcel");
const NOTE: Data<String> = Data::new("note");

#[task]
async fn gives(bytes: usize) -> String {
    "x".repeat(bytes)
}

#[task]
async fn takes(text: String) -> usize {
    text.len()
}

#[workflow]
async fn puts(ctx: Context, entry: String, bytes: usize) -> Result<usize> {
    let value = "x".repeat(bytes);
    match &*entry {
        "task argument" => return ctx.run(takes(value)).await,
        "task result" => return Ok(ctx.run(gives(bytes)).await?.len()),
        "data" => ctx.set(NOTE, value),
        "record" => drop(ctx.record("note", || value)?),
        "step" => drop(ctx.step("note", async move { Ok(value) }).await?),
        _ => return Err(failure!("no entry is named {entry}")),
    }
    Ok(bytes)
}

#[workflow]
async fn returns(ctx: Context, bytes: usize) -> Result<String> {
    let _ = ctx;
    Ok("x".repeat(bytes))
}

#[workflow]
async fn waits_for_parcel(ctx: Context, text: String) -> Result<usize> {
    let parcel = ctx.receive(PARCEL).await?;
    Ok(parcel.len() + text.len())
}

fn check(error: &Error, what: &str) {
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{what}: {error:#}");
    let message = error.message();
    assert!(
        message.contains("the limit is 2097152"),
        "{what}: {message}"
    );
    assert!(message.contains("pass a reference"), "{what}: {message}");
}

async fn values_over_two_mebibytes_are_refused_on_every_entry(world: World) {
    let (client, _worker) = world.worker().await;
    for entry in ["task argument", "task result", "data", "record", "step"] {
        let run = client
            .start(puts(entry.to_owned(), FULL + 1))
            .await
            .unwrap();
        check(&result(&run).await.unwrap_err(), entry);
    }
    let run = client.start(returns(FULL + 1)).await.unwrap();
    check(&result(&run).await.unwrap_err(), "result");
    let large = waits_for_parcel("x".repeat(FULL + 1)).id("large");
    check(&client.start(large).await.unwrap_err(), "arguments");
    let run = client
        .start(waits_for_parcel(String::new()).id("small"))
        .await
        .unwrap();
    let error = run.signal(PARCEL, "x".repeat(FULL + 1)).await.unwrap_err();
    check(&error, "signal");
    run.signal(PARCEL, "four".to_owned()).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 4);
    assert_eq!(client.list().id_prefix("large").count().await.unwrap(), 0);
}

async fn value_of_just_the_limit_passes(world: World) {
    let (client, _worker) = world.worker().await;
    for entry in ["task result", "data", "record", "step"] {
        let run = client.start(puts(entry.to_owned(), FULL)).await.unwrap();
        assert_eq!(result(&run).await.unwrap(), FULL, "{entry}");
    }
    let run = client.start(returns(FULL)).await.unwrap();
    assert_eq!(result(&run).await.unwrap().len(), FULL);
}

async fn arguments_that_are_no_json_or_too_deep_are_refused_and_start_nothing(world: World) {
    let (client, _worker) = world.worker().await;
    let error = client
        .start_by_name("puts", "[1,")
        .id("half")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(format!("{error:#}").contains("JSON"), "{error:#}");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let error = client
        .start_by_name("puts", &deep)
        .id("deep")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:#}");
    assert_eq!(client.list().all().count().await.unwrap(), 0);
}

#[task]
async fn number() -> u32 {
    7
}

#[workflow]
async fn expects_text(ctx: Context) -> Result<String> {
    let call: Call<String> = text_of(&number());
    ctx.run(call).await
}

/// Makes a call of the same task that expects text, as code of another version would.
fn text_of<R>(call: &Call<R>) -> Call<String> {
    match call.target() {
        longhaul::call::Target::Task(definition) => Call::task(definition, &()),
        longhaul::call::Target::Workflow(_) => panic!("it is a task"),
    }
}

async fn recorded_result_of_another_shape_fails_the_await_with_its_name(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(expects_text()).await.unwrap();
    let error = result(&run).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:#}");
    let message = format!("{error:#}");
    assert!(
        message.contains("the result of `number` is not a"),
        "{message}"
    );
    let run: Handle<Value> = client
        .start(returns(3))
        .await
        .map(|run| client.handle(run.id()).unwrap())
        .unwrap();
    assert_eq!(result(&run).await.unwrap(), Value::from("xxx"));
}
