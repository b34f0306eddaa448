//! What a run is waiting for, folded from its events.
//!
//! Pure: the same events give the same ledger, live and at replay. It says what is open, what is due when, and which
//! attempt is next; it holds nothing of what is closed. After a cancel only what is sheltered is open: history does not
//! say which that is, so who folds a history anew asks the replayed code, and until then all of it counts as open. What
//! is due stays so while the run is paused; whoever asks what is due asks that too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::history::{Event, EventKind, OperationKey, Outcome, PausedTimers, Placement};
use crate::id::{TaskName, WorkflowId};
use crate::options::{ClosePolicy, TaskOptions};
use crate::payload::Payload;

/// Is an operation that was asked for and has not ended.
#[derive(Debug, Clone)]
pub(crate) enum Open {
    Task(Box<OpenTask>),
    Step(OpenStep),
    Timer,
    Receive,
    Subworkflow(WorkflowId, ClosePolicy),
    Pause,
}

/// Says since when a run is paused, and what becomes of its timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paused {
    at: Timestamp,
    timers: PausedTimers,
}

/// Is a step without outcome.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OpenStep {
    pub(crate) lost: u32,
    /// Whether the attempt that is due was recorded as started.
    pub(crate) is_started: bool,
}

/// Is an invocation without outcome.
#[derive(Debug, Clone)]
pub(crate) struct OpenTask {
    pub(crate) task: TaskName,
    pub(crate) arguments: Payload,
    pub(crate) options: Arc<TaskOptions>,
    pub(crate) placement: Placement,
    pub(crate) failed: u32,
    pub(crate) lost: u32,
    /// Whether the attempt that is due was recorded as started.
    pub(crate) is_started: bool,
    pub(crate) not_before: Option<Timestamp>,
}

impl OpenTask {
    /// Counts the attempt that runs or comes next, from 1.
    pub(crate) const fn attempt(&self) -> u32 {
        1 + self.failed + self.lost
    }
}

/// Holds what is open.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    open: BTreeMap<OperationKey, Open>,
    dues: BTreeSet<(Timestamp, OperationKey)>,
    due_of: BTreeMap<OperationKey, Timestamp>,
    at: Timestamp,
    events: u64,
    cancelled: bool,
    /// What outlives a cancel.
    sheltered: BTreeSet<OperationKey>,
    /// Whether it is not known yet what is sheltered.
    is_unsure: bool,
    paused: Option<Paused>,
    /// What attempts came to while the run was paused, until it is decided on.
    kept: BTreeMap<OperationKey, (u32, Outcome)>,
    resumed_at: Option<Timestamp>,
}

impl Ledger {
    /// Makes a ledger to fold a history into whose code was not replayed yet.
    pub(crate) fn unsure() -> Self {
        Self {
            is_unsure: true,
            ..Self::default()
        }
    }

    /// Takes note of what the code says outlives a cancel, and closes what does not if there was one.
    pub(crate) fn settle(&mut self, is_sheltered: impl Fn(&OperationKey) -> bool) {
        self.is_unsure = false;
        let sheltered = self.open.keys().filter(|operation| is_sheltered(operation));
        self.sheltered = sheltered.cloned().collect();
        if self.cancelled {
            self.close_unsheltered();
        }
    }

    /// Lets an operation that is about to be opened outlive a cancel.
    pub(crate) fn shelter(&mut self, operation: &OperationKey) {
        self.sheltered.insert(operation.clone());
    }

    /// Lists what is open and ends with a cancel.
    pub(crate) fn unsheltered(&self) -> Vec<OperationKey> {
        let open = self.open.keys();
        open.filter(|operation| !self.sheltered.contains(*operation))
            .cloned()
            .collect()
    }

    fn close_unsheltered(&mut self) {
        if !self.is_unsure {
            for operation in self.unsheltered() {
                self.close(&operation);
            }
        }
    }

    fn may_open(&self, operation: &OperationKey) -> bool {
        !self.cancelled || self.is_unsure || self.sheltered.contains(operation)
    }

    pub(crate) fn fold(&mut self, event: &Event) {
        self.at = event.at;
        self.events += 1;
        match &event.kind {
            EventKind::TaskScheduled {
                operation,
                task,
                arguments,
                options,
                placement,
            } => {
                let not_before = options.delay.map(|delay| event.at.after(delay));
                let task = OpenTask {
                    task: task.clone(),
                    arguments: arguments.clone(),
                    options: Arc::clone(options),
                    placement: placement.clone(),
                    failed: 0,
                    lost: 0,
                    is_started: false,
                    not_before,
                };
                self.set_local_due(operation, &task, not_before);
                self.insert(operation, Open::Task(Box::new(task)));
            }
            EventKind::AttemptFailed {
                operation,
                retry_at,
                ..
            } => self.next_attempt(operation, Some(*retry_at), |task| task.failed += 1),
            EventKind::AttemptStarted { operation, .. } => match self.open.get_mut(operation) {
                Some(Open::Task(task)) => task.is_started = true,
                Some(Open::Step(step)) => step.is_started = true,
                _ => {}
            },
            EventKind::AttemptLost { operation, .. } => {
                if let Some(Open::Step(step)) = self.open.get_mut(operation) {
                    step.lost += 1;
                    step.is_started = false;
                }
                self.next_attempt(operation, None, |task| task.lost += 1);
            }
            EventKind::StepStarted { operation } => {
                self.insert(operation, Open::Step(OpenStep::default()))
            }
            EventKind::TimerStarted { operation, due } => {
                self.set_due(operation, Some(*due));
                self.insert(operation, Open::Timer);
            }
            EventKind::SignalAwaited { operation, due } => {
                self.set_due(operation, *due);
                self.insert(operation, Open::Receive);
            }
            EventKind::SubworkflowStarted {
                operation,
                workflow_id,
                close_policy,
                ..
            } => {
                let child = Open::Subworkflow(workflow_id.clone(), *close_policy);
                self.insert(operation, child);
            }
            EventKind::TaskCompleted { operation, .. }
            | EventKind::TaskFailed { operation, .. }
            | EventKind::TimerFired { operation }
            | EventKind::SignalTaken { operation }
            | EventKind::SubworkflowClosed { operation, .. }
            | EventKind::OperationCancelled { operation } => self.close(operation),
            EventKind::RunPaused { timers, .. } => self.pause(*timers),
            EventKind::PauseStarted { operation, .. } => {
                self.insert(operation, Open::Pause);
                self.pause(PausedTimers::RunOn);
            }
            EventKind::RunResumed { .. } => self.resume(),
            EventKind::TimerMoved { operation, due, .. } => {
                if self.due_of.contains_key(operation) {
                    self.set_due(operation, Some(*due));
                }
            }
            EventKind::OutcomeKept {
                operation,
                attempt,
                outcome,
            } => {
                let kept = (*attempt, outcome.clone());
                self.kept.insert(operation.clone(), kept);
            }
            EventKind::CancelRequested { .. } => {
                self.cancelled = true;
                self.paused = None;
                self.close_unsheltered();
            }
            EventKind::RunStarted(_)
            | EventKind::RecoveryStarted
            | EventKind::Recovered
            | EventKind::SignalReceived { .. }
            | EventKind::DataSet { .. }
            | EventKind::ValueRecorded { .. }
            | EventKind::RunCompleted { .. }
            | EventKind::RunFailed { .. }
            | EventKind::RunCancelled { .. }
            | EventKind::RunTerminated { .. } => {}
        }
    }

    fn pause(&mut self, timers: PausedTimers) {
        self.paused = Some(Paused {
            at: self.at,
            timers,
        });
    }

    fn resume(&mut self) {
        if let Some(paused) = self.paused.take()
            && paused.timers == PausedTimers::StandStill
        {
            self.put_off(self.at.since(paused.at));
        }
        self.resumed_at = Some(self.at);
        let pauses = self
            .open
            .iter()
            .filter(|(_, open)| matches!(open, Open::Pause));
        for operation in pauses.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.close(&operation);
        }
    }

    /// Makes everything due later.
    fn put_off(&mut self, by: Duration) {
        let dues = std::mem::take(&mut self.dues);
        self.dues = dues
            .into_iter()
            .map(|(due, operation)| (due.after(by), operation))
            .collect();
        for due in self.due_of.values_mut() {
            *due = due.after(by);
        }
    }

    fn next_attempt(
        &mut self,
        operation: &OperationKey,
        not_before: Option<Timestamp>,
        count: impl FnOnce(&mut OpenTask),
    ) {
        self.kept.remove(operation);
        let Some(Open::Task(task)) = self.open.get_mut(operation) else {
            return;
        };
        count(task);
        task.is_started = false;
        task.not_before = not_before;
        let is_local = task.placement == Placement::Local;
        self.set_due(operation, not_before.filter(|_| is_local));
    }

    fn set_local_due(&mut self, operation: &OperationKey, task: &OpenTask, due: Option<Timestamp>) {
        if task.placement == Placement::Local {
            self.set_due(operation, due);
        }
    }

    fn set_due(&mut self, operation: &OperationKey, due: Option<Timestamp>) {
        if let Some(before) = self.due_of.remove(operation) {
            self.dues.remove(&(before, operation.clone()));
        }
        if let Some(due) = due.filter(|_| self.may_open(operation)) {
            self.due_of.insert(operation.clone(), due);
            self.dues.insert((due, operation.clone()));
        }
    }

    fn insert(&mut self, operation: &OperationKey, open: Open) {
        if self.may_open(operation) {
            self.open.insert(operation.clone(), open);
        }
    }

    fn close(&mut self, operation: &OperationKey) {
        self.open.remove(operation);
        self.sheltered.remove(operation);
        self.kept.remove(operation);
        self.set_due(operation, None);
    }

    /// Takes back that the attempt which was due has been started.
    pub(crate) fn hold_back(&mut self, operation: &OperationKey) {
        if let Some(Open::Task(task)) = self.open.get(operation) {
            let not_before = task.not_before;
            self.set_due(operation, not_before);
        }
    }

    /// Takes note that the attempt which was due has been started.
    pub(crate) fn started(&mut self, operation: &OperationKey) {
        self.set_due(operation, None);
    }

    pub(crate) fn open(&self) -> impl Iterator<Item = (&OperationKey, &Open)> {
        self.open.iter()
    }

    pub(crate) fn get(&self, operation: &OperationKey) -> Option<&Open> {
        self.open.get(operation)
    }

    pub(crate) fn task(&self, operation: &OperationKey) -> Option<&OpenTask> {
        match self.open.get(operation) {
            Some(Open::Task(task)) => Some(task),
            _ => None,
        }
    }

    /// Lists what waits for a time, other than attempts, and when it is due.
    pub(crate) fn timers(&self) -> impl Iterator<Item = (&OperationKey, Timestamp)> {
        let is_timer = |(operation, _): &(&OperationKey, &Timestamp)| {
            let open = self.open.get(*operation);
            matches!(open, Some(Open::Timer | Open::Receive))
        };
        let dues = self.due_of.iter().filter(is_timer);
        dues.map(|(operation, due)| (operation, *due))
    }

    /// Returns what attempts came to while the run was paused.
    pub(crate) const fn kept(&self) -> &BTreeMap<OperationKey, (u32, Outcome)> {
        &self.kept
    }

    /// Tells whether the run was cancelled.
    pub(crate) const fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// Tells whether the run is paused.
    pub(crate) const fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// Returns when the run was last resumed.
    pub(crate) const fn resumed_at(&self) -> Option<Timestamp> {
        self.resumed_at
    }

    /// Returns the first due time and its operation.
    pub(crate) fn first_due(&self) -> Option<&(Timestamp, OperationKey)> {
        self.dues.first()
    }

    /// Returns the time of the last event.
    pub(crate) const fn at(&self) -> Timestamp {
        self.at
    }

    /// Counts the events.
    pub(crate) const fn events(&self) -> u64 {
        self.events
    }
}
