//! What task code may hold: who it is, which attempt, and whether it should stop.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use crate::backend::Backend;
use crate::context::keys::Data;
use crate::error::Result;
use crate::history::OperationKey;
use crate::id::{DataKey, Segment, TaskName, WorkflowId, WorkflowType};
use crate::identity::WorkflowIdentity;
use crate::payload::{Binding, CodecChain, Payload};

/// Tells an attempt that it is no longer wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct CancelFlag(Arc<Flag>);

#[derive(Debug, Default)]
struct Flag {
    is_raised: AtomicBool,
    news: Notify,
}

impl CancelFlag {
    pub(crate) fn raise(&self) {
        self.0.is_raised.store(true, Ordering::SeqCst);
        self.0.news.notify_waiters();
    }

    fn is_raised(&self) -> bool {
        self.0.is_raised.load(Ordering::SeqCst)
    }

    async fn raised(&self) {
        loop {
            let news = self.0.news.notified();
            if self.is_raised() {
                return;
            }
            news.await;
        }
    }
}

/// Is what a task's idempotency key is made of when it is asked for.
#[derive(Debug)]
pub(crate) enum IdempotencyKey {
    /// The one that the caller chose.
    Chosen(String),
    /// One that names the invocation.
    Derived(Segment, OperationKey),
}

impl IdempotencyKey {
    fn text(&self, run: &WorkflowId) -> String {
        match self {
            Self::Chosen(key) => key.clone(),
            Self::Derived(segment, operation) => format!("{run}/{segment}/{operation}"),
        }
    }
}

/// Is where an attempt reads the workflow data of its run.
#[derive(Clone)]
pub(crate) enum TaskData {
    /// As it was when the attempt started, in the worker that owns the run.
    Snapshot(Arc<BTreeMap<DataKey, Payload>>),
    /// As it is stored, in another worker.
    Stored(Arc<dyn Backend>),
}

/// Gives task code its attempt, identity and idempotency key.
///
/// It has no durable operations: a task cannot run tasks, sleep durably or receive signals.
#[derive(Clone)]
pub struct TaskContext {
    inner: Arc<Inner>,
}

struct Inner {
    identity: WorkflowIdentity,
    task: TaskName,
    attempt: u32,
    key: IdempotencyKey,
    key_text: OnceLock<String>,
    cancelled: CancelFlag,
    data: TaskData,
    codecs: CodecChain,
}

impl fmt::Debug for TaskContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskContext")
            .field("run", &self.inner.identity.workflow_id)
            .field("task", &self.inner.task)
            .field("attempt", &self.inner.attempt)
            .finish_non_exhaustive()
    }
}

impl TaskContext {
    pub(crate) fn new(
        identity: WorkflowIdentity,
        task: TaskName,
        attempt: u32,
        key: IdempotencyKey,
        cancelled: CancelFlag,
        data: TaskData,
        codecs: CodecChain,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                identity,
                task,
                attempt,
                key,
                key_text: OnceLock::new(),
                cancelled,
                data,
                codecs,
            }),
        }
    }

    /// Makes the context of a task that runs outside of a worker, for unit tests.
    #[must_use]
    pub fn local(name: &str, attempt: u32) -> Self {
        let id = WorkflowId::from_stored(format!("local-{name}"));
        Self::new(
            WorkflowIdentity::root(id, WorkflowType::from_stored(name)),
            TaskName::from_stored(name),
            attempt,
            IdempotencyKey::Chosen(format!("local-{name}")),
            CancelFlag::default(),
            TaskData::Snapshot(Arc::default()),
            CodecChain::default(),
        )
    }

    /// Returns which attempt this is, from 1: one more than the recorded failed and lost attempts.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.inner.attempt
    }

    /// Returns who the run is: the workflow's identity inside a workflow, one of its own for a task started alone.
    #[must_use]
    pub fn identity(&self) -> &WorkflowIdentity {
        &self.inner.identity
    }

    /// Returns the task's name.
    #[must_use]
    pub fn task(&self) -> &TaskName {
        &self.inner.task
    }

    /// Returns a key that is the same for all attempts of this invocation and for no other; hand it to systems that
    /// recognise a repeated request by it.
    #[must_use]
    pub fn idempotency_key(&self) -> &str {
        let inner = &self.inner;
        let text = || inner.key.text(&inner.identity.workflow_id);
        inner.key_text.get_or_init(text)
    }

    /// Tells whether the outcome is no longer wanted.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.inner.cancelled.is_raised()
    }

    /// Waits until the outcome is no longer wanted.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn cancelled(&self) {
        self.inner.cancelled.raised().await;
    }

    /// Returns a value of the run's workflow data, as of the start of this attempt or later.
    ///
    /// # Errors
    /// `InvalidInput` when the stored value is not a `T`; a backend's error when it must be asked.
    pub async fn get<T: DeserializeOwned>(&self, key: Data<T>) -> Result<Option<T>> {
        let run = &self.inner.identity.workflow_id;
        let name = DataKey::from_stored(key.name());
        let value = match &self.inner.data {
            TaskData::Snapshot(data) => data.get(&name).cloned(),
            TaskData::Stored(backend) => match backend.data(run, &name).await {
                Ok(value) => value,
                Err(error) => return Err(error.into_public()),
            },
        };
        let binding = Binding {
            run,
            kind: "data",
            key: key.name(),
        };
        value
            .map(|value| {
                let value = self.inner.codecs.decode(value, &binding)?;
                value.decode_as(binding.kind, binding.key)
            })
            .transpose()
    }
}
