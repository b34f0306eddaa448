//! The read side.

use std::collections::BTreeMap;

use async_trait::async_trait;
use longhaul_core::backend::{
    Error, HistoryRequest, Inspect, Kind, ListRequest, PAGE_MAX, QueueRecord, Result, RunFilter,
    RunRecord, RunState, WorkerRecord,
};
use longhaul_core::history::StoredTurn;
use longhaul_core::id::{DataKey, QueueName, WorkflowId};
use longhaul_core::payload::Payload;

use crate::MemoryBackend;
use crate::store::{Run, Store};

#[async_trait]
impl Inspect for MemoryBackend {
    async fn run(&self, run: &WorkflowId) -> Result<Option<RunRecord>> {
        Ok(self.store().run(run).map(|run| run.record.clone()))
    }

    async fn states(&self, runs: &[WorkflowId]) -> Result<Vec<Option<RunState>>> {
        let store = self.store();
        Ok(runs.iter().map(|run| store.run(run).map(state)).collect())
    }

    async fn list(&self, request: ListRequest) -> Result<Vec<RunRecord>> {
        check_page(request.limit)?;
        let store = self.store();
        let page = store
            .runs_after(request.after.as_ref())
            .map(|run| &run.record)
            .filter(|record| is_chosen(record, &request.filter))
            .take(request.limit)
            .cloned()
            .collect();
        Ok(page)
    }

    async fn count(&self, filter: &RunFilter) -> Result<u64> {
        let store = self.store();
        let count = store
            .runs_after(None)
            .filter(|run| is_chosen(&run.record, filter))
            .count();
        Ok(count as u64)
    }

    async fn history(&self, request: HistoryRequest) -> Result<Vec<StoredTurn>> {
        check_page(request.limit)?;
        let store = self.store();
        let run = known(&store, &request.run)?;
        let segment = request.segment.unwrap_or(run.record.segment);
        if segment != run.record.segment {
            return Ok(Vec::new());
        }
        let page = run
            .turns
            .iter()
            .map(|turn| &turn.stored)
            .filter(|turn| turn.turn >= request.from)
            .take(request.limit)
            .cloned()
            .collect();
        Ok(page)
    }

    async fn data(&self, run: &WorkflowId, key: &DataKey) -> Result<Option<Payload>> {
        Ok(known(&self.store(), run)?.data.get(key).cloned())
    }

    async fn all_data(&self, run: &WorkflowId) -> Result<Vec<(DataKey, Payload)>> {
        let store = self.store();
        let data = known(&store, run)?.data.iter();
        Ok(data
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        let store = self.store();
        let record =
            |(id, worker): (&longhaul_core::id::WorkerId, &crate::store::Worker)| WorkerRecord {
                worker: *id,
                label: worker.joined.label.clone(),
                serves: worker.joined.serves.clone(),
                lease_until: worker.lease_until,
                runs: store.owned_by(*id).len(),
            };
        Ok(store.workers.iter().map(record).collect())
    }

    async fn queues(&self) -> Result<Vec<QueueRecord>> {
        let store = self.store();
        let mut queues: BTreeMap<QueueName, (usize, usize)> = BTreeMap::new();
        for attempt in store.attempts.values() {
            let counts = queues.entry(attempt.queued.queue.clone()).or_default();
            match attempt.claimed_by {
                None => counts.0 += 1,
                Some(_) => counts.1 += 1,
            }
        }
        let record = |(queue, (waiting, claimed))| QueueRecord {
            queue,
            waiting,
            claimed,
        };
        Ok(queues.into_iter().map(record).collect())
    }
}

fn check_page(limit: usize) -> Result<()> {
    if (1..=PAGE_MAX).contains(&limit) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Invalid,
        format!("a page of {limit} cannot be read; ask for 1 to {PAGE_MAX}"),
    ))
}

fn known<'a>(store: &'a Store, run: &WorkflowId) -> Result<&'a Run> {
    store
        .run(run)
        .ok_or_else(|| Error::new(Kind::NotFound, format!("there is no run `{run}`")))
}

fn state(run: &Run) -> RunState {
    let record = &run.record;
    let last = || run.turns.last().map(|turn| turn.stored.clone());
    RunState {
        status: record.status,
        segment: record.segment,
        blocked: record.blocked.as_ref().map(|(reason, _)| reason.clone()),
        last_turn: record.status.is_terminal().then(last).flatten(),
    }
}

fn is_chosen(record: &RunRecord, filter: &RunFilter) -> bool {
    let identity = &record.identity;
    let id = identity.workflow_id.as_str();
    (filter.statuses.is_empty() || filter.statuses.contains(&record.status))
        && filter
            .workflow_type
            .as_ref()
            .is_none_or(|wanted| *wanted == identity.workflow_type)
        && filter.kind.is_none_or(|wanted| wanted == record.kind)
        && filter.tags.iter().all(|tag| record.tags.contains(tag))
        && filter
            .parent
            .as_ref()
            .is_none_or(|parent| identity.parent.as_ref() == Some(parent))
        && filter
            .root
            .as_ref()
            .is_none_or(|root| identity.root == *root)
        && filter
            .id_prefix
            .as_ref()
            .is_none_or(|prefix| id.starts_with(prefix.as_str()))
}
