//! Names: too long, empty, or with control characters, wherever one enters.

use longhaul::prelude::*;

use crate::world::{World, quick, result};

on_every_backend!(bad_names_are_refused_where_they_enter_and_start_nothing);

const BELL: Signal<u32> = Signal::new("bell");
const LONG: Signal<u32> = Signal::new(
    "a-name-of-more-than-255-characters-a-name-of-more-than-255-characters-a-name-of-more-than-255-characters-\
     a-name-of-more-than-255-characters-a-name-of-more-than-255-characters-a-name-of-more-than-255-characters-\
     a-name-of-more-than-255-characters-a-name-of-more-than-255-characters",
);
const SPLIT: Data<u32> = Data::new("two\nlines");

#[task]
async fn rings() -> u32 {
    1
}

#[workflow]
async fn waits_for_bell(ctx: Context) -> Result<u32> {
    ctx.receive(BELL).await
}

#[workflow]
async fn sets_split(ctx: Context) -> Result<()> {
    ctx.set(SPLIT, 1_u32);
    Ok(())
}

#[workflow]
async fn awaits_long(ctx: Context) -> Result<u32> {
    ctx.receive(LONG).await
}

#[workflow]
async fn calls_queue(ctx: Context, queue: String) -> Result<u32> {
    ctx.run(rings().queue(queue)).await
}

#[workflow]
async fn names_child(ctx: Context, id: String) -> Result<u32> {
    ctx.run(waits_for_bell().id(id)).await
}

fn check(error: &Error, what: &str, why: &str) {
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:#}");
    let message = format!("{error:#}");
    assert!(message.contains(what), "`{message}` does not name {what}");
    assert!(message.contains(why), "`{message}` does not say {why}");
}

async fn bad_names_are_refused_where_they_enter_and_start_nothing(world: World) {
    let (client, _worker) = world.worker().await;
    let long = "é".repeat(256);
    for (id, why) in [
        ("", "empty"),
        (&*long, "longer than 255 characters"),
        ("a\u{7}b", "control"),
    ] {
        let error = client.start(waits_for_bell().id(id)).await.unwrap_err();
        check(&error, "workflow id", why);
        check(&client.handle::<()>(id).unwrap_err(), "workflow id", why);
        let error = client
            .start_by_name("waits_for_bell", "[]")
            .id(id)
            .await
            .unwrap_err();
        check(&error, "workflow id", why);
        let tagged = waits_for_bell().tag(id, "value");
        check(&client.start(tagged).await.unwrap_err(), "tag", why);
        let worker = quick(&client).queue(id, 1).start().await.unwrap_err();
        check(&worker, "queue", why);
        let build = quick(&client).build_id(id).start().await.unwrap_err();
        check(&build, "build", why);
    }
    let longest = "é".repeat(255);
    let run = client.start(waits_for_bell().id(&longest)).await.unwrap();
    let error = run.signal(LONG, 1_u32).await.unwrap_err();
    check(&error, "signal", "characters");
    check(&run.get(SPLIT).await.unwrap_err(), "data", "control");
    for (call, what) in [
        (client.start_by_name("sets_split", "[]").await, "data"),
        (client.start_by_name("awaits_long", "[]").await, "signal"),
        (
            client.start_by_name("calls_queue", "[\"a\\nb\"]").await,
            "queue",
        ),
        (
            client.start_by_name("names_child", "[\"\"]").await,
            "workflow id",
        ),
    ] {
        let error = result(&call.unwrap()).await.unwrap_err();
        check(&error, what, "");
    }
    run.signal(BELL, 5_u32).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 5);
    assert_eq!(
        client
            .list()
            .workflow_type("waits_for_bell")
            .count()
            .await
            .unwrap(),
        1
    );
}
