//! Tasks and subworkflows as futures.
//!
//! Invariants: an operation takes its position when it is made and is asked for when it is first polled. The value that
//! it yields was stored and decoded, live as at replay.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as PollContext, Poll};

use serde::de::DeserializeOwned;

use crate::call::{Call, Target};
use crate::command::{Command, StartSubworkflow};
use crate::engine::chance::Use;
use crate::engine::identifiers::subworkflow_id;
use crate::engine::machine::{Machine, Resolution, check_payload, check_tags};
use crate::error::{Error, ErrorKind, Result};
use crate::history::{OperationKey, OperationKind, Placement};
use crate::id::{TaskName, WorkflowId, WorkflowType};
use crate::identity::RunKind;
use crate::options::{ClosePolicy, TaskOptions};
use crate::payload::{Binding, Payload};

/// Is an operation that drops itself from the machine.
pub(crate) struct Operation {
    pub(crate) machine: Arc<Machine>,
    pub(crate) key: OperationKey,
    finished: bool,
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

impl Operation {
    pub(crate) fn new(machine: &Arc<Machine>, kind: OperationKind, name: &str) -> Self {
        Self {
            key: machine.construct(kind, name),
            machine: Arc::clone(machine),
            finished: false,
        }
    }

    /// Polls until the engine resolves it; `ask` makes the command at the first poll.
    pub(crate) fn poll(
        &mut self,
        context: &PollContext<'_>,
        ask: impl FnOnce(crate::clock::Timestamp, &OperationKey) -> Option<Command>,
    ) -> Poll<Resolution> {
        let key = &self.key;
        match self.machine.poll(key, context.waker(), |now| ask(now, key)) {
            Some(resolution) => {
                self.finished = true;
                Poll::Ready(resolution)
            }
            None => Poll::Pending,
        }
    }

    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if !self.finished {
            self.machine.drop_operation(&self.key);
        }
    }
}

/// Makes the error of an operation that a cancel ended.
pub(crate) fn cancelled(key: &OperationKey, reason: &str) -> Error {
    Error::new(
        ErrorKind::Cancelled,
        format!("`{key}` was cancelled with its run: {reason}"),
    )
}

fn outcome(key: &OperationKey, resolution: Resolution) -> Result<Payload> {
    match resolution {
        Resolution::Outcome(outcome) => outcome,
        Resolution::Cancelled(reason) => Err(cancelled(key, &reason)),
        Resolution::Fired => Err(Error::new(
            ErrorKind::Bug,
            format!("`{key}` is no timer and fired"),
        )),
    }
}

/// Is what a call asks for, sealed for storing.
enum Asked {
    Task(TaskName, Payload, Arc<TaskOptions>),
    Subworkflow(Box<StartSubworkflow>),
}

impl Asked {
    fn into_command(self, key: &OperationKey) -> Command {
        match self {
            Self::Task(task, arguments, options) => Command::StartTask {
                operation: key.clone(),
                task,
                arguments,
                placement: if options.queue.is_some() {
                    Placement::Queued
                } else {
                    Placement::Local
                },
                options,
            },
            Self::Subworkflow(start) => Command::StartSubworkflow(start),
        }
    }
}

/// Waits for the outcome of a call; made by `ctx.run`.
#[must_use = "an operation does nothing until it is awaited"]
pub struct Run<R> {
    operation: Operation,
    asked: Option<Result<Asked>>,
    result_of: WorkflowId,
    result_key: Arc<str>,
    value: PhantomData<fn() -> R>,
}

impl<R> fmt::Debug for Run<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Run({:?})", self.operation)
    }
}

impl<R> Run<R> {
    pub(crate) fn new(machine: &Arc<Machine>, call: Call<R>) -> Self {
        match call.target {
            Target::Task(definition) if !call.options.task.force_new_workflow => {
                Self::task(machine, definition.name, call)
            }
            Target::Task(_) | Target::Workflow(_) => {
                Self::subworkflow(machine, call, ClosePolicy::Cancel)
            }
        }
    }

    fn task(machine: &Arc<Machine>, name: &str, call: Call<R>) -> Self {
        let operation = Operation::new(machine, OperationKind::Task, name);
        let options = Arc::new(call.options.task);
        let asked = call
            .arguments
            .and_then(|arguments| machine.seal(arguments, "arguments", name))
            .map(|arguments| Asked::Task(TaskName::from_stored(name), arguments, options));
        Self {
            result_key: Arc::clone(&operation.key.name),
            operation,
            asked: Some(asked),
            result_of: machine.identity.workflow_id.clone(),
            value: PhantomData,
        }
    }

    fn subworkflow(machine: &Arc<Machine>, call: Call<R>, close_policy: ClosePolicy) -> Self {
        let name = call.target.name();
        let operation = Operation::new(machine, OperationKind::Subworkflow, name);
        let id = match &call.options.id {
            None => Ok(subworkflow_id(
                &machine.identity.workflow_id,
                machine.segment,
                &operation.key,
            )),
            Some(id) => id.clone(),
        };
        let result_of = match &id {
            Ok(id) => id.clone(),
            Err(_) => machine.identity.workflow_id.clone(),
        };
        let asked =
            id.and_then(|id| start_subworkflow(machine, &operation.key, id, call, close_policy));
        Self {
            result_key: Arc::clone(&operation.key.name),
            operation,
            asked: Some(asked.map(|start| Asked::Subworkflow(Box::new(start)))),
            result_of,
            value: PhantomData,
        }
    }

    fn ask(&mut self, context: &PollContext<'_>) -> Poll<Result<Resolution>> {
        let mut refused = None;
        let asked = &mut self.asked;
        let polled = self.operation.poll(context, |_, key| match asked.take() {
            Some(Ok(asked)) => Some(asked.into_command(key)),
            Some(Err(error)) => {
                refused = Some(error);
                None
            }
            None => None,
        });
        match refused {
            Some(error) => {
                self.operation.machine.finish(&self.operation.key);
                self.operation.finish();
                Poll::Ready(Err(error))
            }
            None => polled.map(Ok),
        }
    }
}

fn start_subworkflow<R>(
    machine: &Arc<Machine>,
    key: &OperationKey,
    workflow_id: WorkflowId,
    call: Call<R>,
    close_policy: ClosePolicy,
) -> Result<StartSubworkflow> {
    let (name, kind, version, task) = match call.target {
        Target::Task(definition) => {
            let mut options = call.options.task;
            options.force_new_workflow = false;
            (definition.name, RunKind::Task, 0, Some(options))
        }
        Target::Workflow(definition) => {
            (definition.name, RunKind::Workflow, definition.version, None)
        }
    };
    let arguments = call.arguments?;
    check_payload(&arguments, &machine.limits, "arguments", name)?;
    check_tags(&call.options.tags, &machine.limits)?;
    let binding = Binding {
        run: &workflow_id,
        kind: "arguments",
        key: name,
    };
    let arguments = machine.codecs.encode(arguments, &binding)?;
    Ok(StartSubworkflow {
        operation: key.clone(),
        workflow_type: WorkflowType::from_stored(name),
        kind,
        version,
        arguments,
        task,
        tags: call.options.tags,
        close_policy: call.options.close_policy.unwrap_or(close_policy),
        seed: machine.rng(Use::ChildSeed).seed(),
        workflow_id,
    })
}

impl<R> Unpin for Run<R> {}

impl<R: DeserializeOwned> Future for Run<R> {
    type Output = Result<R>;

    fn poll(mut self: Pin<&mut Self>, context: &mut PollContext<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.ask(context).map(|resolution| {
            let payload = outcome(&this.operation.key, resolution?)?;
            let binding = Binding {
                run: &this.result_of,
                kind: "result",
                key: &this.result_key,
            };
            let codecs = &this.operation.machine.codecs;
            let result = codecs.decode(payload, &binding)?;
            result.decode_as(binding.kind, binding.key)
        })
    }
}

/// Is the encoded outcome of a task, for the run of a task started alone.
pub(crate) async fn run_task_alone(
    machine: Arc<Machine>,
    name: TaskName,
    arguments: Payload,
    options: TaskOptions,
) -> Result<Payload> {
    let mut operation = Operation::new(&machine, OperationKind::Task, name.as_str());
    let mut asked = Some(Asked::Task(name, arguments, Arc::new(options)));
    let resolution = std::future::poll_fn(|context| {
        operation.poll(context, |_, key| {
            asked.take().map(|asked| asked.into_command(key))
        })
    })
    .await;
    outcome(&operation.key, resolution)
}

/// Starts a run beside this one; made by `ctx.start`.
///
/// Ready as soon as the start was asked for; it is durable with the turn that asked.
#[must_use = "an operation does nothing until it is awaited"]
pub struct Start<R>(Option<Run<R>>);

impl<R> fmt::Debug for Start<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Start").field(&self.0).finish()
    }
}

impl<R> Start<R> {
    pub(crate) fn new(machine: &Arc<Machine>, call: Call<R>) -> Self {
        Self(Some(Run::subworkflow(machine, call, ClosePolicy::Abandon)))
    }
}

impl<R> Unpin for Start<R> {}

impl<R: DeserializeOwned> Future for Start<R> {
    type Output = Result<Subworkflow<R>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut PollContext<'_>) -> Poll<Self::Output> {
        let Some(mut run) = self.0.take() else {
            return Poll::Pending;
        };
        match run.ask(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(Resolution::Cancelled(reason))) => {
                Poll::Ready(Err(cancelled(&run.operation.key, &reason)))
            }
            Poll::Ready(Ok(_)) | Poll::Pending => Poll::Ready(Ok(Subworkflow {
                id: run.result_of.clone(),
                run,
            })),
        }
    }
}

/// Is a run that this one started: it has an id, and its outcome can be awaited.
///
/// Dropping it leaves the run alone when its close policy is `Abandon`, which is what `ctx.start` gives unless the call
/// says otherwise; else the policy is applied.
#[derive(Debug)]
pub struct Subworkflow<R> {
    id: WorkflowId,
    run: Run<R>,
}

impl<R> Subworkflow<R> {
    /// Returns the run's id.
    #[must_use]
    pub fn id(&self) -> &WorkflowId {
        &self.id
    }

    /// Waits for its outcome.
    #[must_use = "an operation does nothing until it is awaited"]
    pub fn result(self) -> Run<R> {
        self.run
    }
}
