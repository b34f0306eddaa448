//! The read side.
//!
//! Invariants: nothing is changed. Maps are ordered, so pages are too.

use std::collections::BTreeMap;

use async_trait::async_trait;
use longhaul_core::backend::{
    Error, HistoryRequest, Inspect, Kind, ListRequest, PAGE_MAX, QueueRecord, Result, RunFilter,
    RunRecord, RunState, WorkerRecord,
};
use longhaul_core::history::StoredTurn;
use longhaul_core::id::{DataKey, QueueName, WorkflowId};
use longhaul_core::payload::Payload;

use crate::ToyBackend;
use crate::store::{Run, Store};

#[async_trait]
impl Inspect for ToyBackend {
    async fn run(&self, run: &WorkflowId) -> Result<Option<RunRecord>> {
        Ok(self.read(|store, _| store.runs.get(run).map(|run| run.record.clone())))
    }

    async fn states(&self, runs: &[WorkflowId]) -> Result<Vec<Option<RunState>>> {
        Ok(self.read(|store, _| {
            runs.iter()
                .map(|id| store.runs.get(id).map(state))
                .collect()
        }))
    }

    async fn list(&self, request: ListRequest) -> Result<Vec<RunRecord>> {
        check_limit(request.limit)?;
        Ok(self.read(|store, _| {
            store
                .chosen(&request.filter)
                .filter(|run| request.after.as_ref() < Some(&run.identity.workflow_id))
                .take(request.limit)
                .cloned()
                .collect()
        }))
    }

    async fn count(&self, filter: &RunFilter) -> Result<u64> {
        Ok(self.read(|store, _| store.chosen(filter).map(|_| 1).sum()))
    }

    async fn history(&self, request: HistoryRequest) -> Result<Vec<StoredTurn>> {
        check_limit(request.limit)?;
        self.read(|store, _| {
            let run = store.existing(&request.run)?;
            if request
                .segment
                .is_some_and(|segment| segment != run.record.segment)
            {
                return Ok(Vec::new());
            }
            let turns = run.turns.iter().filter(|turn| turn.turn >= request.from);
            Ok(turns.take(request.limit).cloned().collect())
        })
    }

    async fn data(&self, run: &WorkflowId, key: &DataKey) -> Result<Option<Payload>> {
        self.read(|store, _| Ok(store.existing(run)?.data.get(key).cloned()))
    }

    async fn all_data(&self, run: &WorkflowId) -> Result<Vec<(DataKey, Payload)>> {
        self.read(|store, _| Ok(store.existing(run)?.data.clone().into_iter().collect()))
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        Ok(self.read(|store, _| {
            let shown = |(id, worker): (&_, &crate::store::Worker)| WorkerRecord {
                worker: *id,
                label: worker.label.clone(),
                serves: worker.serves.clone(),
                lease_until: worker.lease_until,
                runs: store
                    .runs
                    .values()
                    .filter(|run| run.is_owned_by(*id))
                    .count(),
            };
            store.workers.iter().map(shown).collect()
        }))
    }

    async fn queues(&self) -> Result<Vec<QueueRecord>> {
        Ok(self.read(|store, _| store.queues()))
    }
}

impl Store {
    /// Lists the runs that a filter chooses in the order of their ids.
    fn chosen(&self, filter: &RunFilter) -> impl Iterator<Item = &RunRecord> {
        let rows = self.runs.values().map(|run| &run.record);
        rows.filter(move |run| is_chosen(run, filter))
    }

    fn queues(&self) -> Vec<QueueRecord> {
        let mut found: BTreeMap<&QueueName, QueueRecord> = BTreeMap::new();
        for queued in &self.queued {
            let queue = &queued.attempt.queue;
            let record = found.entry(queue).or_insert_with(|| QueueRecord {
                queue: queue.clone(),
                waiting: 0,
                claimed: 0,
            });
            match queued.claimed_by {
                Some(_) => record.claimed += 1,
                None => record.waiting += 1,
            }
        }
        found.into_values().collect()
    }
}

fn is_chosen(run: &RunRecord, filter: &RunFilter) -> bool {
    let identity = &run.identity;
    (filter.statuses.is_empty() || filter.statuses.contains(&run.status))
        && filter
            .workflow_type
            .as_ref()
            .is_none_or(|wanted| *wanted == identity.workflow_type)
        && filter.kind.is_none_or(|wanted| wanted == run.kind)
        && filter.tags.iter().all(|tag| run.tags.contains(tag))
        && filter
            .parent
            .as_ref()
            .is_none_or(|wanted| identity.parent.as_ref() == Some(wanted))
        && filter
            .root
            .as_ref()
            .is_none_or(|wanted| *wanted == identity.root)
        && filter
            .id_prefix
            .as_ref()
            .is_none_or(|prefix| identity.workflow_id.as_str().starts_with(prefix))
}

fn state(run: &Run) -> RunState {
    let is_finished = run.record.status.is_terminal();
    RunState {
        status: run.record.status,
        segment: run.record.segment,
        blocked: run
            .record
            .blocked
            .as_ref()
            .map(|(reason, _)| reason.clone()),
        last_turn: run.turns.last().filter(|_| is_finished).cloned(),
    }
}

fn check_limit(limit: usize) -> Result<()> {
    if (1..=PAGE_MAX).contains(&limit) {
        return Ok(());
    }
    let message = format!("a page has 1 to {PAGE_MAX} entries, not {limit}");
    Err(Error::new(Kind::Invalid, message))
}
