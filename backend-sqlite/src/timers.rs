//! Due runs, found by one probe of an index per route.
//!
//! Invariants: runs of other routes, parked runs and runs that the asking build blocked are never looked at, so that
//! they cost nothing however many there are. The index is named in each statement, so that no statistics can change
//! the plan.

use async_trait::async_trait;
use longhaul_core::backend::{Due, PAGE_MAX, Result as Answered, Serves, Timers};
use longhaul_core::clock::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::SqliteBackend;
use crate::error::Result;
use crate::row::RunNumber;

pub(crate) const DUE_NOW: &str = "
    select number, wake_at from run indexed by run_due
    where owner is null and wake_at is not null and paused = 0 and blocked_build is null
      and route = ?1 and wake_at <= ?2
    order by wake_at limit ?3";

pub(crate) const DUE_NEXT: &str = "
    select wake_at from run indexed by run_due
    where owner is null and wake_at is not null and paused = 0 and blocked_build is null
      and route = ?1 and wake_at > ?2
    order by wake_at limit 1";

/// Finds runs that builds before this one, in the order of their names, could not go on with.
pub(crate) const BLOCKED_BEFORE: &str = "
    select number, wake_at from run indexed by run_blocked
    where owner is null and wake_at is not null and paused = 0 and blocked_build is not null
      and route = ?1 and blocked_build < ?4 and wake_at <= ?2
    limit ?3";

pub(crate) const BLOCKED_AFTER: &str = "
    select number, wake_at from run indexed by run_blocked
    where owner is null and wake_at is not null and paused = 0 and blocked_build is not null
      and route = ?1 and blocked_build > ?4 and wake_at <= ?2
    limit ?3";

#[async_trait]
impl Timers for SqliteBackend {
    async fn due(&self, serves: &Serves) -> Answered<Due> {
        let (serves, now) = (serves.clone(), self.shared.clock.now());
        self.read(move |connection| due(connection, &serves, now))
            .await
    }
}

pub(crate) fn due(connection: &Connection, serves: &Serves, now: Timestamp) -> Result<Due> {
    let mut next_of_route = connection.prepare_cached(DUE_NEXT)?;
    let mut next: Option<Timestamp> = None;
    for route in &serves.routes {
        let found = next_of_route
            .query_row(params![route.as_str(), now.as_micros()], |row| row.get(0))
            .optional()?
            .map(Timestamp::from_micros);
        next = next.into_iter().chain(found).min();
    }
    Ok(Due {
        now: due_runs(connection, serves, now, PAGE_MAX)?.len(),
        next,
    })
}

/// Returns up to `limit` due runs, the oldest due first.
///
/// Where more than `limit` runs are blocked by other builds, those of one build come before those of another.
pub(crate) fn due_runs(
    connection: &Connection,
    serves: &Serves,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<RunNumber>> {
    let mut found: Vec<(i64, RunNumber)> = Vec::new();
    for route in &serves.routes {
        let (route, now, build) = (route.as_str(), now.as_micros(), serves.build.as_str());
        for (statement, names_build) in [
            (DUE_NOW, false),
            (BLOCKED_BEFORE, true),
            (BLOCKED_AFTER, true),
        ] {
            let mut statement = connection.prepare_cached(statement)?;
            let mut rows = if names_build {
                statement.query(params![route, now, limit, build])?
            } else {
                statement.query(params![route, now, limit])?
            };
            while let Some(row) = rows.next()? {
                found.push((row.get(1)?, row.get(0)?));
            }
        }
    }
    found.sort_unstable();
    found.truncate(limit);
    Ok(found.into_iter().map(|(_, number)| number).collect())
}
