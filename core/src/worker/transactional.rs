//! Attempts whose SQL is committed together with their outcome.
//!
//! Invariants: the body runs inside a transaction, and not at all when an outcome stands. Nothing but its success is
//! recorded. Once it has succeeded, its commit goes on to its end whoever drops the attempt, outside of the attempt's
//! time limit; only the death of the process leaves an outcome that nobody was told of, and the next attempt adopts it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::backend::{
    Begun, Error as BackendError, Finished, Kind, OutcomeKey, Result as BackendResult, Transaction,
    Transactions,
};
use crate::engine::messages;
use crate::error::{Error, ErrorKind, Result};
use crate::history::Outcome;
use crate::payload::Payload;
use crate::registry::{TaskDefinition, TransactionalBody};
use crate::worker::attempt::{AttemptRequest, run_body, timed_out, within};
use crate::worker::shared::Shared;

const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Runs one attempt to its outcome.
///
/// # Errors
/// When what stands cannot be read, so that this process must not go on with the run.
pub(super) async fn run(
    shared: &Arc<Shared>,
    definition: &'static TaskDefinition,
    body: TransactionalBody,
    request: Box<AttemptRequest>,
) -> Result<Outcome> {
    let key = OutcomeKey {
        run: request.identity.workflow_id.clone(),
        segment: request.segment,
        operation: request.operation.clone(),
    };
    let mut transaction = match begin(shared, &key).await {
        Ok(Begun::Open(transaction)) => transaction,
        Ok(Begun::Recorded(stands)) => return adopt(&key, &stands).map(Ok),
        Err(error) => return failed(error),
    };
    tracing::debug!(run = %key.run, operation = %key.operation, "transaction begun");
    let result = match run_inside(shared, definition, body, request, &mut *transaction).await {
        Ok(result) => result,
        Err(failed) => return Ok(Err(failed)),
    };
    match commit(shared, transaction, &key, messages::encode(&result)?).await {
        Ok(Finished::Recorded) => {
            tracing::debug!(run = %key.run, operation = %key.operation, "transaction committed");
            Ok(Ok(result))
        }
        Ok(Finished::Adopted(stands)) => adopt(&key, &stands).map(Ok),
        Err(error) => failed(error),
    }
}

/// Fails the attempt, unless something may stand that this process cannot read.
fn failed(error: BackendError) -> Result<Outcome> {
    match error.kind() {
        Kind::Corrupt | Kind::NewerVersion => Err(error.into_public()),
        _ => Ok(Err(error.into_public())),
    }
}

/// Begins a transaction; a store that cannot do it now is asked again, as that is no fault of the task.
async fn begin(shared: &Shared, key: &OutcomeKey) -> BackendResult<Begun> {
    let transactions = transactions(shared)?;
    loop {
        let begun = ask(shared, || transactions.begin(key.clone())).await?;
        let renewed = shared.vitals.lease.renewed();
        if shared.is_trusted() {
            return Ok(begun);
        }
        drop(begun);
        renewed.await;
    }
}

/// Runs the body on the transaction's connection within the task's time limit and the store's.
async fn run_inside(
    shared: &Arc<Shared>,
    definition: &'static TaskDefinition,
    body: TransactionalBody,
    request: Box<AttemptRequest>,
    transaction: &mut dyn Transaction,
) -> Outcome {
    let name = definition.name;
    let cancelled = request.cancelled.clone();
    let own = request.options.timeout;
    let stores = transactions(shared).ok().and_then(Transactions::body_limit);
    let limit = [own, stores].into_iter().flatten().min();
    let expired = || match (own, limit) {
        (own, Some(limit)) if own != Some(limit) => held_too_long(shared, name, limit),
        (_, limit) => timed_out(name, limit.unwrap_or_default()),
    };
    let connection = transaction.connection();
    let body = run_body(shared, definition, request, |invocation| {
        (body.run)(invocation, connection)
    });
    within(shared, limit, &cancelled, expired, body).await
}

fn held_too_long(shared: &Shared, task: &str, limit: Duration) -> Error {
    let store = shared.backend.name();
    Error::new(
        ErrorKind::TimedOut,
        format!(
            "task `{task}` kept its transaction open for longer than {limit:?}, the most on `{store}`, where everybody \
             else waits meanwhile; it was rolled back; do what takes time in a task before it"
        ),
    )
}

/// Commits in a task of its own.
async fn commit(
    shared: &Arc<Shared>,
    transaction: Box<dyn Transaction>,
    key: &OutcomeKey,
    outcome: Vec<u8>,
) -> BackendResult<Finished> {
    let (reply, answer) = oneshot::channel();
    let (worker, own_key) = (Arc::clone(shared), key.clone());
    shared.spawn("commit of a transactional task", async move {
        let key = own_key;
        let finished = match transaction.finish(outcome).await {
            Err(error) if error.kind() == Kind::Unclear => settle(&worker, &key, error).await,
            answer => answer,
        };
        if reply.send(finished).is_err() {
            tracing::debug!(run = %key.run, operation = %key.operation, "committed for an attempt that was given up");
        }
    });
    match answer.await {
        Ok(finished) => finished,
        Err(_) => {
            let message = "the commit ended without an answer";
            settle(shared, key, BackendError::new(Kind::Unclear, message)).await
        }
    }
}

/// Finds out what became of a commit that was not answered.
async fn settle(
    shared: &Shared,
    key: &OutcomeKey,
    unclear: BackendError,
) -> BackendResult<Finished> {
    tracing::warn!(run = %key.run, operation = %key.operation, error = %unclear, "a commit was not answered; asking");
    let transactions = transactions(shared)?;
    match ask(shared, || transactions.recorded(key)).await? {
        Some(stands) => Ok(Finished::Adopted(stands)),
        None => Err(BackendError::new(Kind::Unavailable, unclear)),
    }
}

fn adopt(key: &OutcomeKey, stands: &[u8]) -> Result<Payload> {
    tracing::info!(run = %key.run, operation = %key.operation, "outcome of another attempt adopted");
    messages::decode(stands)
}

fn transactions(shared: &Shared) -> BackendResult<&dyn Transactions> {
    shared.backend.transactions().ok_or_else(|| {
        let name = shared.backend.name();
        BackendError::new(
            Kind::Invalid,
            format!("the store `{name}` shares no transactions"),
        )
    })
}

/// Asks until there is an answer.
async fn ask<T, F>(shared: &Shared, ask: impl Fn() -> F) -> BackendResult<T>
where
    F: Future<Output = BackendResult<T>>,
{
    let mut pause = PAUSE_MIN;
    loop {
        match shared.heard(ask().await) {
            Err(error) if error.should_ask_again() => {
                shared.environment.sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            answer => return answer,
        }
    }
}
