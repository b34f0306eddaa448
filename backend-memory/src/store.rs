//! The rows, and the indexes that find them.
//!
//! Invariants: a run changes only inside [`Store::change`], which keeps every index in step with it. A parked run is in
//! no index but that of its time, so that a beat costs nothing however many there are. Maps are ordered, so that the
//! same requests give the same answers in each process.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use longhaul_core::backend::{Arrival, Hint, JoinRequest, Message, RunRecord, StartRun};
use longhaul_core::clock::Timestamp;
use longhaul_core::history::StoredTurn;
use longhaul_core::id::{
    ArrivalNumber, BuildId, DataKey, Epoch, EventNumber, Route, Segment, TurnNumber, WorkerId,
    WorkflowId, WriteId,
};
use longhaul_core::payload::Payload;
use longhaul_core::status::Status;

use crate::queue::Queues;

/// Is the number that the indexes know a run by: how many were started before it.
pub(crate) type RunNumber = u64;

/// Is a turn with the name of the write that appended it.
#[derive(Debug)]
pub(crate) struct TurnRow {
    pub(crate) turn: StoredTurn,
    /// None for turn 0, which a start wrote.
    pub(crate) write: Option<WriteId>,
}

/// Is a run with all that belongs to it.
#[derive(Debug)]
pub(crate) struct RunRow {
    pub(crate) record: RunRecord,
    pub(crate) is_sealed: bool,
    /// How many turns it had when it was last lost or given up.
    pub(crate) lost_turns: usize,
    /// The last write that appended no turn.
    pub(crate) last_write: Option<WriteId>,
    /// The turns of its newest segment, by their number.
    pub(crate) turns: Vec<TurnRow>,
    /// All that arrived, kept until the segment ends.
    pub(crate) inbox: Vec<Arrival>,
    pub(crate) inbox_writes: HashMap<WriteId, (ArrivalNumber, Timestamp)>,
    pub(crate) data: BTreeMap<DataKey, Payload>,
}

impl RunRow {
    /// Makes the row of a run that was started.
    fn new(start: &StartRun, owner: Option<WorkerId>, now: Timestamp) -> Self {
        let (status, epoch, wake_at) = match owner {
            Some(_) => (Status::Running, Epoch(1), None),
            None => (Status::Pending, Epoch(0), Some(now)),
        };
        let turn = StoredTurn {
            turn: TurnNumber(0),
            first_event: EventNumber(0),
            record: start.record.clone(),
        };
        Self {
            record: RunRecord {
                identity: start.identity.clone(),
                kind: start.kind,
                segment: Segment::FIRST,
                route: start.route.clone(),
                partition: start.partition,
                status,
                owner,
                epoch,
                arrivals: ArrivalNumber(0),
                read: ArrivalNumber(0),
                wake_at,
                lost: 0,
                blocked: None,
                fingerprint: start.fingerprint,
                tags: start.tags.clone(),
                parent_operation: start.parent_operation.clone(),
                created_at: now,
                updated_at: now,
            },
            is_sealed: false,
            lost_turns: 0,
            last_write: None,
            turns: vec![TurnRow { turn, write: None }],
            inbox: Vec::new(),
            inbox_writes: HashMap::new(),
            data: BTreeMap::new(),
        }
    }

    /// Returns the arrivals after `after`.
    pub(crate) fn inbox_after(&self, after: ArrivalNumber) -> Vec<Arrival> {
        let first = self.inbox.partition_point(|one| one.number <= after);
        self.inbox.iter().skip(first).cloned().collect()
    }

    /// Returns the turns of the newest segment.
    pub(crate) fn history(&self) -> impl Iterator<Item = &StoredTurn> {
        self.turns.iter().map(|row| &row.turn)
    }

    fn place(&self) -> Place {
        let run = &self.record;
        let is_held = run.owner.is_some() || run.status == Status::Paused;
        let blocked_by = || run.blocked.as_ref().map(|(_, build)| build.clone());
        Place {
            wake: run
                .wake_at
                .filter(|_| !is_held)
                .map(|at| (blocked_by(), at)),
            owner: run.owner,
            is_unread: run.arrivals > run.read,
        }
    }
}

/// Says which indexes have a run.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    wake: Option<(Option<BuildId>, Timestamp)>,
    owner: Option<WorkerId>,
    is_unread: bool,
}

/// Holds when the unowned runs of one route are due, apart for each build that blocked them.
pub(crate) type Wakes = BTreeMap<Option<BuildId>, BTreeSet<(Timestamp, RunNumber)>>;

/// Holds the runs of one worker.
#[derive(Debug, Default)]
pub(crate) struct Owned {
    pub(crate) all: BTreeSet<RunNumber>,
    /// Those that have something unread.
    pub(crate) unread: BTreeSet<RunNumber>,
}

/// Is the row of a worker.
#[derive(Debug)]
pub(crate) struct WorkerRow {
    pub(crate) joined: JoinRequest,
    pub(crate) lease_until: Timestamp,
}

/// Holds everything.
#[derive(Debug, Default)]
pub(crate) struct Store {
    runs: BTreeMap<RunNumber, RunRow>,
    numbers: BTreeMap<WorkflowId, RunNumber>,
    wakes: BTreeMap<Route, Wakes>,
    owned: BTreeMap<WorkerId, Owned>,
    children: BTreeMap<WorkflowId, BTreeSet<WorkflowId>>,
    tree: BTreeMap<WorkflowId, BTreeSet<WorkflowId>>,
    pub(crate) workers: BTreeMap<WorkerId, WorkerRow>,
    pub(crate) dead_workers: BTreeSet<WorkerId>,
    pub(crate) outbox: VecDeque<Message>,
    pub(crate) queues: Queues,
    /// What happened that others may care about.
    pub(crate) news: Option<Hint>,
}

impl Store {
    /// Inserts a run with its turn 0; tells whether its id was free.
    pub(crate) fn insert(
        &mut self,
        owner: Option<WorkerId>,
        start: &StartRun,
        now: Timestamp,
    ) -> bool {
        let identity = &start.identity;
        let id = identity.workflow_id.clone();
        if self.numbers.contains_key(&id) {
            return false;
        }
        let number = self.runs.len() as RunNumber;
        let row = RunRow::new(start, owner, now);
        self.enter(number, &row.record.route, &row.place());
        self.numbers.insert(id.clone(), number);
        self.runs.insert(number, row);
        let root = match &identity.parent {
            Some(parent) => {
                let siblings = self.children.entry(parent.clone()).or_default();
                siblings.insert(id.clone());
                &identity.root
            }
            None => &id,
        };
        let tree = self.tree.entry(root.clone()).or_default();
        tree.insert(id.clone());
        if owner.is_none() {
            self.tell(Hint::Changed);
        }
        true
    }

    /// Notes what others are told once the request is done.
    pub(crate) fn tell(&mut self, hint: Hint) {
        self.news = self.news.max(Some(hint));
    }

    /// Returns the number of a run.
    pub(crate) fn number(&self, run: &WorkflowId) -> Option<RunNumber> {
        self.numbers.get(run).copied()
    }

    /// Returns the row of a run.
    pub(crate) fn row(&self, number: RunNumber) -> Option<&RunRow> {
        self.runs.get(&number)
    }

    /// Finds a run by its id.
    pub(crate) fn find(&self, run: &WorkflowId) -> Option<&RunRow> {
        self.row(self.number(run)?)
    }

    /// Returns the numbers of the runs by their ids, which are ordered.
    pub(crate) const fn numbers(&self) -> &BTreeMap<WorkflowId, RunNumber> {
        &self.numbers
    }

    /// Returns the ids of the runs that a run started.
    pub(crate) fn children(&self, parent: &WorkflowId) -> Option<&BTreeSet<WorkflowId>> {
        self.children.get(parent)
    }

    /// Returns the ids of a root and the runs below it.
    pub(crate) fn tree(&self, root: &WorkflowId) -> Option<&BTreeSet<WorkflowId>> {
        self.tree.get(root)
    }

    /// Returns when the unowned runs of a route are due.
    pub(crate) fn wakes(&self, route: &Route) -> Option<&Wakes> {
        self.wakes.get(route)
    }

    /// Returns what a worker owns.
    pub(crate) fn owned(&self, worker: WorkerId) -> Option<&Owned> {
        self.owned.get(&worker)
    }

    /// Appends a turn, which no index knows of.
    pub(crate) fn append(&mut self, number: RunNumber, turn: StoredTurn, write: WriteId) {
        if let Some(row) = self.runs.get_mut(&number) {
            let write = Some(write);
            row.turns.push(TurnRow { turn, write });
        }
    }

    /// Changes a run, and then what the indexes say of it.
    pub(crate) fn change<T>(
        &mut self,
        number: RunNumber,
        work: impl FnOnce(&mut RunRow) -> T,
    ) -> Option<T> {
        let row = self.runs.get_mut(&number)?;
        let before = row.place();
        let done = work(row);
        let after = row.place();
        if before != after {
            let route = row.record.route.clone();
            self.leave(number, &route, &before);
            self.enter(number, &route, &after);
        }
        Some(done)
    }

    fn enter(&mut self, number: RunNumber, route: &Route, place: &Place) {
        if let Some((build, at)) = &place.wake {
            let of_route = self.wakes.entry(route.clone()).or_default();
            let of_build = of_route.entry(build.clone()).or_default();
            of_build.insert((*at, number));
        }
        if let Some(owner) = place.owner {
            let owned = self.owned.entry(owner).or_default();
            owned.all.insert(number);
            if place.is_unread {
                owned.unread.insert(number);
            }
        }
    }

    fn leave(&mut self, number: RunNumber, route: &Route, place: &Place) {
        if let Some((build, at)) = &place.wake
            && let Some(of_route) = self.wakes.get_mut(route)
            && let Some(of_build) = of_route.get_mut(build)
        {
            of_build.remove(&(*at, number));
            if of_build.is_empty() {
                of_route.remove(build);
            }
        }
        if let Some(owner) = place.owner
            && let Some(owned) = self.owned.get_mut(&owner)
        {
            owned.all.remove(&number);
            owned.unread.remove(&number);
            if owned.all.is_empty() {
                self.owned.remove(&owner);
            }
        }
    }
}
