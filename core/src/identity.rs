//! Who a run is and where it belongs in the tree of runs.
//!
//! Invariants: an identity never changes; a run that nobody started from inside a run is its own root.

use serde::{Deserialize, Serialize};

use crate::id::{WorkflowId, WorkflowType};

/// Tells which run this is, of which type, and who started it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkflowIdentity {
    /// The run.
    pub workflow_id: WorkflowId,
    /// Its type: the workflow's name, or the task's for a task started alone.
    pub workflow_type: WorkflowType,
    /// The run that started it, if one did.
    pub parent: Option<WorkflowId>,
    /// The topmost run of the tree; itself when nobody started it.
    pub root: WorkflowId,
}

impl WorkflowIdentity {
    /// Makes the identity of a run that a client starts.
    #[must_use]
    pub fn root(workflow_id: WorkflowId, workflow_type: WorkflowType) -> Self {
        Self {
            root: workflow_id.clone(),
            workflow_id,
            workflow_type,
            parent: None,
        }
    }

    /// Makes the identity of a run that this one starts.
    #[must_use]
    pub fn child(&self, workflow_id: WorkflowId, workflow_type: WorkflowType) -> Self {
        Self {
            workflow_id,
            workflow_type,
            parent: Some(self.workflow_id.clone()),
            root: self.root.clone(),
        }
    }

    /// Tells whether a run started it.
    #[must_use]
    pub fn is_subworkflow(&self) -> bool {
        self.parent.is_some()
    }
}

/// Tells what a run executes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RunKind {
    /// A `#[workflow]` function.
    Workflow,
    /// A `#[task]` function that was started alone.
    Task,
}

impl RunKind {
    /// Returns the name that the kind is stored under.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Workflow => "workflow",
            Self::Task => "task",
        }
    }

    /// Finds the kind of a stored name.
    #[must_use]
    pub fn from_stored(name: &str) -> Option<Self> {
        [Self::Workflow, Self::Task]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }
}
