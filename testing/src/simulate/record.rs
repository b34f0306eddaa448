//! What the store applied, in order, judged as it happens.
//!
//! Invariants: the order of calls is the order in which the store applied. Equal seeds give equal traces.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use longhaul_core::backend::{
    AcquiredRun, Arrived, Kind, Lane, QueuedAttempt, Reported, RunUpdate, StartRun, Started,
    TurnCommit, Verdict,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::history::{Event, EventKind, Placement, decode_record};
use longhaul_core::id::{Epoch, QueueName, WorkerId, WorkflowId, WriteId};

use crate::wire::Applied;

/// Lists the rare branches that a simulation worth its name reaches.
pub(crate) const MARKS: [&str; 35] = [
    "answer of a start lost, then asked again",
    "attempt in a queue lost",
    "attempt lost",
    "cancel lifted a pause",
    "cancel reached a subworkflow",
    "commit asked again after it was applied",
    "commit beside another of its worker",
    "commit of several turns",
    "end undone by an arrival",
    "late outcome refused",
    "outcome kept until the end of a pause",
    "park undone by an arrival",
    "recovery recorded",
    "retry recorded",
    "run given back at shutdown",
    "run lost before its first turn",
    "run owned by several workers in turn",
    "run parked",
    "run paused by an edit",
    "run paused by its owner",
    "run resumed by an edit",
    "run resumed by its owner",
    "run seen paused",
    "run terminated by an edit",
    "signal and time limit in one turn",
    "signal before its wait",
    "signal to a finished run",
    "spilled",
    "spilled attempt claimed by a peer",
    "spilled attempt lost",
    "subworkflow ended while its parent was parked",
    "takeover of a crashed worker timed",
    "timer due while nobody owned its run",
    "turn of a former owner refused",
    "worker told that it is dead",
];

/// Is a promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The promise, such as `P4`.
    pub promise: &'static str,
    /// What happened.
    pub what: String,
}

/// Is what the store says of one run.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    owner: Option<(WorkerId, Epoch)>,
    epoch: Epoch,
    parked: bool,
    ended: bool,
    /// When each turn was stored, and its record.
    pub(crate) turns: Vec<(Timestamp, Vec<u8>)>,
}

/// Holds what was seen.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) runs: HashMap<WorkflowId, Seen>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) marks: BTreeMap<&'static str, u64>,
    pub(crate) trace: Trace,
    pub(crate) commits: u64,
    pub(crate) requests: u64,
    writes: HashSet<WriteId>,
    starts: HashSet<WorkflowId>,
    dead: BTreeSet<WorkerId>,
    first_lanes: HashMap<WorkerId, u16>,
    /// When each worker was taken over.
    pub(crate) taken_over: HashMap<WorkerId, Timestamp>,
}

/// Is a hash of everything that happened.
///
/// Source: FNV-1a with 64 bits, G. Fowler, L. C. Noll and K.-P. Vo, 1991.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trace(pub(crate) u64);

impl Default for Trace {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Trace {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl Log {
    pub(crate) fn mark(&mut self, mark: &'static str) {
        *self.marks.entry(mark).or_default() += 1;
    }

    pub(crate) fn violated(&mut self, promise: &'static str, what: String) {
        self.violations.push(Violation { promise, what });
    }

    pub(crate) fn applied(&mut self, at: Timestamp, what: &Applied<'_>) {
        self.requests += 1;
        self.trace.add(&at.as_micros().to_le_bytes());
        match what {
            Applied::Start(lane, runs, Ok(answers)) => {
                self.trace.add(b"start");
                for (run, started) in runs.iter().zip(answers.iter()) {
                    self.on_start(at, *lane, run, started);
                }
            }
            Applied::Acquire(lane, Ok(runs)) => {
                self.trace.add(b"acquire");
                for acquired in runs.iter() {
                    self.on_acquire(at, *lane, acquired);
                }
            }
            Applied::Commit(lane, turns, Ok(verdicts)) => {
                self.trace.add(b"commit");
                // The first lane is taken unless a commit is under way on it.
                let is_beside = lane.is_some_and(|lane| {
                    lane.number != *self.first_lanes.entry(lane.worker).or_insert(lane.number)
                });
                if is_beside {
                    self.mark("commit beside another of its worker");
                }
                if turns.len() > 1 {
                    self.mark("commit of several turns");
                }
                for (turn, verdict) in turns.iter().zip(verdicts.iter()) {
                    self.on_commit(at, *lane, turn, verdict);
                }
            }
            Applied::TakeOver(Ok(taken)) => {
                for dead in &taken.workers {
                    self.taken_over.entry(*dead).or_insert(at);
                    self.free(*dead);
                }
            }
            Applied::Leave(worker) => self.free(*worker),
            Applied::Arrive(requests, Ok(answers)) => {
                self.trace.add(b"arrive");
                for (request, arrived) in requests.iter().zip(answers.iter()) {
                    self.trace.add(request.run.as_str().as_bytes());
                    if matches!(arrived, Arrived::Finished(_)) {
                        self.mark("signal to a finished run");
                    }
                }
            }
            Applied::Report(Ok(answers)) => {
                self.trace.add(b"report");
                if answers.contains(&Reported::Stale) {
                    self.mark("late outcome refused");
                }
            }
            Applied::Claim(worker, Ok(claimed)) => self.on_claim(*worker, claimed),
            Applied::Deliver(Ok(moved)) => self.trace.add(&moved.to_le_bytes()),
            Applied::Beat(Err(error)) if error.kind() == Kind::WorkerDead => {
                self.mark("worker told that it is dead");
            }
            Applied::Read(what) => self.trace.add(what.as_bytes()),
            _ => {}
        }
    }

    fn free(&mut self, worker: WorkerId) {
        self.dead.insert(worker);
        for seen in self.runs.values_mut() {
            if seen.owner.is_some_and(|(owner, _)| owner == worker) {
                seen.owner = None;
            }
        }
    }

    fn on_start(&mut self, at: Timestamp, lane: Option<Lane>, run: &StartRun, started: &Started) {
        let id = &run.identity.workflow_id;
        self.trace.add(id.as_str().as_bytes());
        if *started != Started::New {
            if self.starts.contains(id) {
                self.mark("answer of a start lost, then asked again");
            }
            return;
        }
        if !self.starts.insert(id.clone()) {
            self.violated("P11", format!("run `{id}` was started as new twice"));
        }
        let epoch = Epoch(u64::from(lane.is_some()));
        let seen = Seen {
            owner: lane.map(|lane| (lane.worker, epoch)),
            epoch,
            turns: vec![(at, run.record.clone())],
            ..Seen::default()
        };
        self.runs.insert(id.clone(), seen);
    }

    fn on_acquire(&mut self, at: Timestamp, lane: Lane, acquired: &AcquiredRun) {
        let id = &acquired.run.identity.workflow_id;
        self.trace.add(id.as_str().as_bytes());
        let epoch = acquired.run.epoch;
        let is_dead = self.dead.contains(&lane.worker);
        let Some(seen) = self.runs.get_mut(id) else {
            return;
        };
        let (before, had_owner) = (seen.epoch, seen.owner);
        seen.owner = Some((lane.worker, epoch));
        seen.epoch = epoch;
        let (was_parked, turns) = (std::mem::take(&mut seen.parked), seen.turns.len());
        if let Some((owner, _)) = had_owner {
            let what = format!("run `{id}` was acquired while worker {owner} owned it");
            self.violated("P4", what);
        }
        if is_dead {
            let what = format!("dead worker {} acquired run `{id}`", lane.worker);
            self.violated("P4", what);
        }
        if epoch <= before {
            let what = format!("the epoch of run `{id}` went from {before} to {epoch}");
            self.violated("P4", what);
        }
        if turns == 1 && before.0 > 0 {
            self.mark("run lost before its first turn");
        }
        if epoch.0 >= 3 {
            self.mark("run owned by several workers in turn");
        }
        self.mark_acquired(at, acquired, was_parked);
    }

    fn on_claim(&mut self, worker: WorkerId, claimed: &[QueuedAttempt]) {
        self.trace.add(&claimed.len().to_le_bytes());
        for attempt in claimed.iter().filter(|one| is_spilled(one)) {
            let owner = self.runs.get(&attempt.run).and_then(|seen| seen.owner);
            if owner.is_some_and(|(owner, _)| owner != worker) {
                self.mark("spilled attempt claimed by a peer");
            }
        }
    }

    fn mark_acquired(&mut self, _at: Timestamp, acquired: &AcquiredRun, was_parked: bool) {
        if !was_parked {
            return;
        }
        if acquired.inbox.is_empty() {
            self.mark("timer due while nobody owned its run");
        }
        let closed = longhaul_core::backend::ArrivalKind::SubworkflowClosed;
        if acquired.inbox.iter().any(|one| one.body.kind == closed) {
            self.mark("subworkflow ended while its parent was parked");
        }
    }

    fn on_commit(
        &mut self,
        at: Timestamp,
        lane: Option<Lane>,
        turn: &TurnCommit,
        verdict: &Verdict,
    ) {
        let id = &turn.run;
        self.trace.add(id.as_str().as_bytes());
        match verdict {
            Verdict::Committed if !self.writes.insert(turn.write) => {
                self.mark("commit asked again after it was applied");
            }
            Verdict::Committed => self.on_committed(at, lane, turn),
            Verdict::Unread => match turn.update {
                RunUpdate::End { .. } => self.mark("end undone by an arrival"),
                _ => self.mark("park undone by an arrival"),
            },
            Verdict::Lost => self.mark("turn of a former owner refused"),
            Verdict::Refused(reason) => {
                self.violated("P12", format!("a turn of `{id}` was refused: {reason}"));
            }
        }
    }

    fn on_committed(&mut self, at: Timestamp, lane: Option<Lane>, turn: &TurnCommit) {
        self.commits += 1;
        let id = &turn.run;
        let Some(seen) = self.runs.get_mut(id) else {
            return;
        };
        let owner = seen.owner;
        let has_ended = seen.ended;
        if let Some(stored) = &turn.turn {
            seen.turns.push((at, stored.record.clone()));
            self.trace.add(&stored.record.len().to_le_bytes());
        }
        if turn.update.gives_up() {
            seen.owner = None;
        }
        seen.parked = matches!(turn.update, RunUpdate::Park { .. });
        seen.ended = matches!(turn.update, RunUpdate::End { .. });
        let author = lane.map(|lane| (lane.worker, turn.epoch));
        if owner != author {
            let what = format!("{author:?} wrote to `{id}`; its owner was {owner:?}");
            self.violated("P4", what);
        }
        if has_ended {
            self.violated("P2", format!("`{id}` was written to after its end"));
        }
        if lane.is_none() {
            self.mark_edit(turn);
        }
        match &turn.update {
            RunUpdate::Pause { .. } if lane.is_some() => {
                self.mark("run paused by its owner");
            }
            RunUpdate::Park { .. } => self.mark("run parked"),
            RunUpdate::Release { .. } => self.mark("run given back at shutdown"),
            RunUpdate::Block { reason, .. } => {
                self.violated("P3", format!("`{id}` was blocked: {reason}"));
            }
            _ => {}
        }
        self.on_events(turn, lane, &events_of(turn));
        for started in &turn.subworkflows {
            self.on_start(at, None, started, &Started::New);
        }
    }

    fn mark_edit(&mut self, turn: &TurnCommit) {
        for event in events_of(turn) {
            match event.kind {
                EventKind::RunPaused { .. } => self.mark("run paused by an edit"),
                EventKind::RunResumed { .. } => self.mark("run resumed by an edit"),
                EventKind::CancelRequested { .. } => self.mark("cancel lifted a pause"),
                EventKind::RunTerminated { .. } => self.mark("run terminated by an edit"),
                _ => {}
            }
        }
    }

    fn on_events(&mut self, turn: &TurnCommit, lane: Option<Lane>, events: &[Event]) {
        let has = |wanted: fn(&EventKind) -> bool| events.iter().any(|event| wanted(&event.kind));
        let signalled = has(|kind| matches!(kind, EventKind::SignalReceived { .. }));
        let fired = has(|kind| matches!(kind, EventKind::TimerFired { .. }));
        if signalled && fired {
            self.mark("signal and time limit in one turn");
        }
        if signalled && !has(|kind| matches!(kind, EventKind::SignalTaken { .. })) {
            self.mark("signal before its wait");
        }
        if has(|kind| matches!(kind, EventKind::OutcomeKept { .. })) {
            self.mark("outcome kept until the end of a pause");
        }
        if lane.is_some() && has(|kind| matches!(kind, EventKind::RunResumed { .. })) {
            self.mark("run resumed by its owner");
        }
        if lane.is_some() && has(|kind| matches!(kind, EventKind::CancelRequested { .. })) {
            self.mark("cancel reached a subworkflow");
        }
        if has(|kind| matches!(kind, EventKind::RecoveryStarted)) {
            self.mark("recovery recorded");
        }
        if has(|kind| matches!(kind, EventKind::AttemptFailed { .. })) {
            self.mark("retry recorded");
        }
        let spilled = Placement::Spilled;
        let is_spill = |event: &Event| matches!(&event.kind, EventKind::TaskScheduled { placement, .. } if *placement == spilled);
        if events.iter().any(is_spill) {
            self.mark("spilled");
        }
        if has(|kind| matches!(kind, EventKind::AttemptLost { .. })) {
            if turn
                .enqueue
                .iter()
                .any(|one| is_spilled(one) && one.attempt > 1)
            {
                self.mark("spilled attempt lost");
            }
            let is_queued = !turn.enqueue.is_empty();
            self.mark(if is_queued {
                "attempt in a queue lost"
            } else {
                "attempt lost"
            });
        }
    }
}

fn events_of(turn: &TurnCommit) -> Vec<Event> {
    let record = turn.turn.as_ref().map(|turn| turn.record.as_slice());
    let events = record.map(decode_record).unwrap_or(Ok(Vec::new()));
    events.unwrap_or_default()
}

fn is_spilled(attempt: &QueuedAttempt) -> bool {
    attempt.queue == QueueName::spilled()
}
