//! Rows and what the contract calls them.
//!
//! Invariants: nothing is guessed: a stored text that is not known is an error. Numbers are stored in 63 bits; one that
//! has more is looked for as the largest there is, which nothing that is stored has.

use longhaul_core::backend::{Arrival, ArrivalBody, ArrivalKind, QueuedAttempt, RunRecord, Serves};
use longhaul_core::clock::Timestamp;
use longhaul_core::history::{OperationKey, StoredTurn};
use longhaul_core::id::{
    ArrivalNumber, BuildId, Epoch, EventNumber, QueueName, Route, Segment, TaskName, TurnNumber,
    Uuid, WorkerId, WorkflowId, WorkflowType, WriteId,
};
use longhaul_core::identity::{RunKind, WorkflowIdentity};
use longhaul_core::status::Status;
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::error::{Failure, Result};

/// Is the number that other tables know a run by.
pub(crate) type RunNumber = i64;

/// Selects what [`run_record`] reads.
macro_rules! select_run {
    ($rest:literal) => {
        concat!(
            "select r.number, r.id, r.kind, r.type, r.parent, r.root, s.segment, s.route, r.partition, s.status, \
             s.owner, s.epoch, s.arrivals, s.read_to, coalesce(s.due_at, s.woken_at) as wake_at, s.lost, \
             s.blocked_reason, s.blocked_build, r.fingerprint, r.parent_operation, r.created_at, s.updated_at, \
             array(select t.name from longhaul.tag t where t.run = r.number order by t.position) as tag_names, \
             array(select t.value from longhaul.tag t where t.run = r.number order by t.position) as tag_values \
             from longhaul.run r join longhaul.standing s on s.run = r.number ",
            $rest
        )
    };
}
pub(crate) use select_run;

/// Reads a row of [`select_run`].
pub(crate) fn run_record(row: &PgRow) -> Result<(RunNumber, RunRecord)> {
    let mut identity = WorkflowIdentity::root(
        WorkflowId::from_stored(text(row, "id")?),
        WorkflowType::from_stored(text(row, "type")?),
    );
    identity.parent = optional_text(row, "parent")?.map(WorkflowId::from_stored);
    identity.root = WorkflowId::from_stored(text(row, "root")?);
    let reason = optional_text(row, "blocked_reason")?.map(str::to_owned);
    let build = optional_text(row, "blocked_build")?.map(BuildId::from_stored);
    let names: Vec<String> = row.try_get("tag_names")?;
    let values: Vec<String> = row.try_get("tag_values")?;
    let record = RunRecord {
        identity,
        kind: kind(row)?,
        segment: segment(row, "segment")?,
        route: Route::from_stored(text(row, "route")?),
        partition: number(row.try_get::<i32, _>("partition")?, "partition")?,
        status: status(row, "status")?,
        owner: optional_worker(row, "owner")?,
        epoch: Epoch(unsigned(row, "epoch")?),
        arrivals: ArrivalNumber(unsigned(row, "arrivals")?),
        read: ArrivalNumber(unsigned(row, "read_to")?),
        wake_at: optional_time(row, "wake_at")?,
        lost: number(row.try_get::<i64, _>("lost")?, "count")?,
        blocked: reason.zip(build),
        fingerprint: sixteen(row, "fingerprint")?,
        tags: names.into_iter().zip(values).collect(),
        parent_operation: optional_text(row, "parent_operation")?
            .map(operation)
            .transpose()?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    };
    Ok((row.try_get("number")?, record))
}

/// Reads `turn, first_event, record`.
pub(crate) fn stored_turn(row: &PgRow) -> Result<StoredTurn> {
    Ok(StoredTurn {
        turn: TurnNumber(unsigned(row, "turn")?),
        first_event: EventNumber(unsigned(row, "first_event")?),
        record: row.try_get("record")?,
    })
}

/// Reads an arrival of an inbox.
pub(crate) fn arrival(row: &PgRow) -> Result<Arrival> {
    let kind = text(row, "kind")?;
    Ok(Arrival {
        number: ArrivalNumber(unsigned(row, "number")?),
        accepted_at: time(row, "accepted_at")?,
        body: ArrivalBody {
            kind: ArrivalKind::from_stored(kind)
                .ok_or_else(|| unreadable("kind of arrival", kind))?,
            name: row.try_get("name")?,
            content: row.try_get("content")?,
        },
    })
}

/// Reads an attempt of a task queue.
pub(crate) fn queued_attempt(row: &PgRow) -> Result<QueuedAttempt> {
    Ok(QueuedAttempt {
        run: WorkflowId::from_stored(text(row, "id")?),
        segment: segment(row, "segment")?,
        operation: operation(text(row, "operation")?)?,
        attempt: number(row.try_get::<i64, _>("attempt")?, "number of an attempt")?,
        queue: QueueName::from_stored(text(row, "queue")?),
        task: TaskName::from_stored(text(row, "task")?),
        priority: row.try_get("priority")?,
        due: optional_time(row, "due")?,
        content: row.try_get("content")?,
    })
}

/// Reads what a worker serves.
pub(crate) fn serves(row: &PgRow) -> Result<Serves> {
    let names = |column: &str| -> Result<Vec<String>> { Ok(row.try_get(column)?) };
    Ok(Serves {
        routes: names("routes")?.iter().map(Route::from_stored).collect(),
        tasks: names("tasks")?.iter().map(TaskName::from_stored).collect(),
        queues: names("queues")?
            .iter()
            .map(QueueName::from_stored)
            .collect(),
        build: BuildId::from_stored(text(row, "build")?),
    })
}

/// Returns a number as it is stored.
pub(crate) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Returns a number as it is kept, if it has no more than 63 bits.
pub(crate) fn kept(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|_| Failure::Refused(format!("{number} is above {}", i64::MAX)))
}

/// Returns a limit as it is stored.
pub(crate) fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Returns an id as the driver takes it.
pub(crate) const fn uuid(id: Uuid) -> sqlx::types::Uuid {
    sqlx::types::Uuid::from_bytes(*id.as_bytes())
}

/// Returns an id that the driver gave.
pub(crate) fn from_uuid(id: sqlx::types::Uuid) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

/// Borrows a text.
pub(crate) fn text<'a>(row: &'a PgRow, column: &str) -> Result<&'a str> {
    Ok(row.try_get(column)?)
}

/// Borrows a text, if there is one.
pub(crate) fn optional_text<'a>(row: &'a PgRow, column: &str) -> Result<Option<&'a str>> {
    Ok(row.try_get(column)?)
}

/// Reads a number that is not negative.
pub(crate) fn unsigned(row: &PgRow, column: &str) -> Result<u64> {
    number(row.try_get::<i64, _>(column)?, "number")
}

/// Reads a number of things.
pub(crate) fn count(row: &PgRow, column: &str) -> Result<usize> {
    number(row.try_get::<i64, _>(column)?, "count")
}

/// Reads a time.
pub(crate) fn time(row: &PgRow, column: &str) -> Result<Timestamp> {
    Ok(Timestamp::from_micros(row.try_get(column)?))
}

/// Reads a time, if there is one.
pub(crate) fn optional_time(row: &PgRow, column: &str) -> Result<Option<Timestamp>> {
    let micros: Option<i64> = row.try_get(column)?;
    Ok(micros.map(Timestamp::from_micros))
}

/// Reads a worker's id.
pub(crate) fn worker(row: &PgRow, column: &str) -> Result<WorkerId> {
    Ok(WorkerId(from_uuid(row.try_get(column)?)))
}

/// Reads a worker's id, if there is one.
pub(crate) fn optional_worker(row: &PgRow, column: &str) -> Result<Option<WorkerId>> {
    let id: Option<sqlx::types::Uuid> = row.try_get(column)?;
    Ok(id.map(|id| WorkerId(from_uuid(id))))
}

/// Reads a write's id, if there is one.
pub(crate) fn optional_write(row: &PgRow, column: &str) -> Result<Option<WriteId>> {
    let id: Option<sqlx::types::Uuid> = row.try_get(column)?;
    Ok(id.map(|id| WriteId(from_uuid(id))))
}

/// Reads a segment.
pub(crate) fn segment(row: &PgRow, column: &str) -> Result<Segment> {
    number(row.try_get::<i64, _>(column)?, "segment").map(Segment)
}

/// Reads a status.
pub(crate) fn status(row: &PgRow, column: &str) -> Result<Status> {
    let name = text(row, column)?;
    name.parse().map_err(|_| unreadable("status", name))
}

/// Reads a fingerprint.
pub(crate) fn sixteen(row: &PgRow, column: &str) -> Result<[u8; 16]> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes
        .try_into()
        .map_err(|_| unreadable("fingerprint", format!("{} bytes", bytes.len())))
}

/// Reads the kind of a run.
pub(crate) fn kind(row: &PgRow) -> Result<RunKind> {
    let name = text(row, "kind")?;
    RunKind::from_stored(name).ok_or_else(|| unreadable("kind of run", name))
}

fn operation(text: &str) -> Result<OperationKey> {
    OperationKey::from_stored(text).ok_or_else(|| unreadable("operation", text))
}

fn number<T, N>(stored: N, what: &'static str) -> Result<T>
where
    T: TryFrom<N>,
    N: Copy + std::fmt::Display,
{
    T::try_from(stored).map_err(|_| unreadable(what, stored))
}

/// Makes the error of a stored value that this version does not know.
pub(crate) fn unreadable(what: &'static str, value: impl std::fmt::Display) -> Failure {
    Failure::Unreadable {
        what,
        value: value.to_string(),
    }
}
