//! Code that cannot be run, or breaks: it harms its own run and no other.

use std::sync::atomic::{AtomicU32, Ordering};

use longhaul::prelude::*;

use crate::world::{World, quick, reaches, result};

on_every_backend!(
    workers_that_make_no_sense_do_not_start_and_say_why,
    panic_harms_its_own_run_and_the_worker_lives_on,
    arguments_that_do_not_decode_name_the_parameter,
    blocked_run_goes_on_when_code_that_fits_comes,
    attempt_that_panics_while_it_is_given_up_fails_and_hangs_nothing,
    step_that_panics_while_its_replay_is_dropped_harms_nobody,
    options_of_calls_that_make_no_sense_are_told_where_they_are_used,
);

#[workflow]
async fn sound(ctx: Context, number: u32) -> Result<u32> {
    ctx.sleep(millis(1)).await?;
    Ok(number)
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "the bomb was dropped");
    }
}

#[workflow]
async fn drops_a_bomb(ctx: Context) -> Result<u32> {
    let bomb = Bomb;
    ctx.sleep(millis(1)).await?;
    drop(bomb);
    Ok(1)
}

#[task]
async fn drops_a_bomb_at_work() {
    drop(Bomb);
}

#[workflow]
async fn works_with_a_bomb(ctx: Context) -> Result<()> {
    ctx.run(drops_a_bomb_at_work()).await
}

async fn workers_that_make_no_sense_do_not_start_and_say_why(world: World) {
    let client = world.client().await;
    let second = std::time::Duration::from_secs(1);
    for (builder, parts) in [
        (
            quick(&client).only(["nothing_of_this_name"]),
            ["nothing_of_this_name", "no ", ""],
        ),
        (
            quick(&client).only(["sound"]).slots(0),
            ["0 slots", "at least 1", ""],
        ),
        (
            quick(&client).only(["sound"]).live_max(0),
            ["0 live runs", "at least 1", ""],
        ),
        (
            quick(&client).only(["sound"]).lease(second / 100),
            ["100 ms", "100ms", ""],
        ),
    ] {
        let error = builder.start().await.unwrap_err();
        let is_right = matches!(
            error.kind(),
            ErrorKind::InvalidInput | ErrorKind::NotRegistered
        );
        assert!(is_right, "{error:#}");
        for part in parts {
            assert!(error.message().contains(part), "`{error}` lacks `{part}`");
        }
    }
    let most = std::time::Duration::MAX;
    for (builder, part) in [
        (quick(&client).only(["sound"]).lease(most), "ten years"),
        (
            quick(&client).only(["sound"]).queue("mail", 0),
            "queue `mail`",
        ),
        (
            quick(&client)
                .only(["sound"])
                .queue("mail", 1)
                .queue("mail", 2),
            "queue `mail`",
        ),
    ] {
        let error = builder.start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:#}");
        assert!(error.message().contains(part), "`{error}` lacks `{part}`");
    }
    assert_eq!(client.workers().await.unwrap(), []);
    let run = client.start(sound(3)).await.unwrap();
    let endless = quick(&client).only(["sound"]).park_after(most).beat(most);
    let _worker = endless.start().await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 3);
}

async fn panic_harms_its_own_run_and_the_worker_lives_on(world: World) {
    let (client, worker) = world.worker().await;
    let id = worker.id();
    let waiting = client.start(sound(4)).await.unwrap();
    let errors = [
        result(&client.start(drops_a_bomb()).await.unwrap())
            .await
            .unwrap_err(),
        result(&client.start(works_with_a_bomb()).await.unwrap())
            .await
            .unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Panicked, "{error:#}");
        assert!(error.message().contains("the bomb was dropped"), "{error}");
    }
    assert_eq!(result(&waiting).await.unwrap(), 4);
    assert_eq!(worker.id(), id);
    assert_eq!(
        result(&client.start(sound(5)).await.unwrap())
            .await
            .unwrap(),
        5
    );
}

async fn arguments_that_do_not_decode_name_the_parameter(world: World) {
    let (client, _worker) = world.worker().await;
    for (arguments, part) in [("[\"three\"]", "number"), ("[]", "number"), ("[1,2]", "1")] {
        let run = client.start_by_name("sound", arguments).await.unwrap();
        let error = result(&run).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:#}");
        assert!(format!("{error:#}").contains(part), "{error:#}");
    }
}

/// Says whether the code of `fits_later` fits.
static FITS: AtomicU32 = AtomicU32::new(0);

#[workflow]
async fn fits_later(ctx: Context) -> Result<u32> {
    if FITS.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
        std::future::pending::<()>().await;
    }
    ctx.sleep(millis(1)).await?;
    Ok(6)
}

async fn blocked_run_goes_on_when_code_that_fits_comes(world: World) {
    let client = world.client().await;
    let old = quick(&client)
        .only(["fits_later"])
        .build_id("old")
        .start()
        .await
        .unwrap();
    FITS.store(0, Ordering::SeqCst);
    let run = client.start(fits_later()).await.unwrap();
    reaches(&run, Status::Blocked).await;
    let reason = run.info().await.unwrap().reason.unwrap();
    assert!(reason.contains("not durable"), "{reason}");
    FITS.store(1, Ordering::SeqCst);
    let _new = quick(&client)
        .only(["fits_later"])
        .build_id("new")
        .start()
        .await
        .unwrap();
    assert_eq!(result(&run).await.unwrap(), 6);
    old.shutdown().await.unwrap();
}

#[task(timeout = "20ms")]
async fn dawdles_with_a_bomb() {
    let _bomb = Bomb;
    std::future::pending::<()>().await;
}

#[workflow]
async fn gives_up_a_bomb(ctx: Context) -> Result<()> {
    ctx.run(dawdles_with_a_bomb()).await
}

async fn attempt_that_panics_while_it_is_given_up_fails_and_hangs_nothing(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(gives_up_a_bomb()).await.unwrap();
    let error = result(&run).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked, "{error:#}");
    assert!(error.message().contains("the bomb was dropped"), "{error}");
    assert_eq!(
        result(&client.start(sound(8)).await.unwrap())
            .await
            .unwrap(),
        8
    );
}

/// Is a bomb that a step disarms by running.
struct Armed(bool);

impl Drop for Armed {
    fn drop(&mut self) {
        assert!(!self.0 || std::thread::panicking(), "a step was never run");
    }
}

#[workflow]
async fn steps_with_a_bomb(ctx: Context) -> Result<u32> {
    let bomb = Armed(true);
    let number = ctx
        .step("disarm", async move {
            let mut bomb = bomb;
            bomb.0 = false;
            tokio::time::sleep(millis(5)).await;
            Ok(11)
        })
        .await?;
    Ok(number)
}

async fn step_that_panics_while_its_replay_is_dropped_harms_nobody(world: World) {
    let client = world.client().await;
    let worker = quick(&client).always_park().start().await.unwrap();
    let run = client.start(steps_with_a_bomb()).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 11);
    assert_eq!(
        result(&client.start(sound(9)).await.unwrap())
            .await
            .unwrap(),
        9
    );
    worker.shutdown().await.unwrap();
}

#[workflow]
async fn tags_its_child(ctx: Context) -> Result<u32> {
    ctx.run(sound(1).tag("two\nlines", "value")).await
}

async fn options_of_calls_that_make_no_sense_are_told_where_they_are_used(world: World) {
    let (client, _worker) = world.worker().await;
    let second = seconds(1);
    for (call, parts) in [
        (
            sound(1).timeout(second),
            ["`timeout`", "`sound` is a workflow"],
        ),
        (sound(1).delay(second), ["`delay`", "`sound` is a workflow"]),
        (
            sound(1).retry(RetryPolicy::exponential(1)),
            ["`retry`", "`sound` is a workflow"],
        ),
    ] {
        let error = client.start(call).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        for part in parts {
            assert!(error.message().contains(part), "`{error}` lacks `{part}`");
        }
    }
    let never = drops_a_bomb_at_work().timeout(std::time::Duration::ZERO);
    let error = client.start(never).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("timeout of 0"), "{error}");
    let run = client.start(tags_its_child()).await.unwrap();
    let error = result(&run).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:#}");
    assert!(error.message().contains("tag"), "{error}");
}
