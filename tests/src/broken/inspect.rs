//! What goes wrong with reading.

use async_trait::async_trait;
use longhaul_core::backend::{
    Error, HistoryRequest, Inspect, Kind, ListRequest, PAGE_MAX, QueueRecord, Result, RunFilter,
    RunRecord, RunState, WorkerRecord,
};
use longhaul_core::history::StoredTurn;
use longhaul_core::id::{DataKey, TurnNumber, WorkflowId};
use longhaul_core::payload::Payload;
use longhaul_core::status::Status;

use super::Fault;
use super::backend::Broken;

impl Broken {
    fn spoil_filter(&self, filter: &RunFilter) -> RunFilter {
        let mut filter = filter.clone();
        match self.fault {
            Fault::IgnoresStatuses => filter.statuses.clear(),
            Fault::MixesUpStatuses => {
                for status in &mut filter.statuses {
                    if *status == Status::Terminated {
                        *status = Status::Cancelled;
                    }
                }
            }
            Fault::IgnoresTypesAndKinds => {
                filter.workflow_type = None;
                filter.kind = None;
            }
            Fault::IgnoresTags => filter.tags.clear(),
            Fault::IgnoresAllTagsButOne => filter.tags.truncate(1),
            Fault::IgnoresFamilies => {
                filter.parent = None;
                filter.root = None;
            }
            Fault::ReadsPatterns => {
                let prefix = filter.id_prefix.as_mut();
                if let Some(prefix) = prefix
                    && let Some(end) = prefix.find(['%', '_'])
                {
                    prefix.truncate(end);
                }
            }
            _ => {}
        }
        filter
    }
}

#[async_trait]
impl Inspect for Broken {
    async fn run(&self, run: &WorkflowId) -> Result<Option<RunRecord>> {
        if self.has(Fault::LocksWhenAReadIsDropped) {
            if std::mem::replace(&mut self.memory().is_locked, true) {
                return Err(Error::new(Kind::Unavailable, "another reads"));
            }
            tokio::task::yield_now().await;
            self.memory().is_locked = false;
        }
        let mut row = self.inner.run(&self.spoil_id(run)).await?;
        if let Some(row) = &mut row {
            self.spoil_row(row);
        }
        Ok(row)
    }

    async fn states(&self, runs: &[WorkflowId]) -> Result<Vec<Option<RunState>>> {
        let mut states = self.inner.states(runs).await?;
        if self.has(Fault::HidesLastTurns) {
            for state in states.iter_mut().flatten() {
                state.last_turn = None;
            }
        }
        Ok(self.reversed(Fault::AnswersBackwards, states))
    }

    async fn list(&self, mut request: ListRequest) -> Result<Vec<RunRecord>> {
        request.filter = self.spoil_filter(&request.filter);
        match self.fault {
            Fault::TakesAnyPage => request.limit = request.limit.clamp(1, PAGE_MAX),
            Fault::ForgetsWhereThePageBegan => request.after = None,
            Fault::SkipsAfterUnknownIds => {
                if let Some(after) = &request.after
                    && self.inner.run(after).await?.is_none()
                {
                    return Ok(Vec::new());
                }
            }
            _ => {}
        }
        let mut listed = self.inner.list(request).await?;
        if self.has(Fault::ListsWithoutTags) {
            listed.iter_mut().for_each(|row| row.tags.clear());
        }
        if self.has(Fault::ListsByTime) {
            listed.sort_by_key(|row| std::cmp::Reverse(row.updated_at));
            listed.reverse();
        }
        Ok(self.reversed(Fault::ReversesPages, listed))
    }

    async fn count(&self, filter: &RunFilter) -> Result<u64> {
        if self.has(Fault::CountsAllRuns) {
            return self.inner.count(&RunFilter::default()).await;
        }
        self.inner.count(&self.spoil_filter(filter)).await
    }

    async fn history(&self, mut request: HistoryRequest) -> Result<Vec<StoredTurn>> {
        request.run = self.spoil_id(&request.run);
        match self.fault {
            Fault::TakesAnyPage => request.limit = request.limit.clamp(1, PAGE_MAX),
            Fault::ForgetsWhereThePageBegan => request.from = TurnNumber(0),
            Fault::WrapsLargeTurns if request.from.0 > u64::MAX >> 1 => request.from.0 = 0,
            Fault::ShowsAnySegment => request.segment = None,
            _ => {}
        }
        match self.inner.history(request).await {
            Err(error) if self.has(Fault::FindsEverything) && error.kind() == Kind::NotFound => {
                Ok(Vec::new())
            }
            found => Ok(self.reversed(Fault::ReversesPages, found?)),
        }
    }

    async fn data(&self, run: &WorkflowId, key: &DataKey) -> Result<Option<Payload>> {
        if self.has(Fault::SharesData) {
            return Ok(self.memory().data.get(key).cloned());
        }
        self.inner.data(run, key).await
    }

    async fn all_data(&self, run: &WorkflowId) -> Result<Vec<(DataKey, Payload)>> {
        let found = self.inner.all_data(run).await?;
        Ok(self.reversed(Fault::ReversesPages, found))
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        let found = self.inner.workers().await?;
        Ok(self.reversed(Fault::ReversesPages, found))
    }

    async fn queues(&self) -> Result<Vec<QueueRecord>> {
        let found = self.inner.queues().await?;
        Ok(self.reversed(Fault::ReversesPages, found))
    }
}
