//! The attribute macros of Longhaul: `#[task]` and `#[workflow]`.
//!
//! Invariants: generated code refers to `longhaul::__private` alone; what is wrong in the user's code is reported at its
//! place with what to write instead.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "tests may panic"
    )
)]

mod attributes;
mod check;
mod function;
mod nearest;
mod path;
mod task;
mod workflow;

use proc_macro::TokenStream;

/// Makes a task of a function: work with side effects that is retried, and whose outcome is recorded once.
///
/// `async fn charge(order: Order) -> Result<Receipt>` becomes `fn charge(order: Order) -> Call<Receipt>`. The call is
/// plain data: a workflow awaits it, a client starts it, and `.local().await` runs the body in a unit test. The task is
/// registered by being linked.
///
/// ```
/// # extern crate longhaul_core as longhaul;
/// # use longhaul::{Result, context::TaskContext, registry::Dep};
/// # use longhaul_macros::task;
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize)]
/// struct Receipt {
///     total: u64,
/// }
///
/// struct Gateway {
///     fee: u64,
/// }
///
/// #[task(retries = 5, backoff = "200ms..30s", timeout = "10s")]
/// async fn charge(total: u64, gateway: Dep<Gateway>) -> Result<Receipt> {
///     Ok(Receipt { total: total + gateway.fee })
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let receipt = charge(100).local().provide(Gateway { fee: 3 }).await?;
/// assert_eq!(receipt.total, 103);
/// # Ok(())
/// # }
/// ```
///
/// # Options
///
/// | option | meaning | by default |
/// |---|---|---|
/// | `retries = 5` | how many attempts may follow the first when attempts fail | 0 |
/// | `backoff = "200ms..30s"` | the delay before the second attempt, and the longest; it doubles in between | `200ms..30s` |
/// | `timeout = "10s"` | how long one attempt may take | unlimited |
/// | `queue = "mail"` | the queue whose workers run it | the worker that owns the run, or one with less to do |
/// | `priority = 3` | which of a queue's invocations go first: the higher number | 0 |
/// | `name = "charge"` | the name that is stored; keep it when you rename the function | the function's name |
/// | `force_new_workflow` | a workflow that calls it starts a subworkflow | it runs as a part of the workflow |
/// | `transactional` | its SQL is committed together with its outcome, see below | its effects and its outcome are apart |
/// | `result` | the return type is a `Result` under another name | a `Result` is known by that name |
/// | `crate = "path"` | where the library is, for those who re-export it | `::longhaul` |
///
/// Durations are a number and `ms`, `s`, `m`, `h` or `d`. What is known only at run time is given to the call:
/// `charge(order).timeout(limit).delay(hours(1)).idempotency_key(key)`.
///
/// # Parameters
///
/// - `ctx: TaskContext`, first and optional: attempt, identity, idempotency key, cancellation, workflow data.
/// - `Dep<T>`: a value from `Worker::builder().provide(value)`. It is no parameter of the call.
/// - Everything else is an argument, stored as JSON: it implements `serde::Serialize` and `DeserializeOwned`, and owns
///   what it holds. There can be any number.
///
/// - `tx: &mut SqliteConnection` or `tx: &mut PgConnection`, first after the context: only of a transactional task.
///
/// # Transactional tasks
///
/// `#[task(transactional)] async fn reserve(tx: &mut sqlx09::SqliteConnection, order: Order) -> Result<Seat>` is called as
/// `reserve(order)`. The worker begins a transaction before the body and commits it after, together with the outcome: they
/// stand together or not at all, wherever the process dies. An error rolls back what the body wrote. A worker whose store
/// gives other connections does not start. In a unit test: `reserve(order).local().within(&mut *transaction).await`.
///
/// # Results
///
/// A task returns `T`, `Result<T>` or `Result<T, E>`. `E` is any error that converts into `longhaul::Error`, or into a
/// boxed error, such as `anyhow::Error` or `String`. An `E` that is a [`std::error::Error`] and implements
/// `serde::Serialize` keeps its type, and `error.downcast::<E>()` gives it back, after a restart too.
///
/// # Blocking work
///
/// A plain `fn` is a task too, and runs where it may block:
///
/// ```
/// # extern crate longhaul_core as longhaul;
/// # use longhaul_macros::task;
/// #[task(queue = "images")]
/// fn checksum(bytes: Vec<u8>) -> u64 {
///     bytes.iter().map(|byte| u64::from(*byte)).sum()
/// }
/// ```
#[proc_macro_attribute]
#[doc(alias = "activity", alias = "step")]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    expanded(task::expand(options.into(), item.clone().into()), item)
}

/// Makes a workflow of an async function: it survives crashes, restarts and months of waiting by being replayed over its
/// history.
///
/// `async fn checkout(ctx: Context, order: Order) -> Result<Confirmation>` becomes
/// `fn checkout(order: Order) -> Call<Confirmation>`. A client starts the call with `client.start`, another workflow
/// awaits it with `ctx.run`, which starts a subworkflow. The workflow is registered by being linked.
///
/// ```
/// # extern crate longhaul_core as longhaul;
/// # use longhaul::{Result, context::Context};
/// # use longhaul_macros::workflow;
/// #[workflow(version = 2)]
/// async fn checkout(ctx: Context, order: u64, total: u64) -> Result<u64> {
///     # let _ = ctx;
///     Ok(order + total)
/// }
///
/// let call = checkout(1001, 30).id("order-1001").tag("region", "eu");
/// assert_eq!(call.target().name(), "checkout");
/// ```
///
/// # Options
///
/// | option | meaning | by default |
/// |---|---|---|
/// | `version = 2` | the version of the code, which new runs remember | 0, which says nothing |
/// | `name = "checkout"` | the name that is stored; keep it when you rename the function | the function's name |
/// | `result` | the return type is a `Result` under another name | a `Result` is known by that name |
/// | `crate = "path"` | where the library is, for those who re-export it | `::longhaul` |
///
/// # Parameters
///
/// `ctx: Context` comes first; everything else is an argument, as for [`task`](macro@task). There is no `Dep<T>`: what has
/// side effects belongs in a task. The future of a workflow is `Send + 'static`.
#[proc_macro_attribute]
#[doc(alias = "orchestration", alias = "handler")]
pub fn workflow(options: TokenStream, item: TokenStream) -> TokenStream {
    expanded(workflow::expand(options.into(), item.clone().into()), item)
}

/// Reports an error beside the item as it was, so that its name and body stay known to the editor.
fn expanded(outcome: syn::Result<proc_macro2::TokenStream>, item: TokenStream) -> TokenStream {
    match outcome {
        Ok(tokens) => tokens.into(),
        Err(error) => TokenStream::from_iter([error.into_compile_error().into(), item]),
    }
}
