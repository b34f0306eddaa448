//! Code that cannot be run, or breaks: it harms its own run and no other.

use std::sync::atomic::{AtomicU32, Ordering};

use longhaul::prelude::*;

use crate::world::{World, quick, reaches, result};

on_every_backend!(
    workers_that_make_no_sense_do_not_start_and_say_why,
    panic_harms_its_own_run_and_the_worker_lives_on,
    arguments_that_do_not_decode_name_the_parameter,
    blocked_run_goes_on_when_code_that_fits_comes,
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
    assert_eq!(client.workers().await.unwrap(), []);
    let run = client.start(sound(3)).await.unwrap();
    let _worker = quick(&client).only(["sound"]).start().await.unwrap();
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
