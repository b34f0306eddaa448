//! Durable workflows as a library.
#![doc = ""]
#![doc = include_str!("lib.md")]
#![forbid(unsafe_code)]

mod connect;
#[cfg(any(feature = "sqlx", feature = "postgres"))]
pub mod sqlx09;

pub use longhaul_core::{
    Error, ErrorKind, Result, backend, call, client, clock, context, failure, history, id,
    identity, options, payload, registry, retry, select, status, worker,
};

#[doc(hidden)]
pub use longhaul_core::__private;

#[cfg(feature = "macros")]
pub use longhaul_macros::{task, workflow};

/// Tests workflows: see [`testing::crash_everywhere`].
#[cfg(feature = "testing")]
pub use longhaul_testing as testing;

/// Brings everything that most programs need.
pub mod prelude {
    #[cfg(feature = "macros")]
    pub use longhaul_macros::{task, workflow};

    pub use longhaul_core::call::Call;
    pub use longhaul_core::client::{Client, Handle};
    pub use longhaul_core::clock::Timestamp;
    pub use longhaul_core::context::{Context, Data, Signal, TaskContext, Update, join_all};
    pub use longhaul_core::id::{Uuid, WorkflowId};
    pub use longhaul_core::identity::WorkflowIdentity;
    pub use longhaul_core::options::ClosePolicy;
    pub use longhaul_core::registry::Dep;
    pub use longhaul_core::retry::{RetryPolicy, days, hours, millis, minutes, seconds};
    pub use longhaul_core::status::Status;
    pub use longhaul_core::worker::Worker;
    pub use longhaul_core::{Error, ErrorKind, Result, failure, select};
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;

#[cfg(doctest)]
#[doc = include_str!("../docs/workflows.md")]
struct WorkflowsDoctests;

#[cfg(doctest)]
#[doc = include_str!("../docs/control.md")]
struct ControlDoctests;

#[cfg(doctest)]
#[doc = include_str!("../docs/task-queues.md")]
struct TaskQueuesDoctests;

#[cfg(doctest)]
#[doc = include_str!("../docs/backends.md")]
struct BackendsDoctests;

#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../docs/testing.md")]
struct TestingDoctests;

#[cfg(all(doctest, feature = "sqlx"))]
#[doc = include_str!("../docs/transactions.md")]
struct TransactionsDoctests;

#[cfg(doctest)]
#[doc = include_str!("../docs/deploying.md")]
struct DeployingDoctests;

#[cfg(doctest)]
#[doc = include_str!("../docs/write-a-backend.md")]
struct WriteABackendDoctests;

#[cfg(doctest)]
#[doc = include_str!("../docs/troubleshooting.md")]
struct TroubleshootingDoctests;
