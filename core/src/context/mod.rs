//! What workflow and task code holds.
//!
//! Invariants: every durable operation of a workflow is made here; a task's context has none, so nesting one in a task
//! does not compile. `set`, `now`, `random` and `record` take effect at once and are durable with their turn.

mod callback;
mod join;
mod keys;
mod operation;
mod pause;
mod receivable;
mod shield;
mod step;
mod task;
mod update;
mod wait;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::callback::{Callback, CallbackWithin};
pub use self::join::{JoinAll, TryJoinAll, join_all};
pub use self::keys::{Data, IntoValue, Signal};
pub use self::operation::{Run, Start, Subworkflow};
pub use self::pause::Pause;
#[doc(hidden)]
pub use self::receivable::Opening;
pub use self::receivable::Receivable;
pub use self::shield::{Cancelled, Shield};
pub use self::step::Step;
pub use self::task::TaskContext;
pub use self::update::{Reply, Update};
pub use self::wait::{Receive, ReceiveWithin, Sleep, Timeout};

pub(crate) use self::callback::{completion, read_token, signal_name};
pub(crate) use self::operation::run_task_alone;
pub(crate) use self::task::{CancelFlag, IdempotencyKey, TaskData};
pub(crate) use self::update::Asked;

use self::wait::Until;
use crate::call::Call;
use crate::clock::Timestamp;
use crate::engine::chance::Use;
pub use crate::engine::chance::{Random, Rng};
use crate::engine::machine::Machine;
use crate::error::Result;
use crate::history::OperationKind;
use crate::id::{DataKey, OWN, SignalName, Uuid, check_name};
use crate::identity::WorkflowIdentity;
use crate::payload::Payload;

/// Gives workflow code its durable operations, data, time and chance.
///
/// Cheap to clone. Each operation takes its place in history when it is made and is scheduled when it is first polled,
/// so `join!`, `join_all`, `FuturesUnordered` and [`select!`](crate::select) work as usual.
#[derive(Debug, Clone)]
pub struct Context {
    machine: Arc<Machine>,
}

impl Context {
    pub(crate) fn new(machine: &Arc<Machine>) -> Self {
        Self {
            machine: Arc::clone(machine),
        }
    }

    /// Runs a task, or a workflow as a subworkflow, and waits for its outcome.
    ///
    /// # Errors
    /// The error of its last attempt; `Cancelled` when the run is cancelled; `LimitExceeded` or `InvalidInput` when the
    /// arguments cannot be stored.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the operation and records that.
    pub fn run<R: DeserializeOwned>(&self, call: Call<R>) -> Run<R> {
        Run::new(&self.machine, call)
    }

    /// Starts a task or workflow as a run of its own and does not wait for it; it goes on when this run ends, unless
    /// the call's close policy says otherwise.
    ///
    /// # Errors
    /// As [`Context::run`].
    pub fn start<R: DeserializeOwned>(&self, call: Call<R>) -> Start<R> {
        Start::new(&self.machine, call)
    }

    /// Runs all calls at once and waits for all results, in the order given.
    ///
    /// # Errors
    /// The first error in time; the other operations are cancelled then.
    pub fn join_all<R: DeserializeOwned>(
        &self,
        calls: impl IntoIterator<Item = Call<R>>,
    ) -> TryJoinAll<Run<R>> {
        TryJoinAll::new(calls.into_iter().map(|call| self.run(call)))
    }

    /// Sleeps for `duration`, across crashes and deploys, and costs nothing meanwhile.
    ///
    /// # Errors
    /// `Cancelled` when the run is cancelled.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(&self.machine, "sleep", Until::After(duration))
    }

    /// Sleeps until `time`; a time that has passed is due at once.
    ///
    /// # Errors
    /// `Cancelled` when the run is cancelled.
    pub fn sleep_until(&self, time: Timestamp) -> Sleep {
        Sleep::new(&self.machine, "sleep", Until::Time(time))
    }

    /// Waits for `future` for at most `limit`; a late one is dropped.
    ///
    /// # Errors
    /// `TimedOut` when the limit passed first.
    pub fn timeout<F: Future>(&self, limit: Duration, future: F) -> Timeout<F> {
        Timeout::new(&self.machine, limit, future)
    }

    /// Waits for the next signal of this name; one that came earlier is taken at once. Signals of a name come in the
    /// order in which they were accepted. Bound the wait with [`Receive::within`].
    ///
    /// An [`Update`] is received with a [`Reply`], which answers it.
    ///
    /// A name that no signal can have fails the run with a typed error, as nothing could ever come.
    ///
    /// # Errors
    /// `InvalidInput` when the signal's value is not a `T`; `Cancelled` when the run is cancelled.
    pub fn receive<S: Receivable>(&self, signal: S) -> Receive<S> {
        let name = signal.stored_name();
        let checked = match name.strip_prefix(OWN) {
            Some(_) => check_name("update", &name),
            None => SignalName::new(&name).map(drop),
        };
        if let Err(error) = checked {
            self.machine.fail(error);
        }
        Receive::new(&self.machine, signal)
    }

    /// Makes a callback: hand its token to an outside system, which completes it with
    /// [`Client::complete`](crate::client::Client::complete), and await it.
    pub fn callback<T: DeserializeOwned>(&self) -> Callback<T> {
        Callback::new(&self.machine)
    }

    /// Pauses the run until somebody resumes it: `handle.resume("reviewed")`.
    ///
    /// Nothing of the run starts or goes on meanwhile, other branches of the workflow included; what arrives is kept.
    ///
    /// # Errors
    /// `Cancelled` when the run is cancelled, which lifts the pause.
    pub fn pause(&self, reason: impl Into<String>) -> Pause {
        Pause::new(&self.machine, reason.into())
    }

    /// Keeps a cancel from what `future` asks for: its operations go on and end as they would have. What it was polled for
    /// before the shield is not kept from it.
    ///
    /// Use it for what must not be left half done, such as giving back what was reserved. A terminate is not kept out.
    pub fn shield<F: Future>(&self, future: F) -> Shield<F> {
        Shield::new(&self.machine, future)
    }

    /// Waits until the run is cancelled, and yields the reason: for a branch that is to do something then.
    pub fn cancelled(&self) -> Cancelled {
        Cancelled::new(&self.machine)
    }

    /// Tells whether the run was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.machine.cancel_reason().is_some()
    }

    /// Runs `step` as a task written in place: at least once, its outcome recorded once.
    ///
    /// It has no retries of its own, as a future runs once; use a `#[task]` for those.
    ///
    /// # Errors
    /// The step's own error; `Cancelled` when the run is cancelled.
    pub fn step<T, F>(&self, name: &str, step: F) -> Step<T>
    where
        T: Serialize,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        Step::new(&self.machine, name, step)
    }

    /// Records a value that is made once and is the same at each replay.
    ///
    /// # Errors
    /// `InvalidInput` when the value has no JSON form or is not a `T`; `LimitExceeded` when it is too large.
    pub fn record<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        make: impl FnOnce() -> T,
    ) -> Result<T> {
        let key = self.machine.construct(OperationKind::Record, name);
        let value = self.machine.record(key, || {
            self.machine.seal(Payload::encode(&make())?, "result", name)
        })?;
        let value = self.machine.unseal(value, "result", name)?;
        value.decode_as("record", name)
    }

    /// Sets a value of the workflow data.
    ///
    /// A value that has no JSON form, or is too large, fails the run with a typed error.
    pub fn set<T: Serialize>(&self, key: Data<T>, value: impl IntoValue<T>) {
        let stored = Payload::encode(&value.into_value())
            .and_then(|value| self.machine.seal(value, "data", key.name()))
            .and_then(|value| Ok((DataKey::new(key.name())?, value)));
        match stored {
            Ok((key, value)) => self.machine.set_data(key, Some(value)),
            Err(error) => self.machine.fail(error),
        }
    }

    /// Removes a value of the workflow data.
    pub fn remove<T>(&self, key: Data<T>) {
        self.machine
            .set_data(DataKey::from_stored(key.name()), None);
    }

    /// Returns a value of the workflow data.
    ///
    /// # Errors
    /// `InvalidInput` when the stored value is not a `T`.
    pub fn get<T: DeserializeOwned>(&self, key: Data<T>) -> Result<Option<T>> {
        let Some(value) = self.machine.data(&DataKey::from_stored(key.name())) else {
            return Ok(None);
        };
        self.machine
            .unseal(value, "data", key.name())?
            .decode_as("data", key.name())
            .map(Some)
    }

    /// Replaces a value of the workflow data by what `change` makes of it, and returns the new one.
    ///
    /// # Errors
    /// `InvalidInput` when the stored value is not a `T`.
    pub fn update<T: Serialize + DeserializeOwned + Clone>(
        &self,
        key: Data<T>,
        change: impl FnOnce(Option<T>) -> T,
    ) -> Result<T> {
        let value = change(self.get(key)?);
        self.set(key, value.clone());
        Ok(value)
    }

    /// Returns the time of the event that is being handled. It never goes back.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.machine.now()
    }

    /// Counts the events of the run's history up to the one that is being handled: the same number in each replay.
    ///
    /// A run whose history passes [`Limits::history_events_max`](crate::options::Limits::history_events_max) fails. One
    /// that could grow without end starts its successor before that and returns.
    #[must_use]
    pub fn history_len(&self) -> u64 {
        self.machine.history_len()
    }

    /// Draws a random value: any integer, a float from 0 up to 1, or a bool. It writes nothing.
    #[must_use]
    pub fn random<T: Random>(&self) -> T {
        self.machine.rng(Use::Random).draw()
    }

    /// Makes a source of random values.
    #[must_use]
    pub fn rng(&self) -> Rng {
        self.machine.rng(Use::Rng)
    }

    /// Draws a version 4 uuid.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        self.machine.rng(Use::Uuid).uuid()
    }

    /// Puts `items` into a random order.
    pub fn shuffle<T>(&self, items: &mut [T]) {
        self.machine.rng(Use::Shuffle).shuffle(items);
    }

    /// Returns who the run is.
    #[must_use]
    pub fn identity(&self) -> &WorkflowIdentity {
        &self.machine.identity
    }

    /// Tells whether the code is being re-run over its history. For logging only: a workflow that decides by it breaks.
    #[must_use]
    pub fn is_replaying(&self) -> bool {
        self.machine.is_replaying()
    }
}
