//! The read side.
//!
//! Invariants: nothing here writes. Each answer is of one state of the store. A page is looked for among the children
//! of a parent, the runs of a tree or the ids of a prefix, where the filter names one.

use std::collections::BTreeSet;
use std::ops::Bound;

use async_trait::async_trait;
use longhaul_core::backend::{
    HistoryRequest, Inspect, ListRequest, PAGE_MAX, QueueRecord, Result, RunFilter, RunRecord,
    RunState, WorkerRecord,
};
use longhaul_core::history::StoredTurn;
use longhaul_core::id::{DataKey, WorkflowId};
use longhaul_core::payload::Payload;

use crate::MemoryBackend;
use crate::error::{unknown_run, wrong_page};
use crate::store::{RunRow, Store};

#[async_trait]
impl Inspect for MemoryBackend {
    async fn run(&self, run: &WorkflowId) -> Result<Option<RunRecord>> {
        Ok(self.apply(|store, _| store.find(run).map(|row| row.record.clone())))
    }

    async fn states(&self, runs: &[WorkflowId]) -> Result<Vec<Option<RunState>>> {
        Ok(self.apply(|store, _| {
            let state_of = |run| store.find(run).map(state);
            runs.iter().map(state_of).collect()
        }))
    }

    async fn list(&self, request: ListRequest) -> Result<Vec<RunRecord>> {
        check_page(request.limit)?;
        Ok(self.apply(|store, _| {
            let found = chosen(store, &request.filter, request.after.as_ref());
            let records = found.map(|row| row.record.clone());
            records.take(request.limit).collect()
        }))
    }

    async fn count(&self, filter: &RunFilter) -> Result<u64> {
        Ok(self.apply(|store, _| chosen(store, filter, None).count() as u64))
    }

    async fn history(&self, request: HistoryRequest) -> Result<Vec<StoredTurn>> {
        check_page(request.limit)?;
        self.apply(|store, _| {
            let row = known(store, &request.run)?;
            let is_there = |segment| segment == row.record.segment;
            if !request.segment.is_none_or(is_there) {
                return Ok(Vec::new());
            }
            let first = usize::try_from(request.from.0).unwrap_or(usize::MAX);
            let page = row.history().skip(first).take(request.limit);
            Ok(page.cloned().collect())
        })
    }

    async fn data(&self, run: &WorkflowId, key: &DataKey) -> Result<Option<Payload>> {
        self.apply(|store, _| Ok(known(store, run)?.data.get(key).cloned()))
    }

    async fn all_data(&self, run: &WorkflowId) -> Result<Vec<(DataKey, Payload)>> {
        self.apply(|store, _| {
            let data = known(store, run)?.data.iter();
            Ok(data
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect())
        })
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        Ok(self.apply(|store, _| workers(store)))
    }

    async fn queues(&self) -> Result<Vec<QueueRecord>> {
        Ok(self.apply(|store, _| store.queues.records()))
    }
}

fn check_page(limit: usize) -> Result<()> {
    if (1..=PAGE_MAX).contains(&limit) {
        return Ok(());
    }
    Err(wrong_page(limit))
}

fn known<'a>(store: &'a Store, run: &WorkflowId) -> Result<&'a RunRow> {
    store.find(run).ok_or_else(|| unknown_run(run))
}

fn state(row: &RunRow) -> RunState {
    let run = &row.record;
    let last_turn = || row.turns.last().map(|last| last.turn.clone());
    RunState {
        status: run.status,
        segment: run.segment,
        blocked: run.blocked.as_ref().map(|(reason, _)| reason.clone()),
        last_turn: run.status.is_terminal().then(last_turn).flatten(),
    }
}

fn workers(store: &Store) -> Vec<WorkerRecord> {
    let record = |(worker, row): (&_, &crate::store::WorkerRow)| WorkerRecord {
        worker: *worker,
        label: row.joined.label.clone(),
        serves: row.joined.serves.clone(),
        lease_until: row.lease_until,
        runs: store.owned(*worker).map_or(0, |owned| owned.all.len()),
    };
    store.workers.iter().map(record).collect()
}

/// Returns the runs of a filter after an id, in the order of their ids.
fn chosen<'a>(
    store: &'a Store,
    filter: &'a RunFilter,
    after: Option<&'a WorkflowId>,
) -> impl Iterator<Item = &'a RunRow> {
    let is_chosen = |row: &&RunRow| matches(filter, row);
    candidates(store, filter, after)
        .filter_map(|id| store.find(id))
        .filter(is_chosen)
}

fn candidates<'a>(
    store: &'a Store,
    filter: &'a RunFilter,
    after: Option<&'a WorkflowId>,
) -> Box<dyn Iterator<Item = &'a WorkflowId> + 'a> {
    let first = after.map_or(Bound::Unbounded, Bound::Excluded);
    let later = move |ids: Option<&'a BTreeSet<WorkflowId>>| {
        let ids = ids.into_iter();
        ids.flat_map(move |ids| ids.range((first.cloned(), Bound::Unbounded)))
    };
    if let Some(parent) = &filter.parent {
        return Box::new(later(store.children(parent)));
    }
    if let Some(root) = &filter.root {
        return Box::new(later(store.tree(root)));
    }
    let prefix = filter.id_prefix.as_deref().unwrap_or_default();
    let first = match after {
        Some(after) if after.as_str() >= prefix => Bound::Excluded(after.clone()),
        _ => Bound::Included(WorkflowId::from_stored(prefix)),
    };
    let ids = store.numbers().range((first, Bound::Unbounded));
    let ids = ids.map(|(id, _)| id);
    Box::new(ids.take_while(move |id| id.as_str().starts_with(prefix)))
}

fn matches(filter: &RunFilter, row: &RunRow) -> bool {
    let run = &row.record;
    let identity = &run.identity;
    let id = &identity.workflow_id;
    let is_in_tree = |root: &WorkflowId| match identity.parent {
        Some(_) => identity.root == *root,
        None => id == root,
    };
    let has_tag = |tag: &_| run.tags.contains(tag);
    let prefix = filter.id_prefix.as_deref().unwrap_or_default();
    let types = &filter.workflow_type;
    (filter.statuses.is_empty() || filter.statuses.contains(&run.status))
        && types
            .as_ref()
            .is_none_or(|one| identity.workflow_type == *one)
        && filter.kind.is_none_or(|kind| run.kind == kind)
        && filter.tags.iter().all(has_tag)
        && (filter.parent.is_none() || identity.parent == filter.parent)
        && filter.root.as_ref().is_none_or(is_in_tree)
        && id.as_str().starts_with(prefix)
}
