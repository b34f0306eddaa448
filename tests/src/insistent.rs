//! A caller that keeps to the contract when calls go wrong, in the shape of a backend.
//!
//! Invariants: a call that is answered with `Unavailable` or `Unclear` is asked again as it was, with the same
//! identifiers. What the contract does not tell twice is found out as a caller can: who looked before a start knows
//! which runs are new, and who compares what it owns or has
//! claimed knows what it came to own or to have claimed. Nothing else is made up.

mod backend;

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;

use longhaul_core::backend::{
    AcquireRequest, AcquiredRun, Backend, ClaimRequest, Lane, QueuedAttempt, Result, StartRun,
    Started,
};
use longhaul_core::id::{Epoch, WorkerId, WorkflowId};
use tokio::sync::Mutex;

/// Is how often a call is asked at most.
const ASKED_MAX: usize = 10;

/// Asks again what was not answered.
#[derive(Debug)]
pub struct Insistent {
    asked: Arc<dyn Backend>,
    right: Arc<dyn Backend>,
    starts: Mutex<()>,
}

impl Insistent {
    /// Asks one backend, in which calls go wrong, and looks things up in `right`, the same store without faults.
    #[must_use]
    pub fn new(asked: Arc<dyn Backend>, right: Arc<dyn Backend>) -> Self {
        Self {
            asked,
            right,
            starts: Mutex::default(),
        }
    }

    async fn ask<T, C>(call: impl Fn() -> C + Send + Sync) -> Result<T>
    where
        T: Send,
        C: Future<Output = Result<T>> + Send,
    {
        for _ in 1..ASKED_MAX {
            match call().await {
                Err(error) if error.should_ask_again() => {}
                answer => return answer,
            }
        }
        call().await
    }

    /// A start that is asked again finds the runs that it made itself, so it counts as new what was not there before.
    async fn start_new(&self, lane: Option<Lane>, runs: Vec<StartRun>) -> Result<Vec<Started>> {
        let _no_other_starts = self.starts.lock().await;
        let ids: Vec<_> = runs
            .iter()
            .map(|run| run.identity.workflow_id.clone())
            .collect();
        let known = self.right.states(&ids).await?;
        let mut started = Self::ask(|| self.asked.start(lane, runs.clone())).await?;
        let mut seen = HashSet::new();
        for ((id, known), started) in ids.iter().zip(known).zip(&mut started) {
            if seen.insert(id) && known.is_none() {
                *started = Started::New;
            }
        }
        Ok(started)
    }

    /// An acquisition is not told twice, so what the worker owns since is read anew.
    async fn acquire_all(&self, request: AcquireRequest) -> Result<Vec<AcquiredRun>> {
        let worker = request.lane.worker;
        let before: HashSet<_> = self.right.owned(worker).await?.into_iter().collect();
        for _ in 0..ASKED_MAX {
            let answer = self.asked.acquire(request.clone()).await;
            let should_ask_again = matches!(&answer, Err(error) if error.should_ask_again());
            let taken = if should_ask_again {
                Vec::new()
            } else {
                answer?
            };
            let mut all = self.untold(worker, &before, &taken).await?;
            if !should_ask_again || !all.is_empty() {
                all.extend(taken);
                return Ok(all);
            }
        }
        self.asked.acquire(request).await
    }

    async fn untold(
        &self,
        worker: WorkerId,
        before: &HashSet<(WorkflowId, Epoch)>,
        taken: &[AcquiredRun],
    ) -> Result<Vec<AcquiredRun>> {
        let mut untold = Vec::new();
        for (run, epoch) in self.right.owned(worker).await? {
            let is_told = taken
                .iter()
                .any(|taken| taken.run.identity.workflow_id == run);
            if !is_told && !before.contains(&(run.clone(), epoch)) {
                untold.extend(self.right.reload(worker, &run, epoch).await?);
            }
        }
        Ok(untold)
    }

    /// A claim is not told twice either, so what the worker has claimed since is read anew.
    async fn claim_all(&self, request: ClaimRequest) -> Result<Vec<QueuedAttempt>> {
        let before = self.right.claimed(request.worker).await?;
        for _ in 0..ASKED_MAX {
            let answer = self.asked.claim(request.clone()).await;
            let should_ask_again = matches!(&answer, Err(error) if error.should_ask_again());
            let taken = if should_ask_again {
                Vec::new()
            } else {
                answer?
            };
            let mut all = self.right.claimed(request.worker).await?;
            all.retain(|one| !before.contains(one) && !taken.contains(one));
            if !should_ask_again || !all.is_empty() {
                all.extend(taken);
                return Ok(all);
            }
        }
        self.asked.claim(request).await
    }
}
