//! What workflow and task code holds.

/// Is what workflow code holds.
#[derive(Debug, Clone)]
pub struct Context;

/// Is what task code may hold.
#[derive(Debug, Clone)]
pub struct TaskContext;

impl TaskContext {
    /// Makes the context of a task that runs outside of a worker, for unit tests.
    #[must_use]
    pub fn local(_name: &str, _attempt: u32) -> Self {
        Self
    }
}
