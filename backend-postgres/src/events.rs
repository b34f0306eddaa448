//! Arrivals, the outbox, and hints.
//!
//! Invariants: arrivals of a run are numbered by the counter on its locked row, in the statement that accepts them. What
//! the backend or another run sends is not turned away by a seal or a full inbox, as nobody would send it again.

use std::collections::BTreeMap;

use async_trait::async_trait;
use longhaul_core::backend::{
    Arrival, ArriveRequest, Arrived, Events, Hint, HintStream, Result as Answered,
};
use longhaul_core::id::{ArrivalNumber, WorkerId, WorkflowId};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::error::Result;
use crate::row::{self, stored, uuid};
use crate::session::{arguments, insist};
use crate::{PostgresBackend, Store};

pub(crate) const ARRIVE: &str = include_str!("sql/arrive.sql");
pub(crate) const DELIVER: &str = include_str!("sql/deliver.sql");
pub(crate) const INBOX: &str = "
    select a.id, i.number, i.accepted_at, i.kind, i.name, i.content
    from unnest($2::text[], $3::bigint[]) with ordinality as a (id, after, position)
    cross join lateral (select number from longhaul.run where run.id = a.id offset 0) r
    cross join lateral (
        select from longhaul.standing where standing.run = r.number and standing.owner = $1 offset 0) s
    left join lateral (
        select inbox.* from longhaul.inbox
        where inbox.run = r.number and inbox.number > a.after offset 0) i on true
    order by a.position, i.number";

#[async_trait]
impl Events for PostgresBackend {
    async fn arrive(&self, arrivals: Vec<ArriveRequest>) -> Answered<Vec<Arrived>> {
        self.call(|store| async move { arrive(&store, &arrivals).await })
            .await
    }

    async fn inbox(
        &self,
        worker: WorkerId,
        runs: Vec<(WorkflowId, ArrivalNumber)>,
    ) -> Answered<Vec<(WorkflowId, Vec<Arrival>)>> {
        self.call(|store| async move { inbox(&store, worker, &runs).await })
            .await
    }

    async fn deliver(&self, limit: usize) -> Answered<usize> {
        self.call(|store| async move {
            let once = || async {
                let arguments = arguments!(store.clock.given(), row::limit(limit));
                let rows = store.session.ask(DELIVER, arguments).await?;
                let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
                row::count(row, "count")
            };
            let moved = insist(once).await?;
            if moved > 0 {
                store.tell(Hint::Changed);
            }
            Ok(moved)
        })
        .await
    }

    fn hints(&self) -> Box<dyn HintStream> {
        self.store.hints.subscribe()
    }
}

/// Puts arrivals into inboxes. What the statement takes only once goes in rounds: a write that is named twice, and
/// arrivals of one run that allow inboxes of different sizes.
async fn arrive(store: &Store, arrivals: &[ArriveRequest]) -> Result<Vec<Arrived>> {
    let mut answers = BTreeMap::new();
    let mut left: Vec<usize> = (0..arrivals.len()).collect();
    while !left.is_empty() {
        let round = next_round(arrivals, &mut left);
        let asked: Vec<&ArriveRequest> = round.iter().filter_map(|at| arrivals.get(*at)).collect();
        let mut accepted = insist(|| arrive_once(store, &asked)).await?;
        if accepted
            .iter()
            .any(|answer| matches!(answer, Arrived::Sealed | Arrived::Full))
        {
            // The same arrival may have been under way, and this statement's snapshot older than its commit.
            accepted = insist(|| arrive_once(store, &asked)).await?;
        }
        answers.extend(round.into_iter().zip(accepted));
    }
    if answers
        .values()
        .any(|answer| matches!(answer, Arrived::Accepted { .. }))
    {
        store.tell(Hint::Changed);
    }
    Ok(answers.into_values().collect())
}

/// Takes the arrivals that one statement can carry out of what is left.
fn next_round(arrivals: &[ArriveRequest], left: &mut Vec<usize>) -> Vec<usize> {
    let mut sizes = BTreeMap::new();
    let mut writes = Vec::new();
    let mut stopped = Vec::new();
    let mut fits = |at: usize| {
        let Some(asked) = arrivals.get(at) else {
            return false;
        };
        let id = asked.run.as_str();
        let size = *sizes.entry(id).or_insert(asked.inbox_max);
        let is_new = !writes.contains(&(id, asked.write));
        let fits = size == asked.inbox_max && is_new && !stopped.contains(&id);
        if fits {
            writes.push((id, asked.write));
        } else {
            stopped.push(id);
        }
        fits
    };
    let (round, later) = left.iter().partition(|at| fits(**at));
    *left = later;
    round
}

async fn arrive_once(store: &Store, arrivals: &[&ArriveRequest]) -> Result<Vec<Arrived>> {
    fn each<'a, T>(all: &[&'a ArriveRequest], of: impl Fn(&'a ArriveRequest) -> T) -> Vec<T> {
        all.iter().map(|one| of(one)).collect()
    }
    let arguments = arguments!(
        store.clock.given(),
        each(arrivals, |one| one.run.as_str()),
        each(arrivals, |one| uuid(one.write.0)),
        each(arrivals, |one| one.body.kind.as_str()),
        each(arrivals, |one| one.body.name.as_str()),
        each(arrivals, |one| one.body.content.as_slice()),
        each(arrivals, |one| stored(one.inbox_max)),
    );
    let rows = store.session.ask(ARRIVE, arguments).await?;
    rows.iter().map(arrived).collect()
}

fn arrived(row: &PgRow) -> Result<Arrived> {
    if row.try_get::<Option<i64>, _>("run")?.is_none() {
        return Ok(Arrived::Unknown);
    }
    if row.try_get("ended")? {
        return Ok(Arrived::Finished(row::status(row, "status")?));
    }
    let before: Option<i64> = row.try_get("before")?;
    let number: Option<i64> = row.try_get("number")?;
    if before.is_none() && row.try_get("sealed")? {
        return Ok(Arrived::Sealed);
    }
    let Some(number) = before.or(number) else {
        return Ok(Arrived::Full);
    };
    Ok(Arrived::Accepted {
        number: ArrivalNumber(u64::try_from(number).unwrap_or_default()),
        owner: row::optional_worker(row, "owner")?,
        accepted_at: row::time(row, "accepted_at")?,
    })
}

async fn inbox(
    store: &Store,
    worker: WorkerId,
    runs: &[(WorkflowId, ArrivalNumber)],
) -> Result<Vec<(WorkflowId, Vec<Arrival>)>> {
    let arguments = arguments!(
        uuid(worker.0),
        runs.iter().map(|(run, _)| run.as_str()).collect::<Vec<_>>(),
        runs.iter()
            .map(|(_, after)| stored(after.0))
            .collect::<Vec<_>>(),
    );
    let mut found: Vec<(WorkflowId, Vec<Arrival>)> = Vec::new();
    for row in store.session.ask(INBOX, arguments).await? {
        let id = row::text(&row, "id")?;
        if found.last().is_none_or(|(last, _)| last.as_str() != id) {
            found.push((WorkflowId::from_stored(id), Vec::new()));
        }
        let is_there = row.try_get::<Option<i64>, _>("number")?.is_some();
        if let Some((_, arrivals)) = found.last_mut().filter(|_| is_there) {
            arrivals.push(row::arrival(&row)?);
        }
    }
    Ok(found)
}
