//! Pausing, resuming, cancelling and terminating, from outside and from inside.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use longhaul::history::EventKind;
use longhaul::prelude::*;
use tokio::sync::Semaphore;

use crate::world::{World, quick, reaches, result, until};

on_every_backend!(
    paused_run_keeps_signals_and_goes_on_after_the_resume,
    paused_run_goes_on_in_another_process,
    pause_waits_for_the_attempt_that_runs_and_starts_no_other,
    run_that_no_worker_has_is_paused_and_resumed,
    timer_that_is_due_during_a_pause_is_told_after_it,
    timer_stands_still_during_a_pause_that_says_so,
    queued_task_of_a_paused_run_is_not_started,
    timer_of_a_parked_run_is_listed_skipped_and_extended,
    time_limit_of_a_live_run_is_skipped,
    signal_with_a_key_arrives_once,
    start_with_a_signal_starts_once_and_signals_each_time,
    signal_reaches_all_runs_of_a_list,
    value_of_a_run_is_followed_to_its_end,
    workflow_pauses_itself_until_somebody_resumes_it,
    cancel_lifts_a_pause_of_the_workflow_itself,
    cancel_of_a_paused_run_lets_its_code_end,
    cancel_reaches_a_parked_run_and_its_subworkflow,
    cancel_twice_is_the_same_as_once,
    shielded_clean_up_goes_on_in_another_process,
    cancel_by_an_edit_spares_what_is_shielded,
    terminate_ends_a_run_that_runs,
    terminate_ends_what_nobody_has_without_a_worker,
    terminate_ends_a_blocked_run,
    terminate_of_a_subworkflow_is_told_to_its_parent,
    control_of_an_unknown_or_finished_run_is_refused,
    runs_of_a_tag_are_paused_resumed_and_terminated_together,
    tree_is_paused_as_a_whole,
    pause_resume_and_terminate_survive_a_takeover,
);

const WORD: Signal<String> = Signal::new("word");

#[workflow]
async fn hears(ctx: Context, words: usize) -> Result<Vec<String>> {
    let mut heard = Vec::new();
    for _ in 0..words {
        heard.push(ctx.receive(WORD).await?);
    }
    Ok(heard)
}

async fn paused_run_keeps_signals_and_goes_on_after_the_resume(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(hears(3)).await.unwrap();
    run.signal(WORD, "before").await.unwrap();
    run.pause("check").await.unwrap();
    let info = run.info().await.unwrap();
    assert_eq!(info.status, Status::Paused);
    assert_eq!(info.reason.as_deref(), Some("check"));
    run.signal(WORD, "during").await.unwrap();
    run.signal(WORD, "during too").await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(run.status().await.unwrap(), Status::Paused);
    run.resume("checked").await.unwrap();
    let heard = ["before", "during", "during too"];
    assert_eq!(result(&run).await.unwrap(), heard);
    let history = run.history().await.unwrap();
    let reasons: Vec<_> = history
        .iter()
        .filter_map(|entry| match &entry.event.kind {
            EventKind::RunPaused { reason, .. } | EventKind::RunResumed { reason } => {
                Some(reason.as_str())
            }
            _ => None,
        })
        .collect();
    assert_eq!(reasons, ["check", "checked"]);
}

async fn paused_run_goes_on_in_another_process(world: World) {
    let (client, worker) = world.worker().await;
    let run = client.start(hears(2).id("moves")).await.unwrap();
    run.signal(WORD, "one").await.unwrap();
    run.pause("deploy").await.unwrap();
    worker.shutdown().await.unwrap();
    drop(client);
    let (client, _worker) = world.worker().await;
    let run = client.handle::<Vec<String>>("moves").unwrap();
    run.signal(WORD, "two").await.unwrap();
    assert_eq!(run.status().await.unwrap(), Status::Paused);
    run.resume("deployed").await.unwrap();
    assert_eq!(result(&run).await.unwrap(), ["one", "two"]);
}

/// Lets tasks of one test begin and end.
struct Gate {
    begun: AtomicUsize,
    open: Semaphore,
}

static GATES: LazyLock<Mutex<HashMap<String, Arc<Gate>>>> = LazyLock::new(Mutex::default);

/// Makes a gate, and the name that tasks find it by.
fn new_gate(world: &World) -> (String, Arc<Gate>) {
    let gate = Arc::new(Gate {
        begun: AtomicUsize::new(0),
        open: Semaphore::new(0),
    });
    let name = world.url().to_owned();
    GATES
        .lock()
        .unwrap()
        .insert(name.clone(), Arc::clone(&gate));
    (name, gate)
}

fn gate_of(name: &str) -> Arc<Gate> {
    Arc::clone(&GATES.lock().unwrap()[name])
}

#[task]
async fn guarded(step: u32, gate: String) -> Result<u32> {
    let gate = gate_of(&gate);
    gate.begun.fetch_add(1, Ordering::SeqCst);
    gate.open.acquire().await?.forget();
    Ok(step)
}

#[workflow]
async fn two_guarded(ctx: Context, gate: String) -> Result<u32> {
    Ok(ctx.run(guarded(1, gate.clone())).await? + ctx.run(guarded(2, gate)).await?)
}

async fn pause_waits_for_the_attempt_that_runs_and_starts_no_other(world: World) {
    let (client, _worker) = world.worker().await;
    let (name, gate) = new_gate(&world);
    let run = client.start(two_guarded(name)).await.unwrap();
    until(|| gate.begun.load(Ordering::SeqCst) == 1).await;
    let pausing = tokio::spawn({
        let run = run.clone();
        async move { run.pause("hold").await }
    });
    let is_recorded = || async {
        let history = format!("{:?}", run.history().await.unwrap());
        history.contains("RunPaused")
    };
    while !is_recorded().await {
        tokio::task::yield_now().await;
    }
    gate.open.add_permits(1);
    pausing.await.unwrap().unwrap();
    assert_eq!(gate.begun.load(Ordering::SeqCst), 1);
    run.resume("go on").await.unwrap();
    gate.open.add_permits(1);
    assert_eq!(result(&run).await.unwrap(), 3);
    assert_eq!(
        gate.begun.load(Ordering::SeqCst),
        2,
        "no attempt was made twice"
    );
}

async fn run_that_no_worker_has_is_paused_and_resumed(world: World) {
    let client = world.client().await;
    let run = client.start(hears(0)).await.unwrap();
    run.pause("not yet").await.unwrap();
    run.pause("still not").await.unwrap();
    let (_other, worker) = world.worker().await;
    until(|| worker.live_runs() == 0).await;
    assert_eq!(run.status().await.unwrap(), Status::Paused);
    run.resume("now").await.unwrap();
    assert_eq!(result(&run).await.unwrap(), Vec::<String>::new());
}

#[workflow]
async fn naps_on(ctx: Context, nap_ms: u64) -> Result<u64> {
    let before = ctx.now();
    ctx.sleep(Duration::from_millis(nap_ms)).await?;
    Ok(u64::try_from(ctx.now().since(before).as_millis())?)
}

async fn timer_that_is_due_during_a_pause_is_told_after_it(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(naps_on(50)).await.unwrap();
    run.pause("hold").await.unwrap();
    let due = client.start(naps_on(200)).await.unwrap();
    result(&due).await.unwrap();
    assert_eq!(run.status().await.unwrap(), Status::Paused);
    run.resume("go on").await.unwrap();
    let napped = result(&run).await.unwrap();
    assert!(
        napped >= 150,
        "the timer was told {napped} ms after it began"
    );
}

async fn timer_stands_still_during_a_pause_that_says_so(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(naps_on(300)).await.unwrap();
    reaches(&run, Status::Waiting).await;
    run.pause("hold").stopping_timers().await.unwrap();
    let meanwhile = client.start(naps_on(400)).await.unwrap();
    result(&meanwhile).await.unwrap();
    run.resume("go on").await.unwrap();
    let napped = result(&run).await.unwrap();
    assert!(
        napped >= 700,
        "{napped} ms are less than nap and pause together"
    );
}

#[workflow]
async fn waits_for_days(ctx: Context) -> Result<Option<String>> {
    ctx.sleep(days(30)).await?;
    ctx.receive(WORD).within(days(2)).await
}

async fn timer_of_a_parked_run_is_listed_skipped_and_extended(world: World) {
    let (client, worker) = world.worker().await;
    let run = client.start(waits_for_days()).await.unwrap();
    reaches(&run, Status::Waiting).await;
    until(|| worker.live_runs() == 0).await;
    let [timer] = &run.timers().await.unwrap()[..] else {
        panic!("one timer is open: {:?}", run.timers().await);
    };
    assert_eq!(timer.operation.to_string(), "timer:sleep#1");
    run.extend_timer(&timer.operation, days(1), "not yet")
        .await
        .unwrap();
    let later = run.timers().await.unwrap()[0].due;
    assert_eq!(later, timer.due.after(days(1)));
    assert_eq!(run.info().await.unwrap().wake_at, Some(later));
    run.skip_timer(&timer.operation, "now").await.unwrap();
    while run.timers().await.unwrap()[0].operation == timer.operation {
        tokio::task::yield_now().await;
    }
    let error = run.skip_timer(&timer.operation, "again").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("receive:word#1"), "{error}");
    let limit = run.timers().await.unwrap()[0].operation.clone();
    run.skip_timer(&limit, "nobody comes").await.unwrap();
    assert_eq!(result(&run).await.unwrap(), None);
    let history = format!("{:?}", run.history().await.unwrap());
    assert_eq!(history.matches("TimerMoved").count(), 3, "{history}");
}

#[workflow]
async fn works_and_waits(ctx: Context, gate: String) -> Result<Option<String>> {
    let (heard, _) = futures::join!(ctx.receive(WORD).within(days(2)), ctx.run(guarded(1, gate)));
    heard
}

async fn time_limit_of_a_live_run_is_skipped(world: World) {
    let (client, _worker) = world.worker().await;
    let (name, gate) = new_gate(&world);
    let run = client.start(works_and_waits(name)).await.unwrap();
    until(|| gate.begun.load(Ordering::SeqCst) == 1).await;
    let timers = run.timers().await.unwrap();
    run.skip_timer(&timers[0].operation, "now").await.unwrap();
    while !run.timers().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    gate.open.add_permits(1);
    assert_eq!(result(&run).await.unwrap(), None);
}

async fn signal_with_a_key_arrives_once(world: World) {
    let client = world.client().await;
    let run = client.start(hears(2)).await.unwrap();
    for value in ["first", "again"] {
        let sent = run.signal(WORD, value).idempotency_key("order-7");
        sent.await.unwrap();
    }
    let other = run.signal(WORD, "other").idempotency_key("order-8");
    other.await.unwrap();
    let (_other, _worker) = world.worker().await;
    assert_eq!(result(&run).await.unwrap(), ["first", "other"]);
    let wrong = run.signal(WORD, "x").idempotency_key("").await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::InvalidInput);
}

async fn start_with_a_signal_starts_once_and_signals_each_time(world: World) {
    let (client, _worker) = world.worker().await;
    let call = || hears(2).id("both");
    client.start_with_signal(call(), WORD, "one").await.unwrap();
    let run = client.start_with_signal(call(), WORD, "two").await.unwrap();
    assert_eq!(result(&run).await.unwrap(), ["one", "two"]);
    let late = client.start_with_signal(call(), WORD, "three").await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Finished);
}

async fn signal_reaches_all_runs_of_a_list(world: World) {
    let (client, _worker) = world.worker().await;
    let mut runs = Vec::new();
    for number in 0..3 {
        let call = hears(1).id(format!("heard-{number}"));
        runs.push(client.start(call).await.unwrap());
    }
    let all = || client.list().id_prefix("heard-");
    for _ in 0..2 {
        let sent = all().signal(WORD, "all", Some("once")).await.unwrap();
        assert_eq!(sent.done + sent.finished, 3);
        assert!(sent.failed.is_empty(), "{:?}", sent.failed);
    }
    for run in &runs {
        assert_eq!(result(run).await.unwrap(), ["all"]);
    }
}

const STAGE: Data<u32> = Data::new("stage");

#[workflow]
async fn goes_through_stages(ctx: Context, stages: u32) -> Result<()> {
    for stage in 0..stages {
        ctx.set(STAGE, stage);
        ctx.receive(WORD).await?;
    }
    ctx.set(STAGE, stages);
    Ok(())
}

async fn value_of_a_run_is_followed_to_its_end(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(goes_through_stages(3)).await.unwrap();
    let mut stages = run.watch(STAGE);
    for stage in 0..3 {
        assert_eq!(stages.next().await.unwrap(), Some(stage));
        run.signal(WORD, "next").await.unwrap();
    }
    assert_eq!(stages.next().await.unwrap(), Some(3));
    assert_eq!(stages.next().await.unwrap(), None);
    let mut unknown = client.handle::<()>("nobody").unwrap().watch(STAGE);
    let error = unknown.next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[task(queue = "control")]
async fn held_back(gate: String) -> Result<u32> {
    gate_of(&gate).begun.fetch_add(1, Ordering::SeqCst);
    Ok(7)
}

#[workflow]
async fn asks_the_queue(ctx: Context, gate: String) -> Result<u32> {
    ctx.run(held_back(gate)).await
}

async fn queued_task_of_a_paused_run_is_not_started(world: World) {
    let client = world.client().await;
    let (name, gate) = new_gate(&world);
    // The one that owns the run serves no queue.
    let owner = quick(&client)
        .only(["asks_the_queue"])
        .start()
        .await
        .unwrap();
    let run = client.start(asks_the_queue(name)).await.unwrap();
    while client.queues().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    run.pause("hold").await.unwrap();
    let (other, _server) = world.worker().await;
    let later = other.start(naps_on(100)).await.unwrap();
    result(&later).await.unwrap();
    assert_eq!(gate.begun.load(Ordering::SeqCst), 0);
    run.resume("go on").await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 7);
    assert_eq!(gate.begun.load(Ordering::SeqCst), 1);
    owner.shutdown().await.unwrap();
}

#[workflow]
async fn asks_for_review(ctx: Context) -> Result<String> {
    ctx.pause("needs review").await?;
    Ok("reviewed".to_owned())
}

async fn workflow_pauses_itself_until_somebody_resumes_it(world: World) {
    let (client, worker) = world.worker().await;
    let run = client.start(asks_for_review().id("review")).await.unwrap();
    reaches(&run, Status::Paused).await;
    let info = run.info().await.unwrap();
    assert_eq!(info.reason.as_deref(), Some("needs review"));
    worker.shutdown().await.unwrap();
    drop(client);
    let (client, _worker) = world.worker().await;
    let run = client.handle::<String>("review").unwrap();
    run.resume("looks good").await.unwrap();
    assert_eq!(result(&run).await.unwrap(), "reviewed");
}

async fn cancel_lifts_a_pause_of_the_workflow_itself(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(asks_for_review()).await.unwrap();
    reaches(&run, Status::Paused).await;
    run.cancel("no").await.unwrap();
    let error = result(&run).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(run.status().await.unwrap(), Status::Cancelled);
}

async fn cancel_of_a_paused_run_lets_its_code_end(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(cleans_up()).await.unwrap();
    run.pause("hold").await.unwrap();
    run.cancel("enough").await.unwrap();
    assert_eq!(result(&run).await.unwrap(), "cleaned up");
}

#[workflow]
async fn cleans_up(ctx: Context) -> Result<String> {
    match ctx.receive(WORD).await {
        Err(error) if error.kind() == ErrorKind::Cancelled => Ok("cleaned up".to_owned()),
        heard => heard,
    }
}

#[workflow]
async fn has_a_cleaner(ctx: Context) -> Result<String> {
    ctx.run(cleans_up().id("kid of parent")).await
}

async fn cancel_reaches_a_parked_run_and_its_subworkflow(world: World) {
    let (client, worker) = world.worker().await;
    let run = client.start(has_a_cleaner()).await.unwrap();
    let kid = client.handle::<String>("kid of parent").unwrap();
    reaches(&run, Status::Waiting).await;
    until(|| worker.live_runs() == 0).await;
    run.cancel("enough").await.unwrap();
    let error = result(&run).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(error.message().contains("enough"), "{error}");
    assert_eq!(result(&kid).await.unwrap(), "cleaned up");
}

async fn cancel_twice_is_the_same_as_once(world: World) {
    let client = world.client().await;
    let run = client.start(cleans_up()).await.unwrap();
    run.cancel("first").await.unwrap();
    run.cancel("second").await.unwrap();
    let (_other, _worker) = world.worker().await;
    assert_eq!(result(&run).await.unwrap(), "cleaned up");
    let history = run.history().await.unwrap();
    let cancels = history.iter().filter(|entry| {
        matches!(&entry.event.kind, EventKind::CancelRequested { reason } if reason == "first")
    });
    assert_eq!(cancels.count(), 1);
    let all = format!("{history:?}");
    assert!(!all.contains("second"), "{all}");
}

#[workflow]
async fn cleans_up_durably(ctx: Context, gate: String) -> Result<String> {
    let Err(error) = ctx.receive(WORD).await else {
        return Ok("heard".to_owned());
    };
    let outside = ctx.run(guarded(1, gate.clone())).await;
    ctx.shield(ctx.sleep(millis(100))).await?;
    let inside = ctx.shield(ctx.run(guarded(2, gate))).await?;
    Ok(format!(
        "{:?} {:?} {inside}",
        error.kind(),
        outside.is_err()
    ))
}

async fn shielded_clean_up_goes_on_in_another_process(world: World) {
    let (client, worker) = world.worker().await;
    let (name, gate) = new_gate(&world);
    let run = client
        .start(cleans_up_durably(name).id("cleaner"))
        .await
        .unwrap();
    reaches(&run, Status::Waiting).await;
    run.cancel("enough").await.unwrap();
    until(|| gate.begun.load(Ordering::SeqCst) == 1).await;
    drop((worker, run, client));
    gate.open.add_permits(9);
    let (client, _worker) = world.worker().await;
    let run = client.handle::<String>("cleaner").unwrap();
    assert_eq!(result(&run).await.unwrap(), "Cancelled true 2");
    assert_eq!(gate.begun.load(Ordering::SeqCst), 2, "one attempt was lost");
}

#[workflow]
async fn shields_one_of_two(ctx: Context, gate: String) -> Result<String> {
    let (kept, other) = futures::join!(
        ctx.shield(ctx.run(held_back(gate.clone()))),
        ctx.run(held_back(gate))
    );
    Ok(format!("{:?} {}", kept.ok(), other.is_err()))
}

async fn cancel_by_an_edit_spares_what_is_shielded(world: World) {
    let client = world.client().await;
    let (name, gate) = new_gate(&world);
    let owner = quick(&client).only(["shields_one_of_two"]);
    let owner = owner.start().await.unwrap();
    let run = client.start(shields_one_of_two(name)).await.unwrap();
    while client.queues().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    run.pause("hold").await.unwrap();
    run.cancel("enough").await.unwrap();
    while client.queues().await.unwrap()[0].waiting != 1 {
        tokio::task::yield_now().await;
    }
    let (_other, _server) = world.worker().await;
    assert_eq!(result(&run).await.unwrap(), "Some(7) true");
    assert_eq!(gate.begun.load(Ordering::SeqCst), 1);
    owner.shutdown().await.unwrap();
}

async fn terminate_ends_a_run_that_runs(world: World) {
    let (client, worker) = world.worker().await;
    let (name, gate) = new_gate(&world);
    let run = client.start(two_guarded(name)).await.unwrap();
    until(|| gate.begun.load(Ordering::SeqCst) == 1).await;
    run.terminate("stuck").await.unwrap();
    run.terminate("again").await.unwrap();
    assert_eq!(run.status().await.unwrap(), Status::Terminated);
    let error = result(&run).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Terminated);
    until(|| worker.live_runs() == 0).await;
}

async fn terminate_ends_what_nobody_has_without_a_worker(world: World) {
    let client = world.client().await;
    let pending = client.start(hears(1)).await.unwrap();
    let paused = client.start(hears(1)).await.unwrap();
    paused.pause("hold").await.unwrap();
    for run in [&pending, &paused] {
        run.terminate("not needed").await.unwrap();
        let error = result(run).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Terminated);
        assert!(error.message().contains("not needed"), "{error}");
    }
    let (_other, worker) = world.worker().await;
    until(|| worker.live_runs() == 0).await;
    assert_eq!(paused.status().await.unwrap(), Status::Terminated);
}

#[workflow]
async fn waits_for_something_else(ctx: Context) -> Result<()> {
    ctx.record("first", || 1)?;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    Ok(())
}

async fn terminate_ends_a_blocked_run(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(waits_for_something_else()).await.unwrap();
    reaches(&run, Status::Blocked).await;
    run.terminate("wrong code").await.unwrap();
    let error = result(&run).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Terminated);
}

#[workflow]
async fn reports_its_kid(ctx: Context) -> Result<String> {
    match ctx.run(hears(1).id("kid that ends")).await {
        Err(error) => Ok(format!("{:?}", error.kind())),
        Ok(heard) => Ok(format!("{heard:?}")),
    }
}

async fn terminate_of_a_subworkflow_is_told_to_its_parent(world: World) {
    let (client, worker) = world.worker().await;
    let run = client.start(reports_its_kid()).await.unwrap();
    let kid = client.handle::<Vec<String>>("kid that ends").unwrap();
    reaches(&run, Status::Waiting).await;
    until(|| worker.live_runs() == 0).await;
    kid.terminate("enough").await.unwrap();
    assert_eq!(result(&run).await.unwrap(), "Terminated");
}

async fn control_of_an_unknown_or_finished_run_is_refused(world: World) {
    let (client, _worker) = world.worker().await;
    let ended = client.start(hears(0)).await.unwrap();
    result(&ended).await.unwrap();
    let unknown = client.handle::<Vec<String>>("nobody").unwrap();
    for (run, kind) in [(ended, ErrorKind::Finished), (unknown, ErrorKind::NotFound)] {
        let refusals = [
            run.pause("x").await.unwrap_err(),
            run.resume("x").await.unwrap_err(),
            run.cancel("x").await.unwrap_err(),
            run.terminate("x").await.unwrap_err(),
        ];
        for error in refusals {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(run.id().as_str()), "{error}");
        }
    }
}

async fn runs_of_a_tag_are_paused_resumed_and_terminated_together(world: World) {
    let (client, _worker) = world.worker().await;
    let mut runs = Vec::new();
    for number in 0..40 {
        let call = hears(1).tag("team", if number % 2 == 0 { "red" } else { "blue" });
        runs.push(client.start(call).await.unwrap());
    }
    let red = || client.list().tag("team", "red");
    let paused = red().pause("hold").await.unwrap();
    assert_eq!((paused.done, paused.finished), (20, 0));
    assert_eq!(red().status(Status::Paused).count().await.unwrap(), 20);
    let blue = client.list().tag("team", "blue").status(Status::Paused);
    assert_eq!(blue.count().await.unwrap(), 0);
    assert_eq!(red().resume("go on").await.unwrap().done, 20);
    runs[0].signal(WORD, "end").await.unwrap();
    result(&runs[0]).await.unwrap();
    let ended = red().terminate("done with").await.unwrap();
    assert_eq!((ended.done, ended.finished), (19, 1));
    assert!(ended.failed.is_empty(), "{:?}", ended.failed);
}

async fn tree_is_paused_as_a_whole(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(reports_its_kid().id("root")).await.unwrap();
    let kid = client.handle::<Vec<String>>("kid that ends").unwrap();
    reaches(&run, Status::Waiting).await;
    let tree = || client.list().tree_of(run.id());
    while tree().count().await.unwrap() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(tree().pause("hold").await.unwrap().done, 2);
    kid.signal(WORD, "heard").await.unwrap();
    assert_eq!(kid.status().await.unwrap(), Status::Paused);
    assert_eq!(tree().resume("go on").await.unwrap().done, 2);
    assert_eq!(result(&run).await.unwrap(), "[\"heard\"]");
}

async fn pause_resume_and_terminate_survive_a_takeover(world: World) {
    let (client, crashing) = world.worker().await;
    let (name, gate) = new_gate(&world);
    let run = client.start(two_guarded(name).id("moved")).await.unwrap();
    until(|| gate.begun.load(Ordering::SeqCst) == 1).await;
    let pausing = tokio::spawn({
        let run = world.client().await.handle::<u32>("moved").unwrap();
        async move { run.pause("hold").await }
    });
    while !format!("{:?}", run.history().await.unwrap()).contains("RunPaused") {
        tokio::task::yield_now().await;
    }
    drop((crashing, client));
    let (other, _worker) = world.worker().await;
    pausing.await.unwrap().unwrap();
    assert_eq!(gate.begun.load(Ordering::SeqCst), 1, "nothing new starts");
    gate.open.add_permits(9);
    let run = other.handle::<u32>("moved").unwrap();
    run.resume("go on").await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 3);
    assert_eq!(gate.begun.load(Ordering::SeqCst), 3, "one attempt was lost");
}
