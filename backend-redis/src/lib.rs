//! The Redis backend: one server or a cluster, shared by any number of processes.
//!
//! Invariants: each contract call is one script per partition that it touches, or a fixed sequence of them, each safe to
//! stop after and to ask again. An acknowledgement is sent after the server's. Every comparison of times is the server's.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "tests may panic"
    )
)]

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use longhaul_core::backend::{Backend, Result as Answered, StoreInfo};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::WorkerId;
use redis::Value;

use crate::call::Call;
use crate::clock::Clock;
use crate::error::{Failure, Result, unreadable};
use crate::hints::Hints;
use crate::layout::{Layout, Slot};
use crate::link::Link;
use crate::reply::Items;
use crate::script::Script;

#[cfg(test)]
extern crate self as longhaul_backend_redis;

mod call;
mod checks;
mod clock;
mod commit;
mod config;
mod error;
mod events;
#[cfg(test)]
#[path = "../tests/fixture/mod.rs"]
mod fixture;
mod hints;
mod inspect;
mod layout;
mod link;
mod opening;
mod outbox;
mod pack;
mod record;
mod reply;
mod script;
#[cfg(test)]
mod scripts;
mod start;
mod state;
mod takeover;
mod tasks;
mod timers;
mod tls;

pub use config::{Checks, Durability, RedisConfig};

/// Is a store in a Redis server or cluster.
///
/// Dropping it closes its connections. Requests that are under way run to their end.
pub struct RedisBackend {
    store: Arc<Store>,
}

/// Is what all requests of a handle share.
#[derive(Debug)]
struct Store {
    link: Link,
    layout: Layout,
    clock: Clock,
    hints: Hints,
    info: StoreInfo,
}

impl Store {
    /// Prepares a script for a slot.
    fn script(&self, script: &'static Script, slot: Slot) -> Call {
        Call::new(script, &self.layout.tag(slot), self.clock.given())
    }

    /// Prepares a script for a partition.
    fn on(&self, script: &'static Script, partition: u16) -> Call {
        self.script(script, Slot::Partition(partition))
    }

    /// Sends a script and returns what it answers behind the time and `ok`.
    async fn ask(&self, slot: Slot, call: Call) -> Result<Items> {
        self.answer(slot, call.script, self.link.call(&call).await?)
    }

    /// Returns what a script answered behind the time and `ok`.
    fn answer(&self, slot: Slot, script: &Script, value: Value) -> Result<Items> {
        let mut items = Items::of(value)?;
        let now = record::timestamp(&items.bytes()?)?;
        self.clock.note(slot, now);
        match items.text()?.as_str() {
            "ok" => Ok(items),
            "dead" => Err(Failure::WorkerDead),
            "generation" => Err(Failure::OtherGeneration),
            other => Err(unreadable(script.name, other)),
        }
    }

    /// Sends scripts to several partitions at once.
    async fn ask_each(&self, calls: Vec<(u16, Call)>) -> Result<Vec<(u16, Items)>> {
        together(self.answers(calls).await?)
    }

    /// Sends scripts to several partitions at once, and returns what each came to; or why none was answered.
    async fn answers(&self, calls: Vec<(u16, Call)>) -> Result<Vec<Result<(u16, Items)>>> {
        let asked: Vec<_> = calls
            .iter()
            .map(|(partition, call)| (*partition, call.script))
            .collect();
        let calls = calls.into_iter().map(|(_, call)| call).collect();
        let values = self.link.call_each(calls).await?;
        let answer = |(value, (partition, script)): (Result<Value>, (u16, &Script))| {
            let items = self.answer(Slot::Partition(partition), script, value?)?;
            Ok((partition, items))
        };
        Ok(values.into_iter().zip(asked).map(answer).collect())
    }

    /// Sends a script to every partition at once.
    async fn ask_all(&self, make: impl Fn(u16) -> Call) -> Result<Vec<(u16, Items)>> {
        let calls = self
            .layout
            .all()
            .map(|partition| (partition, make(partition)));
        self.ask_each(calls.collect()).await
    }

    /// Sends a script that only looks to every partition at once, and returns what those answered that are ready.
    ///
    /// A node that is away delays its own partitions alone.
    async fn ask_ready(&self, make: impl Fn(u16) -> Call) -> Result<Vec<(u16, Items)>> {
        let calls = self.layout.all();
        let calls = calls.map(|partition| (partition, make(partition)));
        let answers = self.answers(calls.collect()).await?;
        let (ready, away): (Vec<_>, Vec<_>) = answers
            .into_iter()
            .partition(|answer| !matches!(answer, Err(failure) if failure.is_passing()));
        match away.into_iter().next() {
            Some(cause) if ready.is_empty() => together(vec![cause]),
            Some(Err(cause)) => {
                tracing::debug!(%cause, "some partitions are passed over");
                together(ready)
            }
            _ => together(ready),
        }
    }

    /// Passes an answer on; a worker of another generation is declared dead first, as what it relies on may be gone.
    async fn as_worker<T>(&self, worker: WorkerId, answer: Result<T>) -> Result<T> {
        if !matches!(answer, Err(Failure::OtherGeneration)) {
            return answer;
        }
        tracing::warn!(
            worker = %worker.0,
            "the store was restarted or a replica took its place; the worker joins again"
        );
        takeover::declare_dead(self, &[worker]).await?;
        Err(Failure::WorkerDead)
    }
}

/// Returns all answers, or the worst error: what was applied in part may have been applied.
fn together<T>(answers: Vec<Result<T>>) -> Result<Vec<T>> {
    let is_partly_done = answers.iter().any(Result::is_ok);
    let mut done = Vec::with_capacity(answers.len());
    let mut worst: Option<Failure> = None;
    for answer in answers {
        match answer {
            Ok(one) => done.push(one),
            Err(failure)
                if worst
                    .as_ref()
                    .is_none_or(|known| failure.weight() > known.weight()) =>
            {
                worst = Some(failure);
            }
            Err(_) => {}
        }
    }
    match worst {
        None => Ok(done),
        Some(failure) if is_partly_done => Err(failure.partly_done()),
        Some(failure) => Err(failure),
    }
}

impl RedisBackend {
    /// Opens the store, and makes it when it is not there.
    ///
    /// # Errors
    /// - `Invalid` when the server refuses the user, is too old, may lose what it acknowledged or evict keys, is a
    ///   read-only replica, or a cluster that does not serve all slots.
    /// - `NewerVersion` when a newer version made the store.
    /// - `Unavailable` when the server cannot be reached.
    ///
    /// # Cancel safety
    /// A dropped call opens nothing; the store may have been made.
    pub async fn open(config: RedisConfig) -> Answered<Self> {
        let store = detached(Box::pin(async move { opening::open(config).await })).await?;
        Ok(Self {
            store: Arc::new(store),
        })
    }

    /// Runs a call to its end, also when its caller is dropped.
    async fn call<T, F>(&self, call: impl FnOnce(Arc<Store>) -> F) -> Answered<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        Ok(detached(Box::pin(call(Arc::clone(&self.store)))).await?)
    }
}

/// Runs a request to its end, also when its caller is dropped.
///
/// The call is boxed where it is made: it is large, and would be copied at each step on its way into the runtime.
async fn detached<T: Send + 'static>(
    call: Pin<Box<dyn Future<Output = Result<T>> + Send>>,
) -> Result<T> {
    tokio::spawn(call).await.unwrap_or(Err(Failure::Stopped))
}

impl Drop for RedisBackend {
    fn drop(&mut self) {
        self.store.hints.close();
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend")
            .field("link", &self.store.link)
            .finish_non_exhaustive()
    }
}

impl Backend for RedisBackend {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn store(&self) -> StoreInfo {
        self.store.info.clone()
    }

    fn clock(&self) -> Timestamp {
        self.store.clock.now()
    }
}
