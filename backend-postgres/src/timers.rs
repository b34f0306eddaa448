//! Due runs, found by one probe of an index per route.
//!
//! Invariants: runs of other routes, parked runs and runs that the asking build blocked are never looked at, so that
//! they cost nothing however many there are.

use async_trait::async_trait;
use longhaul_core::backend::{Due, Result as Answered, Serves, Timers};

use crate::{PostgresBackend, state};

#[async_trait]
impl Timers for PostgresBackend {
    async fn due(&self, serves: &Serves) -> Answered<Due> {
        let serves = serves.clone();
        self.call(|store| async move { state::due(&store, &serves).await })
            .await
    }
}
