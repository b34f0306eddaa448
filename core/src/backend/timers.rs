//! When runs that nobody owns are due.

use async_trait::async_trait;

use super::{Due, Result, Serves};

/// Finds due runs by their one `wake_at`.
#[async_trait]
pub trait Timers: Send + Sync {
    /// Counts the unowned runs that are due for a worker, and tells when the next of the others is.
    ///
    /// # Guarantees
    /// - A run is due no earlier than its `wake_at` by the backend's clock.
    /// - Owned, finished and paused runs, runs of other routes, and runs that this build blocked do not count.
    ///
    /// # Errors
    /// Only when the backend cannot be reached.
    async fn due(&self, serves: &Serves) -> Result<Due>;
}
