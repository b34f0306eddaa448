//! The loop that owns the live runs of a worker: takes inputs in, gathers turns, commits them together.
//!
//! Invariants: one commit is in flight; a run has at most one turn in it, and what arrives for the run meanwhile waits.
//! Nothing that a turn causes happens before its commit is acknowledged, except the first task of a new run under the
//! conditions in `Lane::may_start_early`. A commit that was not answered is asked again as it was until it is answered
//! or the worker is dead.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::{poll_fn, ready};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::backend::{
    AcquiredRun, Arrival, Result as BackendResult, RunRecord, RunUpdate, TurnCommit, Verdict,
};
use crate::clock::{BoxFuture, Timestamp};
use crate::engine::execution::{ForeignWake, not_durable};
use crate::engine::live::{Input, Live, Refusal, Room, TakeUp};
use crate::error::Error;
use crate::history::{Event, Outcome};
use crate::id::{Epoch, WorkflowId};
use crate::map::Map;
use crate::sabotage::{self, Sabotage};
use crate::worker::ask_again;
use crate::worker::commit::{Submitted, refused};
use crate::worker::gathered::{Fresh, Place};
use crate::worker::run::{Ending, Run};
use crate::worker::shared::{COMMIT_LANES, Shared};
use crate::worker::suspects::Suspects;

/// Is the most inputs that are taken in before the next commit is made.
const INPUTS_PER_ROUND_MAX: usize = 4_096;

/// Is how long the first turn of a run may wait for the outcome of its first task.
const FIRST_TURN_HELD: Duration = Duration::from_millis(50);

/// Is something that reaches the lane.
#[derive(Debug)]
pub(crate) enum LaneInput {
    /// Runs that this worker started.
    Started(Vec<(RunRecord, Event)>),
    /// Runs that this worker acquired.
    Acquired(Vec<AcquiredRun>),
    /// An arrival for a run, or a hint that there is one.
    Arrived(WorkflowId, Option<Arrival>),
    /// Arrivals that were read from the backend.
    Read(Vec<(WorkflowId, Vec<Arrival>)>),
    /// A run that was read anew after its last turn was undone; none when the worker does not own it any more.
    Reloaded(WorkflowId, Epoch, Box<Option<AcquiredRun>>),
    /// The outcomes of attempts.
    Outcomes(Vec<(Place, Outcome)>),
    /// An attempt has its slot and waits for the record of its start.
    Starting(Place),
    /// A run cannot go on in this process.
    Unfit(WorkflowId, Epoch, Error),
    /// What the worker owns by the backend's account; what is not here is taken up.
    Owned(Vec<(WorkflowId, Epoch)>),
    /// Something that is not durable woke a run.
    ForeignWake(WorkflowId, Epoch),
    /// Due runs wait for room.
    MakeRoom,
    /// Give everything up in order.
    Drain,
    /// Stop waiting for attempts.
    AbandonAttempts,
    /// The worker was declared dead: forget everything.
    Dead(tokio::sync::oneshot::Sender<()>),
}

pub(crate) struct Lane {
    pub(crate) shared: Arc<Shared>,
    pub(crate) runs: Map<WorkflowId, Run>,
    /// Runs that have a turn, in the order in which they came to it.
    pub(crate) dirty: VecDeque<WorkflowId>,
    pub(crate) in_flight: Vec<InFlight>,
    /// The lanes that have no commit in flight.
    pub(crate) free: Vec<u16>,
    inputs: mpsc::UnboundedReceiver<LaneInput>,
    deadlines: BTreeSet<(Duration, WorkflowId)>,
    to_read: BTreeMap<WorkflowId, crate::id::ArrivalNumber>,
    /// Turns that only block a run which could not be taken up.
    pub(crate) blocked: Vec<TurnCommit>,
    pub(crate) suspects: Suspects,
    /// Attempts that start when the round has ended.
    pub(crate) gathered: Vec<Fresh>,
    /// Outcomes of attempts that ended where they began, which no message brings.
    pub(crate) ended: Vec<(Place, Outcome)>,
    pub(crate) draining: bool,
}

/// Is a commit that was not answered yet.
pub(crate) type InFlight = BoxFuture<'static, Answered>;

/// Is the answer to a commit.
pub(crate) struct Answered {
    pub(crate) lane: u16,
    pub(crate) submitted: Vec<Submitted>,
    pub(crate) answer: BackendResult<Vec<Verdict>>,
}

impl Lane {
    pub(crate) fn new(shared: Arc<Shared>, inputs: mpsc::UnboundedReceiver<LaneInput>) -> Self {
        Self {
            shared,
            runs: Map::default(),
            dirty: VecDeque::new(),
            in_flight: Vec::new(),
            free: COMMIT_LANES.rev().collect(),
            inputs,
            deadlines: BTreeSet::new(),
            to_read: BTreeMap::new(),
            blocked: Vec::new(),
            suspects: Suspects::default(),
            gathered: Vec::new(),
            ended: Vec::new(),
            draining: false,
        }
    }

    /// Runs until the worker has drained, or its inputs are closed.
    pub(crate) async fn run(mut self) {
        loop {
            let deadline = self.until_deadline();
            let environment = Arc::clone(&self.shared.environment);
            tokio::select! {
                biased;
                answered = answered(&mut self.in_flight) => {
                    self.free.push(answered.lane);
                    self.on_answer(answered.submitted, answered.answer);
                }
                () = ready(()), if !self.ended.is_empty() => {
                    let ended = std::mem::take(&mut self.ended);
                    self.take_round(LaneInput::Outcomes(ended));
                }
                input = self.inputs.recv() => match input {
                    Some(input) => self.take_round(input),
                    None => return,
                },
                () = sleep_if(deadline, &*environment) => {}
            }
            self.on_deadlines();
            self.read_arrivals();
            self.submit();
            self.start_gathered();
            let is_done = self.runs.is_empty()
                && self.blocked.is_empty()
                && self.suspects.is_empty()
                && self.in_flight.is_empty();
            if self.draining && is_done {
                return;
            }
        }
    }

    fn take_round(&mut self, first: LaneInput) {
        self.take(first);
        for _ in 0..INPUTS_PER_ROUND_MAX {
            match self.inputs.try_recv() {
                Ok(input) => self.take(input),
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, input: LaneInput) {
        match input {
            LaneInput::Started(runs) => {
                for (record, first) in runs {
                    self.begin(&record, &first);
                }
            }
            LaneInput::Acquired(runs) => {
                for acquired in runs {
                    self.approach(acquired);
                }
            }
            LaneInput::Arrived(run, arrival) => self.on_arrival(run, arrival),
            LaneInput::Read(inboxes) => {
                for (run, arrivals) in inboxes {
                    for arrival in arrivals {
                        self.on_arrival(run.clone(), Some(arrival));
                    }
                }
            }
            LaneInput::Reloaded(run, epoch, acquired) => self.on_reloaded(&run, epoch, *acquired),
            LaneInput::Outcomes(outcomes) => {
                for (place, outcome) in outcomes {
                    self.on_outcome(place, outcome);
                }
            }
            LaneInput::Starting(place) => self.on_starting(place),
            LaneInput::Unfit(run, epoch, error) => self.block(&run, epoch, &error),
            LaneInput::ForeignWake(run, epoch) => self.block(&run, epoch, &not_durable().0),
            LaneInput::Owned(owned) => self.take_up_missing(owned),
            LaneInput::MakeRoom => self.make_room(),
            LaneInput::Drain => self.drain(),
            LaneInput::AbandonAttempts => self.abandon_attempts(),
            LaneInput::Dead(done) => {
                self.forget_all();
                let _ = done.send(());
            }
        }
    }

    // --- runs come ------------------------------------------------------------------------------------------------

    /// Tells whether a run that came is here already; then it takes no room of its own.
    pub(crate) fn is_here(&self, record: &RunRecord) -> bool {
        let is_here = self.runs.contains_key(&record.identity.workflow_id);
        if is_here {
            self.shared.vitals.live.fetch_sub(1, Ordering::SeqCst);
        }
        is_here
    }

    /// Takes up runs that the worker owns without knowing, as the answer that said so was lost.
    fn take_up_missing(&self, owned: Vec<(WorkflowId, Epoch)>) {
        for (id, epoch) in owned {
            if self.runs.contains_key(&id) {
                continue;
            }
            tracing::warn!(run = %id, "owned and not live; taken up again");
            let shared = Arc::clone(&self.shared);
            self.shared.spawn("reloader", async move {
                let worker = shared.worker();
                let acquired =
                    ask_again(&shared, || shared.backend.reload(worker, &id, epoch)).await;
                if let Some(Some(acquired)) = acquired {
                    shared.vitals.live.fetch_add(1, Ordering::SeqCst);
                    drop(shared.lane.send(LaneInput::Acquired(vec![acquired])));
                }
            });
        }
    }

    fn begin(&mut self, record: &RunRecord, first: &Event) {
        if self.is_here(record) {
            return;
        }
        let id = record.identity.workflow_id.clone();
        let Some(program) = self
            .shared
            .program(record.kind, record.identity.workflow_type.as_str())
        else {
            return self.refuse(record, &self.not_registered(record));
        };
        let how = TakeUp {
            settings: Arc::clone(&self.shared.settings),
            program: &program,
            foreign: self.foreign_wake(&id, record.epoch),
            first_write: self.shared.first_write(),
            room: self.room(),
        };
        match Live::begin(record, first, &how) {
            Ok(live) => {
                let mut run = Run::new(live, record.read);
                if self.may_start_early(&run) {
                    run.held_until = Some(self.now() + FIRST_TURN_HELD);
                    self.runs.insert(id.clone(), run);
                    self.start_attempts_early(&id);
                } else {
                    self.runs.insert(id.clone(), run);
                }
                self.touch(&id);
            }
            Err(Refusal::Blocked(error)) => self.refuse(record, &error),
        }
    }

    /// Tells whether a new run's first task may start before its turn is written. One that commits by itself may not:
    /// its outcome would stand for an operation that no history has.
    fn may_start_early(&self, run: &Run) -> bool {
        let task = run.live.draft().only_local_task();
        let task = task.and_then(|name| self.shared.registry.task(name.as_str()));
        !self.draining && task.is_some_and(|task| !task.is_transactional())
    }

    pub(crate) fn take_up(&mut self, acquired: &AcquiredRun) {
        let record = &acquired.run;
        if self.is_here(record) {
            return;
        }
        let id = record.identity.workflow_id.clone();
        let Some(program) = self
            .shared
            .program(record.kind, record.identity.workflow_type.as_str())
        else {
            return self.refuse(record, &self.not_registered(record));
        };
        let how = TakeUp {
            settings: Arc::clone(&self.shared.settings),
            program: &program,
            foreign: self.foreign_wake(&id, record.epoch),
            first_write: self.shared.first_write(),
            room: self.room(),
        };
        match Live::take_up(acquired, &how, self.clock(), None) {
            Ok(live) => {
                tracing::debug!(run = %id, epoch = %record.epoch, "run taken up");
                self.runs.insert(id.clone(), Run::new(live, record.read));
                self.touch(&id);
            }
            Err(Refusal::Blocked(error)) => self.refuse(record, &error),
        }
    }

    fn not_registered(&self, record: &RunRecord) -> Error {
        self.shared
            .registry
            .not_registered("workflow", record.identity.workflow_type.as_str())
    }

    fn foreign_wake(&self, id: &WorkflowId, epoch: Epoch) -> ForeignWake {
        let lane = self.shared.lane.clone();
        let id = id.clone();
        Arc::new(move || drop(lane.send(LaneInput::ForeignWake(id.clone(), epoch))))
    }

    fn on_reloaded(&mut self, id: &WorkflowId, epoch: Epoch, acquired: Option<AcquiredRun>) {
        let Some(run) = self.runs.get_mut(id).filter(|run| run.live.epoch == epoch) else {
            return;
        };
        let Some(acquired) = acquired else {
            return self.forget(id);
        };
        let record = &acquired.run;
        let Some(program) = self
            .shared
            .program(record.kind, record.identity.workflow_type.as_str())
        else {
            return;
        };
        let undone = run.attempts.keys().cloned().collect();
        let foreign = self.foreign_wake(id, epoch);
        let how = TakeUp {
            settings: Arc::clone(&self.shared.settings),
            program: &program,
            foreign,
            first_write: self.shared.first_write(),
            room: self.room(),
        };
        let now = self.clock();
        match Live::take_up(&acquired, &how, now, Some(undone)) {
            Ok(live) => {
                let Some(run) = self.runs.get_mut(id) else {
                    return;
                };
                run.replace(live, record.read, now);
                self.touch(id);
            }
            Err(Refusal::Blocked(error)) => self.block(id, epoch, &error),
        }
    }

    // --- inputs for runs ------------------------------------------------------------------------------------------

    fn on_arrival(&mut self, id: WorkflowId, arrival: Option<Arrival>) {
        let Some(run) = self.runs.get_mut(&id) else {
            return;
        };
        match arrival {
            Some(arrival) if arrival.number <= run.seen => {}
            Some(arrival) if arrival.number == run.seen.next() => {
                run.seen = arrival.number;
                self.give(&id, Input::Arrival(arrival));
            }
            Some(_) | None => {
                self.to_read.insert(id, run.seen);
            }
        }
    }

    fn on_starting(&mut self, place: Place) {
        let run = self.runs.get(&place.run);
        if run.is_some_and(|run| run.live.epoch == place.epoch) {
            let (operation, attempt) = (place.operation, place.attempt);
            self.give(&place.run, Input::Starting { operation, attempt });
        }
    }

    fn on_outcome(&mut self, place: Place, outcome: Outcome) {
        let Place {
            run: id,
            epoch,
            operation,
            attempt,
        } = place;
        let run = self.runs.get_mut(&id);
        let Some(run) = run.filter(|run| run.live.epoch == epoch) else {
            return;
        };
        if run.attempts.remove(&operation).is_some() {
            let input = Input::Outcome {
                operation,
                attempt,
                outcome,
            };
            if sabotage::makes(Sabotage::AcceptOutcomesTwice) {
                self.give(&id, input.clone());
            }
            self.give(&id, input);
        }
    }

    fn give(&mut self, id: &WorkflowId, input: Input) {
        let (now, room) = (self.clock(), self.room());
        if let Some(run) = self.runs.get_mut(id) {
            run.held_until = None;
            if run.is_waiting() {
                run.queued.push_back(input);
            } else {
                run.live.set_room(room);
                run.live.take(input, now);
                self.touch(id);
            }
        }
    }

    /// Gives a run what waited for its turn to be answered.
    pub(crate) fn give_queued(&mut self, id: &WorkflowId) {
        let (now, room) = (self.clock(), self.room());
        if let Some(run) = self.runs.get_mut(id) {
            run.live.set_room(room);
            while let Some(input) = run.queued.pop_front() {
                run.live.take(input, now);
            }
        }
        self.touch(id);
    }

    /// Notes that a run changed: it may have a turn to commit, attempts to start, and another deadline.
    pub(crate) fn touch(&mut self, id: &WorkflowId) {
        self.start_recorded_attempts(id);
        let (now, clock) = (self.now(), self.clock());
        let draining = self.draining;
        let park_after = self.shared.options.park_after;
        let Some(run) = self.runs.get_mut(id) else {
            return;
        };
        let (before, here) = (run.counted, run.live.handed_out());
        self.shared.load.change_local(before, here);
        run.counted = here;
        if let Some(before) = run.deadline.take() {
            self.deadlines.remove(&(before, id.clone()));
        }
        if run.is_waiting() {
            return;
        }
        if run.has_turn(draining, clock) {
            if run.held_until.is_none_or(|held| held <= now) {
                if !std::mem::replace(&mut run.is_dirty, true) {
                    self.dirty.push_back(id.clone());
                }
                return;
            }
        } else if !run.live.is_idle() {
            run.idle_since = None;
        } else if run.idle_since.is_none() {
            run.idle_since = Some(now);
        }
        let deadline = [
            run.held_until,
            run.idle_since.map(|since| since.saturating_add(park_after)),
            run.live.wake_at().map(|due| now + due.since(clock)),
        ];
        run.deadline = deadline.into_iter().flatten().min();
        if let Some(deadline) = run.deadline {
            self.deadlines.insert((deadline, id.clone()));
        }
    }

    // --- time -----------------------------------------------------------------------------------------------------

    pub(crate) fn now(&self) -> Duration {
        self.shared.environment.elapsed()
    }

    pub(crate) fn clock(&self) -> Timestamp {
        self.shared.backend.clock()
    }

    fn room(&self) -> Room {
        self.shared.load.room(self.shared.options.slots)
    }

    fn until_deadline(&self) -> Option<Duration> {
        let (deadline, _) = self.deadlines.first()?;
        Some(
            deadline
                .saturating_sub(self.now())
                .max(Duration::from_micros(100)),
        )
    }

    fn on_deadlines(&mut self) {
        let now = self.now();
        while let Some((deadline, id)) = self.deadlines.first().cloned() {
            if deadline > now {
                return;
            }
            self.deadlines.pop_first();
            self.on_deadline(&id, now);
        }
    }

    fn on_deadline(&mut self, id: &WorkflowId, now: Duration) {
        let (clock, room) = (self.clock(), self.room());
        let park_after = self.shared.options.park_after;
        let Some(run) = self.runs.get_mut(id) else {
            return;
        };
        run.deadline = None;
        if run.held_until.is_some_and(|held| held <= now) {
            run.held_until = None;
        } else if run.live.wake_at().is_some_and(|due| due <= clock) {
            run.live.set_room(room);
            run.live.take(Input::Due, clock);
        } else if run
            .idle_since
            .is_some_and(|since| since.saturating_add(park_after) <= now)
        {
            run.ending.get_or_insert(Ending::Park);
        }
        self.touch(id);
    }

    // --- runs go --------------------------------------------------------------------------------------------------

    /// Lists the runs that are here, in the order of their ids, so that equal inputs have equal effects.
    fn ids(&self) -> Vec<WorkflowId> {
        let mut ids: Vec<_> = self.runs.keys().cloned().collect();
        ids.sort();
        ids
    }

    fn make_room(&mut self) {
        let mut idle = self.ids();
        idle.retain(|id| {
            let run = self.runs.get(id);
            run.is_some_and(|run| run.idle_since.is_some() && !run.is_waiting())
        });
        for id in idle {
            if let Some(run) = self.runs.get_mut(&id) {
                run.ending.get_or_insert(Ending::Park);
            }
            self.touch(&id);
        }
    }

    fn drain(&mut self) {
        self.draining = true;
        let ids = self.ids();
        for id in ids {
            self.touch(&id);
        }
    }

    fn abandon_attempts(&mut self) {
        for id in self.ids() {
            let abandoned = self.runs.get_mut(&id).map(Run::abandon_attempts);
            for input in abandoned.into_iter().flatten() {
                self.give(&id, input);
            }
            self.touch(&id);
        }
    }

    fn block(&mut self, id: &WorkflowId, epoch: Epoch, error: &Error) {
        let Some(run) = self.runs.get_mut(id).filter(|run| run.live.epoch == epoch) else {
            return;
        };
        tracing::warn!(run = %id, reason = %error, "run blocked");
        run.block(format!("{error:#}"));
        self.touch(id);
    }

    /// Drops a run without writing anything; its attempts are stopped.
    pub(crate) fn forget(&mut self, id: &WorkflowId) {
        self.note_recovered(id);
        self.to_read.remove(id);
        if let Some(mut run) = self.runs.remove(id) {
            run.abort_attempts();
            self.shared.load.change_local(run.counted, 0);
            if let Some(deadline) = run.deadline {
                self.deadlines.remove(&(deadline, id.clone()));
            }
            self.shared.vitals.live.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn forget_all(&mut self) {
        for in_flight in std::mem::take(&mut self.in_flight) {
            self.count_refused(in_flight);
        }
        self.free = COMMIT_LANES.rev().collect();
        let ids = self.ids();
        for id in ids {
            self.forget(&id);
        }
        self.dirty.clear();
        self.ended.clear();
        self.to_read.clear();
        self.blocked.clear();
        self.suspects = Suspects::default();
        self.shared.vitals.live.store(0, Ordering::SeqCst);
    }

    /// Counts the stale writes of a commit whose runs are forgotten already.
    fn count_refused(&self, in_flight: InFlight) {
        let vitals = Arc::clone(&self.shared.vitals);
        drop(self.shared.spawn("last commit", async move {
            let answered = in_flight.await;
            vitals.refuse(refused(answered.submitted.len(), &answered.answer));
        }));
    }

    /// Asks for what arrived for a run since it last looked.
    pub(crate) fn wants_reading(&mut self, id: &WorkflowId) {
        if let Some(run) = self.runs.get(id) {
            self.to_read.insert(id.clone(), run.seen);
        }
    }

    /// Gives up a run that cannot be taken up.
    pub(crate) fn refuse(&mut self, record: &RunRecord, error: &Error) {
        let id = &record.identity.workflow_id;
        tracing::warn!(run = %id, reason = %error, "run blocked");
        self.shared.vitals.live.fetch_sub(1, Ordering::SeqCst);
        let turn = TurnCommit {
            run: id.clone(),
            segment: record.segment,
            epoch: record.epoch,
            write: crate::id::WriteId(self.shared.environment.uuid()),
            turn: None,
            update: RunUpdate::Block {
                read: record.read,
                reason: format!("{error:#}"),
                build: self.shared.serves.build.clone(),
            },
            data: Vec::new(),
            subworkflows: Vec::new(),
            enqueue: Vec::new(),
            withdraw: Vec::new(),
            outbox: Vec::new(),
        };
        self.blocked.push(turn);
    }

    // --- reading --------------------------------------------------------------------------------------------------

    fn read_arrivals(&mut self) {
        if self.to_read.is_empty() {
            return;
        }
        let wanted: Vec<_> = std::mem::take(&mut self.to_read).into_iter().collect();
        let shared = Arc::clone(&self.shared);
        self.shared.spawn("inbox reader", async move {
            let worker = shared.worker();
            if let Some(inboxes) =
                ask_again(&shared, || shared.backend.inbox(worker, wanted.clone())).await
            {
                drop(shared.lane.send(LaneInput::Read(inboxes)));
            }
        });
    }

    /// Reads a run anew whose last turn was undone.
    pub(crate) fn reload(&self, id: &WorkflowId, epoch: Epoch) {
        let shared = Arc::clone(&self.shared);
        let id = id.clone();
        self.shared.spawn("reloader", async move {
            let worker = shared.worker();
            if let Some(acquired) =
                ask_again(&shared, || shared.backend.reload(worker, &id, epoch)).await
            {
                drop(
                    shared
                        .lane
                        .send(LaneInput::Reloaded(id.clone(), epoch, Box::new(acquired))),
                );
            }
        });
    }
}

impl Drop for Lane {
    /// Lets no attempt outlive the worker, as none would a crash.
    fn drop(&mut self) {
        for run in self.runs.values_mut() {
            run.abort_attempts();
        }
    }
}

/// Waits for the first answer to one of the commits, which is in flight no longer then.
async fn answered(in_flight: &mut Vec<InFlight>) -> Answered {
    poll_fn(|context| {
        for (at, commit) in in_flight.iter_mut().enumerate() {
            if let Poll::Ready(answered) = commit.as_mut().poll(context) {
                drop(in_flight.remove(at));
                return Poll::Ready(answered);
            }
        }
        Poll::Pending
    })
    .await
}

async fn sleep_if(deadline: Option<Duration>, environment: &dyn crate::clock::Environment) {
    match deadline {
        Some(duration) => environment.sleep(duration).await,
        None => std::future::pending().await,
    }
}
