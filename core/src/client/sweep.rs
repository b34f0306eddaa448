//! Controlling many runs at once, chosen by a filter.

use std::future::Future;

use futures_util::future::join_all;
use serde::Serialize;

use crate::backend::{ListRequest, PAGE_MAX};
use crate::client::List;
use crate::client::control::{Control, PauseRun};
use crate::context::{IntoValue, Signal};
use crate::error::{Error, ErrorKind, Result};
use crate::id::WorkflowId;
use crate::payload::Payload;

/// Is how many runs are controlled at a time.
const AT_ONCE: usize = 32;

/// Tells what became of runs that were controlled together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// How many runs it was done to.
    pub done: u64,
    /// How many of those chosen had ended.
    pub finished: u64,
    /// Those it could not be done to, and why.
    pub failed: Vec<(WorkflowId, Error)>,
}

impl List {
    /// Pauses all runs that the filters choose, over all pages; see [`Handle::pause`](crate::client::Handle::pause).
    /// Runs that are started meanwhile may be left out.
    ///
    /// # Errors
    /// `Unavailable` when the backend cannot be reached; what was done until then stays done, and it may be asked again.
    pub async fn pause(self, reason: impl Into<String>) -> Result<Swept> {
        self.sweep_for(reason.into(), |run, reason| async move {
            PauseRun::new(run, reason).await
        })
        .await
    }

    /// Resumes all runs that the filters choose; see [`Handle::resume`](crate::client::Handle::resume).
    ///
    /// # Errors
    /// As [`List::pause`].
    pub async fn resume(self, reason: impl Into<String>) -> Result<Swept> {
        self.sweep_for(reason.into(), |run, reason| async move {
            run.resume(reason).await
        })
        .await
    }

    /// Cancels all runs that the filters choose; see [`Handle::cancel`](crate::client::Handle::cancel).
    ///
    /// # Errors
    /// As [`List::pause`].
    pub async fn cancel(self, reason: impl Into<String>) -> Result<Swept> {
        self.sweep_for(reason.into(), |run, reason| async move {
            run.cancel(reason).await
        })
        .await
    }

    /// Terminates all runs that the filters choose; see [`Handle::terminate`](crate::client::Handle::terminate).
    ///
    /// # Errors
    /// As [`List::pause`].
    pub async fn terminate(self, reason: impl Into<String>) -> Result<Swept> {
        self.sweep_for(reason.into(), |run, reason| async move {
            run.terminate(reason).await
        })
        .await
    }

    /// Sends a signal to all runs that the filters choose; see [`Handle::signal`](crate::client::Handle::signal). With a
    /// `key`, each gets it once, also when this is asked again.
    ///
    /// # Errors
    /// As [`List::pause`].
    pub async fn signal<T: Serialize>(
        self,
        signal: Signal<T>,
        value: impl IntoValue<T>,
        key: Option<&str>,
    ) -> Result<Swept> {
        let payload = Payload::encode(&value.into_value())?;
        self.sweep(|run| {
            let sending = run.signal(signal.name(), Ok(payload.clone()));
            match key {
                Some(key) => sending.idempotency_key(key),
                None => sending,
            }
            .into_future()
        })
        .await
    }

    async fn sweep_for<F>(self, reason: String, act: impl Fn(Control, String) -> F) -> Result<Swept>
    where
        F: Future<Output = Result<()>>,
    {
        self.sweep(|run| act(run, reason.clone())).await
    }

    async fn sweep<F>(self, act: impl Fn(Control) -> F) -> Result<Swept>
    where
        F: Future<Output = Result<()>>,
    {
        let mut swept = Swept::default();
        let mut after = self.after;
        loop {
            let request = ListRequest {
                filter: self.filter.clone(),
                after: after.take(),
                limit: PAGE_MAX,
            };
            let page = self.client.backend().list(request).await?;
            let ids: Vec<_> = page
                .into_iter()
                .map(|run| run.identity.workflow_id)
                .collect();
            for some in ids.chunks(AT_ONCE) {
                let acts = some
                    .iter()
                    .map(|id| act(Control::new(self.client.clone(), id.clone())));
                for (id, done) in some.iter().zip(join_all(acts).await) {
                    swept.note(id, done)?;
                }
            }
            if ids.len() < PAGE_MAX {
                return Ok(swept);
            }
            after = ids.into_iter().next_back();
        }
    }
}

impl Swept {
    fn note(&mut self, run: &WorkflowId, done: Result<()>) -> Result<()> {
        match done {
            Ok(()) => self.done += 1,
            Err(error) if error.kind() == ErrorKind::Finished => self.finished += 1,
            Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error),
            Err(error) => self.failed.push((run.clone(), error)),
        }
        Ok(())
    }
}
