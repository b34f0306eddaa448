//! What an engine must be able to do to be measured.

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// Is where an engine keeps its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// A database of a Postgres server.
    Postgres,
    /// A file that is flushed at every commit.
    Sqlite,
}

impl Store {
    /// Returns the store that a URL names.
    #[must_use]
    pub fn of(url: &str) -> Self {
        match url.starts_with("sqlite:") {
            true => Self::Sqlite,
            false => Self::Postgres,
        }
    }

    /// Returns its name as it is printed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }
}

/// Is what a workflow does.
#[derive(Debug, Clone, Copy)]
pub enum Program {
    /// Trivial tasks one after another.
    Sequence(u32),
    /// Trivial tasks side by side.
    FanOut(u32),
    /// Calls [`is_about_to_wait`](crate::program::is_about_to_wait) and waits for one message.
    Waiting,
    /// Five tasks, the third of which is [`third_task`](crate::program::third_task).
    Five,
}

/// Is how the workflows of a killed worker go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Succession {
    /// Another worker that runs already notices and takes them over.
    TakeOver,
    /// A process that is started afterwards, under the same name, recovers them. Nobody notices before.
    Restart,
}

/// Is an engine with a client and a worker in this process.
pub trait Engine: Sized + Send + Sync + 'static {
    /// Is a workflow that was started.
    type Run: Send + 'static;

    /// Is the engine's name.
    const NAME: &'static str;

    /// Is how the workflows of a killed worker go on.
    const SUCCESSION: Succession;

    /// Says what differs from the engine's default settings on a store.
    ///
    /// # Errors
    /// Why the engine cannot be measured on it.
    fn settings(store: Store) -> Result<&'static str, &'static str>;

    /// Opens the store, starts a worker, and recovers what a dead process of the same name left.
    ///
    /// # Errors
    /// The engine's.
    fn open(url: &str) -> impl Future<Output = Result<Self>> + Send;

    /// Starts a workflow, under a name where one is given.
    ///
    /// # Errors
    /// The engine's.
    fn start(
        &self,
        program: Program,
        id: Option<&str>,
    ) -> impl Future<Output = Result<Self::Run>> + Send;

    /// Returns a workflow that may have been started by another process.
    ///
    /// # Errors
    /// The engine's.
    fn find(&self, id: &str) -> impl Future<Output = Result<Self::Run>> + Send;

    /// Sends a workflow the message that it waits for.
    ///
    /// # Errors
    /// The engine's.
    fn send(&self, id: &str) -> impl Future<Output = Result<()>> + Send;

    /// Waits for a workflow's result.
    ///
    /// # Errors
    /// The engine's, and the workflow's.
    fn result(&self, run: Self::Run) -> impl Future<Output = Result<()>> + Send;

    /// Waits until so many waiting workflows are where this engine keeps them while nothing happens.
    ///
    /// # Errors
    /// The engine's.
    fn rest(&self, parked: usize) -> impl Future<Output = Result<()>> + Send;

    /// Stops the worker.
    ///
    /// # Errors
    /// The engine's.
    fn close(self) -> impl Future<Output = Result<()>> + Send;
}
