//! The register of workers: joining, leases, death, and what becomes of what a dead worker had.
//!
//! Invariants: a worker is declared dead and loses everything in one transaction, so that nothing it asks for later is
//! accepted. An id that was declared dead never comes back.

use longhaul_core::backend::{JoinRequest, TakeOverRequest, TakenOver};
use longhaul_core::clock::{Timestamp, random_bytes_of_the_system};
use longhaul_core::id::{Uuid, WorkerId, WriteId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::{Failure, Result};
use crate::lock::WorkerLocks;
use crate::{row, schema, tasks};

/// Is how long the id of a dead worker is remembered: 30 days. It owns nothing by then, and a start draws a new id.
const REMEMBERED_MICROS: i64 = 30 * 24 * 3_600 * 1_000_000;

/// Frees the runs of a dead worker.
pub(crate) const FREE: &str = "
    update run indexed by run_owned set owner = null, wake_at = ?2, sealed = 0, updated_at = ?2,
        (turns, lost_turns, lost) = (
            select had, had, case when had > run.lost_turns then 1 else run.lost + 1 end
            from (select coalesce(max(turn) + 1, 0) as had from turn
                  where turn.run = run.number and turn.segment = run.segment))
    where owner is not null and owner = ?1";

pub(crate) fn join(connection: &Connection, request: &JoinRequest, now: Timestamp) -> Result<()> {
    let was_dead = connection
        .prepare_cached("select 1 from dead_worker where id = ?1")?
        .exists([request.worker.0.as_bytes()])?;
    if was_dead {
        return Err(Failure::WorkerDead(request.worker));
    }
    let until = now.after(request.lease).as_micros();
    let serves = &request.serves;
    connection
        .prepare_cached(
            "insert into worker (id, label, lease, lease_until, lanes, routes, tasks, queues, build, joined_at)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             on conflict (id) do update set lease_until = excluded.lease_until",
        )?
        .execute(params![
            request.worker.0.as_bytes(),
            request.label,
            until.saturating_sub(now.as_micros()),
            until,
            request.lanes,
            row::lines(serves.routes.iter().map(|name| name.as_str())),
            row::lines(serves.tasks.iter().map(|name| name.as_str())),
            row::lines(serves.queues.iter().map(|name| name.as_str())),
            serves.build.as_str(),
            now.as_micros()
        ])?;
    Ok(())
}

/// Sets the end of a worker's lease.
pub(crate) fn extend(connection: &Connection, worker: WorkerId, until: Timestamp) -> Result<()> {
    let extended = connection
        .prepare_cached("update worker set lease_until = ?2 where id = ?1")?
        .execute(params![worker.0.as_bytes(), until.as_micros()])?;
    if extended == 0 {
        return Err(Failure::WorkerDead(worker));
    }
    Ok(())
}

/// Refuses a worker that is not registered.
///
/// Extends a lease that is not over and of which half is used: its beat is late then, most likely because it waits for
/// the lock that this transaction has.
pub(crate) fn require_worker(
    connection: &Connection,
    worker: WorkerId,
    now: Timestamp,
) -> Result<()> {
    let found: Option<(i64, i64)> = connection
        .prepare_cached("select lease, lease_until from worker where id = ?1")?
        .query_row([worker.0.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (lease, until) = found.ok_or(Failure::WorkerDead(worker))?;
    let left = until.saturating_sub(now.as_micros());
    if (0..lease / 2).contains(&left) {
        let until = Timestamp::from_micros(now.as_micros().saturating_add(lease));
        extend(connection, worker, until)?;
    }
    Ok(())
}

/// Tells whether a worker is registered.
pub(crate) fn is_registered(connection: &Connection, worker: WorkerId) -> Result<bool> {
    let found = connection
        .prepare_cached("select 1 from worker where id = ?1")?
        .exists([worker.0.as_bytes()])?;
    Ok(found)
}

/// Returns the workers whose lease is over, or whose process is gone.
pub(crate) fn dead(
    connection: &Connection,
    locks: &WorkerLocks,
    now: Timestamp,
) -> Result<Vec<WorkerId>> {
    let mut statement =
        connection.prepare_cached("select id, lease_until from worker order by id")?;
    let mut rows = statement.query([])?;
    let mut dead = Vec::new();
    while let Some(found) = rows.next()? {
        let worker = row::worker_id(found)?;
        if row::time(found, 1)? < now || locks.is_free(worker) {
            dead.push(worker);
        }
    }
    Ok(dead)
}

/// Counts the other workers that can run tasks and are not among the dead.
pub(crate) fn peers(connection: &Connection, worker: WorkerId, dead: &[WorkerId]) -> Result<usize> {
    let mut statement =
        connection.prepare_cached("select id from worker where id <> ?1 and tasks <> ''")?;
    let mut rows = statement.query([worker.0.as_bytes()])?;
    let mut peers = 0;
    while let Some(found) = rows.next()? {
        peers += usize::from(!dead.contains(&row::worker_id(found)?));
    }
    Ok(peers)
}

/// Declares workers dead and frees what they had.
pub(crate) fn take_over(
    connection: &Connection,
    request: &TakeOverRequest,
    locks: &WorkerLocks,
    now: Timestamp,
) -> Result<TakenOver> {
    let mut workers = dead(connection, locks, now)?;
    for worker in &request.force {
        if !workers.contains(worker) && is_registered(connection, *worker)? {
            workers.push(*worker);
        }
    }
    workers.sort_unstable();
    let mut taken = TakenOver::default();
    for worker in &workers {
        connection
            .prepare_cached("insert into dead_worker (id, died_at) values (?1, ?2)")?
            .execute(params![worker.0.as_bytes(), now.as_micros()])?;
        let (runs, attempts) = remove(connection, *worker, now)?;
        taken.runs += runs;
        taken.attempts += attempts;
    }
    if !workers.is_empty() {
        let forgotten = now.as_micros().saturating_sub(REMEMBERED_MICROS);
        connection
            .prepare_cached("delete from dead_worker where died_at < ?1")?
            .execute([forgotten])?;
    }
    taken.workers = workers;
    Ok(taken)
}

/// Takes a worker off the register and frees its runs and attempts; returns how many there were.
pub(crate) fn remove(
    connection: &Connection,
    worker: WorkerId,
    now: Timestamp,
) -> Result<(usize, usize)> {
    connection
        .prepare_cached("delete from worker where id = ?1")?
        .execute([worker.0.as_bytes()])?;
    let runs = connection
        .prepare_cached(FREE)?
        .execute(params![worker.0.as_bytes(), now.as_micros()])?;
    let attempts = tasks::give_up(connection, worker, now)?;
    Ok((runs, attempts))
}

/// Draws the name of a write that the backend makes itself.
pub(crate) fn new_write() -> WriteId {
    let [bytes, _] = schema::halves(random_bytes_of_the_system());
    WriteId(Uuid::from_random_bytes(bytes))
}
