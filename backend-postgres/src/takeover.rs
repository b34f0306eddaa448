//! The register of workers: joining, leases, death, and what becomes of what a dead worker had.
//!
//! Invariants: a dead worker's fence rows are removed, which waits for its statements in flight, before what it had is
//! looked for, in new snapshots. Whoever takes over does all steps itself, as another may stop after any of them; a
//! worker counts as dead until the last one is done. An id that was declared dead never comes back.

use std::time::Duration;

use longhaul_core::backend::{Hint, JoinRequest, TakenOver};
use longhaul_core::id::WorkerId;
use sqlx::Row;
use sqlx::types::Uuid;

use crate::Store;
use crate::error::{Failure, Result};
use crate::lanes::Fence;
use crate::row::{self, limit, uuid};
use crate::session::{arguments, insist};

/// Is how long the id of a dead worker is remembered: 30 days. It owns nothing by then, and a start draws a new id.
const REMEMBERED_MICROS: i64 = 30 * 24 * 3_600 * 1_000_000;

/// Is how many runs are freed by one statement.
const FREED_AT_ONCE: usize = 500;

/// Is the longest lease that is stored: some 30,000 years.
const LEASE_MICROS_MAX: i64 = 1 << 60;

const JOIN: &str = "
    insert into longhaul.worker (id, label, lease_until, routes, tasks, queues, build, joined_at)
    values ($2, $3, longhaul.at($1) + $4, $5, $6, $7, $8, longhaul.at($1))
    on conflict (id) do update set lease_until = excluded.lease_until where worker.died_at is null
    returning id";

const FENCES: &str = "
    insert into longhaul.fence (worker, lane) select $1, generate_series(-1, $2)
    on conflict do nothing returning lane";

const DECLARE: &str = "
    update longhaul.worker set died_at = longhaul.at($1)
    where id in (
        select id from longhaul.worker
        where died_at is null and (lease_until < longhaul.at($1) or id = any($2::uuid[])) order by id for update)";

const DECLARED: &str =
    "select id from longhaul.worker where died_at is not null and not freed order by id";

const LEAVE: &str =
    "update longhaul.worker set died_at = longhaul.at($1) where id = $2 and died_at is null";

const UNFENCE: &str = "
    delete from longhaul.fence where (worker, lane) in (
        select worker, lane from longhaul.fence where worker = any($1::uuid[]) order by worker, lane for update)";

pub(crate) const FREE_RUNS: &str = include_str!("sql/free_runs.sql");
pub(crate) const FREE_ATTEMPTS: &str = include_str!("sql/free_attempts.sql");

const FREED: &str = "
    update longhaul.worker set freed = true where id in (
        select id from longhaul.worker where id = any($1::uuid[]) order by id for update)";

const FORGET: &str = "delete from longhaul.worker where freed and died_at < longhaul.at($1) - $2";

/// Returns a lease as it is stored.
pub(crate) fn lease_micros(lease: Duration) -> i64 {
    i64::try_from(lease.as_micros())
        .unwrap_or(i64::MAX)
        .min(LEASE_MICROS_MAX)
}

pub(crate) async fn join(store: &Store, request: &JoinRequest) -> Result<()> {
    let serves = &request.serves;
    let names = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let arguments = arguments!(
        store.clock.given(),
        uuid(request.worker.0),
        request.label.replace('\0', "\u{FFFD}"),
        lease_micros(request.lease),
        names(serves.routes.iter().map(|name| name.as_str()).collect()),
        names(serves.tasks.iter().map(|name| name.as_str()).collect()),
        names(serves.queues.iter().map(|name| name.as_str()).collect()),
        serves.build.as_str(),
    );
    if store.session.ask(JOIN, arguments).await?.is_empty() {
        return Err(Failure::WorkerDead(request.worker));
    }
    let last = i32::from(request.lanes.max(1)) - 1;
    let arguments = arguments!(uuid(request.worker.0), last);
    for new in store.session.ask(FENCES, arguments).await? {
        let fence = Fence {
            worker: request.worker,
            lane: new.try_get("lane")?,
        };
        store.lanes.set(fence, Some(0));
    }
    Ok(())
}

pub(crate) async fn leave(store: &Store, worker: WorkerId) -> Result<()> {
    let arguments = arguments!(store.clock.given(), uuid(worker.0));
    store.session.ask(LEAVE, arguments).await?;
    free(store, &[uuid(worker.0)]).await?;
    Ok(())
}

/// Declares workers dead and frees what they had; goes on with what another began and did not end.
pub(crate) async fn take_over(store: &Store, force: &[WorkerId]) -> Result<TakenOver> {
    let force: Vec<Uuid> = force.iter().map(|worker| uuid(worker.0)).collect();
    let arguments = arguments!(store.clock.given(), force);
    store.session.ask(DECLARE, arguments).await?;
    let declared = store.session.ask(DECLARED, arguments!()).await?;
    let ids = declared.iter().map(|row| Ok(row.try_get("id")?));
    let ids: Vec<Uuid> = ids.collect::<Result<_>>()?;
    if ids.is_empty() {
        return Ok(TakenOver::default());
    }
    let (runs, attempts) = free(store, &ids).await?;
    let arguments = arguments!(store.clock.given(), REMEMBERED_MICROS);
    store.session.ask(FORGET, arguments).await?;
    Ok(TakenOver {
        workers: ids
            .into_iter()
            .map(|id| WorkerId(row::from_uuid(id)))
            .collect(),
        runs,
        attempts,
    })
}

/// Frees what dead workers had; returns how many runs and attempts there were.
async fn free(store: &Store, workers: &[Uuid]) -> Result<(usize, usize)> {
    let ids = || workers.to_vec();
    insist(|| async { store.session.ask(UNFENCE, arguments!(ids())).await }).await?;
    for worker in workers {
        store.lanes.forget(WorkerId(row::from_uuid(*worker)));
    }
    let runs = free_all(store, FREE_RUNS, workers).await?;
    let attempts = free_all(store, FREE_ATTEMPTS, workers).await?;
    store.session.ask(FREED, arguments!(ids())).await?;
    if runs + attempts > 0 {
        store.tell(Hint::Changed);
    }
    Ok((runs, attempts))
}

/// Repeats a statement until it sees nothing more; returns how many things it freed.
async fn free_all(store: &Store, text: &'static str, workers: &[Uuid]) -> Result<usize> {
    let mut total = 0;
    loop {
        let once = || async {
            let arguments = arguments!(store.clock.given(), workers.to_vec(), limit(FREED_AT_ONCE));
            let rows = store.session.ask(text, arguments).await?;
            let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
            Ok((row::count(row, "freed")?, row::count(row, "seen")?))
        };
        let (freed, seen) = insist(once).await?;
        total += freed;
        if seen == 0 {
            return Ok(total);
        }
    }
}
