//! Runs what the macros write.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

extern crate longhaul_core as longhaul;

use std::fmt;
use std::sync::Arc;

use longhaul::call::Call;
use longhaul::context::{Context, TaskContext};
use longhaul::options::ClosePolicy;
use longhaul::registry::{Dep, Registration, Registry};
use longhaul::retry::{RetryPolicy, millis, seconds};
use longhaul::{ErrorKind, Result};
use longhaul_macros::{task, workflow};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Declined {
    card: u8,
}

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "card {} was declined", self.card)
    }
}

impl std::error::Error for Declined {}

trait Gateway: Send + Sync {
    fn fee(&self) -> u64;
}

struct Bank(u64);

impl Gateway for Bank {
    fn fee(&self) -> u64 {
        self.0
    }
}

#[task(retries = 5, backoff = "100ms..2s")]
async fn add(left: u64, right: u64) -> u64 {
    left + right
}

#[task]
async fn charge(
    _ctx: TaskContext,
    total: u64,
    bank: Dep<Bank>,
    gateway: Dep<dyn Gateway>,
) -> Result<u64> {
    Ok(total + bank.fee() + gateway.fee())
}

#[task]
async fn decline(card: u8) -> Result<(), Declined> {
    Err(Declined { card })
}

#[task]
async fn parse(text: String) -> Result<u8> {
    Ok(text.parse()?)
}

#[task]
async fn describe() -> Result<(), String> {
    Err("out of stock".to_owned())
}

#[task]
async fn give_up() -> Result<()> {
    Err(longhaul::failure!("no {}", "more"))
}

#[task]
fn block(text: String) -> usize {
    std::thread::sleep(std::time::Duration::ZERO);
    text.len()
}

#[task]
fn break_down() {
    panic!("broken");
}

#[workflow(version = 3)]
async fn checkout(ctx: Context, total: u64) -> Result<u64> {
    let _ = ctx;
    Ok(total)
}

#[tokio::test]
async fn task_runs_locally() {
    assert_eq!(add(1, 2).local().await.unwrap(), 3);
}

#[tokio::test]
async fn dependencies_are_injected() {
    let call = charge(100).local().provide(Bank(1));
    let call = call.provide_arc::<dyn Gateway>(Arc::new(Bank(20)));
    assert_eq!(call.await.unwrap(), 121);
}

#[tokio::test]
async fn missing_dependency_names_the_task_and_the_type() {
    let error = charge(100).local().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotRegistered);
    assert!(error.message().contains("task `charge`"), "{error}");
    assert!(error.message().contains("Bank"), "{error}");
}

#[tokio::test]
async fn typed_error_is_kept() {
    let error = decline(7).local().await.unwrap_err();
    assert_eq!(error.message(), "card 7 was declined");
    assert_eq!(error.downcast::<Declined>().unwrap(), Declined { card: 7 });
}

#[tokio::test]
async fn other_errors_are_converted() {
    assert_eq!(parse("7".to_owned()).local().await.unwrap(), 7);
    assert!(
        parse("x".to_owned())
            .local()
            .await
            .unwrap_err()
            .is_retryable()
    );
    assert_eq!(
        describe().local().await.unwrap_err().message(),
        "out of stock"
    );
    assert!(!give_up().local().await.unwrap_err().is_retryable());
}

#[tokio::test]
async fn blocking_task_runs_on_its_pool() {
    assert_eq!(block("four".to_owned()).local().await.unwrap(), 4);
}

#[tokio::test]
#[should_panic(expected = "broken")]
async fn panic_of_a_blocking_task_reaches_the_test() {
    let _ = break_down().local().await;
}

#[tokio::test]
async fn workflow_does_not_run_locally() {
    let error = checkout(3).local().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("workflow `checkout`"), "{error}");
}

#[test]
fn workflow_is_defined_as_its_attribute_says() {
    let Registration::Workflow(definition) = checkout(3).registration() else {
        panic!("not a workflow");
    };
    assert_eq!((definition.name, definition.version), ("checkout", 3));
    assert!(definition.location.0.ends_with("behaviour.rs"));
}

#[tokio::test]
async fn wrong_arguments_name_the_parameters() {
    let Registration::Task(definition) = add(1, 2).registration() else {
        panic!("not a task");
    };
    let error = Call::<u64>::task(definition, &("one", 2))
        .local()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(!error.is_retryable());
    let expected = "task `add` takes (left: u64, right: u64), but what was given for `left: u64` cannot be read";
    assert_eq!(error.message(), expected);
    assert_eq!(
        Call::<u64>::task(definition, &(1, 2))
            .local()
            .await
            .unwrap(),
        3
    );
}

#[test]
fn call_starts_from_the_options_of_its_task() {
    let call = add(1, 2);
    assert_eq!(
        call.options().task.retry,
        RetryPolicy::exponential(5).backoff(millis(100), seconds(2))
    );
    let call = call
        .retry(RetryPolicy::NONE)
        .close_policy(ClosePolicy::Abandon);
    assert_eq!(call.options().task.retry, RetryPolicy::NONE);
}

#[test]
fn registry_finds_what_is_linked() {
    let registry = Registry::linked().unwrap();
    assert_eq!(registry.workflow("checkout").unwrap().version, 3);
    let only = registry.only(["charge", "checkout"]).unwrap();
    assert_eq!(only.iter().count(), 2);
    assert!(only.check_dependencies(&Default::default()).is_err());
}
