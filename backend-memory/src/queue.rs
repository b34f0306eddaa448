//! The rows of task queues, and the indexes that find the next attempt.
//!
//! Invariants: an attempt is in one of three indexes: by its time while that is ahead, by priority after it, by its
//! worker once it is claimed; in none while its run is paused and nobody has claimed it. So neither delayed attempts nor
//! those of other tasks are looked at when attempts are claimed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use longhaul_core::backend::{QueueRecord, QueuedAttempt};
use longhaul_core::clock::Timestamp;
use longhaul_core::history::OperationKey;
use longhaul_core::id::{QueueName, Segment, TaskName, WorkerId};

use crate::store::RunNumber;

/// Numbers attempts in the order they were put in.
type AttemptNumber = u64;

/// Names an attempt within its run.
pub(crate) type AttemptKey = (Segment, OperationKey, u32);

/// Says how early a ready attempt is handed out.
pub(crate) type Rank = (Reverse<i16>, Timestamp, AttemptNumber);

#[derive(Debug)]
struct AttemptRow {
    run: RunNumber,
    attempt: QueuedAttempt,
    ready_at: Timestamp,
    claimed_by: Option<WorkerId>,
}

/// Holds the attempts of one task in one queue that nobody has claimed.
#[derive(Debug, Default)]
struct Waiting {
    ready: BTreeSet<Rank>,
    delayed: BTreeSet<(Timestamp, AttemptNumber)>,
}

/// Holds all queued attempts.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    rows: BTreeMap<AttemptNumber, AttemptRow>,
    put_in: AttemptNumber,
    of_run: BTreeMap<RunNumber, BTreeMap<AttemptKey, AttemptNumber>>,
    waiting: BTreeMap<QueueName, BTreeMap<TaskName, Waiting>>,
    claimed: BTreeMap<WorkerId, BTreeSet<AttemptNumber>>,
}

impl Queues {
    /// Puts an attempt of a run into its queue, unless it is there.
    pub(crate) fn put(&mut self, run: RunNumber, attempt: QueuedAttempt, now: Timestamp) {
        let key = (attempt.segment, attempt.operation.clone(), attempt.attempt);
        let number = self.put_in;
        let of_run = self.of_run.entry(run).or_default();
        if of_run.contains_key(&key) {
            return;
        }
        of_run.insert(key, number);
        self.put_in += 1;
        let ready_at = attempt.due.unwrap_or(now);
        let row = AttemptRow {
            run,
            attempt,
            ready_at,
            claimed_by: None,
        };
        self.rows.insert(number, row);
        self.start_waiting(number, now);
    }

    /// Takes the attempts of a run that nobody has claimed out of the indexes that are looked at for work.
    pub(crate) fn hold(&mut self, run: RunNumber) {
        for number in self.unclaimed(run) {
            self.stop_waiting(number);
        }
    }

    /// Puts them back to where they were.
    pub(crate) fn let_go(&mut self, run: RunNumber, now: Timestamp) {
        for number in self.unclaimed(run) {
            self.start_waiting(number, now);
        }
    }

    fn unclaimed(&self, run: RunNumber) -> Vec<AttemptNumber> {
        let of_run = self.of_run.get(&run).into_iter();
        of_run
            .flat_map(BTreeMap::values)
            .copied()
            .filter(|number| {
                let row = self.rows.get(number);
                row.is_some_and(|row| row.claimed_by.is_none())
            })
            .collect()
    }

    fn start_waiting(&mut self, number: AttemptNumber, now: Timestamp) {
        let Some(row) = self.rows.get(&number) else {
            return;
        };
        let (attempt, ready_at) = (&row.attempt, row.ready_at);
        let of_queue = self.waiting.entry(attempt.queue.clone()).or_default();
        let waiting = of_queue.entry(attempt.task.clone()).or_default();
        if ready_at <= now {
            let rank = (Reverse(attempt.priority), ready_at, number);
            waiting.ready.insert(rank);
        } else {
            waiting.delayed.insert((ready_at, number));
        }
    }

    /// Makes attempts ready whose time has come, and returns the first ones.
    pub(crate) fn ready(
        &mut self,
        queue: &QueueName,
        task: &TaskName,
        limit: usize,
        now: Timestamp,
    ) -> Vec<Rank> {
        let of_queue = self.waiting.get_mut(queue);
        let Some(waiting) = of_queue.and_then(|of_queue| of_queue.get_mut(task)) else {
            return Vec::new();
        };
        while let Some((ready_at, number)) = waiting.delayed.first().copied()
            && ready_at <= now
        {
            waiting.delayed.pop_first();
            let row = self.rows.get(&number);
            let priority = row.map_or(0, |row| row.attempt.priority);
            waiting.ready.insert((Reverse(priority), ready_at, number));
        }
        waiting.ready.iter().take(limit).copied().collect()
    }

    /// Counts up to `limit` attempts that could be claimed now, and tells when the next one can be.
    pub(crate) fn count(
        &self,
        queue: &QueueName,
        task: &TaskName,
        limit: usize,
        now: Timestamp,
    ) -> (usize, Option<Timestamp>) {
        let of_queue = self.waiting.get(queue);
        let Some(waiting) = of_queue.and_then(|of_queue| of_queue.get(task)) else {
            return (0, None);
        };
        let due = waiting.delayed.range(..=(now, AttemptNumber::MAX));
        let ahead = waiting.delayed.range((now, AttemptNumber::MAX)..).next();
        let count = waiting.ready.len().saturating_add(due.take(limit).count());
        (count.min(limit), ahead.map(|(at, _)| *at))
    }

    /// Gives a ready attempt to a worker.
    pub(crate) fn claim(&mut self, rank: Rank, worker: WorkerId) -> Option<QueuedAttempt> {
        let (_, _, number) = rank;
        self.stop_waiting(number);
        let row = self.rows.get_mut(&number)?;
        row.claimed_by = Some(worker);
        self.claimed.entry(worker).or_default().insert(number);
        Some(row.attempt.clone())
    }

    /// Counts the attempts that a worker has claimed.
    pub(crate) fn count_claimed(&self, worker: WorkerId) -> usize {
        self.claimed.get(&worker).map_or(0, BTreeSet::len)
    }

    /// Lists the attempts that a worker has claimed, in the order they were put in.
    pub(crate) fn claimed(&self, worker: WorkerId) -> Vec<QueuedAttempt> {
        let numbers = self.claimed.get(&worker).into_iter().flatten();
        let rows = numbers.filter_map(|number| self.rows.get(number));
        rows.map(|row| row.attempt.clone()).collect()
    }

    /// Takes an attempt that the worker has claimed off its queue; tells whether it was there.
    pub(crate) fn finish(&mut self, run: RunNumber, key: &AttemptKey, worker: WorkerId) -> bool {
        let of_run = self.of_run.get(&run);
        let Some(number) = of_run.and_then(|of_run| of_run.get(key)).copied() else {
            return false;
        };
        let row = self.rows.get(&number);
        let is_claimed = row.is_some_and(|row| row.claimed_by == Some(worker));
        is_claimed && self.remove(number).is_some()
    }

    /// Takes the attempts of an operation off their queue.
    pub(crate) fn withdraw(&mut self, run: RunNumber, segment: Segment, operation: &OperationKey) {
        let first = (segment, operation.clone(), 0);
        let last = (segment, operation.clone(), u32::MAX);
        let of_run = self.of_run.get(&run).into_iter();
        let found: Vec<_> = of_run
            .flat_map(|of_run| of_run.range(first.clone()..=last.clone()))
            .map(|(_, number)| *number)
            .collect();
        for number in found {
            self.remove(number);
        }
    }

    /// Takes all attempts of a run off their queues.
    pub(crate) fn forget(&mut self, run: RunNumber) {
        for number in self.of_run.remove(&run).into_iter().flatten() {
            self.remove(number.1);
        }
    }

    /// Takes what a worker has claimed off the queues, in the order it was put in.
    pub(crate) fn give_up(&mut self, worker: WorkerId) -> Vec<QueuedAttempt> {
        let claimed = self.claimed.remove(&worker).unwrap_or_default();
        let given_up = claimed.into_iter().filter_map(|number| self.remove(number));
        given_up.map(|row| row.attempt).collect()
    }

    /// Counts the attempts of each queue.
    pub(crate) fn records(&self) -> Vec<QueueRecord> {
        let mut records: BTreeMap<&QueueName, (usize, usize)> = BTreeMap::new();
        for row in self.rows.values() {
            let (waiting, claimed) = records.entry(&row.attempt.queue).or_default();
            *(if row.claimed_by.is_some() {
                claimed
            } else {
                waiting
            }) += 1;
        }
        let record = |(queue, (waiting, claimed)): (&QueueName, _)| QueueRecord {
            queue: queue.clone(),
            waiting,
            claimed,
        };
        records.into_iter().map(record).collect()
    }

    fn remove(&mut self, number: AttemptNumber) -> Option<AttemptRow> {
        self.stop_waiting(number);
        let row = self.rows.remove(&number)?;
        let one = &row.attempt;
        if let Some(of_run) = self.of_run.get_mut(&row.run) {
            of_run.remove(&(one.segment, one.operation.clone(), one.attempt));
            if of_run.is_empty() {
                self.of_run.remove(&row.run);
            }
        }
        if let Some(worker) = row.claimed_by
            && let Some(claimed) = self.claimed.get_mut(&worker)
        {
            claimed.remove(&number);
            if claimed.is_empty() {
                self.claimed.remove(&worker);
            }
        }
        Some(row)
    }

    fn stop_waiting(&mut self, number: AttemptNumber) {
        let Some(row) = self.rows.get(&number) else {
            return;
        };
        let (queue, task) = (&row.attempt.queue, &row.attempt.task);
        let Some(of_queue) = self.waiting.get_mut(queue) else {
            return;
        };
        if let Some(waiting) = of_queue.get_mut(task) {
            let rank = (Reverse(row.attempt.priority), row.ready_at, number);
            waiting.ready.remove(&rank);
            waiting.delayed.remove(&(row.ready_at, number));
            if waiting.ready.is_empty() && waiting.delayed.is_empty() {
                of_queue.remove(task);
            }
        }
        if of_queue.is_empty() {
            self.waiting.remove(queue);
        }
    }
}
