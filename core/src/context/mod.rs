//! What workflow and task code holds.

/// Is what workflow code holds.
#[derive(Debug, Clone)]
pub struct Context;

/// Is what task code may hold.
#[derive(Debug, Clone)]
pub struct TaskContext;
