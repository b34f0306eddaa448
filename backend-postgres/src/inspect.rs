//! The read side.
//!
//! Invariants: nothing here writes. Each answer is of one statement, so of one state of the store. A filter becomes one of
//! the constant texts of `Conditions` for each of its parts, and its values are bound.

use async_trait::async_trait;
use longhaul_core::backend::{
    HistoryRequest, Inspect, ListRequest, PAGE_MAX, QueueRecord, Result as Answered, RunFilter,
    RunRecord, RunState, WorkerRecord,
};
use longhaul_core::history::StoredTurn;
use longhaul_core::id::{DataKey, NAME_CHARACTERS_MAX, QueueName, WorkflowId};
use longhaul_core::payload::Payload;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments, AssertSqlSafe, Encode, Postgres, Row, SqlSafeStr, Type};

use crate::error::{Failure, Result};
use crate::row::{self, run_record, select_run, stored, stored_turn};
use crate::session::{arguments, in_schema};
use crate::state::EXISTING;
use crate::{PostgresBackend, Store};

pub(crate) const STATES: &str = "
    select a.id, s.status, s.segment, s.blocked_reason, t.turn, t.first_event, t.record
    from unnest($1::text[]) with ordinality as a (id, position)
    left join lateral (select number from longhaul.run where run.id = a.id offset 0) r on true
    left join lateral (select * from longhaul.standing where standing.run = r.number offset 0) s on true
    left join lateral (
        select turn.turn, turn.first_event, turn.record from longhaul.turn
        where turn.run = r.number and turn.segment = s.segment
        order by turn.turn desc limit 1) t on s.status in ('Completed', 'Failed', 'Cancelled', 'Terminated')
    order by a.position";

pub(crate) const HISTORY: &str = "
    select r.number as run, t.turn, t.first_event, t.record
    from (select number from longhaul.run where run.id = $1) r
    left join lateral (
        select turn.turn, turn.first_event, turn.record from longhaul.turn
        where turn.run = r.number and turn.turn >= $3 and turn.segment = coalesce(
            $2, (select standing.segment from longhaul.standing where standing.run = r.number))
        order by turn.turn limit $4) t on true
    order by t.turn";

pub(crate) const DATA: &str = "
    select r.number as run, d.key, d.value
    from (select number from longhaul.run where run.id = $1) r
    left join lateral (
        select data.key, data.value from longhaul.data
        where data.run = r.number and ($2::text is null or data.key = $2) offset 0) d on true
    order by d.key";

const WORKERS: &str = "
    select w.id, w.label, w.lease_until, w.routes, w.tasks, w.queues, w.build,
        (select count(*) from longhaul.standing s where s.owner = w.id) as runs
    from longhaul.worker w where w.died_at is null order by w.id";

const QUEUES: &str = "
    select queue, count(*) - count(claimed_by) as waiting, count(claimed_by) as claimed
    from longhaul.attempt group by queue order by queue";

#[async_trait]
impl Inspect for PostgresBackend {
    async fn run(&self, run: &WorkflowId) -> Answered<Option<RunRecord>> {
        let run = run.clone();
        self.call(|store| async move {
            let rows = store
                .session
                .ask(EXISTING, arguments!(vec![run.as_str()]))
                .await?;
            let found = rows.first().map(run_record).transpose()?;
            Ok(found.map(|(_, record)| record))
        })
        .await
    }

    async fn states(&self, runs: &[WorkflowId]) -> Answered<Vec<Option<RunState>>> {
        let runs = runs.to_vec();
        self.call(|store| async move {
            let ids: Vec<&str> = runs.iter().map(|run| run.as_str()).collect();
            let rows = store.session.ask(STATES, arguments!(ids)).await?;
            rows.iter().map(state).collect()
        })
        .await
    }

    async fn list(&self, request: ListRequest) -> Answered<Vec<RunRecord>> {
        check_page(request.limit)?;
        self.call(|store| async move { list(&store, &request).await })
            .await
    }

    async fn count(&self, filter: &RunFilter) -> Answered<u64> {
        let filter = filter.clone();
        self.call(|store| async move {
            let head =
                "select count(*) from longhaul.run r join longhaul.standing s on s.run = r.number ";
            let conditions = Conditions::of(head, &filter, None)?;
            let rows = conditions.ask(&store).await?;
            row::unsigned(rows.first().ok_or(sqlx::Error::RowNotFound)?, "count")
        })
        .await
    }

    async fn history(&self, request: HistoryRequest) -> Answered<Vec<StoredTurn>> {
        check_page(request.limit)?;
        self.call(|store| async move { history(&store, &request).await })
            .await
    }

    async fn data(&self, run: &WorkflowId, key: &DataKey) -> Answered<Option<Payload>> {
        let (run, key) = (run.clone(), key.clone());
        self.call(|store| async move {
            let mut found = data(&store, &run, Some(key.as_str())).await?;
            Ok(found.pop().map(|(_, value)| value))
        })
        .await
    }

    async fn all_data(&self, run: &WorkflowId) -> Answered<Vec<(DataKey, Payload)>> {
        let run = run.clone();
        self.call(|store| async move { data(&store, &run, None).await })
            .await
    }

    async fn workers(&self) -> Answered<Vec<WorkerRecord>> {
        self.call(|store| async move {
            let rows = store.session.ask(WORKERS, arguments!()).await?;
            rows.iter().map(worker).collect()
        })
        .await
    }

    async fn queues(&self) -> Answered<Vec<QueueRecord>> {
        self.call(|store| async move {
            let rows = store.session.ask(QUEUES, arguments!()).await?;
            rows.iter().map(queue).collect()
        })
        .await
    }
}

fn check_page(limit: usize) -> Result<()> {
    if (1..=PAGE_MAX).contains(&limit) {
        return Ok(());
    }
    Err(Failure::Page(limit))
}

fn state(row: &PgRow) -> Result<Option<RunState>> {
    if row::optional_text(row, "status")?.is_none() {
        return Ok(None);
    }
    let turn: Option<i64> = row.try_get("turn")?;
    Ok(Some(RunState {
        status: row::status(row, "status")?,
        segment: row::segment(row, "segment")?,
        blocked: row::optional_text(row, "blocked_reason")?.map(str::to_owned),
        last_turn: turn.map(|_| stored_turn(row)).transpose()?,
    }))
}

async fn list(store: &Store, request: &ListRequest) -> Result<Vec<RunRecord>> {
    let mut conditions = Conditions::of(select_run!(""), &request.filter, request.after.as_ref())?;
    conditions.add(" order by r.id limit ", row::limit(request.limit))?;
    let rows = conditions.ask(store).await?;
    let read = |row| Ok(run_record(row)?.1);
    rows.iter().map(read).collect()
}

async fn history(store: &Store, request: &HistoryRequest) -> Result<Vec<StoredTurn>> {
    let arguments = arguments!(
        request.run.as_str(),
        request.segment.map(|segment| i64::from(segment.0)),
        stored(request.from.0),
        row::limit(request.limit),
    );
    let rows = store.session.ask(HISTORY, arguments).await?;
    known(&request.run, &rows, "turn")?
        .map(stored_turn)
        .collect()
}

async fn data(
    store: &Store,
    run: &WorkflowId,
    key: Option<&str>,
) -> Result<Vec<(DataKey, Payload)>> {
    let rows = store
        .session
        .ask(DATA, arguments!(run.as_str(), key))
        .await?;
    let read = |row: &PgRow| {
        let value: Vec<u8> = row.try_get("value")?;
        Ok((
            DataKey::from_stored(row::text(row, "key")?),
            Payload::from_bytes(value),
        ))
    };
    known(run, &rows, "key")?.map(read).collect()
}

/// Refuses an unknown run, which has no row; returns the rows that have something in `column`.
fn known<'a>(
    run: &WorkflowId,
    rows: &'a [PgRow],
    column: &'static str,
) -> Result<impl Iterator<Item = &'a PgRow>> {
    if rows.is_empty() {
        return Err(Failure::UnknownRun(run.clone()));
    }
    let is_there = move |row: &&PgRow| {
        use sqlx::ValueRef as _;
        row.try_get_raw(column).is_ok_and(|value| !value.is_null())
    };
    Ok(rows.iter().filter(is_there))
}

fn worker(row: &PgRow) -> Result<WorkerRecord> {
    Ok(WorkerRecord {
        worker: row::worker(row, "id")?,
        label: row.try_get("label")?,
        serves: row::serves(row)?,
        lease_until: row::time(row, "lease_until")?,
        runs: row::count(row, "runs")?,
    })
}

fn queue(row: &PgRow) -> Result<QueueRecord> {
    Ok(QueueRecord {
        queue: QueueName::from_stored(row::text(row, "queue")?),
        waiting: row::count(row, "waiting")?,
        claimed: row::count(row, "claimed")?,
    })
}

/// Is a statement with a `where` clause, and its values in order.
struct Conditions {
    text: String,
    values: PgArguments,
}

impl Conditions {
    fn of(head: &str, filter: &RunFilter, after: Option<&WorkflowId>) -> Result<Self> {
        let mut conditions = Self {
            text: [head, "where true"].concat(),
            values: PgArguments::default(),
        };
        if let Some(after) = after {
            conditions.add(" and r.id > ", after.as_str())?;
        }
        if let Some(prefix) = &filter.id_prefix {
            let last = char::MAX.to_string().repeat(NAME_CHARACTERS_MAX);
            conditions.add(" and r.id between ", prefix.as_str())?;
            conditions.add(" and ", [prefix.as_str(), &last].concat())?;
        }
        if let Some(workflow_type) = &filter.workflow_type {
            conditions.add(" and r.type = ", workflow_type.as_str())?;
        }
        if let Some(kind) = filter.kind {
            conditions.add(" and r.kind = ", kind.as_str())?;
        }
        if let Some(parent) = &filter.parent {
            conditions.add(" and r.parent = ", parent.as_str())?;
        }
        if let Some(root) = &filter.root {
            conditions.add(" and (r.id = ", root.as_str())?;
            conditions.add(
                " and r.parent is null or r.parent is not null and r.root = ",
                root.as_str(),
            )?;
            conditions.text.push(')');
        }
        for (name, value) in &filter.tags {
            conditions.add_tag(name, value)?;
        }
        if !filter.statuses.is_empty() {
            let names: Vec<&str> = filter
                .statuses
                .iter()
                .map(|status| status.as_str())
                .collect();
            conditions.add(" and s.status = any(", names)?;
            conditions.text.push(')');
        }
        Ok(conditions)
    }

    fn add_tag(&mut self, name: &str, value: &str) -> Result<()> {
        self.add(
            " and r.number in (select t.run from longhaul.tag t where md5(t.name) = md5(",
            name,
        )?;
        self.add(") and md5(t.value) = md5(", value)?;
        self.add(") and t.name = ", name)?;
        self.add(" and t.value = ", value)?;
        self.text.push(')');
        Ok(())
    }

    /// Adds a text and the place of a value behind it.
    fn add<'a, T>(&mut self, text: &str, value: T) -> Result<()>
    where
        T: Encode<'a, Postgres> + Type<Postgres>,
    {
        self.values.add(value).map_err(sqlx::Error::Encode)?;
        self.text.push_str(text);
        self.text.push_str(&format!("${}", self.values.len()));
        Ok(())
    }

    async fn ask(self, store: &Store) -> Result<Vec<PgRow>> {
        let text = in_schema(&self.text, store.session.schema());
        store
            .session
            .ask_text(AssertSqlSafe(text).into_sql_str(), self.values)
            .await
    }
}
