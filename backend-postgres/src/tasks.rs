//! Task queues: attempts that wait for their time, are ready, or are claimed.
//!
//! Invariants: an attempt is in one of two indexes until it is claimed: by its time while that is ahead, by priority
//! after it. So neither delayed attempts nor those of other tasks are looked at when attempts are claimed. A claim goes
//! through a lane of its own, so that takeover misses none.

use std::collections::BTreeMap;

use async_trait::async_trait;
use longhaul_core::backend::{
    AttemptReport, ClaimRequest, Hint, QueuedAttempt, Reported, Result as Answered, Tasks,
};
use longhaul_core::id::WorkerId;
use sqlx::Row;

use crate::error::Result;
use crate::lanes::Fence;
use crate::row::{self, limit, queued_attempt, stored, uuid};
use crate::session::{arguments, insist};
use crate::state::names;
use crate::{PostgresBackend, Store};

pub(crate) const NOTICE: &str = include_str!("sql/notice.sql");
pub(crate) const CLAIM: &str =
    concat!(include_str!("sql/fence.sql"), include_str!("sql/claim.sql"));
pub(crate) const CLAIMED: &str = include_str!("sql/claimed.sql");
pub(crate) const REPORT: &str = include_str!("sql/report.sql");

#[async_trait]
impl Tasks for PostgresBackend {
    async fn claim(&self, request: ClaimRequest) -> Answered<Vec<QueuedAttempt>> {
        self.call(|store| async move { claim(&store, &request).await })
            .await
    }

    async fn claimed(&self, worker: WorkerId) -> Answered<Vec<QueuedAttempt>> {
        self.call(|store| async move {
            let rows = store
                .session
                .ask(CLAIMED, arguments!(uuid(worker.0)))
                .await?;
            rows.iter().map(queued_attempt).collect()
        })
        .await
    }

    async fn report(&self, reports: Vec<AttemptReport>) -> Answered<Vec<Reported>> {
        self.call(|store| async move { report(&store, &reports).await })
            .await
    }
}

async fn claim(store: &Store, request: &ClaimRequest) -> Result<Vec<QueuedAttempt>> {
    // A queue that is named twice has the slots of both.
    let mut slots: Vec<(&str, usize)> = Vec::new();
    for (queue, free) in &request.queues {
        match slots.iter_mut().find(|(known, _)| *known == queue.as_str()) {
            Some((_, sum)) => *sum = sum.saturating_add(*free),
            None => slots.push((queue.as_str(), *free)),
        }
    }
    let (queues, free): (Vec<&str>, Vec<usize>) = slots.into_iter().unzip();
    let free: Vec<i64> = free.into_iter().map(limit).collect();
    let tasks = names(&request.tasks);
    let notice = || async {
        let arguments = arguments!(store.clock.given(), queues.clone(), tasks.clone());
        store.session.ask(NOTICE, arguments).await
    };
    insist(notice).await?;
    insist(|| claim_once(store, request.worker, &queues, &free, &tasks)).await
}

async fn claim_once(
    store: &Store,
    worker: WorkerId,
    queues: &[&str],
    free: &[i64],
    tasks: &[&str],
) -> Result<Vec<QueuedAttempt>> {
    let fence = Fence::of_claims(worker);
    let n = store.lane_number(fence).await?;
    let arguments = arguments!(
        store.clock.given(),
        uuid(worker.0),
        fence.lane,
        n,
        queues,
        free,
        tasks,
    );
    let rows = store.noted(fence, store.session.ask(CLAIM, arguments).await)?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    store.require_fenced(Some(fence), row).await?;
    let is_there = |row: &&sqlx::postgres::PgRow| {
        row.try_get::<Option<i64>, _>("attempt")
            .is_ok_and(|attempt| attempt.is_some())
    };
    rows.iter().filter(is_there).map(queued_attempt).collect()
}

/// Reports outcomes. What the statement takes only once goes in rounds: an attempt or a write that is named twice.
async fn report(store: &Store, reports: &[AttemptReport]) -> Result<Vec<Reported>> {
    let mut answers: BTreeMap<usize, Reported> = BTreeMap::new();
    let mut left: Vec<usize> = (0..reports.len()).collect();
    while !left.is_empty() {
        let round = next_round(reports, &mut left);
        let asked: Vec<&AttemptReport> = round.iter().filter_map(|at| reports.get(*at)).collect();
        let mut reported = insist(|| report_once(store, &asked)).await?;
        if reported.contains(&Reported::Stale) {
            // The same report may have been under way, and this statement's snapshot older than its commit.
            reported = insist(|| report_once(store, &asked)).await?;
        }
        answers.extend(round.into_iter().zip(reported));
    }
    if answers.values().any(|answer| *answer != Reported::Stale) {
        store.tell(Hint::Changed);
    }
    Ok(answers.into_values().collect())
}

/// Takes the reports that one statement can carry out of what is left.
fn next_round(reports: &[AttemptReport], left: &mut Vec<usize>) -> Vec<usize> {
    let mut attempts = std::collections::BTreeSet::new();
    let mut writes = std::collections::HashSet::new();
    let mut fits = |at: usize| {
        reports.get(at).is_some_and(|one| {
            let attempt = (
                one.run.as_str(),
                one.segment,
                one.operation.to_string(),
                one.attempt,
            );
            let is_new_attempt = attempts.insert(attempt);
            let is_new_write = writes.insert((one.run.as_str(), one.write));
            is_new_attempt && is_new_write
        })
    };
    let (round, later) = left.iter().partition(|at| fits(**at));
    *left = later;
    round
}

async fn report_once(store: &Store, reports: &[&AttemptReport]) -> Result<Vec<Reported>> {
    fn each<'a, T>(all: &[&'a AttemptReport], of: impl Fn(&'a AttemptReport) -> T) -> Vec<T> {
        all.iter().map(|one| of(one)).collect()
    }
    let arguments = arguments!(
        store.clock.given(),
        each(reports, |one| uuid(one.worker.0)),
        each(reports, |one| one.run.as_str()),
        each(reports, |one| i64::from(one.segment.0)),
        each(reports, |one| one.operation.to_string()),
        each(reports, |one| stored(u64::from(one.attempt))),
        each(reports, |one| uuid(one.write.0)),
        each(reports, |one| one.content.as_slice()),
    );
    let mut accepted = BTreeMap::new();
    for row in store.session.ask(REPORT, arguments).await? {
        let place = row::count(&row, "position")?;
        accepted.insert(place - 1, row::optional_worker(&row, "owner")?);
    }
    let answer = |at| match accepted.remove(&at) {
        Some(owner) => Reported::Accepted { owner },
        None => Reported::Stale,
    };
    Ok((0..reports.len()).map(answer).collect())
}
