//! Errors: what a workflow and a client see of them, after they were stored.

use std::time::Duration;

use longhaul_core::context::{Context, TaskContext};
use longhaul_core::history::EventKind;
use longhaul_core::{Error, ErrorKind, Result, failure};
use longhaul_macros::{task, workflow};
use serde::{Deserialize, Serialize};

use crate::{outcome, outcome_and_run};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Declined {
    card: u32,
}

impl std::fmt::Display for Declined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "card {} declined", self.card)
    }
}

impl std::error::Error for Declined {}

#[task(crate = "longhaul_core", retries = 2, backoff = "1s..1s")]
async fn throws(context: TaskContext, what: String) -> Result<u32> {
    match &*what {
        "typed" => Err(Error::typed(&Declined { card: 7 })),
        "typed for good" => Err(Error::permanent(Error::typed(&Declined { card: 8 }))),
        "io" => Err(std::io::Error::other("the disk is gone"))?,
        "later" if context.attempt() == 1 => Err(Error::retry_after(
            Error::failed("busy"),
            Duration::from_secs(3_600),
        )),
        "parse" => Ok("seven".parse::<u32>()?),
        "panic" => panic!("out of paper"),
        "details" => Err(failure!("no stock").with_details(&vec![1, 2])),
        _ => Ok(context.attempt()),
    }
}

#[workflow(crate = "longhaul_core")]
async fn passes_on(ctx: Context, what: String) -> Result<u32> {
    ctx.run(throws(what)).await
}

async fn thrown(what: &str) -> (Error, usize) {
    let (result, run) = outcome_and_run(passes_on(what.to_owned())).await;
    let history = run.history().await.unwrap();
    let is_failed = |kind: &EventKind| matches!(kind, EventKind::AttemptFailed { .. });
    let retried = history
        .iter()
        .filter(|entry| is_failed(&entry.event.kind))
        .count();
    (result.unwrap_err(), retried)
}

#[tokio::test(start_paused = true)]
async fn typed_error_is_retried_and_comes_back_as_what_it_was() {
    let (error, retried) = thrown("typed").await;
    assert_eq!(retried, 2);
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert_eq!(error.to_string(), "card 7 declined");
    assert!(error.is_retryable());
    assert_eq!(error.downcast::<Declined>().unwrap(), Declined { card: 7 });
}

#[tokio::test(start_paused = true)]
async fn permanent_error_keeps_its_type_and_is_not_retried() {
    let (error, retried) = thrown("typed for good").await;
    assert_eq!(retried, 0);
    assert!(!error.is_retryable());
    assert_eq!(error.downcast::<Declined>().unwrap().card, 8);
}

#[tokio::test(start_paused = true)]
async fn any_error_passes_with_its_message() {
    let (error, _) = thrown("io").await;
    assert_eq!(error.message(), "the disk is gone");
    let (error, _) = thrown("parse").await;
    assert!(error.message().contains("invalid digit"), "{error}");
    assert!(error.downcast::<Declined>().is_err());
}

#[tokio::test(start_paused = true)]
async fn panic_becomes_an_error_that_is_retried() {
    let (error, retried) = thrown("panic").await;
    assert_eq!(retried, 2);
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert!(error.message().contains("out of paper") && error.message().contains("throws"));
}

#[tokio::test(start_paused = true)]
async fn details_come_through_the_store() {
    let (error, retried) = thrown("details").await;
    assert_eq!(retried, 0);
    assert_eq!(error.details(), Some("[1,2]"));
}

#[tokio::test(start_paused = true)]
async fn error_that_says_when_is_retried_then() {
    let before = tokio::time::Instant::now();
    assert_eq!(outcome(passes_on("later".to_owned())).await.unwrap(), 2);
    assert!(before.elapsed() >= Duration::from_secs(3_600));
}

#[workflow(crate = "longhaul_core")]
async fn recovers(ctx: Context) -> Result<String> {
    match ctx.run(throws("typed".to_owned())).await {
        Ok(_) => Err(failure!("it was meant to fail")),
        Err(error) => {
            let Declined { card } = error.downcast()?;
            Ok(format!("card {card} was refused"))
        }
    }
}

#[tokio::test(start_paused = true)]
async fn workflow_catches_by_type_and_goes_on() {
    assert_eq!(outcome(recovers()).await.unwrap(), "card 7 was refused");
}

#[workflow(crate = "longhaul_core")]
async fn wraps(ctx: Context) -> Result<u32> {
    let inner = ctx.run(passes_on("typed".to_owned())).await;
    inner.map_err(|error| Error::failed("the order failed").caused_by(error))
}

#[tokio::test(start_paused = true)]
async fn chain_of_causes_is_stored_outermost_first() {
    let error = outcome(wraps()).await.unwrap_err();
    assert_eq!(error.message(), "the order failed");
    let causes: Vec<_> = error.causes().collect();
    assert_eq!(causes, ["card 7 declined"]);
    assert_eq!(format!("{error:#}"), "the order failed: card 7 declined");
}
