//! The read side.
//!
//! Invariants: nothing here writes. Each answer is of one state of the store. A filter becomes one of the constant
//! texts of `CONDITIONS` for each of its parts, and its values are bound.

use std::sync::LazyLock;

use async_trait::async_trait;
use longhaul_core::backend::{
    HistoryRequest, Inspect, ListRequest, PAGE_MAX, QueueRecord, Result as Answered, RunFilter,
    RunRecord, RunState, WorkerRecord,
};
use longhaul_core::history::StoredTurn;
use longhaul_core::id::{DataKey, NAME_CHARACTERS_MAX, QueueName, Segment, WorkflowId};
use longhaul_core::payload::Payload;
use rusqlite::{Connection, OptionalExtension, ToSql, params, params_from_iter};

use crate::SqliteBackend;
use crate::error::{Failure, Result};
use crate::row::{self, RunNumber, run_record, select_run, stored_turn, text, with_tags};

#[async_trait]
impl Inspect for SqliteBackend {
    async fn run(&self, run: &WorkflowId) -> Answered<Option<RunRecord>> {
        let run = run.clone();
        self.read(move |connection| Ok(row::find_run(connection, &run)?.map(|(_, record)| record)))
            .await
    }

    async fn states(&self, runs: &[WorkflowId]) -> Answered<Vec<Option<RunState>>> {
        let runs = runs.to_vec();
        self.read(move |connection| runs.iter().map(|run| state(connection, run)).collect())
            .await
    }

    async fn list(&self, request: ListRequest) -> Answered<Vec<RunRecord>> {
        check_page(request.limit)?;
        self.read(move |connection| list(connection, &request))
            .await
    }

    async fn count(&self, filter: &RunFilter) -> Answered<u64> {
        let filter = filter.clone();
        self.read(move |connection| {
            let conditions = Conditions::of(&filter, None)?;
            let count = connection
                .prepare_cached(&format!("select count(*) from run {}", conditions.text))?
                .query_row(conditions.bound(), |row| row.get(0))?;
            Ok(count)
        })
        .await
    }

    async fn history(&self, request: HistoryRequest) -> Answered<Vec<StoredTurn>> {
        check_page(request.limit)?;
        self.read(move |connection| history(connection, &request))
            .await
    }

    async fn data(&self, run: &WorkflowId, key: &DataKey) -> Answered<Option<Payload>> {
        let (run, key) = (run.clone(), key.clone());
        self.read(move |connection| {
            let number = known(connection, &run)?;
            let found: Option<Vec<u8>> = connection
                .prepare_cached("select value from data where run = ?1 and key = ?2")?
                .query_row(params![number, key.as_str()], |row| row.get(0))
                .optional()?;
            Ok(found.map(Payload::from_bytes))
        })
        .await
    }

    async fn all_data(&self, run: &WorkflowId) -> Answered<Vec<(DataKey, Payload)>> {
        let run = run.clone();
        self.read(move |connection| {
            let number = known(connection, &run)?;
            let found = connection
                .prepare_cached("select key, value from data where run = ?1 order by key")?
                .query_map([number], |row| {
                    let value: Vec<u8> = row.get(1)?;
                    Ok((
                        DataKey::from_stored(text(row, 0)?),
                        Payload::from_bytes(value),
                    ))
                })?
                .collect::<rusqlite::Result<_>>()?;
            Ok(found)
        })
        .await
    }

    async fn workers(&self) -> Answered<Vec<WorkerRecord>> {
        self.read(workers).await
    }

    async fn queues(&self) -> Answered<Vec<QueueRecord>> {
        self.read(queues).await
    }
}

fn check_page(limit: usize) -> Result<()> {
    if (1..=PAGE_MAX).contains(&limit) {
        return Ok(());
    }
    Err(Failure::Page(limit))
}

fn known(connection: &Connection, run: &WorkflowId) -> Result<RunNumber> {
    row::run_number(connection, run)?.ok_or_else(|| Failure::UnknownRun(run.clone()))
}

fn state(connection: &Connection, run: &WorkflowId) -> Result<Option<RunState>> {
    let found = connection
        .prepare_cached("select number, status, segment, blocked_reason from run where id = ?1")?
        .query_row([run.as_str()], |row| {
            let state = RunState {
                status: row::status(row, 1)?,
                segment: Segment(row.get(2)?),
                blocked: row.get(3)?,
                last_turn: None,
            };
            Ok((row.get::<_, RunNumber>(0)?, state))
        })
        .optional()?;
    let Some((number, mut state)) = found else {
        return Ok(None);
    };
    if state.status.is_terminal() {
        state.last_turn = connection
            .prepare_cached(
                "select turn, first_event, record from turn where run = ?1 and segment = ?2
                 order by turn desc limit 1",
            )?
            .query_row(params![number, state.segment.0], stored_turn)
            .optional()?;
    }
    Ok(Some(state))
}

fn list(connection: &Connection, request: &ListRequest) -> Result<Vec<RunRecord>> {
    let mut conditions = Conditions::of(&request.filter, request.after.as_ref())?;
    conditions.values.push(Box::new(request.limit));
    let order = " order by id limit ?";
    let text = [select_run!(""), &conditions.text, order].concat();
    let found = connection
        .prepare_cached(&text)?
        .query_map(conditions.bound(), run_record)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let with_tags = |found| Ok(with_tags(connection, found)?.1);
    found.into_iter().map(with_tags).collect()
}

fn history(connection: &Connection, request: &HistoryRequest) -> Result<Vec<StoredTurn>> {
    let number = known(connection, &request.run)?;
    let found = connection
        .prepare_cached(
            "select turn, first_event, record from turn
             where run = ?1 and segment = coalesce(?2, (select segment from run where number = ?1)) and turn >= ?3
             order by turn limit ?4",
        )?
        .query_map(
            params![
                number,
                request.segment.map(|segment| segment.0),
                row::sought(request.from.0),
                request.limit
            ],
            stored_turn,
        )?
        .collect::<rusqlite::Result<_>>()?;
    Ok(found)
}

fn workers(connection: &Connection) -> Result<Vec<WorkerRecord>> {
    let found = connection
        .prepare_cached(
            "select id, label, lease_until, routes, tasks, queues, build,
                 (select count(*) from run where owner = worker.id) from worker order by id",
        )?
        .query_map([], |row| {
            Ok(WorkerRecord {
                worker: row::worker_id(row)?,
                label: row.get(1)?,
                lease_until: row::time(row, 2)?,
                serves: row::serves(row, 3)?,
                runs: row.get(7)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(found)
}

fn queues(connection: &Connection) -> Result<Vec<QueueRecord>> {
    let found = connection
        .prepare_cached(
            "select queue, count(*) - count(claimed_by), count(claimed_by) from attempt
             group by queue order by queue",
        )?
        .query_map([], |row| {
            Ok(QueueRecord {
                queue: QueueName::from_stored(text(row, 0)?),
                waiting: row.get(1)?,
                claimed: row.get(2)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(found)
}

/// Sorts after every id.
static LAST_ID: LazyLock<String> =
    LazyLock::new(|| char::MAX.to_string().repeat(NAME_CHARACTERS_MAX));

/// Is a `where` clause with the values of its places, in order.
struct Conditions {
    text: String,
    values: Vec<Box<dyn ToSql>>,
}

impl Conditions {
    fn of(filter: &RunFilter, after: Option<&WorkflowId>) -> Result<Self> {
        let mut conditions = Self {
            text: "where true".to_owned(),
            values: Vec::new(),
        };
        if let Some(after) = after {
            conditions.add(" and id > ?", after.to_string());
        }
        if let Some(prefix) = &filter.id_prefix {
            let end = [prefix.as_str(), LAST_ID.as_str()].concat();
            conditions.add(" and id between ?", prefix.clone());
            conditions.add(" and ?", end);
        }
        if let Some(workflow_type) = &filter.workflow_type {
            conditions.add(" and type = ?", workflow_type.to_string());
        }
        if let Some(kind) = filter.kind {
            conditions.add(" and kind = ?", kind.as_str());
        }
        if let Some(parent) = &filter.parent {
            conditions.add(" and parent = ?", parent.to_string());
        }
        if let Some(root) = &filter.root {
            conditions.add(" and (id = ?", root.to_string());
            conditions.add(
                " and parent is null or parent is not null and root = ?)",
                root.to_string(),
            );
        }
        for (name, value) in &filter.tags {
            conditions.add(
                " and number in (select run from tag where name = ?",
                name.clone(),
            );
            conditions.add(" and value = ?)", value.clone());
        }
        let mut joint = " and status in (?";
        for status in &filter.statuses {
            conditions.add(joint, status.as_str());
            joint = ", ?";
        }
        if !filter.statuses.is_empty() {
            conditions.text.push(')');
        }
        Ok(conditions)
    }

    fn add(&mut self, text: &str, value: impl ToSql + 'static) {
        self.text.push_str(text);
        self.values.push(Box::new(value));
    }

    fn bound(&self) -> impl rusqlite::Params {
        params_from_iter(&self.values)
    }
}
