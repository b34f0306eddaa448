//! Task queues: what workers claim, and what they report.
//!
//! Invariants: an attempt is in the partition of its run, so that it enters and leaves its queue in the step that changes
//! the run. Each partition names its best attempts, and the best of those are claimed where they are.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use longhaul_core::backend::{
    ArrivalBody, ArrivalKind, AttemptReport, ClaimRequest, QueuedAttempt, Reported,
    Result as Answered, Tasks,
};
use longhaul_core::id::{QueueName, TaskName, WorkerId};

use crate::error::{Result, unreadable};
use crate::reply::{self, Fields, Items};
use crate::script::{CLAIM, CLAIMED, READY, REPORT};
use crate::state::{LIMIT_MAX, distinct};
use crate::{RedisBackend, Store, record};

/// Is how many digits at the end of a rank number the attempt.
const NUMBER_DIGITS: usize = 16;

#[async_trait]
impl Tasks for RedisBackend {
    async fn claim(&self, request: ClaimRequest) -> Answered<Vec<QueuedAttempt>> {
        self.call(|store| async move {
            let answer = claim(&store, &request).await;
            store.as_worker(request.worker, answer).await
        })
        .await
    }

    async fn claimed(&self, worker: WorkerId) -> Answered<Vec<QueuedAttempt>> {
        self.call(|store| async move { claimed(&store, worker).await })
            .await
    }

    async fn report(&self, reports: Vec<AttemptReport>) -> Answered<Vec<Reported>> {
        self.call(|store| async move { report(&store, &reports).await })
            .await
    }
}

/// Is an attempt that could be claimed; the best comes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ready {
    queue: usize,
    rank: String,
    partition: u16,
}

impl Ready {
    fn number(&self) -> &str {
        let start = self.rank.len().saturating_sub(NUMBER_DIGITS);
        self.rank.get(start..).unwrap_or_default()
    }

    /// Names the attempt in the store.
    fn key(&self) -> (u16, String) {
        (self.partition, self.number().to_owned())
    }
}

/// Claims the best; where others were faster, goes on with the best that are left, so that workers who ask at the same
/// time all get some. It ends, as no attempt is tried twice.
async fn claim(store: &Store, request: &ClaimRequest) -> Result<Vec<QueuedAttempt>> {
    let mut request = request.clone();
    let mut tried = BTreeSet::new();
    let mut claimed = Vec::new();
    loop {
        let chosen = ready(store, &request, &tried).await?;
        if chosen.is_empty() && !tried.is_empty() {
            return Ok(claimed);
        }
        let won = take(store, &chosen, request.worker).await?;
        let is_beaten = won.len() < chosen.len();
        for (one, attempt) in won {
            if let Some((_, slots)) = request.queues.get_mut(one.queue) {
                *slots -= 1;
            }
            claimed.push(attempt);
        }
        if !is_beaten {
            return Ok(claimed);
        }
        tried.extend(chosen.iter().map(Ready::key));
    }
}

/// Claims those of the chosen that nobody has claimed meanwhile, and returns them in their order.
async fn take<'a>(
    store: &Store,
    chosen: &'a [Ready],
    worker: WorkerId,
) -> Result<Vec<(&'a Ready, QueuedAttempt)>> {
    let worker = worker.to_string();
    let ask = |partition: u16| {
        let of_partition = chosen.iter().filter(|one| one.partition == partition);
        let numbers: Vec<&str> = of_partition.map(Ready::number).collect();
        // Without an attempt to claim, one partition is asked all the same whether the worker is a member.
        let is_asked = !numbers.is_empty() || (chosen.is_empty() && partition == 0);
        let call = || store.on(&CLAIM, partition).arg(&worker).counted(&numbers);
        is_asked.then(|| (partition, call()))
    };
    let calls = store.layout.all().filter_map(ask).collect();
    let mut given = BTreeMap::new();
    for (partition, items) in store.ask_each(calls).await? {
        for (number, attempt) in numbered(items)? {
            given.insert((partition, number), attempt);
        }
    }
    let won = chosen
        .iter()
        .filter_map(|one| given.remove(&one.key()).map(|attempt| (one, attempt)));
    Ok(won.collect())
}

/// Chooses the best attempts of each queue that were not tried yet, no more than it has slots.
async fn ready(
    store: &Store,
    request: &ClaimRequest,
    tried: &BTreeSet<(u16, String)>,
) -> Result<Vec<Ready>> {
    let tasks = distinct(request.tasks.iter().map(TaskName::as_str));
    let queues = (0..).zip(&request.queues);
    let asked: Vec<(usize, &QueueName, usize, &str)> = queues
        .flat_map(|(at, (queue, slots))| tasks.iter().map(move |task| (at, queue, *slots, *task)))
        .filter(|(_, _, slots, _)| *slots > 0)
        .collect();
    let ask = |partition| {
        let call = store.on(&READY, partition).number(asked.len());
        asked.iter().fold(call, |call, (_, queue, slots, task)| {
            let slots = slots.min(&LIMIT_MAX);
            call.arg(queue.as_str()).number(slots).arg(task)
        })
    };
    let mut found = Vec::new();
    for (partition, mut items) in store.ask_ready(ask).await? {
        let lists = items
            .list()?
            .each(|ranks| Items::of(ranks)?.each(reply::text))?;
        for ((queue, ..), ranks) in asked.iter().zip(lists) {
            found.extend(ranks.into_iter().map(|rank| Ready {
                queue: *queue,
                rank,
                partition,
            }));
        }
    }
    found.retain(|one| !tried.contains(&one.key()));
    found.sort_unstable();
    found.dedup();
    let mut left: BTreeMap<usize, usize> = (0..)
        .zip(request.queues.iter().map(|(_, slots)| *slots))
        .collect();
    found.retain(|one| {
        let left = left.entry(one.queue).or_default();
        let is_taken = *left > 0;
        *left = left.saturating_sub(1);
        is_taken
    });
    let mut seen = BTreeSet::new();
    found.retain(|one| seen.insert(one.key()));
    Ok(found)
}

async fn claimed(store: &Store, worker: WorkerId) -> Result<Vec<QueuedAttempt>> {
    let ask = |partition| store.on(&CLAIMED, partition).arg(worker.to_string());
    let mut claimed = Vec::new();
    for (_, items) in store.ask_all(ask).await? {
        claimed.extend(numbered(items)?);
    }
    claimed.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(claimed.into_iter().map(|(_, attempt)| attempt).collect())
}

/// Reads attempts with their numbers.
fn numbered(mut items: Items) -> Result<Vec<(String, QueuedAttempt)>> {
    items.list()?.each(|attempt| {
        let mut attempt = Items::of(attempt)?;
        let number = attempt.text()?;
        Ok((
            number,
            record::queued_attempt(&Fields::of(attempt.value()?)?)?,
        ))
    })
}

async fn report(store: &Store, reports: &[AttemptReport]) -> Result<Vec<Reported>> {
    let positions = store.layout.spread(reports, |one| &one.run);
    let ask = |(partition, positions): (&u16, &Vec<usize>)| {
        let call = store.on(&REPORT, *partition).number(positions.len());
        let of_partition = positions
            .iter()
            .filter_map(|position| reports.get(*position));
        let call = of_partition.fold(call, |call, one| {
            call.arg(one.worker.to_string())
                .arg(one.run.as_str())
                .arg(record::attempt_key(one.segment, &one.operation))
                .number(one.attempt)
                .arg(one.write.0.as_bytes())
                .arg(outcome(one))
        });
        (*partition, call)
    };
    let calls = positions.iter().map(ask).collect();
    let mut answers: Vec<Reported> = reports.iter().map(|_| Reported::Stale).collect();
    for (partition, mut items) in store.ask_each(calls).await? {
        let mut items = items.list()?;
        for position in positions.get(&partition).into_iter().flatten() {
            if let Some(answer) = answers.get_mut(*position) {
                *answer = reported(items.list()?)?;
            }
        }
    }
    Ok(answers)
}

fn outcome(report: &AttemptReport) -> Vec<u8> {
    record::body_item(&ArrivalBody {
        kind: ArrivalKind::TaskOutcome,
        name: report.operation.to_string(),
        content: report.content.clone(),
    })
}

fn reported(mut items: Items) -> Result<Reported> {
    match items.text()?.as_str() {
        "accepted" => {
            let owner = Some(items.text()?).filter(|owner| !owner.is_empty());
            let owner = owner.as_deref().map(record::worker).transpose()?;
            Ok(Reported::Accepted { owner })
        }
        "stale" => Ok(Reported::Stale),
        other => Err(unreadable("answer to a report", other)),
    }
}
