//! Updates, which are answered, and callbacks, which an outside system completes.

use longhaul::prelude::*;

use crate::world::{World, reaches, result, until};

on_every_backend!(
    update_is_answered_by_a_live_run_and_by_a_parked_one,
    update_is_answered_with_the_error_of_the_workflow,
    update_that_its_check_refuses_is_not_sent,
    update_with_a_key_reaches_the_run_once_and_has_one_answer,
    update_of_a_run_that_ends_without_an_answer_says_so,
    update_that_is_dropped_is_answered_with_an_error,
    update_waits_no_longer_than_it_is_told_to,
    update_of_another_type_is_refused_on_both_sides,
    answer_survives_the_worker_that_gave_it,
    callback_is_completed_from_outside_once,
    callback_that_comes_before_its_wait_is_kept,
    callback_with_an_error_fails_with_it,
    callback_gives_up_in_time,
    token_that_is_none_is_refused,
    names_of_longhaul_are_refused,
);

const ADD: Update<u32, u32> = Update::validated("add", |number| match number {
    0 => Err(failure!("adding nothing is no request")),
    _ => Ok(()),
});
const STOP: Signal<()> = Signal::new("stop");

#[workflow]
async fn counts_up(ctx: Context) -> Result<u32> {
    let mut sum = 0;
    loop {
        select! {
            asked = ctx.receive(ADD) => {
                let (number, reply) = asked?;
                if number > 100 {
                    reply.refuse(failure!("{number} is too much"));
                } else {
                    sum += number;
                    reply.send(sum);
                }
            },
            stop = ctx.receive(STOP) => {
                stop?;
                return Ok(sum);
            },
        }
    }
}

async fn update_is_answered_by_a_live_run_and_by_a_parked_one(world: World) {
    let (client, worker) = world.worker().await;
    let run = client.start(counts_up()).await.unwrap();
    assert_eq!(run.update(ADD, 2).await.unwrap(), 2);
    reaches(&run, Status::Waiting).await;
    until(|| worker.live_runs() == 0).await;
    assert_eq!(run.update(ADD, 3).await.unwrap(), 5);
    run.signal(STOP, ()).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 5);
}

async fn update_is_answered_with_the_error_of_the_workflow(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(counts_up()).await.unwrap();
    let error = run.update(ADD, 101).await.unwrap_err();
    assert_eq!(error.message(), "101 is too much");
    assert_eq!(run.update(ADD, 1).await.unwrap(), 1);
}

async fn update_that_its_check_refuses_is_not_sent(world: World) {
    let client = world.client().await;
    let run = client.start(counts_up()).await.unwrap();
    let error = run.update(ADD, 0).await.unwrap_err();
    assert_eq!(error.message(), "adding nothing is no request");
    run.signal(STOP, ()).await.unwrap();
    let (_other, _worker) = world.worker().await;
    assert_eq!(result(&run).await.unwrap(), 0);
    let history = format!("{:?}", run.history().await.unwrap());
    assert!(!history.contains("longhaul:update:add, "), "{history}");
    assert_eq!(history.matches("SignalReceived").count(), 1, "{history}");
}

async fn update_with_a_key_reaches_the_run_once_and_has_one_answer(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(counts_up()).await.unwrap();
    let asking = (0..4).map(|_| run.update(ADD, 7).idempotency_key("seven").into_future());
    for answer in futures::future::join_all(asking).await {
        assert_eq!(answer.unwrap(), 7);
    }
    assert_eq!(run.update(ADD, 1).await.unwrap(), 8);
    run.signal(STOP, ()).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 8);
    let late = run.update(ADD, 7).idempotency_key("seven").await;
    assert_eq!(late.unwrap(), 7, "it was answered before the end");
    let error = run.update(ADD, 7).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Finished);
}

#[workflow]
async fn ignores_updates(ctx: Context) -> Result<()> {
    ctx.receive(STOP).await
}

async fn update_of_a_run_that_ends_without_an_answer_says_so(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(ignores_updates()).await.unwrap();
    let asking = tokio::spawn(run.update(ADD, 1).into_future());
    while run.history().await.unwrap().len() < 3 {
        tokio::task::yield_now().await;
    }
    run.signal(STOP, ()).await.unwrap();
    let error = asking.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Finished);
    assert!(error.message().contains("did not answer"), "{error}");
}

#[workflow]
async fn drops_updates(ctx: Context) -> Result<u32> {
    let (number, reply) = ctx.receive(ADD).await?;
    drop(reply);
    ctx.receive(STOP).await?;
    Ok(number)
}

async fn update_that_is_dropped_is_answered_with_an_error(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(drops_updates()).await.unwrap();
    let error = run.update(ADD, 4).await.unwrap_err();
    assert!(error.message().contains("without an answer"), "{error}");
    run.signal(STOP, ()).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), 4);
}

async fn update_waits_no_longer_than_it_is_told_to(world: World) {
    let client = world.client().await;
    let run = client.start(counts_up()).await.unwrap();
    let asked = || run.update(ADD, 6).idempotency_key("six");
    let error = asked().within(millis(30)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let (_other, _worker) = world.worker().await;
    assert_eq!(asked().await.unwrap(), 6);
}

const ADD_TEXT: Update<String, String> = Update::new("add");

async fn update_of_another_type_is_refused_on_both_sides(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(counts_up()).await.unwrap();
    let error = run.update(ADD_TEXT, "x".to_owned()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("`add`"), "{error}");
    let error = result(&run).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

async fn answer_survives_the_worker_that_gave_it(world: World) {
    let (client, worker) = world.worker().await;
    let run = client.start(counts_up().id("answers")).await.unwrap();
    let asked = run.update(ADD, 5).idempotency_key("five").await;
    assert_eq!(asked.unwrap(), 5);
    drop((worker, run, client));
    let (client, _worker) = world.worker().await;
    let run = client.handle::<u32>("answers").unwrap();
    let again = run.update(ADD, 5).idempotency_key("five").await;
    assert_eq!(again.unwrap(), 5);
    assert_eq!(run.update(ADD, 1).await.unwrap(), 6);
}

const TOKEN: Data<String> = Data::new("token");
const GO_ON: Signal<()> = Signal::new("go on");

#[workflow]
async fn calls_out(ctx: Context, waits_at_once: bool) -> Result<Option<u32>> {
    let callback = ctx.callback::<u32>();
    ctx.set(TOKEN, callback.token());
    if !waits_at_once {
        ctx.receive(GO_ON).await?;
    }
    callback.within(days(3)).await
}

async fn token_of<R>(run: &Handle<R>) -> String {
    loop {
        if let Some(token) = run.get(TOKEN).await.unwrap() {
            return token;
        }
        tokio::task::yield_now().await;
    }
}

async fn callback_is_completed_from_outside_once(world: World) {
    let (client, worker) = world.worker().await;
    let run = client.start(calls_out(true)).await.unwrap();
    let token = token_of(&run).await;
    reaches(&run, Status::Waiting).await;
    until(|| worker.live_runs() == 0).await;
    let outside = world.client().await;
    outside.complete(&token, 7).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), Some(7));
    let late = outside.complete(&token, 8).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Finished);
}

async fn callback_that_comes_before_its_wait_is_kept(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(calls_out(false)).await.unwrap();
    let token = token_of(&run).await;
    client.complete(&token, 7).await.unwrap();
    client.complete(&token, 8).await.unwrap();
    run.signal(GO_ON, ()).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), Some(7), "the first counts");
}

async fn callback_with_an_error_fails_with_it(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(calls_out(true)).await.unwrap();
    let token = token_of(&run).await;
    let declined = Error::permanent(failure!("declined"));
    client.complete_with_error(&token, declined).await.unwrap();
    let error = result(&run).await.unwrap_err();
    assert_eq!(error.message(), "declined");
    let run = client.start(calls_out(true)).await.unwrap();
    let token = token_of(&run).await;
    client.complete(&token, "no number").await.unwrap();
    let error = result(&run).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[workflow]
async fn calls_out_in_vain(ctx: Context) -> Result<Option<u32>> {
    ctx.callback::<u32>().within(millis(30)).await
}

async fn callback_gives_up_in_time(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(calls_out_in_vain()).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), None);
}

async fn token_that_is_none_is_refused(world: World) {
    let (client, _worker) = world.worker().await;
    let run = client.start(calls_out(true)).await.unwrap();
    let token = token_of(&run).await;
    let (secret, id) = token.split_once('@').unwrap();
    let forged = [
        String::new(),
        id.to_owned(),
        format!("{secret}@another"),
        format!("{}@{id}", secret.chars().rev().collect::<String>()),
    ];
    for forged in &forged {
        let error = client.complete(forged, 7).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{forged}");
    }
    client.complete(&token, 7).await.unwrap();
    assert_eq!(result(&run).await.unwrap(), Some(7));
}

const FORGED: Signal<()> = Signal::new("longhaul:update:add");

async fn names_of_longhaul_are_refused(world: World) {
    let client = world.client().await;
    let run = client.start(counts_up()).await.unwrap();
    let error = run.signal(FORGED, ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("longhaul:"), "{error}");
}
