//! A task or workflow with its arguments, not yet started.
//!
//! Invariants: plain data; nothing happens until a workflow awaits the call or somebody starts it. The arguments are
//! encoded when the call is made, as a JSON array with one item per argument. What is wrong with a call is kept in it
//! and comes out where it is used.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::id::{QueueName, WorkflowId};
use crate::options::{ClosePolicy, TaskOptions};
use crate::payload::Payload;
use crate::registry::{Registration, TaskDefinition, WorkflowDefinition};
use crate::retry::RetryPolicy;

mod local;

pub use local::{Local, LocalWithin};

/// Is what a call would execute.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// A task.
    Task(&'static TaskDefinition),
    /// A workflow.
    Workflow(&'static WorkflowDefinition),
}

impl Target {
    /// Returns the name of the task or workflow.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Task(definition) => definition.name,
            Self::Workflow(definition) => definition.name,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(definition) => write!(f, "task `{}`", definition.name),
            Self::Workflow(definition) => write!(f, "workflow `{}`", definition.name),
        }
    }
}

/// Says how one call is executed; it starts from the options of its task.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CallOptions {
    /// The workflow id of the run that the call starts, checked when it is used.
    pub id: Option<Result<WorkflowId>>,
    /// The tags of that run, in the order in which they were given.
    pub tags: Vec<(String, String)>,
    /// How the task is executed.
    pub task: TaskOptions,
    /// What happens to the subworkflow that the call starts when its parent ends; cancelled by default.
    pub close_policy: Option<ClosePolicy>,
}

/// Is a task or workflow with its arguments, whose result is an `R`.
///
/// A workflow awaits it with `ctx.run`; a client starts it with `client.start`.
#[must_use = "a call does nothing until it is awaited by a workflow or started"]
pub struct Call<R> {
    pub(crate) target: Target,
    pub(crate) arguments: Result<Payload>,
    pub(crate) options: CallOptions,
    result: PhantomData<fn() -> R>,
}

impl<R> Call<R> {
    /// Makes a call of a task; `arguments` is the tuple of its arguments.
    pub fn task(definition: &'static TaskDefinition, arguments: &impl Serialize) -> Self {
        Self::of_encoded(Target::Task(definition), encode_tuple(arguments))
    }

    /// Makes a call of a workflow; `arguments` is the tuple of its arguments without the context.
    pub fn workflow(definition: &'static WorkflowDefinition, arguments: &impl Serialize) -> Self {
        Self::of_encoded(Target::Workflow(definition), encode_tuple(arguments))
    }

    pub(crate) fn of_encoded(target: Target, arguments: Result<Payload>) -> Self {
        let task = match target {
            Target::Task(definition) => (definition.options)(),
            Target::Workflow(_) => TaskOptions::new(),
        };
        Self {
            target,
            arguments,
            options: CallOptions {
                task,
                ..CallOptions::default()
            },
            result: PhantomData,
        }
    }

    /// Names the run that the call starts; starting the same id again joins that run.
    pub fn id(mut self, id: impl AsRef<str>) -> Self {
        self.options.id = Some(WorkflowId::new(id));
        self
    }

    /// Adds a tag to the run that the call starts, to find it by.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.tags.push((key.into(), value.into()));
        self
    }

    /// Sets how failed attempts are followed by others, in place of what the task says.
    pub fn retry(self, policy: RetryPolicy) -> Self {
        let mut call = self.for_tasks("retry");
        call.options.task.retry = policy;
        call
    }

    /// Sets how long one attempt may take.
    pub fn timeout(self, timeout: Duration) -> Self {
        let mut call = self.for_tasks("timeout");
        if timeout.is_zero() {
            call.refuse(Error::new(
                ErrorKind::InvalidInput,
                "with a timeout of 0 no attempt could end in time; leave it out for no limit",
            ));
        }
        call.options.task.timeout = Some(timeout);
        call
    }

    /// Lets the first attempt start no earlier than `delay` after the call was made durable.
    pub fn delay(self, delay: Duration) -> Self {
        let mut call = self.for_tasks("delay");
        call.options.task.delay = Some(delay);
        call
    }

    /// Sets the queue whose workers run the task.
    pub fn queue(self, queue: impl AsRef<str>) -> Self {
        let mut call = self.for_tasks("queue");
        match QueueName::new(queue) {
            Ok(queue) => call.options.task.queue = Some(queue),
            Err(error) => call.refuse(error),
        }
        call
    }

    /// Sets which of a queue's invocations go first: the higher number.
    pub fn priority(self, priority: i16) -> Self {
        let mut call = self.for_tasks("priority");
        call.options.task.priority = priority;
        call
    }

    /// Sets what an outside system recognises a repeated effect of the task by.
    pub fn idempotency_key(self, key: impl Into<String>) -> Self {
        let mut call = self.for_tasks("idempotency_key");
        call.options.task.idempotency_key = Some(key.into());
        call
    }

    /// Lets a workflow that calls the task start a subworkflow instead.
    pub fn force_new_workflow(self) -> Self {
        let mut call = self.for_tasks("force_new_workflow");
        call.options.task.force_new_workflow = true;
        call
    }

    /// Sets what happens to the subworkflow that the call starts when its parent ends.
    pub fn close_policy(mut self, policy: ClosePolicy) -> Self {
        self.options.close_policy = Some(policy);
        self
    }

    /// Returns what the call would execute.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target
    }

    /// Returns the options of the call.
    #[must_use]
    pub fn options(&self) -> &CallOptions {
        &self.options
    }

    /// Returns the entry of its task or workflow, to register it explicitly.
    #[must_use]
    pub fn registration(&self) -> Registration {
        match self.target {
            Target::Task(definition) => Registration::Task(definition),
            Target::Workflow(definition) => Registration::Workflow(definition),
        }
    }

    /// Runs the body of the task here and now when awaited, for unit tests: one attempt, no retries, nothing stored.
    ///
    /// Awaiting it for a workflow is an error, as a workflow needs an engine.
    pub fn local(self) -> Local<R> {
        Local::new(self)
    }

    fn for_tasks(mut self, option: &str) -> Self {
        if let Target::Workflow(definition) = self.target {
            self.refuse(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "`{option}` is an option of tasks, and `{}` is a workflow",
                    definition.name
                ),
            ));
        }
        self
    }

    fn refuse(&mut self, error: Error) {
        if self.arguments.is_ok() {
            self.arguments = Err(error);
        }
    }
}

impl<R> Clone for Call<R> {
    fn clone(&self) -> Self {
        Self {
            target: self.target,
            arguments: self.arguments.clone(),
            options: self.options.clone(),
            result: PhantomData,
        }
    }
}

impl<R> fmt::Debug for Call<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("target", &format_args!("{}", self.target))
            .field("arguments", &self.arguments)
            .field("options", &self.options)
            .finish()
    }
}

fn encode_tuple(arguments: &impl Serialize) -> Result<Payload> {
    let payload = Payload::encode(arguments)?;
    if payload.as_bytes() == b"null" {
        return Ok(Payload::from_bytes(&b"[]"[..]));
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::TaskBody;

    static DOUBLE: TaskDefinition = TaskDefinition {
        name: "double",
        options: || {
            let mut options = TaskOptions::new();
            options.retry = RetryPolicy::exponential(5);
            options
        },
        dependencies: &[],
        body: TaskBody::Blocking(|invocation| Ok(invocation.arguments)),
        location: ("shop.rs", 1),
    };

    static CHECKOUT: WorkflowDefinition = WorkflowDefinition {
        name: "checkout",
        version: 0,
        run: |_, arguments| Box::pin(async { Ok(arguments) }),
        location: ("shop.rs", 20),
    };

    fn double(number: u32) -> Call<u32> {
        Call::task(&DOUBLE, &(number,))
    }

    #[test]
    fn arguments_are_an_array_however_few() {
        assert_eq!(double(3).arguments.unwrap().as_bytes(), b"[3]");
        let none: Call<()> = Call::workflow(&CHECKOUT, &());
        assert_eq!(none.arguments.unwrap().as_bytes(), b"[]");
    }

    #[test]
    fn options_of_the_call_win_over_those_of_the_task() {
        let call = double(3)
            .timeout(Duration::from_secs(9))
            .queue("slow")
            .priority(-2);
        let options = &call.options().task;
        assert_eq!(options.retry, RetryPolicy::exponential(5));
        assert_eq!(options.timeout, Some(Duration::from_secs(9)));
        assert_eq!(options.queue, Some(QueueName::from_stored("slow")));
        assert_eq!(options.priority, -2);
        assert_eq!(
            double(3).retry(RetryPolicy::NONE).options().task.retry,
            RetryPolicy::NONE
        );
    }

    #[test]
    fn wrong_id_comes_out_where_it_is_used() {
        let call = double(3)
            .id("order/2")
            .tag("customer", "7")
            .tag("region", "eu");
        assert!(call.arguments.is_ok());
        let id = call.options.id.unwrap();
        assert_eq!(id.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(call.options.tags.len(), 2);
    }

    #[test]
    fn wrong_queue_and_task_options_of_a_workflow_are_kept_as_errors() {
        let wrong = double(3).queue("").arguments.unwrap_err();
        assert!(wrong.message().contains("queue name"), "{wrong}");
        let workflow: Call<()> = Call::workflow(&CHECKOUT, &());
        let wrong = workflow.priority(3).queue("").arguments.unwrap_err();
        assert_eq!(
            wrong.message(),
            "`priority` is an option of tasks, and `checkout` is a workflow"
        );
    }

    #[test]
    fn debug_shows_no_arguments() {
        let call: Call<u32> = Call::task(&DOUBLE, &("canary",));
        let shown = format!("{:?}", call.clone());
        assert!(
            shown.contains("task `double`") && !shown.contains("canary"),
            "{shown}"
        );
    }
}
