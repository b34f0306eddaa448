//! One live run in its lane: the pure part, its attempts, and what waits for its turn.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::backend::RunUpdate;
use crate::clock::{Abort, Timestamp};
use crate::context::CancelFlag;
use crate::engine::live::{Draft, Input, Live};
use crate::history::OperationKey;
use crate::id::{ArrivalNumber, BuildId};
use crate::map::Map;
use crate::worker::gathered::Stop;

/// Is how far away the next due time must be for a run to be parked at once.
const PARK_AT_ONCE: Duration = Duration::from_secs(10);

/// Is the number of refused ends after which new arrivals are refused until the run has ended.
const REFUSALS_MAX: u32 = 3;

/// Says how the ownership of a run is to end, when its code does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Parked, as nothing happens.
    Park,
    /// Blocked for this build.
    Block(String),
    /// Blocked for this build, and nothing else is written, as the store refused what would be.
    Refuse(String),
}

/// Says what the run is waiting for before it takes inputs again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Nothing.
    No,
    /// The answer to its turn.
    Commit,
    /// Being read anew.
    Reload,
}

/// Is an attempt that runs here.
pub(crate) struct Attempt {
    pub(crate) number: u32,
    pub(crate) stop: Stop,
    pub(crate) cancelled: CancelFlag,
}

impl Attempt {
    pub(crate) fn stop(&self) {
        self.cancelled.raise();
        self.stop.abort();
    }
}

/// Holds one live run.
pub(crate) struct Run {
    pub(crate) live: Live,
    pub(crate) waiting: Waiting,
    pub(crate) queued: VecDeque<Input>,
    pub(crate) attempts: Map<OperationKey, Attempt>,
    /// Opens when the start of an attempt was recorded.
    pub(crate) gates: BTreeMap<OperationKey, oneshot::Sender<()>>,
    /// Whether it waits in the lane's queue of runs that have a turn.
    pub(crate) is_dirty: bool,
    pub(crate) deadline: Option<Duration>,
    pub(crate) held_until: Option<Duration>,
    pub(crate) idle_since: Option<Duration>,
    pub(crate) ending: Option<Ending>,
    /// The newest arrival that was taken in or waits in `queued`.
    pub(crate) seen: ArrivalNumber,
    pub(crate) refusals: u32,
    pub(crate) sealed: bool,
    /// How many of its attempts the worker's load counts.
    pub(crate) counted: usize,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("live", &self.live)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

impl Run {
    pub(crate) fn new(live: Live, read: ArrivalNumber) -> Self {
        Self {
            seen: read.max(live.read()),
            live,
            waiting: Waiting::No,
            queued: VecDeque::new(),
            attempts: Map::default(),
            gates: BTreeMap::new(),
            is_dirty: false,
            deadline: None,
            held_until: None,
            idle_since: None,
            ending: None,
            refusals: 0,
            sealed: false,
            counted: 0,
        }
    }

    /// Tells whether inputs must wait.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting != Waiting::No
    }

    /// Tells whether there is something to commit.
    pub(crate) fn has_turn(&self, draining: bool, clock: Timestamp) -> bool {
        !self.live.draft().is_empty()
            || self.live.stuck().is_some()
            || self.ending.is_some()
            || self.must_seal()
            || self.live.is_at_rest()
            || (draining && self.attempts.is_empty())
            || self.parks_at_once(clock)
    }

    /// Tells whether new arrivals must be refused for the run to be able to end.
    pub(crate) fn must_seal(&self) -> bool {
        self.refusals >= REFUSALS_MAX && !self.sealed && self.live.draft().ended.is_some()
    }

    fn parks_at_once(&self, clock: Timestamp) -> bool {
        self.live.waits_for_timers_only()
            && self
                .live
                .wake_at()
                .is_some_and(|due| due.since(clock) > PARK_AT_ONCE)
    }

    /// Decides what becomes of the run row with the turn that is handed out now.
    pub(crate) fn update(
        &self,
        draft: &Draft,
        draining: bool,
        clock: Timestamp,
        build: &BuildId,
    ) -> RunUpdate {
        let read = self.live.read();
        if let Some(status) = draft.ended {
            return RunUpdate::End { read, status };
        }
        if let Some(reason) = self.block_reason() {
            let build = build.clone();
            return RunUpdate::Block {
                read,
                reason,
                build,
            };
        }
        if self.live.is_at_rest() {
            return RunUpdate::Pause { read };
        }
        let is_left_to_others = draining && self.live.has_unstarted_attempts();
        let is_quiet = self.live.is_idle() && draft.start.is_empty() && !is_left_to_others;
        let is_due_later = self.live.wake_at().is_none_or(|due| due > clock);
        if is_quiet && is_due_later && (self.parks(draining) || self.parks_at_once(clock)) {
            return RunUpdate::Park {
                read,
                wake_at: self.live.wake_at(),
            };
        }
        if draining && self.attempts.is_empty() {
            return RunUpdate::Release { read };
        }
        if draft.drains {
            return RunUpdate::Drain { read, seal: false };
        }
        RunUpdate::Append
    }

    fn parks(&self, draining: bool) -> bool {
        draining || self.ending == Some(Ending::Park)
    }

    fn block_reason(&self) -> Option<String> {
        if let Some(stuck) = self.live.stuck() {
            return Some(format!("{:#}", stuck.0));
        }
        match &self.ending {
            Some(Ending::Block(reason) | Ending::Refuse(reason)) => Some(reason.clone()),
            Some(Ending::Park) | None => None,
        }
    }

    /// Makes the run end its ownership as blocked.
    pub(crate) fn block(&mut self, reason: String) {
        self.ending = Some(Ending::Block(reason));
        self.held_until = None;
    }

    /// Puts a fresh replay in the place of the execution whose last turn was undone. What it had taken in is taken in
    /// again, behind the arrivals that it had not read.
    pub(crate) fn replace(&mut self, live: Live, read: ArrivalNumber, now: Timestamp) {
        self.seen = self.seen.max(read).max(live.read());
        self.live = live;
        self.waiting = Waiting::No;
        while let Some(input) = self.queued.pop_front() {
            self.live.take(input, now);
        }
    }

    /// Makes the gate that an attempt waits at until its start is recorded.
    pub(crate) fn gate(&mut self, operation: &OperationKey) -> oneshot::Receiver<()> {
        let (open, opened) = oneshot::channel();
        self.gates.insert(operation.clone(), open);
        opened
    }

    /// Lets attempts begin whose start was committed, and ends those that are no longer wanted.
    pub(crate) fn release_and_stop(&mut self, draft: &Draft) {
        for operation in &draft.release {
            if let Some(gate) = self.gates.remove(operation) {
                let _ = gate.send(());
            }
        }
        for operation in &draft.stop {
            if let Some(attempt) = self.attempts.remove(operation) {
                attempt.stop();
            }
        }
    }

    /// Stops the attempts, and returns what the run must be told of that.
    pub(crate) fn abandon_attempts(&mut self) -> Vec<Input> {
        let mut abandoned: Vec<_> = std::mem::take(&mut self.attempts).into_iter().collect();
        abandoned.sort_by(|(one, _), (other, _)| one.cmp(other));
        abandoned
            .into_iter()
            .map(|(operation, attempt)| {
                attempt.stop();
                Input::Abandoned {
                    operation,
                    attempt: attempt.number,
                }
            })
            .collect()
    }

    pub(crate) fn abort_attempts(&mut self) {
        for attempt in std::mem::take(&mut self.attempts).into_values() {
            attempt.stop();
        }
    }
}
