//! What an attempt does in this process: slots, trust, timeouts, panics.
//!
//! Invariants: an attempt starts with a free slot, while the lease is trusted, after the commit that asked for it. Its
//! outcome is encoded before it is handed on, so that the code sees what is stored.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::clock::BoxFuture;
use crate::context::{CancelFlag, IdempotencyKey, TaskContext, TaskData};
use crate::engine::execution::panic_error;
use crate::engine::ledger::Open;
use crate::engine::machine::check_payload;
use crate::error::{Error, ErrorKind, Result};
use crate::history::{OperationKey, Outcome};
use crate::id::{Segment, TaskName, WorkflowId};
use crate::identity::WorkflowIdentity;
use crate::options::TaskOptions;
use crate::payload::{Binding, Payload};
use crate::registry::{Invocation, TaskBody, TaskDefinition};
use crate::worker::gathered::{Fresh, Place, Stop};
use crate::worker::lane::Lane;
use crate::worker::run::Attempt;
use crate::worker::shared::Shared;
use crate::worker::transactional;

/// Is everything an attempt needs.
pub(crate) struct AttemptRequest {
    pub(crate) identity: WorkflowIdentity,
    pub(crate) segment: Segment,
    pub(crate) operation: OperationKey,
    pub(crate) task: TaskName,
    pub(crate) arguments: Payload,
    pub(crate) options: Arc<TaskOptions>,
    pub(crate) attempt: u32,
    pub(crate) data: TaskData,
    pub(crate) cancelled: CancelFlag,
}

impl Lane {
    /// Starts attempts of a run here, unless the worker is draining.
    pub(crate) fn start_attempts(&mut self, id: &WorkflowId, operations: &[OperationKey]) {
        if self.draining {
            return;
        }
        for operation in operations {
            self.start_attempt(id, operation);
        }
    }

    /// Starts attempts that no turn need record first, such as one whose time has come after a recorded failure.
    pub(crate) fn start_recorded_attempts(&mut self, id: &WorkflowId) {
        let is_recorded = self.runs.get(id).is_some_and(|run| {
            let draft = run.live.draft();
            !run.is_waiting() && draft.is_empty() && !draft.start.is_empty()
        });
        if is_recorded && !self.draining {
            self.start_attempts_early(id);
        }
    }

    /// Starts what the draft would start after its commit.
    pub(crate) fn start_attempts_early(&mut self, id: &WorkflowId) {
        let Some(run) = self.runs.get_mut(id) else {
            return;
        };
        let starts = run.live.take_starts();
        self.start_attempts(id, &starts);
    }

    fn start_attempt(&mut self, id: &WorkflowId, operation: &OperationKey) {
        let Some(run) = self.runs.get_mut(id) else {
            return;
        };
        let cancelled = CancelFlag::default();
        let (attempt, body): (u32, BoxFuture<'static, Result<Outcome, Error>>) =
            match run.live.ledger().get(operation) {
                Some(Open::Task(open)) => {
                    let request = Box::new(AttemptRequest {
                        identity: run.live.identity.clone(),
                        segment: run.live.segment,
                        operation: operation.clone(),
                        task: open.task.clone(),
                        arguments: open.arguments.clone(),
                        options: Arc::clone(&open.options),
                        attempt: open.attempt(),
                        data: TaskData::Snapshot(run.live.machine().data_snapshot()),
                        cancelled: cancelled.clone(),
                    });
                    let shared = Arc::clone(&self.shared);
                    let body = async move { run_attempt(&shared, request).await };
                    (open.attempt(), Box::pin(body))
                }
                Some(Open::Step(step)) => {
                    let lost = step.lost;
                    let Some(step) = run.live.machine().take_step(operation) else {
                        return;
                    };
                    (1 + lost, Box::pin(async move { Ok(run_step(step).await) }))
                }
                _ => return,
            };
        let epoch = run.live.epoch;
        let gate = run.live.is_traced(operation).then(|| run.gate(operation));
        let place = Place {
            run: id.clone(),
            epoch,
            operation: operation.clone(),
            attempt,
        };
        let stop = Stop::default();
        let started = Attempt {
            number: attempt,
            stop: stop.clone(),
            cancelled,
        };
        run.attempts.insert(operation.clone(), started);
        self.start_fresh(Fresh {
            place,
            gate,
            body,
            stop,
        });
    }
}

/// Waits for a free slot and a trusted lease.
pub(crate) async fn slot(shared: &Arc<Shared>) -> Option<OwnedSemaphorePermit> {
    let slot = Arc::clone(&shared.slots).acquire_owned().await.ok()?;
    loop {
        let renewed = shared.vitals.lease.renewed();
        if shared.is_trusted() {
            return Some(slot);
        }
        renewed.await;
    }
}

async fn run_step(step: BoxFuture<'static, Outcome>) -> Outcome {
    AssertUnwindSafe(step)
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Err(panic_error("step", &*panic)))
}

/// Runs one attempt to its outcome.
///
/// # Errors
/// When this process cannot run the task at all.
pub(crate) async fn run_attempt(
    shared: &Arc<Shared>,
    request: Box<AttemptRequest>,
) -> Result<Outcome, Error> {
    let name = request.task.as_str();
    let Some(definition) = shared.registry.task(name) else {
        return Err(shared.registry.not_registered("task", name));
    };
    tracing::debug!(
        run = %request.identity.workflow_id, operation = %request.operation, attempt = request.attempt,
        "attempt started"
    );
    let (limit, cancelled) = (request.options.timeout, request.cancelled.clone());
    let expired = || timed_out(definition.name, limit.unwrap_or_default());
    match definition.body {
        TaskBody::Async(body) => {
            let body = run_body(shared, definition, request, body);
            match limit {
                None => Ok(body.await),
                Some(_) => {
                    let limited = within(shared, limit, &cancelled, expired, body);
                    Ok(Box::pin(limited).await)
                }
            }
        }
        TaskBody::Blocking(body) => {
            let body = run_body(shared, definition, request, |invocation| {
                run_blocking(shared, definition.name, body, invocation)
            });
            Ok(Box::pin(within(shared, limit, &cancelled, expired, body)).await)
        }
        TaskBody::Transactional(body) => {
            Box::pin(transactional::run(shared, definition, body, request)).await
        }
    }
}

/// Waits for a body until its time is over.
pub(super) async fn within(
    shared: &Shared,
    limit: Option<Duration>,
    cancelled: &CancelFlag,
    expired: impl FnOnce() -> Error,
    body: impl Future<Output = Outcome>,
) -> Outcome {
    let Some(limit) = limit else {
        return body.await;
    };
    let time = shared.environment.sleep(limit);
    tokio::select! {
        biased;
        outcome = body => outcome,
        () = time => {
            cancelled.raise();
            Err(expired())
        }
    }
}

pub(super) fn timed_out(task: &str, limit: Duration) -> Error {
    Error::new(
        ErrorKind::TimedOut,
        format!("task `{task}` took longer than {limit:?}"),
    )
}

/// Runs a task's body: its arguments decoded, a panic caught, its result checked and encoded.
pub(super) async fn run_body<F: Future<Output = Outcome>>(
    shared: &Arc<Shared>,
    definition: &'static TaskDefinition,
    request: Box<AttemptRequest>,
    body: impl FnOnce(Invocation) -> F,
) -> Outcome {
    let codecs = &shared.settings.codecs;
    let run = request.identity.workflow_id.clone();
    let binding = |kind| Binding {
        run: &run,
        kind,
        key: definition.name,
    };
    let arguments = codecs.decode(request.arguments.clone(), &binding("arguments"))?;
    let invocation = Invocation {
        arguments,
        dependencies: Arc::clone(&shared.dependencies),
        context: task_context(shared, *request),
    };
    let result = AssertUnwindSafe(async move { body(invocation).await })
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Err(panicked(definition.name, &*panic)))?;
    check_payload(&result, &shared.settings.limits, "result", definition.name)?;
    codecs.encode(result, &binding("result"))
}

fn panicked(task: &str, panic: &(dyn std::any::Any + Send)) -> Error {
    panic_error(&format!("task `{task}`"), panic)
}

async fn run_blocking(
    shared: &Arc<Shared>,
    task: &'static str,
    body: fn(Invocation) -> Outcome,
    invocation: Invocation,
) -> Outcome {
    let (done, outcome) = oneshot::channel();
    shared.environment.spawn_blocking(Box::new(move || {
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| body(invocation)))
            .unwrap_or_else(|panic| Err(panicked(task, &*panic)));
        drop(done.send(outcome));
    }));
    outcome.await.unwrap_or_else(|_| {
        Err(Error::new(
            ErrorKind::Unavailable,
            format!("the thread of task `{task}` ended without an outcome"),
        ))
    })
}

fn task_context(shared: &Shared, request: AttemptRequest) -> TaskContext {
    let key = match &request.options.idempotency_key {
        Some(chosen) => IdempotencyKey::Chosen(chosen.clone()),
        None => IdempotencyKey::Derived(request.segment, request.operation),
    };
    TaskContext::new(
        request.identity,
        request.task,
        request.attempt,
        key,
        request.cancelled,
        request.data,
        shared.settings.codecs.clone(),
    )
}
