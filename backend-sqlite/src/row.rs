//! Rows and what the contract calls them.
//!
//! Invariants: nothing is guessed: a stored text that is not known is an error.

use longhaul_core::backend::{Arrival, ArrivalBody, ArrivalKind, RunRecord, Serves};
use longhaul_core::clock::Timestamp;
use longhaul_core::history::{OperationKey, StoredTurn};
use longhaul_core::id::{
    ArrivalNumber, BuildId, Epoch, EventNumber, QueueName, Route, Segment, TaskName, TurnNumber,
    Uuid, WorkerId, WorkflowId, WorkflowType, WriteId,
};
use longhaul_core::identity::{RunKind, WorkflowIdentity};
use longhaul_core::status::Status;
use rusqlite::{Connection, OptionalExtension, Result, Row};

use crate::error::unreadable;

/// Is the number that other tables know a run by.
pub(crate) type RunNumber = i64;

/// Selects what [`run_record`] reads.
macro_rules! select_run {
    ($rest:literal) => {
        concat!(
            "select number, id, kind, type, parent, root, segment, route, partition, status, owner, epoch, arrivals, \
             read_to, wake_at, lost, blocked_reason, blocked_build, fingerprint, parent_operation, created_at, \
             updated_at from run ",
            $rest
        )
    };
}
pub(crate) use select_run;

/// Reads a row of [`select_run`]; tags are in another table.
pub(crate) fn run_record(row: &Row<'_>) -> Result<(RunNumber, RunRecord)> {
    let mut identity = WorkflowIdentity::root(
        WorkflowId::from_stored(text(row, 1)?),
        WorkflowType::from_stored(text(row, 3)?),
    );
    identity.parent = optional_text(row, 4)?.map(WorkflowId::from_stored);
    identity.root = WorkflowId::from_stored(text(row, 5)?);
    let reason: Option<String> = row.get(16)?;
    let build = optional_text(row, 17)?.map(BuildId::from_stored);
    let record = RunRecord {
        identity,
        kind: run_kind(row, 2)?,
        segment: Segment(row.get(6)?),
        route: Route::from_stored(text(row, 7)?),
        partition: row.get(8)?,
        status: status(row, 9)?,
        owner: optional_worker(row, 10)?,
        epoch: Epoch(row.get(11)?),
        arrivals: ArrivalNumber(row.get(12)?),
        read: ArrivalNumber(row.get(13)?),
        wake_at: row.get::<_, Option<i64>>(14)?.map(Timestamp::from_micros),
        lost: row.get(15)?,
        blocked: reason.zip(build),
        fingerprint: row.get(18)?,
        tags: Vec::new(),
        parent_operation: optional_text(row, 19)?
            .map(|text| OperationKey::from_stored(text).ok_or_else(|| unreadable(19, text)))
            .transpose()?,
        created_at: time(row, 20)?,
        updated_at: time(row, 21)?,
    };
    Ok((row.get(0)?, record))
}

/// Reads a run with its tags.
pub(crate) fn find_run(
    connection: &Connection,
    run: &WorkflowId,
) -> Result<Option<(RunNumber, RunRecord)>> {
    let found = connection
        .prepare_cached(select_run!("where id = ?1"))?
        .query_row([run.as_str()], run_record)
        .optional()?;
    found.map(|found| with_tags(connection, found)).transpose()
}

/// Adds the tags to a run that was read.
pub(crate) fn with_tags(
    connection: &Connection,
    (number, mut record): (RunNumber, RunRecord),
) -> Result<(RunNumber, RunRecord)> {
    record.tags = connection
        .prepare_cached("select name, value from tag where run = ?1 order by position")?
        .query_map([number], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_>>()?;
    Ok((number, record))
}

/// Returns the number of a run.
pub(crate) fn run_number(connection: &Connection, run: &WorkflowId) -> Result<Option<RunNumber>> {
    connection
        .prepare_cached("select number from run where id = ?1")?
        .query_row([run.as_str()], |row| row.get(0))
        .optional()
}

/// Reads `turn, first_event, record`.
pub(crate) fn stored_turn(row: &Row<'_>) -> Result<StoredTurn> {
    Ok(StoredTurn {
        turn: TurnNumber(row.get(0)?),
        first_event: EventNumber(row.get(1)?),
        record: row.get(2)?,
    })
}

/// Reads the arrivals of a run after `after`.
pub(crate) fn inbox(
    connection: &Connection,
    run: RunNumber,
    after: ArrivalNumber,
) -> Result<Vec<Arrival>> {
    connection
        .prepare_cached(
            "select number, accepted_at, kind, name, content from inbox
             where run = ?1 and number > ?2 order by number",
        )?
        .query_map((run, sought(after.0)), |row| {
            Ok(Arrival {
                number: ArrivalNumber(row.get(0)?),
                accepted_at: time(row, 1)?,
                body: body(row, 2)?,
            })
        })?
        .collect()
}

/// Reads `kind, name, content` from three columns.
pub(crate) fn body(row: &Row<'_>, column: usize) -> Result<ArrivalBody> {
    let kind = text(row, column)?;
    Ok(ArrivalBody {
        kind: ArrivalKind::from_stored(kind).ok_or_else(|| unreadable(column, kind))?,
        name: row.get(column + 1)?,
        content: row.get(column + 2)?,
    })
}

/// Returns a limit as SQLite takes it, whose numbers end at 63 bits.
pub(crate) fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Returns a number to look for, or the largest there is, which nothing that is stored has.
pub(crate) fn sought(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Borrows a text.
pub(crate) fn text<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a str> {
    Ok(row.get_ref(column)?.as_str()?)
}

/// Borrows a text, if there is one.
pub(crate) fn optional_text<'a>(row: &'a Row<'_>, column: usize) -> Result<Option<&'a str>> {
    Ok(row.get_ref(column)?.as_str_or_null()?)
}

/// Reads a time.
pub(crate) fn time(row: &Row<'_>, column: usize) -> Result<Timestamp> {
    row.get(column).map(Timestamp::from_micros)
}

/// Reads a worker's id from the first column.
pub(crate) fn worker_id(row: &Row<'_>) -> Result<WorkerId> {
    row.get(0).map(|bytes| WorkerId(Uuid::from_bytes(bytes)))
}

/// Reads a worker's id, if there is one.
pub(crate) fn optional_worker(row: &Row<'_>, column: usize) -> Result<Option<WorkerId>> {
    let bytes: Option<[u8; 16]> = row.get(column)?;
    Ok(bytes.map(|bytes| WorkerId(Uuid::from_bytes(bytes))))
}

/// Reads a write's id, if there is one.
pub(crate) fn optional_write(row: &Row<'_>, column: usize) -> Result<Option<WriteId>> {
    let bytes: Option<[u8; 16]> = row.get(column)?;
    Ok(bytes.map(|bytes| WriteId(Uuid::from_bytes(bytes))))
}

/// Reads a status.
pub(crate) fn status(row: &Row<'_>, column: usize) -> Result<Status> {
    let name = text(row, column)?;
    name.parse().map_err(|_| unreadable(column, name))
}

fn run_kind(row: &Row<'_>, column: usize) -> Result<RunKind> {
    kind_of(column, text(row, column)?)
}

/// Finds the kind of a stored name.
pub(crate) fn kind_of(column: usize, name: &str) -> Result<RunKind> {
    RunKind::from_stored(name).ok_or_else(|| unreadable(column, name))
}

/// Reads what a worker serves from four columns.
pub(crate) fn serves(row: &Row<'_>, column: usize) -> Result<Serves> {
    Ok(Serves {
        routes: names(row, column)?.map(Route::from_stored).collect(),
        tasks: names(row, column + 1)?.map(TaskName::from_stored).collect(),
        queues: names(row, column + 2)?
            .map(QueueName::from_stored)
            .collect(),
        build: BuildId::from_stored(text(row, column + 3)?),
    })
}

fn names<'a>(row: &'a Row<'_>, column: usize) -> Result<impl Iterator<Item = &'a str>> {
    Ok(text(row, column)?.lines())
}

/// Writes names one a line, as no name has a control character.
pub(crate) fn lines<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join("\n")
}
