//! Durable workflows as a library.
//!
//! You write an `async fn`, put `#[workflow]` on it and `#[task]` on the functions with side effects, and name a store in
//! one URL; the function survives crashes, restarts and months of waiting. There is no server to run.
#![forbid(unsafe_code)]

mod connect;

pub use longhaul_core::{
    Error, ErrorKind, Result, backend, call, client, clock, context, failure, history, id,
    identity, options, payload, registry, retry, select, status, worker,
};

#[doc(hidden)]
pub use longhaul_core::__private;

#[cfg(feature = "macros")]
pub use longhaul_macros::{task, workflow};

/// Brings everything that most programs need.
pub mod prelude {
    #[cfg(feature = "macros")]
    pub use longhaul_macros::{task, workflow};

    pub use longhaul_core::call::Call;
    pub use longhaul_core::client::{Client, Handle};
    pub use longhaul_core::clock::Timestamp;
    pub use longhaul_core::context::{Context, Data, Signal, TaskContext, join_all};
    pub use longhaul_core::id::{Uuid, WorkflowId};
    pub use longhaul_core::identity::WorkflowIdentity;
    pub use longhaul_core::options::ClosePolicy;
    pub use longhaul_core::registry::Dep;
    pub use longhaul_core::retry::{RetryPolicy, days, hours, millis, minutes, seconds};
    pub use longhaul_core::status::Status;
    pub use longhaul_core::worker::Worker;
    pub use longhaul_core::{Error, ErrorKind, Result, failure, select};
}
