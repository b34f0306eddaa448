//! What `#[task]` and `#[workflow]` make of a function.
//!
//! Constants: they live as long as the program and hold no state.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{Dependencies, DependencyKey};
use crate::backend::AnyConnection;
use crate::context::{Context, TaskContext};
use crate::history::Outcome;
use crate::id::{Route, TaskName, WorkflowType};
use crate::options::TaskOptions;
use crate::payload::Payload;

/// Is where a definition stands in the source: file and line.
pub type Location = (&'static str, u32);

/// Defines a task; `#[task]` writes one.
#[derive(Debug)]
pub struct TaskDefinition {
    /// Its name, which is stored.
    pub name: &'static str,
    /// Returns the options that its attribute gave.
    pub options: fn() -> TaskOptions,
    /// The types of its `Dep` parameters.
    pub dependencies: &'static [DependencyKey],
    /// What runs.
    pub body: TaskBody,
    /// Where it is written.
    pub location: Location,
}

impl TaskDefinition {
    /// Returns the name as a checked name.
    #[must_use]
    pub fn task_name(&self) -> TaskName {
        TaskName::from_stored(self.name)
    }

    /// Returns the type of the runs that are this task started alone.
    #[must_use]
    pub fn workflow_type(&self) -> WorkflowType {
        WorkflowType::from_stored(self.name)
    }

    /// Returns the route of the runs that are this task started alone.
    #[must_use]
    pub fn route(&self) -> Route {
        Route::from_stored(format!("task:{}", self.name))
    }
}

/// Is the body of a task.
#[derive(Debug, Clone, Copy)]
pub enum TaskBody {
    /// Comes from an `async fn` and is polled by the runtime.
    Async(fn(Invocation) -> BoxFuture<'static, Outcome>),
    /// Comes from a plain `fn` and belongs on the pool for blocking work.
    Blocking(fn(Invocation) -> Outcome),
    /// Comes from an `async fn` that is given a connection with an open transaction.
    Transactional(TransactionalBody),
}

/// Is the body of a task whose SQL is committed together with its outcome.
#[derive(Debug, Clone, Copy)]
pub struct TransactionalBody {
    /// The type of the connection that it takes.
    pub connection: DependencyKey,
    /// What runs.
    pub run: for<'a> fn(Invocation, &'a mut AnyConnection) -> BoxFuture<'a, Outcome>,
}

/// Is all that one attempt of a task is given.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// What the task may know and do.
    pub context: TaskContext,
    /// Its encoded arguments.
    pub arguments: Payload,
    /// What its worker provides.
    pub dependencies: Arc<Dependencies>,
}

/// Defines a workflow; `#[workflow]` writes one.
#[derive(Debug)]
pub struct WorkflowDefinition {
    /// Its name, which is stored.
    pub name: &'static str,
    /// What `version = N` gave; 0 when it gave none.
    pub version: u32,
    /// Makes the future of one run, or of one replay, from its encoded arguments.
    pub run: fn(Context, Payload) -> BoxFuture<'static, Outcome>,
    /// Where it is written.
    pub location: Location,
}

impl WorkflowDefinition {
    /// Returns the name as the type of its runs.
    #[must_use]
    pub fn workflow_type(&self) -> WorkflowType {
        WorkflowType::from_stored(self.name)
    }

    /// Returns the route of its runs.
    #[must_use]
    pub fn route(&self) -> Route {
        Route::from_stored(self.name)
    }
}

/// Is an entry of the inventory that the linker collects.
#[derive(Debug, Clone, Copy)]
pub enum Registration {
    /// A task.
    Task(&'static TaskDefinition),
    /// A workflow.
    Workflow(&'static WorkflowDefinition),
}

inventory::collect!(Registration);

impl Registration {
    /// Returns the name of the task or workflow.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Task(definition) => definition.name,
            Self::Workflow(definition) => definition.name,
        }
    }

    /// Returns where it is written.
    #[must_use]
    pub fn location(&self) -> Location {
        match self {
            Self::Task(definition) => definition.location,
            Self::Workflow(definition) => definition.location,
        }
    }

    /// Returns the route of its runs.
    #[must_use]
    pub fn route(&self) -> Route {
        match self {
            Self::Task(definition) => definition.route(),
            Self::Workflow(definition) => definition.route(),
        }
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Task(one), Self::Task(other)) => std::ptr::eq(*one, *other),
            (Self::Workflow(one), Self::Workflow(other)) => std::ptr::eq(*one, *other),
            (Self::Task(_), Self::Workflow(_)) | (Self::Workflow(_), Self::Task(_)) => false,
        }
    }
}

impl fmt::Display for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line) = self.location();
        let kind = match self {
            Self::Task(_) => "task",
            Self::Workflow(_) => "workflow",
        };
        write!(f, "{kind} `{}` at {file}:{line}", self.name())
    }
}
