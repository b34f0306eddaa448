//! Runs the body of a task without a worker, for unit tests.
//!
//! Invariants: the body sees its arguments as they would be stored and read back; one attempt, and nothing is recorded.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;

use super::{Call, Target};
use crate::backend::AnyConnection;
use crate::context::TaskContext;
use crate::error::{Error, ErrorKind, Result};
use crate::history::Outcome;
use crate::registry::{Dependencies, Invocation, TaskBody, TaskDefinition};

/// Runs a task outside of a worker when awaited; [`Call::local`] makes it.
#[derive(Debug)]
#[must_use = "the task runs when this is awaited"]
pub struct Local<R> {
    call: Call<R>,
    attempt: u32,
    dependencies: Dependencies,
}

impl<R> Local<R> {
    pub(super) fn new(call: Call<R>) -> Self {
        Self {
            call,
            attempt: 1,
            dependencies: Dependencies::new(),
        }
    }

    /// Gives the task a value for its `Dep<T>` parameter.
    pub fn provide<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.dependencies.insert(value);
        self
    }

    /// Gives the task a shared value for its `Dep<T>` parameter, which may be a trait object.
    pub fn provide_arc<T: ?Sized + Send + Sync + 'static>(mut self, value: Arc<T>) -> Self {
        self.dependencies.insert_arc(value);
        self
    }

    /// Sets which attempt the task believes to be, from 1.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }
}

impl<R> Local<R> {
    /// Runs a transactional task on `connection`, in whatever transaction that is in; nothing is committed here.
    ///
    /// With sqlx: `reserve(order).local().within(&mut *transaction).await`.
    pub fn within<C: Any + Send>(self, connection: &mut C) -> LocalWithin<'_, R> {
        LocalWithin {
            local: self,
            connection,
        }
    }

    fn invocation(self) -> Result<(&'static TaskDefinition, Invocation)> {
        let Target::Task(task) = self.call.target else {
            return Err(needs_an_engine(self.call.target));
        };
        let invocation = Invocation {
            context: TaskContext::local(task.name, self.attempt),
            arguments: self.call.arguments?,
            dependencies: Arc::new(self.dependencies),
        };
        Ok((task, invocation))
    }
}

/// Runs a transactional task on a connection when awaited; [`Local::within`] makes it.
#[must_use = "the task runs when this is awaited"]
pub struct LocalWithin<'a, R> {
    local: Local<R>,
    connection: &'a mut AnyConnection,
}

impl<R> fmt::Debug for LocalWithin<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalWithin")
            .field("call", &self.local.call)
            .finish_non_exhaustive()
    }
}

impl<'a, R: DeserializeOwned + 'static> IntoFuture for LocalWithin<'a, R> {
    type Output = Result<R>;
    type IntoFuture = BoxFuture<'a, Result<R>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (task, invocation) = self.local.invocation()?;
            let TaskBody::Transactional(body) = task.body else {
                return Err(takes_no_connection(task.name));
            };
            (body.run)(invocation, self.connection).await?.decode()
        })
    }
}

fn takes_no_connection(task: &str) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!(
            "task `{task}` takes no connection; leave `.within(...)` out, or make it `#[task(transactional)]`"
        ),
    )
}

fn needs_a_connection(task: &str) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!(
            "task `{task}` is transactional; give it a connection: `.local().within(&mut *transaction)`"
        ),
    )
}

impl<R: DeserializeOwned + 'static> IntoFuture for Local<R> {
    type Output = Result<R>;
    type IntoFuture = BoxFuture<'static, Result<R>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (task, invocation) = self.invocation()?;
            run_here(task, invocation).await?.decode()
        })
    }
}

fn needs_an_engine(target: Target) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!(
            "{target} cannot run without an engine; start it with a client of `memory:`, `.local()` is for tasks"
        ),
    )
}

async fn run_here(task: &TaskDefinition, invocation: Invocation) -> Outcome {
    match task.body {
        TaskBody::Transactional(_) => Err(needs_a_connection(task.name)),
        TaskBody::Async(body) => body(invocation).await,
        TaskBody::Blocking(body) if tokio::runtime::Handle::try_current().is_err() => {
            body(invocation)
        }
        TaskBody::Blocking(body) => {
            match tokio::task::spawn_blocking(move || body(invocation)).await {
                Ok(outcome) => outcome,
                Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
                Err(ended) => Err(Error::new(ErrorKind::Cancelled, ended)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::TaskOptions;
    use crate::payload::Payload;
    use crate::registry::{Dep, DependencyKey, TransactionalBody, WorkflowDefinition};
    use futures_util::FutureExt as _;

    static DOUBLE: TaskDefinition = TaskDefinition {
        name: "double",
        options: TaskOptions::default,
        dependencies: &[],
        body: TaskBody::Async(|invocation| {
            Box::pin(async move {
                let (number,): (u32,) = invocation.arguments.decode()?;
                Payload::encode(&(number * 2))
            })
        }),
        location: ("shop.rs", 1),
    };

    static GREET: TaskDefinition = TaskDefinition {
        name: "greet",
        options: TaskOptions::default,
        dependencies: &[DependencyKey::of::<String>()],
        body: TaskBody::Blocking(|invocation| {
            let greeting: Dep<String> = invocation
                .dependencies
                .get()
                .ok_or_else(|| Error::new(ErrorKind::NotRegistered, "no greeting"))?;
            Payload::encode(&format!("{} {:?}", *greeting, std::thread::current().id()))
        }),
        location: ("shop.rs", 9),
    };

    static CHECKOUT: WorkflowDefinition = WorkflowDefinition {
        name: "checkout",
        version: 0,
        run: |_, arguments| Box::pin(async { Ok(arguments) }),
        location: ("shop.rs", 20),
    };

    #[tokio::test]
    async fn local_runs_the_body() {
        assert_eq!(Call::<u32>::task(&DOUBLE, &(3,)).local().await.unwrap(), 6);
    }

    #[tokio::test]
    async fn local_gives_dependencies_and_leaves_the_thread_for_blocking_work() {
        let call: Call<String> = Call::task(&GREET, &());
        assert!(call.clone().local().await.is_err());
        let greeting = call.local().provide("hello".to_owned()).await.unwrap();
        let here = format!("hello {:?}", std::thread::current().id());
        assert!(
            greeting.starts_with("hello ") && greeting != here,
            "{greeting}"
        );
    }

    #[test]
    fn local_needs_no_runtime() {
        let call: Call<String> = Call::task(&GREET, &());
        let local = call.local().provide_arc(Arc::new("hello".to_owned()));
        assert!(local.into_future().now_or_never().unwrap().is_ok());
    }

    #[tokio::test]
    async fn local_on_a_workflow_says_what_to_do() {
        let call: Call<()> = Call::workflow(&CHECKOUT, &());
        let error = call.local().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().contains("memory:"), "{error}");
    }
    static ADD_UP: TaskDefinition = TaskDefinition {
        name: "add_up",
        options: TaskOptions::default,
        dependencies: &[],
        body: TaskBody::Transactional(TransactionalBody {
            connection: DependencyKey::of::<u32>(),
            run: |invocation, connection| {
                Box::pin(async move {
                    let (number,): (u32,) = invocation.arguments.decode()?;
                    let total = connection.downcast_mut::<u32>();
                    let total = total.ok_or_else(|| Error::failed("no number"))?;
                    *total += number;
                    Payload::encode(total)
                })
            },
        }),
        location: ("shop.rs", 30),
    };

    #[tokio::test]
    async fn transactional_task_runs_on_the_given_connection() {
        let call = Call::<u32>::task(&ADD_UP, &(3,));
        let mut total = 4_u32;
        let added = call.clone().local().within(&mut total).await.unwrap();
        assert_eq!((added, total), (7, 7));
        let without = call.local().await.unwrap_err();
        assert!(without.message().contains(".local().within("), "{without}");
        let plain = Call::<u32>::task(&DOUBLE, &(3,)).local();
        let unused = plain.within(&mut total).await.unwrap_err();
        assert!(unused.message().contains("takes no connection"), "{unused}");
    }
}
