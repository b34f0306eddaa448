//! When runs that nobody owns are due.

use async_trait::async_trait;
use longhaul_core::backend::{Due, Result as Answered, Serves, Timers};

use crate::RedisBackend;
use crate::state;

#[async_trait]
impl Timers for RedisBackend {
    async fn due(&self, serves: &Serves) -> Answered<Due> {
        let serves = serves.clone();
        self.call(|store| async move { state::due(&store, &serves).await })
            .await
    }
}
