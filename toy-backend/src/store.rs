//! The tables: workers, runs with all that belongs to them, task queues, and the outbox.
//!
//! Invariants: an id in `dead` is never in `workers`, and never leaves `dead`. A run that has an owner has one that is
//! in `workers`, and a claim too. Turns of a run are numbered by their place. A finished run has no owner and nothing
//! in the queues.

use std::collections::{BTreeMap, BTreeSet};

use longhaul_core::backend::{
    Arrival, ArrivalBody, Error, Kind, Message, QueuedAttempt, Result, RunRecord, Serves, StartRun,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::history::StoredTurn;
use longhaul_core::id::{
    ArrivalNumber, DataKey, Epoch, EventNumber, Segment, TurnNumber, WorkerId, WorkflowId, WriteId,
};
use longhaul_core::payload::Payload;
use longhaul_core::status::Status;

/// Is everything that is stored.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
    /// Remembers who was declared dead or left, so that nothing of theirs is accepted later.
    pub(crate) dead: BTreeSet<WorkerId>,
    pub(crate) runs: BTreeMap<WorkflowId, Run>,
    /// Has the attempts of all task queues in the order they were put in.
    pub(crate) queued: Vec<Queued>,
    /// Has the messages from run to run in the order of their commits.
    pub(crate) outbox: Vec<Message>,
}

/// Is a worker on the register.
pub(crate) struct Worker {
    pub(crate) label: String,
    pub(crate) serves: Serves,
    pub(crate) lease_until: Timestamp,
}

/// Is a run with everything that belongs to it.
pub(crate) struct Run {
    pub(crate) record: RunRecord,
    /// Refuses arrivals until the run parks, ends or changes hands.
    pub(crate) is_sealed: bool,
    /// Tells whether the run appended a turn since it was last lost or given up.
    pub(crate) has_progress: bool,
    pub(crate) turns: Vec<StoredTurn>,
    /// Has the names of all commits, so that one that is asked again changes nothing.
    pub(crate) writes: BTreeSet<WriteId>,
    /// Has all arrivals, read or not, each with its name if somebody may send it again.
    pub(crate) inbox: Vec<(Option<WriteId>, Arrival)>,
    pub(crate) data: BTreeMap<DataKey, Payload>,
}

/// Is an attempt in a task queue.
pub(crate) struct Queued {
    pub(crate) attempt: QueuedAttempt,
    pub(crate) claimed_by: Option<WorkerId>,
    pub(crate) due: Timestamp,
}

impl Store {
    /// Fails when a worker is not on the register.
    pub(crate) fn check_alive(&self, worker: WorkerId) -> Result<()> {
        if self.workers.contains_key(&worker) {
            return Ok(());
        }
        let message = format!("worker {worker} is not registered; join under a new id");
        Err(Error::new(Kind::WorkerDead, message))
    }

    /// Returns a run that exists.
    pub(crate) fn existing(&self, run: &WorkflowId) -> Result<&Run> {
        let unknown = || Error::new(Kind::NotFound, format!("no run is named `{run}`"));
        self.runs.get(run).ok_or_else(unknown)
    }
}

impl Run {
    /// Makes the row of a run that nobody owns yet, and its turn 0.
    pub(crate) fn new(start: StartRun, now: Timestamp) -> Self {
        let first = StoredTurn {
            turn: TurnNumber(0),
            first_event: EventNumber(0),
            record: start.record,
        };
        Self {
            record: RunRecord {
                identity: start.identity,
                kind: start.kind,
                segment: Segment::FIRST,
                route: start.route,
                partition: start.partition,
                status: Status::Pending,
                owner: None,
                epoch: Epoch(0),
                arrivals: ArrivalNumber(0),
                read: ArrivalNumber(0),
                wake_at: Some(now),
                lost: 0,
                blocked: None,
                fingerprint: start.fingerprint,
                tags: start.tags,
                parent_operation: start.parent_operation,
                created_at: now,
                updated_at: now,
            },
            is_sealed: false,
            has_progress: false,
            turns: vec![first],
            writes: BTreeSet::new(),
            inbox: Vec::new(),
            data: BTreeMap::new(),
        }
    }

    /// Gives the run to a worker, under an epoch that no owner had before.
    pub(crate) fn give_to(&mut self, worker: WorkerId, now: Timestamp) {
        self.record.owner = Some(worker);
        self.record.epoch = self.record.epoch.next();
        self.record.status = Status::Running;
        self.record.wake_at = None;
        self.record.blocked = None;
        self.record.updated_at = now;
        self.is_sealed = false;
    }

    /// Takes the run from a worker that is gone, and counts the loss.
    pub(crate) fn lose(&mut self, now: Timestamp) {
        let before = if self.has_progress {
            0
        } else {
            self.record.lost
        };
        self.record.lost = before.saturating_add(1);
        self.record.owner = None;
        self.record.wake_at = Some(now);
        self.record.updated_at = now;
        self.is_sealed = false;
        self.has_progress = false;
    }

    /// Puts something into the inbox whatever the state of it, and makes the run due.
    pub(crate) fn put(&mut self, write: Option<WriteId>, body: ArrivalBody, now: Timestamp) {
        let number = self.record.arrivals.next();
        let arrival = Arrival {
            number,
            accepted_at: now,
            body,
        };
        self.inbox.push((write, arrival));
        self.record.arrivals = number;
        self.record.updated_at = now;
        if self.record.status != Status::Paused {
            let wake_at = self.record.wake_at.map_or(now, |before| before.min(now));
            self.record.wake_at = Some(wake_at);
        }
    }

    /// Finds an arrival by its name.
    pub(crate) fn arrived(&self, write: WriteId) -> Option<&Arrival> {
        let is_it = |(name, _): &&(Option<WriteId>, Arrival)| *name == Some(write);
        self.inbox.iter().find(is_it).map(|(_, arrival)| arrival)
    }

    /// Lists the arrivals after a number.
    pub(crate) fn arrivals_after(&self, number: ArrivalNumber) -> Vec<Arrival> {
        let arrivals = self.inbox.iter().map(|(_, arrival)| arrival);
        arrivals
            .filter(|arrival| arrival.number > number)
            .cloned()
            .collect()
    }

    /// Tells whether something arrived that was not read.
    pub(crate) fn has_unread(&self) -> bool {
        self.record.arrivals > self.record.read
    }

    /// Tells whether a worker owns the run.
    pub(crate) fn is_owned_by(&self, worker: WorkerId) -> bool {
        self.record.owner == Some(worker)
    }
}
