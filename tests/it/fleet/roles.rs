//! Processes that can do different things on one store: each does its own, and what nobody can do says so and waits.

use std::process::{Command, Stdio};
use std::time::Duration;

use longhaul::prelude::*;

use crate::kill::shop::Process;
use crate::world::{World, is_asked_for, quick, result};

const URL: &str = "LONGHAUL_TEST_FLEET_URL";
const ONLY: &str = "LONGHAUL_TEST_FLEET_ONLY";

#[task(queue = "fleet-oven")]
async fn fleet_heats() -> u32 {
    std::process::id()
}

/// Returns the processes of its own code and of its task.
#[workflow]
async fn fleet_bakes(ctx: Context) -> Result<(u32, u32)> {
    let heated_by = ctx.run(fleet_heats()).await?;
    Ok((ctx.record("baker", std::process::id)?, heated_by))
}

#[task]
async fn fleet_grinds() -> u32 {
    std::process::id()
}

#[workflow]
async fn fleet_brews(ctx: Context) -> Result<(u32, u32)> {
    let ground_by = ctx.run(fleet_grinds()).await?;
    Ok((ctx.record("barista", std::process::id)?, ground_by))
}

/// Is a process that works until it is killed; does nothing unless another test started it.
#[tokio::test]
async fn child_that_works() {
    let Ok(url) = std::env::var(URL) else {
        return;
    };
    let names = std::env::var(ONLY).unwrap();
    let client = Client::connect(&url).await.unwrap();
    let worker = quick(&client).lease(Duration::from_secs(5));
    let _worker = worker.only(names.split(',')).start().await.unwrap();
    std::future::pending::<()>().await;
}

fn child(world: &World, only: &str) -> Process {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "fleet::roles::child_that_works", "--nocapture"])
        .env(URL, world.url())
        .env(ONLY, only)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    Process::spawn(&mut command)
}

async fn each_process_does_its_own_and_what_nobody_can_do_waits(world: World) {
    let client = world.client().await;
    let baker = child(&world, "fleet_bakes");
    let oven = child(&world, "fleet_heats");
    let mut baked = Vec::new();
    for _ in 0..10 {
        baked.push(client.start(fleet_bakes()).await.unwrap());
    }
    let brewed = client.start(fleet_brews().id("brewed")).await.unwrap();
    for run in &baked {
        assert_eq!(result(run).await.unwrap(), (baker.id(), oven.id()));
    }
    let info = brewed.info().await.unwrap();
    assert_eq!(info.status, Status::Blocked);
    assert_eq!(
        info.reason.as_deref(),
        Some("no live worker serves `fleet_brews`; start one that has it registered")
    );

    let barista = child(&world, "fleet_brews,fleet_grinds");
    assert_eq!(result(&brewed).await.unwrap(), (barista.id(), barista.id()));
}

mod sqlite {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn each_process_does_its_own_and_what_nobody_can_do_waits() {
        if super::is_asked_for("sqlite") {
            let world = super::World::sqlite().await;
            super::each_process_does_its_own_and_what_nobody_can_do_waits(world).await;
        }
    }
}

mod postgres {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn each_process_does_its_own_and_what_nobody_can_do_waits() {
        if super::is_asked_for("postgres") {
            let world = super::World::postgres().await;
            super::each_process_does_its_own_and_what_nobody_can_do_waits(world).await;
        }
    }
}

mod redis {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn each_process_does_its_own_and_what_nobody_can_do_waits() {
        if super::is_asked_for("redis") {
            let world = super::World::redis().await;
            super::each_process_does_its_own_and_what_nobody_can_do_waits(world).await;
        }
    }
}
