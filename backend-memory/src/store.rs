//! The rows and their indexes.
//!
//! Invariants: a run is in `due` if it is open, unowned and has a `wake_at`; in `owned` if it has an owner; in `unread` if
//! it has an owner and something unread. [`Store::index`] is the only place that keeps them so. An attempt is in `ready`
//! while it is not claimed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use longhaul_core::backend::{
    Arrival, JoinRequest, Message, QueuedAttempt, RunRecord, StartRun, Started,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::history::{OperationKey, StoredTurn};
use longhaul_core::id::{
    ArrivalNumber, DataKey, Epoch, EventNumber, QueueName, Route, Segment, TaskName, TurnNumber,
    WorkerId, WorkflowId, WriteId,
};
use longhaul_core::payload::Payload;
use longhaul_core::status::Status;

#[derive(Default)]
pub(crate) struct Store {
    runs: BTreeMap<WorkflowId, Run>,
    due: BTreeMap<Route, BTreeSet<(Timestamp, WorkflowId)>>,
    owned: HashMap<WorkerId, BTreeSet<WorkflowId>>,
    unread: HashMap<WorkerId, BTreeSet<WorkflowId>>,
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
    pub(crate) dead: HashSet<WorkerId>,
    pub(crate) outbox: VecDeque<Message>,
    pub(crate) attempts: BTreeMap<u64, Attempt>,
    pub(crate) ready: BTreeMap<(QueueName, TaskName), BTreeSet<Place>>,
    pub(crate) attempts_of: HashMap<WorkflowId, BTreeSet<u64>>,
    pub(crate) next_attempt: u64,
}

/// Is a place in a queue: higher priority first, then earlier due, then in the order of arrival.
pub(crate) type Place = (std::cmp::Reverse<i16>, Timestamp, u64);

pub(crate) struct Worker {
    pub(crate) joined: JoinRequest,
    pub(crate) lease_until: Timestamp,
}

pub(crate) struct Attempt {
    pub(crate) queued: QueuedAttempt,
    pub(crate) place: Place,
    pub(crate) claimed_by: Option<WorkerId>,
}

pub(crate) struct Run {
    pub(crate) record: RunRecord,
    pub(crate) turns: Vec<Turn>,
    pub(crate) inbox: Vec<(WriteId, Arrival)>,
    pub(crate) data: BTreeMap<DataKey, Payload>,
    pub(crate) is_sealed: bool,
    pub(crate) last_write: Option<WriteId>,
    /// How many turns it had when it was last lost.
    pub(crate) lost_turns: usize,
}

pub(crate) struct Turn {
    pub(crate) stored: StoredTurn,
    pub(crate) write: Option<WriteId>,
}

impl Run {
    pub(crate) fn is_unread(&self) -> bool {
        self.record.arrivals > self.record.read
    }

    fn new(start: &StartRun, owner: Option<WorkerId>, now: Timestamp) -> Self {
        let record = RunRecord {
            identity: start.identity.clone(),
            kind: start.kind,
            segment: Segment::FIRST,
            route: start.route.clone(),
            partition: start.partition,
            status: if owner.is_some() {
                Status::Running
            } else {
                Status::Pending
            },
            owner,
            epoch: Epoch(owner.is_some().into()),
            arrivals: ArrivalNumber(0),
            read: ArrivalNumber(0),
            wake_at: owner.is_none().then_some(now),
            lost: 0,
            blocked: None,
            fingerprint: start.fingerprint,
            tags: start.tags.clone(),
            parent_operation: start.parent_operation.clone(),
            created_at: now,
            updated_at: now,
        };
        let first = StoredTurn {
            turn: TurnNumber(0),
            first_event: EventNumber(0),
            record: start.record.clone(),
        };
        Self {
            record,
            turns: vec![Turn {
                stored: first,
                write: None,
            }],
            inbox: Vec::new(),
            data: BTreeMap::new(),
            is_sealed: false,
            last_write: None,
            lost_turns: 0,
        }
    }
}

impl Store {
    pub(crate) fn run(&self, id: &WorkflowId) -> Option<&Run> {
        self.runs.get(id)
    }

    pub(crate) fn runs_after(&self, after: Option<&WorkflowId>) -> impl Iterator<Item = &Run> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.runs
            .range::<WorkflowId, _>((from, Bound::Unbounded))
            .map(|(_, run)| run)
    }

    /// Changes a run and keeps the indexes in step.
    pub(crate) fn change<T>(
        &mut self,
        id: &WorkflowId,
        change: impl FnOnce(&mut Run) -> T,
    ) -> Option<T> {
        self.index(id, false);
        let changed = self.runs.get_mut(id).map(change);
        self.index(id, true);
        changed
    }

    /// Starts a run unless its id is taken.
    pub(crate) fn start(
        &mut self,
        start: &StartRun,
        owner: Option<WorkerId>,
        now: Timestamp,
    ) -> Started {
        let id = &start.identity.workflow_id;
        if let Some(run) = self.runs.get(id) {
            return Started::Exists(Box::new(run.record.clone()));
        }
        self.runs.insert(id.clone(), Run::new(start, owner, now));
        self.index(id, true);
        Started::New
    }

    fn index(&mut self, id: &WorkflowId, present: bool) {
        let Some(run) = self.runs.get(id) else { return };
        let record = &run.record;
        if let Some(owner) = record.owner {
            put(self.owned.entry(owner).or_default(), id.clone(), present);
            let is_unread = present && run.is_unread();
            put(self.unread.entry(owner).or_default(), id.clone(), is_unread);
        } else if let Some(wake_at) = record.wake_at
            && !record.status.is_terminal()
            && record.status != Status::Paused
        {
            let due = self.due.entry(record.route.clone()).or_default();
            put(due, (wake_at, id.clone()), present);
        }
    }

    /// Returns the unowned runs of a route with their due times, the earliest first.
    pub(crate) fn due_of(
        &self,
        route: &Route,
    ) -> impl Iterator<Item = (Timestamp, &Run)> + use<'_> {
        self.due
            .get(route)
            .into_iter()
            .flatten()
            .filter_map(|(wake_at, id)| Some((*wake_at, self.runs.get(id)?)))
    }

    pub(crate) fn owned_by(&self, worker: WorkerId) -> Vec<WorkflowId> {
        self.owned
            .get(&worker)
            .map(|runs| runs.iter().cloned().collect())
            .unwrap_or_default()
    }

    pub(crate) fn unread_of(&self, worker: WorkerId) -> Vec<WorkflowId> {
        self.unread
            .get(&worker)
            .map(|runs| runs.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Takes a worker's entries out of the indexes when it has no run any more.
    pub(crate) fn forget_worker(&mut self, worker: WorkerId) {
        self.owned.remove(&worker);
        self.unread.remove(&worker);
        self.workers.remove(&worker);
    }

    pub(crate) fn remove_attempt(&mut self, number: u64) -> Option<Attempt> {
        let attempt = self.attempts.remove(&number)?;
        if attempt.claimed_by.is_none() {
            self.put_ready(&attempt, false);
        }
        if let Some(numbers) = self.attempts_of.get_mut(&attempt.queued.run) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.attempts_of.remove(&attempt.queued.run);
            }
        }
        Some(attempt)
    }

    pub(crate) fn put_ready(&mut self, attempt: &Attempt, present: bool) {
        let line = (attempt.queued.queue.clone(), attempt.queued.task.clone());
        put(self.ready.entry(line).or_default(), attempt.place, present);
    }

    /// Finds the attempts of an operation.
    pub(crate) fn attempts_for(
        &self,
        run: &WorkflowId,
        segment: Segment,
        operation: &OperationKey,
    ) -> Vec<u64> {
        let numbers = self.attempts_of.get(run).into_iter().flatten();
        numbers
            .filter(|number| {
                self.attempts.get(number).is_some_and(|attempt| {
                    attempt.queued.segment == segment && attempt.queued.operation == *operation
                })
            })
            .copied()
            .collect()
    }
}

fn put<T: Ord>(set: &mut BTreeSet<T>, item: T, present: bool) {
    if present {
        set.insert(item);
    } else {
        set.remove(&item);
    }
}
