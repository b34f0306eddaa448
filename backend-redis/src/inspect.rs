//! The read side: what is there, for clients, tools and tests.
//!
//! Invariants: pages of several partitions are put together in the order of ids. A filter that no index knows reads page by
//! page.

use std::collections::BTreeMap;

use async_trait::async_trait;
use longhaul_core::backend::{
    HistoryRequest, Inspect, ListRequest, PAGE_MAX, QueueRecord, Result as Answered, RunFilter,
    RunRecord, RunState, WorkerRecord,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::history::StoredTurn;
use longhaul_core::id::{DataKey, QueueName, Segment, WorkflowId};
use longhaul_core::payload::Payload;
use redis::{Cmd, Value};

use crate::error::{Failure, Result, unreadable};
use crate::layout::Slot;
use crate::reply::{self, Fields, Items};
use crate::script::{LIST, STATES};
use crate::{RedisBackend, Store, pack, record, state, together};

#[async_trait]
impl Inspect for RedisBackend {
    async fn run(&self, run: &WorkflowId) -> Answered<Option<RunRecord>> {
        let run = run.clone();
        self.call(|store| async move { find(&store, &run).await })
            .await
    }

    async fn states(&self, runs: &[WorkflowId]) -> Answered<Vec<Option<RunState>>> {
        let runs = runs.to_vec();
        self.call(|store| async move { states(&store, &runs).await })
            .await
    }

    async fn list(&self, request: ListRequest) -> Answered<Vec<RunRecord>> {
        self.call(|store| async move {
            check_page(request.limit)?;
            let after = request.after.as_ref();
            list(&store, &request.filter, after, request.limit).await
        })
        .await
    }

    async fn count(&self, filter: &RunFilter) -> Answered<u64> {
        let filter = filter.clone();
        self.call(|store| async move { count(&store, &filter).await })
            .await
    }

    async fn history(&self, request: HistoryRequest) -> Answered<Vec<StoredTurn>> {
        self.call(|store| async move { history(&store, &request).await })
            .await
    }

    async fn data(&self, run: &WorkflowId, key: &DataKey) -> Answered<Option<Payload>> {
        let (run, key) = (run.clone(), key.clone());
        self.call(|store| async move {
            known(&store, &run).await?;
            let value = read(&store, &run, "HGET", "data", Some(key.as_str())).await?;
            let value = Some(value).filter(|value| *value != Value::Nil);
            let value = value.map(reply::bytes).transpose()?;
            Ok(value.map(Payload::from_bytes))
        })
        .await
    }

    async fn all_data(&self, run: &WorkflowId) -> Answered<Vec<(DataKey, Payload)>> {
        let run = run.clone();
        self.call(|store| async move {
            known(&store, &run).await?;
            let fields = Fields::of(read(&store, &run, "HGETALL", "data", None).await?)?;
            let entry = |(key, value): (Vec<u8>, Vec<u8>)| {
                let key = DataKey::from_stored(pack::text(&key)?);
                Ok((key, Payload::from_bytes(value)))
            };
            let all: Result<Vec<_>> = fields.into_pairs().into_iter().map(entry).collect();
            let mut all = all?;
            all.sort_by(|(one, _), (other, _)| one.cmp(other));
            Ok(all)
        })
        .await
    }

    async fn workers(&self) -> Answered<Vec<WorkerRecord>> {
        self.call(|store| async move { workers(&store).await })
            .await
    }

    async fn queues(&self) -> Answered<Vec<QueueRecord>> {
        self.call(|store| async move { queues(&store).await }).await
    }
}

fn check_page(limit: usize) -> Result<()> {
    if (1..=PAGE_MAX).contains(&limit) {
        return Ok(());
    }
    Err(Failure::WrongPage { limit })
}

/// Sends a command on a key of a run's partition that ends in the run's id.
async fn read(
    store: &Store,
    run: &WorkflowId,
    command: &str,
    what: &str,
    argument: Option<&str>,
) -> Result<Value> {
    let tag = store
        .layout
        .tag(Slot::Partition(store.layout.partition_of(run)));
    let mut asked = Cmd::new();
    asked.arg(command).arg(format!("{tag}{what}:{run}"));
    if let Some(argument) = argument {
        asked.arg(argument);
    }
    store.link.read(&asked).await
}

async fn find(store: &Store, run: &WorkflowId) -> Result<Option<RunRecord>> {
    let fields = Fields::of(read(store, run, "HGETALL", "run", None).await?)?;
    if fields.is_empty() {
        return Ok(None);
    }
    record::run_record(run.as_str(), &fields).map(Some)
}

/// Returns the newest segment of a run.
async fn known(store: &Store, run: &WorkflowId) -> Result<Segment> {
    match read(store, run, "HGET", "run", Some("segment")).await? {
        Value::Nil => Err(Failure::UnknownRun { run: run.clone() }),
        segment => Ok(Segment(pack::number(&reply::bytes(segment)?, "segment")?)),
    }
}

async fn history(store: &Store, request: &HistoryRequest) -> Result<Vec<StoredTurn>> {
    check_page(request.limit)?;
    let newest = known(store, &request.run).await?;
    let segment = request.segment.unwrap_or(newest);
    let Ok(from) = usize::try_from(request.from.0) else {
        return Ok(Vec::new());
    };
    if i64::try_from(from.saturating_add(request.limit)).is_err() {
        return Ok(Vec::new());
    }
    let partition = store.layout.partition_of(&request.run);
    let id = request.run.as_str();
    let turns = state::turns_from(store, partition, id, segment.0, from, request.limit).await?;
    record::turns_from(request.from.0, turns)
}

async fn states(store: &Store, runs: &[WorkflowId]) -> Result<Vec<Option<RunState>>> {
    let positions = store.layout.spread(runs, |run| run);
    let ask = |(partition, positions): (&u16, &Vec<usize>)| {
        let ids = positions.iter().filter_map(|position| runs.get(*position));
        let ids: Vec<&str> = ids.map(WorkflowId::as_str).collect();
        (*partition, store.on(&STATES, *partition).counted(&ids))
    };
    let calls = positions.iter().map(ask).collect();
    let mut states: Vec<Option<RunState>> = runs.iter().map(|_| None).collect();
    for (partition, mut items) in store.ask_each(calls).await? {
        let mut items = items.list()?;
        for position in positions.get(&partition).into_iter().flatten() {
            if let Some(state) = states.get_mut(*position) {
                *state = run_state(items.list()?)?;
            }
        }
    }
    Ok(states)
}

fn run_state(mut items: Items) -> Result<Option<RunState>> {
    let Some(status) = items.optional() else {
        return Ok(None);
    };
    let status = record::status(&reply::text(status)?)?;
    let segment = Segment(items.number("segment")?);
    let reason = items.text()?;
    let is_blocked = !items.text()?.is_empty();
    let last_turn = if items.len() > 0 {
        let count: u64 = items.number("count of turns")?;
        Some(record::stored_turn(
            count.saturating_sub(1),
            &items.bytes()?,
        )?)
    } else {
        None
    };
    Ok(Some(RunState {
        status,
        segment,
        blocked: is_blocked.then_some(reason),
        last_turn,
    }))
}

/// Returns a page of the runs of a filter, in the order of their ids.
async fn list(
    store: &Store,
    filter: &RunFilter,
    after: Option<&WorkflowId>,
    limit: usize,
) -> Result<Vec<RunRecord>> {
    let each = store
        .layout
        .all()
        .map(|partition| list_in(store, partition, filter, after, limit));
    let found = together(futures_util::future::join_all(each).await)?;
    let mut found: Vec<RunRecord> = found.into_iter().flatten().collect();
    found.sort_by(|one, other| one.identity.workflow_id.cmp(&other.identity.workflow_id));
    found.dedup_by(|one, other| one.identity.workflow_id == other.identity.workflow_id);
    found.truncate(limit);
    Ok(found)
}

/// Returns the first runs of a filter in a partition.
async fn list_in(
    store: &Store,
    partition: u16,
    filter: &RunFilter,
    after: Option<&WorkflowId>,
    limit: usize,
) -> Result<Vec<RunRecord>> {
    let mut found = Vec::new();
    let mut after = after.map(ToString::to_string).unwrap_or_default();
    found.extend(root_of_tree(store, partition, filter, &after).await?);
    loop {
        let page = page(store, partition, filter, &after, limit).await?;
        let is_last = page.len() < limit;
        if let Some(last) = page.last() {
            after = last.identity.workflow_id.to_string();
        }
        found.extend(page.into_iter().filter(|run| is_chosen(filter, run)));
        if is_last || found.len() >= limit {
            return Ok(found);
        }
    }
}

/// Returns the root of the tree that a filter asks for, which no index of its tree has.
async fn root_of_tree(
    store: &Store,
    partition: u16,
    filter: &RunFilter,
    after: &str,
) -> Result<Option<RunRecord>> {
    let (Some(root), None) = (&filter.root, &filter.parent) else {
        return Ok(None);
    };
    if store.layout.partition_of(root) != partition || root.as_str() <= after && !after.is_empty() {
        return Ok(None);
    }
    let found = find(store, root).await?;
    Ok(found.filter(|run| is_chosen(filter, run)))
}

async fn page(
    store: &Store,
    partition: u16,
    filter: &RunFilter,
    after: &str,
    limit: usize,
) -> Result<Vec<RunRecord>> {
    let index = match (&filter.parent, &filter.root) {
        (Some(parent), _) => format!("children:{parent}"),
        (None, Some(root)) => format!("tree:{root}"),
        (None, None) => "ids".to_owned(),
    };
    let call = store
        .on(&LIST, partition)
        .arg(index)
        .arg(filter.id_prefix.as_deref().unwrap_or_default())
        .arg(after)
        .number(limit);
    let mut items = store.ask(Slot::Partition(partition), call).await?;
    items.list()?.each(|run| {
        let mut run = Items::of(run)?;
        let id = run.text()?;
        record::run_record(&id, &Fields::of(run.value()?)?)
    })
}

fn is_chosen(filter: &RunFilter, run: &RunRecord) -> bool {
    let identity = &run.identity;
    let is_in_tree = |root: &WorkflowId| match identity.parent {
        Some(_) => identity.root == *root,
        None => identity.workflow_id == *root,
    };
    let prefix = filter.id_prefix.as_deref().unwrap_or_default();
    let wanted_type = filter.workflow_type.as_ref();
    (filter.statuses.is_empty() || filter.statuses.contains(&run.status))
        && wanted_type.is_none_or(|wanted| identity.workflow_type == *wanted)
        && filter.kind.is_none_or(|kind| run.kind == kind)
        && filter.tags.iter().all(|tag| run.tags.contains(tag))
        && (filter.parent.is_none() || identity.parent == filter.parent)
        && filter.root.as_ref().is_none_or(is_in_tree)
        && identity.workflow_id.as_str().starts_with(prefix)
}

async fn count(store: &Store, filter: &RunFilter) -> Result<u64> {
    if *filter == RunFilter::default() {
        return count_all(store).await;
    }
    let mut count = 0;
    let mut after = None;
    loop {
        let page = list(store, filter, after.as_ref(), PAGE_MAX).await?;
        count += page.len() as u64;
        if page.len() < PAGE_MAX {
            return Ok(count);
        }
        after = page.into_iter().last().map(|run| run.identity.workflow_id);
    }
}

async fn count_all(store: &Store) -> Result<u64> {
    let each = store
        .layout
        .all()
        .map(|partition| of_slot(store, Slot::Partition(partition), "ZCARD", "ids"));
    let counts = together(futures_util::future::join_all(each).await)?;
    let number = |count: Value| pack::number::<u64>(&reply::bytes(count)?, "count");
    counts.into_iter().map(number).sum()
}

/// Sends a command on a key of a slot.
async fn of_slot(store: &Store, slot: Slot, command: &str, key: &str) -> Result<Value> {
    let mut asked = Cmd::new();
    asked
        .arg(command)
        .arg(format!("{}{key}", store.layout.tag(slot)));
    store.link.read(&asked).await
}

async fn workers(store: &Store) -> Result<Vec<WorkerRecord>> {
    let infos = Fields::of(of_slot(store, Slot::Leases, "HGETALL", "workers").await?)?;
    let leases = leases(store).await?;
    let each = infos.into_pairs().into_iter().map(async |(worker, info)| {
        let worker = pack::text(&worker)?;
        let (label, serves) = record::worker_info(&info)?;
        let Some(lease_until) = leases.get(worker).copied() else {
            return Ok(None);
        };
        Ok(Some(WorkerRecord {
            worker: record::worker(worker)?,
            label,
            serves,
            lease_until,
            runs: count_owned(store, worker).await?,
        }))
    });
    let records = together(futures_util::future::join_all(each).await)?;
    let mut records: Vec<WorkerRecord> = records.into_iter().flatten().collect();
    records.sort_by_key(|record| record.worker);
    Ok(records)
}

/// Reads when the lease of each worker is over.
async fn leases(store: &Store) -> Result<BTreeMap<String, Timestamp>> {
    let mut asked = Cmd::new();
    let key = format!("{}leases", store.layout.tag(Slot::Leases));
    asked
        .arg("ZRANGE")
        .arg(key)
        .arg(0)
        .arg(-1)
        .arg("WITHSCORES");
    let mut items = Items::of(store.link.read(&asked).await?)?;
    let mut leases = BTreeMap::new();
    while items.len() > 0 {
        let worker = items.text()?;
        let score: f64 = items.number("lease")?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a score holds microseconds"
        )]
        leases.insert(worker, Timestamp::from_micros(score as i64));
    }
    Ok(leases)
}

async fn count_owned(store: &Store, worker: &str) -> Result<usize> {
    let key = format!("owned:{worker}");
    let each = store
        .layout
        .all()
        .map(|partition| of_slot(store, Slot::Partition(partition), "SCARD", &key));
    let counts = together(futures_util::future::join_all(each).await)?;
    let number = |count: Value| pack::number::<usize>(&reply::bytes(count)?, "count");
    counts.into_iter().map(number).sum()
}

async fn queues(store: &Store) -> Result<Vec<QueueRecord>> {
    let each = store
        .layout
        .all()
        .map(|partition| of_slot(store, Slot::Partition(partition), "HGETALL", "queues"));
    let mut found: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for counts in together(futures_util::future::join_all(each).await)? {
        for (name, count) in Fields::of(counts)?.into_pairs() {
            let count: usize = pack::number(&count, "count")?;
            let name = pack::text(&name)?;
            let (what, queue) = name
                .split_at_checked(1)
                .ok_or_else(|| unreadable("queue", name))?;
            let (waiting, claimed) = found.entry(queue.to_owned()).or_default();
            *(if what == "w" { waiting } else { claimed }) += count;
        }
    }
    let record = |(queue, (waiting, claimed)): (String, (usize, usize))| QueueRecord {
        queue: QueueName::from_stored(queue),
        waiting,
        claimed,
    };
    Ok(found.into_iter().map(record).collect())
}
