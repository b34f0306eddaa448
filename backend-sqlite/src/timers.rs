//! Due runs, found by one probe of an index per route.
//!
//! Invariants: runs of other routes, parked runs and runs that the asking build blocked are never looked at, so that
//! they cost nothing however many there are. The index is named in each statement, so that no statistics can change
//! the plan.

use async_trait::async_trait;
use longhaul_core::backend::{Due, PAGE_MAX, Result as Answered, Serves, Timers};
use longhaul_core::clock::Timestamp;
use rusqlite::{Connection, OptionalExtension, ToSql, params};

use crate::SqliteBackend;
use crate::error::Result;
use crate::row::{self, RunNumber};

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

/// Finds the next build, in the order of their names, that could not go on with some run.
pub(crate) const BLOCKING: &str = "
    select blocked_build from run indexed by run_blocked
    where owner is null and wake_at is not null and paused = 0 and blocked_build is not null
      and route = ?1 and blocked_build > ?2
    order by blocked_build limit 1";

pub(crate) const BLOCKED: &str = "
    select number, wake_at from run indexed by run_blocked
    where owner is null and wake_at is not null and paused = 0 and blocked_build is not null
      and route = ?1 and blocked_build = ?4 and wake_at <= ?2
    order by wake_at limit ?3";

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
pub(crate) fn due_runs(
    connection: &Connection,
    serves: &Serves,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<RunNumber>> {
    let mut found: Vec<(i64, RunNumber)> = Vec::new();
    for route in &serves.routes {
        let (route, now) = (route.as_str(), now.as_micros());
        find(
            connection,
            DUE_NOW,
            params![route, now, row::limit(limit)],
            &mut found,
        )?;
        let mut last = String::new();
        while let Some(build) = next_blocking(connection, route, &last)? {
            if build != serves.build.as_str() {
                find(
                    connection,
                    BLOCKED,
                    params![route, now, row::limit(limit), build],
                    &mut found,
                )?;
            }
            last = build;
        }
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(limit);
    Ok(found.into_iter().map(|(_, number)| number).collect())
}

fn find(
    connection: &Connection,
    statement: &str,
    asked: &[&dyn ToSql],
    found: &mut Vec<(i64, RunNumber)>,
) -> Result<()> {
    let mut statement = connection.prepare_cached(statement)?;
    let mut rows = statement.query(asked)?;
    while let Some(row) = rows.next()? {
        found.push((row.get(1)?, row.get(0)?));
    }
    Ok(())
}

/// Returns the build after `last` that blocked a run of a route: there are few, and none as a rule.
fn next_blocking(connection: &Connection, route: &str, last: &str) -> Result<Option<String>> {
    let found = connection
        .prepare_cached(BLOCKING)?
        .query_row(params![route, last], |row| row.get(0))
        .optional()?;
    Ok(found)
}
