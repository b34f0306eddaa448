//! What the code that `#[task]` and `#[workflow]` write refers to; no part of the public interface.
//!
//! Invariants: generated code names nothing of this crate but what stands here.

mod arguments;
mod outcome;

pub use std::time::Duration;

pub use futures_util::future::BoxFuture;
pub use inventory;
pub use tokio::select as tokio_select;

pub use crate::backend::AnyConnection;
pub use crate::call::Call;
pub use crate::context::{Context, TaskContext};
pub use crate::history::Outcome;
pub use crate::id::QueueName;
pub use crate::options::TaskOptions;
pub use crate::payload::Payload;
pub use crate::registry::{
    Dep, DependencyKey, Invocation, Registration, TaskBody, TaskDefinition, TransactionalBody,
    WorkflowDefinition,
};
pub use crate::retry::RetryPolicy;

pub use arguments::{
    Argument, ArgumentReader, ArgumentWriter, Parameters, Shape, connection, dependency,
};
pub use outcome::{
    ChooseConvert, ChooseDescribe, ChooseTyped, Convert, Describe, ErrorProbe, Failure, FoundValue,
    IsResult, IsValue, KeepTyped, Output, Plain, ResultType, ReturnProbe, boxed, encode_output,
    require_plain,
};
