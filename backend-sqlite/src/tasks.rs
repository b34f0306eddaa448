//! Task queues: attempts that wait for their time, are ready, or are claimed.
//!
//! Invariants: an attempt is in one of two indexes until it is claimed: by its time while that is ahead, by priority
//! after it; in none while its run is paused. So neither delayed attempts nor those of other tasks are looked at when
//! attempts are claimed.

use std::collections::BTreeSet;

use async_trait::async_trait;
use longhaul_core::backend::{
    ArrivalBody, ArrivalKind, Arrived, AttemptReport, ClaimRequest, PAGE_MAX, QueuedAttempt,
    Reported, Result as Answered, Serves, Tasks,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::history::OperationKey;
use longhaul_core::id::{QueueName, Segment, TaskName, WorkerId, WorkflowId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::SqliteBackend;
use crate::error::{Result, unreadable};
use crate::events::{self, Door};
use crate::row::{self, RunNumber, text};
use crate::takeover;

/// Makes attempts ready whose time has come.
pub(crate) const NOTICE: &str = "
    update attempt indexed by attempt_delayed set ready = 1
    where claimed_by is null and ready = 0 and queue = ?1 and task = ?2 and ready_at <= ?3";

pub(crate) const READY: &str = "
    select -priority, ready_at, number from attempt indexed by attempt_ready
    where claimed_by is null and ready = 1 and queue = ?1 and task = ?2
    order by priority desc, ready_at, number limit ?3";

pub(crate) const DELAYED: &str = "
    select count(*) from (
        select 1 from attempt indexed by attempt_delayed
        where claimed_by is null and ready = 0 and queue = ?1 and task = ?2 and ready_at <= ?3 limit ?4)";

pub(crate) const NEXT: &str = "
    select ready_at from attempt indexed by attempt_delayed
    where claimed_by is null and ready = 0 and queue = ?1 and task = ?2 and ready_at > ?3
    order by ready_at limit 1";

pub(crate) const CLAIMED_COUNT: &str = "
    select count(*) from attempt indexed by attempt_claimed
    where claimed_by is not null and claimed_by = ?1";

pub(crate) const CLAIMED: &str = "
    select run.id, attempt.segment, operation, attempt, queue, task, priority, due, content
    from attempt indexed by attempt_claimed join run on run.number = attempt.run
    where claimed_by is not null and claimed_by = ?1 order by attempt.number";

#[async_trait]
impl Tasks for SqliteBackend {
    async fn claim(&self, request: ClaimRequest) -> Answered<Vec<QueuedAttempt>> {
        let clock = self.shared.clock.clone();
        self.write(move |connection| claim(connection, &request, clock.now()))
            .await
    }

    async fn claimed(&self, worker: WorkerId) -> Answered<Vec<QueuedAttempt>> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(CLAIMED)?;
            let claimed = statement.query_map([worker.0.as_bytes()], queued_attempt)?;
            Ok(claimed.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn report(&self, reports: Vec<AttemptReport>) -> Answered<Vec<Reported>> {
        let clock = self.shared.clock.clone();
        self.write(move |connection| {
            let now = clock.now();
            let report_one = |one| report(connection, one, now);
            reports.into_iter().map(report_one).collect()
        })
        .await
    }
}

fn claim(
    connection: &Connection,
    request: &ClaimRequest,
    now: Timestamp,
) -> Result<Vec<QueuedAttempt>> {
    takeover::require_worker(connection, request.worker, now)?;
    let mut claimed = Vec::new();
    for (queue, slots) in &request.queues {
        for number in ready(connection, queue, &request.tasks, *slots, now)? {
            connection
                .prepare_cached("update attempt set claimed_by = ?2 where number = ?1")?
                .execute(params![number, request.worker.0.as_bytes()])?;
            claimed.push(
                connection
                    .prepare_cached(
                        "select run.id, attempt.segment, operation, attempt, queue, task, priority, due, content
                         from attempt join run on run.number = attempt.run where attempt.number = ?1",
                    )?
                    .query_row([number], queued_attempt)?,
            );
        }
    }
    Ok(claimed)
}

fn ready(
    connection: &Connection,
    queue: &QueueName,
    tasks: &[TaskName],
    slots: usize,
    now: Timestamp,
) -> Result<Vec<i64>> {
    let mut found: Vec<(i64, i64, i64)> = Vec::new();
    for task in tasks {
        connection.prepare_cached(NOTICE)?.execute(params![
            queue.as_str(),
            task.as_str(),
            now.as_micros()
        ])?;
        let mut statement = connection.prepare_cached(READY)?;
        let rows = statement.query_map(
            params![queue.as_str(), task.as_str(), row::limit(slots)],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        for row in rows {
            found.push(row?);
        }
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(slots);
    Ok(found.into_iter().map(|(_, _, number)| number).collect())
}

fn queued_attempt(row: &Row<'_>) -> rusqlite::Result<QueuedAttempt> {
    let operation = text(row, 2)?;
    Ok(QueuedAttempt {
        run: WorkflowId::from_stored(text(row, 0)?),
        segment: Segment(row.get(1)?),
        operation: OperationKey::from_stored(operation).ok_or_else(|| unreadable(2, operation))?,
        attempt: row.get(3)?,
        queue: QueueName::from_stored(text(row, 4)?),
        task: TaskName::from_stored(text(row, 5)?),
        priority: row.get(6)?,
        due: row.get::<_, Option<i64>>(7)?.map(Timestamp::from_micros),
        content: row.get(8)?,
    })
}

fn report(connection: &Connection, report: AttemptReport, now: Timestamp) -> Result<Reported> {
    if let Some(owner) = events::accepted_before(connection, &report.run, report.write)? {
        return Ok(Reported::Accepted { owner });
    }
    let taken = connection
        .prepare_cached(
            "delete from attempt where run = (select number from run where id = ?1)
             and segment = ?2 and operation = ?3 and attempt = ?4 and claimed_by = ?5",
        )?
        .execute(params![
            report.run.as_str(),
            report.segment.0,
            report.operation.to_string(),
            report.attempt,
            report.worker.0.as_bytes()
        ])?;
    if taken == 0 {
        return Ok(Reported::Stale);
    }
    let body = ArrivalBody {
        kind: ArrivalKind::TaskOutcome,
        name: report.operation.to_string(),
        content: report.content,
    };
    match events::accept(
        connection,
        &report.run,
        report.write,
        &body,
        Door::Inside,
        now,
    )? {
        Arrived::Accepted { owner, .. } => Ok(Reported::Accepted { owner }),
        Arrived::Sealed | Arrived::Full | Arrived::Finished(_) | Arrived::Unknown => {
            Ok(Reported::Stale)
        }
    }
}

/// Counts what a worker could claim now, and tells when the next attempt can be claimed.
pub(crate) fn claimable(
    connection: &Connection,
    serves: &Serves,
    now: Timestamp,
) -> Result<(usize, Option<Timestamp>)> {
    let mut count = 0_usize;
    let mut next: Option<i64> = None;
    let pairs: BTreeSet<_> = serves
        .queues
        .iter()
        .flat_map(|queue| serves.tasks.iter().map(move |task| (queue, task)))
        .collect();
    for (queue, task) in pairs {
        let (queue, task, now) = (queue.as_str(), task.as_str(), now.as_micros());
        let mut ready = connection.prepare_cached(READY)?;
        let mut rows = ready.query(params![queue, task, PAGE_MAX])?;
        while rows.next()?.is_some() {
            count += 1;
        }
        count += connection
            .prepare_cached(DELAYED)?
            .query_row(params![queue, task, now, PAGE_MAX], |row| {
                row.get::<_, usize>(0)
            })?;
        let ahead: Option<i64> = connection
            .prepare_cached(NEXT)?
            .query_row(params![queue, task, now], |row| row.get(0))
            .optional()?;
        next = next.into_iter().chain(ahead).min();
    }
    Ok((count.min(PAGE_MAX), next.map(Timestamp::from_micros)))
}

/// Puts an attempt into its queue.
pub(crate) fn enqueue(
    connection: &Connection,
    run: RunNumber,
    attempt: &QueuedAttempt,
    now: Timestamp,
) -> Result<()> {
    let ready_at = attempt.due.unwrap_or(now);
    connection
        .prepare_cached(
            "insert into attempt (run, segment, operation, attempt, queue, task, priority, due, ready_at, ready, content)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) on conflict do nothing",
        )?
        .execute(params![
            run,
            attempt.segment.0,
            attempt.operation.to_string(),
            attempt.attempt,
            attempt.queue.as_str(),
            attempt.task.as_str(),
            attempt.priority,
            attempt.due.map(Timestamp::as_micros),
            ready_at.as_micros(),
            ready_at <= now,
            attempt.content
        ])?;
    Ok(())
}

/// Takes the attempts of a run that nobody has claimed out of both indexes.
pub(crate) fn hold(connection: &Connection, run: RunNumber) -> Result<()> {
    connection
        .prepare_cached("update attempt set ready = 2 where run = ?1 and claimed_by is null")?
        .execute([run])?;
    Ok(())
}

/// Puts them back to where they were.
pub(crate) fn let_go(connection: &Connection, run: RunNumber, now: Timestamp) -> Result<()> {
    connection
        .prepare_cached(
            "update attempt set ready = ready_at <= ?2 where run = ?1 and claimed_by is null",
        )?
        .execute(params![run, now.as_micros()])?;
    Ok(())
}

/// Takes the attempts of an operation off their queue.
pub(crate) fn withdraw(
    connection: &Connection,
    run: RunNumber,
    segment: Segment,
    operation: &OperationKey,
) -> Result<()> {
    connection
        .prepare_cached("delete from attempt where run = ?1 and segment = ?2 and operation = ?3")?
        .execute(params![run, segment.0, operation.to_string()])?;
    Ok(())
}

/// Gives up the attempts that a worker has claimed; returns how many there were.
pub(crate) fn give_up(connection: &Connection, worker: WorkerId, now: Timestamp) -> Result<usize> {
    let lost = connection
        .prepare_cached(
            "select attempt.number, run.id, operation, attempt
             from attempt indexed by attempt_claimed join run on run.number = attempt.run
             where claimed_by = ?1 order by attempt.number",
        )?
        .query_map([worker.0.as_bytes()], |row| {
            let body = ArrivalBody {
                kind: ArrivalKind::AttemptLost,
                name: row.get(2)?,
                content: row.get::<_, u32>(3)?.to_be_bytes().to_vec(),
            };
            Ok((
                row.get::<_, i64>(0)?,
                WorkflowId::from_stored(text(row, 1)?),
                body,
            ))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for (number, run, body) in &lost {
        connection
            .prepare_cached("delete from attempt where number = ?1")?
            .execute([number])?;
        events::accept(
            connection,
            run,
            takeover::new_write(),
            body,
            Door::Inside,
            now,
        )?;
    }
    Ok(lost.len())
}
