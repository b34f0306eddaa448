//! The user's own SQL in one transaction with the store's.
//!
//! Invariants: an outcome is one row per operation, and its key decides who was first. A task's transaction has a
//! connection of its own, and never the last ones of the pool, so that leases are extended whatever tasks do. One that
//! did not end in order is closed, which rolls it back.

use async_trait::async_trait;
use longhaul_core::backend::{
    AnyConnection, Begun, ConnectionType, ExistingRun, Finished, Hint, OutcomeKey,
    Result as Answered, StartRun, StartedInside, Transaction, Transactions,
};
use longhaul_core::id::{Route, WorkflowType};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Executor, PgConnection, Row, SqlStr};
use std::sync::Arc;

use crate::columns::{add_runs, add_tags};
use crate::error::{Failure, Result, of_statement};
use crate::row::{self, RunNumber};
use crate::session::{Lent, arguments, detached};
use crate::{PostgresBackend, Store};

/// Fails when the user's code has ended the transaction, or left it aborted.
const BACK_TO_OURS: &str = "release savepoint longhaul";

const STANDING: &str = "
    select r.number, s.segment, s.status, (
        select o.content from longhaul.outcome o
        where o.run = r.number and o.segment = $2 and o.operation = $3) as content
    from longhaul.run r join longhaul.standing s on s.run = r.number where r.id = $1";

/// Holds the run in its segment until the commit; it comes last, so that it holds it for as long as a commit takes.
const RECORD: &str = "
    with open as materialized (
        select s.run, s.segment from longhaul.standing s
        where s.run = $1 and s.segment = $2 and s.status not in ('Completed', 'Failed', 'Cancelled', 'Terminated')
        for share
    ),
    recorded as (
        insert into longhaul.outcome (run, segment, operation, content)
        select run, segment, $3, $4 from open on conflict do nothing returning run
    )
    select (select count(*) from open) as open, (select count(*) from recorded) as recorded";

const RECORDED: &str = "
    select o.content from longhaul.run r join longhaul.outcome o on o.run = r.number
    where r.id = $1 and o.segment = $2 and o.operation = $3";

/// Waits for whoever is about to record this outcome; what it writes is rolled back.
const WAIT: &str = "
    insert into longhaul.outcome (run, segment, operation, content)
    select number, $2, $3, '' from longhaul.run where id = $1 on conflict do nothing";

const IS_OURS: &str = "select to_regclass('longhaul.meta') is not null as ours";

/// Stands for the lane of a start inside a transaction of the user's, which must be one of this store's database.
const IN_THIS_STORE: &str = concat!(
    "with fence as materialized (\
        select $2::uuid as worker from longhaul.meta \
        where hash_key = $20 and $3::integer is null and $4::bigint is null)",
    include_str!("sql/start.sql"),
    include_str!("sql/unless_taken.sql"),
    include_str!("sql/started.sql")
);

const EXISTING: &str = "
    select r.kind, r.type, r.fingerprint, s.status
    from longhaul.run r join longhaul.standing s on s.run = r.number where r.id = $1";

#[async_trait]
impl Transactions for PostgresBackend {
    fn connection_type(&self) -> ConnectionType {
        ConnectionType::of::<PgConnection>()
    }

    async fn start_in(
        &self,
        connection: &mut AnyConnection,
        run: StartRun,
    ) -> Answered<StartedInside> {
        let connection = connection
            .downcast_mut::<PgConnection>()
            .ok_or(Failure::OtherConnection)?;
        Ok(start_in(&self.store, connection, &run).await?)
    }

    async fn hint(&self, _route: &Route) {
        self.store.tell(Hint::Changed);
    }

    async fn begin(&self, operation: OutcomeKey) -> Answered<Begun> {
        self.call(|store| async move { begin(&store, operation).await })
            .await
    }

    async fn recorded(&self, operation: &OutcomeKey) -> Answered<Option<Vec<u8>>> {
        let key = operation.clone();
        self.call(|store| async move {
            let mut lent = store.session.lend().await?;
            lent.begin().await?;
            lent.ask(store.session.text(WAIT), of_key(&key)?).await?;
            lent.roll_back().await?;
            recorded(&store, &key).await
        })
        .await
    }
}

async fn recorded(store: &Store, key: &OutcomeKey) -> Result<Option<Vec<u8>>> {
    let rows = store.session.ask(RECORDED, of_key(key)?).await?;
    Ok(rows.first().map(|row| row.try_get("content")).transpose()?)
}

fn of_key(key: &OutcomeKey) -> Result<PgArguments> {
    Ok(arguments!(
        key.run.as_str(),
        i64::from(key.segment.0),
        key.operation.to_string(),
    ))
}

async fn begin(store: &Arc<Store>, key: OutcomeKey) -> Result<Begun> {
    let mut lent = store.session.lend().await?;
    lent.begin().await?;
    let rows = lent
        .ask(store.session.text(STANDING), of_key(&key)?)
        .await?;
    let found = rows
        .first()
        .ok_or_else(|| Failure::UnknownRun(key.run.clone()))?;
    let content: Option<Vec<u8>> = found.try_get("content")?;
    if let Some(content) = content {
        lent.roll_back().await?;
        return Ok(Begun::Recorded(content));
    }
    if row::status(found, "status")?.is_terminal() || row::segment(found, "segment")? != key.segment
    {
        return Err(Failure::SegmentOver(key.run.clone()));
    }
    let run = found.try_get("number")?;
    lent.run("savepoint longhaul").await?;
    Ok(Begun::Open(Box::new(Open {
        store: Arc::clone(store),
        lent,
        run,
        key,
    })))
}

/// Is a transaction of a task.
struct Open {
    store: Arc<Store>,
    lent: Lent,
    run: RunNumber,
    key: OutcomeKey,
}

#[async_trait]
impl Transaction for Open {
    fn connection(&mut self) -> &mut AnyConnection {
        self.lent.connection()
    }

    async fn finish(self: Box<Self>, outcome: Vec<u8>) -> Answered<Finished> {
        Ok(detached(Box::pin(finish(*self, outcome))).await?)
    }
}

async fn finish(open: Open, outcome: Vec<u8>) -> Result<Finished> {
    let Open {
        store,
        mut lent,
        run,
        key,
    } = open;
    let ended = |_| Failure::TransactionEnded(key.operation.clone());
    lent.run(BACK_TO_OURS).await.map_err(ended)?;
    let arguments = arguments!(
        run,
        i64::from(key.segment.0),
        key.operation.to_string(),
        outcome,
    );
    let rows = lent.ask(store.session.text(RECORD), arguments).await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    if row::count(row, "recorded")? > 0 {
        lent.commit().await?;
        return Ok(Finished::Recorded);
    }
    let is_open = row::count(row, "open")? > 0;
    lent.roll_back().await?;
    match recorded(&store, &key).await? {
        Some(content) if is_open => Ok(Finished::Adopted(content)),
        _ => Err(Failure::SegmentOver(key.run)),
    }
}

/// Starts a run on the user's connection. No statement is kept prepared there, as a pooler may be between.
async fn start_in(
    store: &Store,
    connection: &mut PgConnection,
    run: &StartRun,
) -> Result<StartedInside> {
    let ask = async |connection: &mut PgConnection, text: SqlStr, arguments: PgArguments| {
        let asked = sqlx::query_with(text, arguments).persistent(false);
        asked
            .fetch_one(&mut *connection)
            .await
            .map_err(of_statement)
    };
    let text = store.session.text(IS_OURS);
    let found = connection
        .fetch_one(sqlx::raw_sql(text))
        .await
        .map_err(of_statement)?;
    if !found.try_get("ours")? {
        return Err(Failure::OtherDatabase);
    }
    let text = store.session.text(IN_THIS_STORE);
    let started = ask(connection, text, of_start(store, run)?).await?;
    if row::count(&started, "fenced")? == 0 {
        return Err(Failure::OtherDatabase);
    }
    if !started.try_get::<Vec<i64>, _>("new")?.is_empty() {
        return Ok(StartedInside::New);
    }
    let id = &run.identity.workflow_id;
    let found = ask(
        connection,
        store.session.text(EXISTING),
        arguments!(id.as_str()),
    )
    .await;
    match found {
        Ok(found) => existing(&found).map(StartedInside::Exists),
        Err(Failure::Postgres(sqlx::Error::RowNotFound)) => Err(Failure::HiddenRun(id.clone())),
        Err(other) => Err(other),
    }
}

fn of_start(store: &Store, run: &StartRun) -> Result<PgArguments> {
    let nobody = None::<sqlx::types::Uuid>;
    let mut arguments = arguments!(store.clock.given(), nobody, None::<i32>, None::<i64>);
    add_runs(&mut arguments, &[run])
        .and_then(|()| add_tags(&mut arguments, &[run]))
        .and_then(|()| sqlx::Arguments::add(&mut arguments, nobody))
        .and_then(|()| sqlx::Arguments::add(&mut arguments, store.info.hash_key.as_slice()))
        .map_err(sqlx::Error::Encode)?;
    Ok(arguments)
}

fn existing(found: &PgRow) -> Result<ExistingRun> {
    Ok(ExistingRun {
        kind: row::kind(found)?,
        workflow_type: WorkflowType::from_stored(row::text(found, "type")?),
        fingerprint: row::sixteen(found, "fingerprint")?,
        status: row::status(found, "status")?,
    })
}
