//! The one place where an owned run changes.
//!
//! Invariants: every check comes before the first change, so a turn is applied whole or not at all. What was committed
//! is recognised before anything else is looked at. A turn's effects on others are new rows and messages, never changes
//! of what another run owns.

use longhaul_core::backend::{
    ArrivalBody, ArrivalKind, Message, QueuedAttempt, RunUpdate, StartRun, Started, TurnCommit,
    Verdict,
};
use longhaul_core::clock::{Timestamp, random_bytes_of_the_system};
use longhaul_core::id::{TurnNumber, Uuid, WorkerId, WorkflowId, WriteId};
use longhaul_core::status::Status;

use crate::halves;
use crate::store::{Queued, Run, Store};

impl Store {
    /// Commits a turn of a run that `owner` owns; without one, of an open run that nobody owns.
    pub(crate) fn commit(
        &mut self,
        owner: Option<WorkerId>,
        turn: TurnCommit,
        now: Timestamp,
    ) -> Verdict {
        let Some(run) = self.runs.get_mut(&turn.run) else {
            return Verdict::Lost;
        };
        if let Some(verdict) = run.verdict(owner, &turn) {
            return verdict;
        }
        run.writes.insert(turn.write);
        run.append(&turn);
        run.update(&turn.update, now);
        let is_finished = run.record.status.is_terminal();
        for start in turn.subworkflows {
            self.start_subworkflow(&turn.run, start, now);
        }
        self.queued.retain(|Queued { attempt, .. }| {
            let is_unwanted = is_finished || turn.withdraw.contains(&attempt.operation);
            attempt.run != turn.run || attempt.segment != turn.segment || !is_unwanted
        });
        for attempt in turn.enqueue {
            self.enqueue(attempt, now);
        }
        self.outbox.extend(turn.outbox);
        Verdict::Committed
    }

    /// Starts a subworkflow, or tells its parent that the id belongs to another run.
    fn start_subworkflow(&mut self, parent: &WorkflowId, start: StartRun, now: Timestamp) {
        let wanted = start.clone();
        let Started::Exists(there) = self.start(None, start, now) else {
            return;
        };
        let is_the_same = there.identity.parent == wanted.identity.parent
            && there.parent_operation == wanted.parent_operation
            && there.identity.workflow_type == wanted.identity.workflow_type
            && there.fingerprint == wanted.fingerprint;
        if is_the_same {
            return;
        }
        let operation = wanted
            .parent_operation
            .map(|operation| operation.to_string());
        let [write, _] = halves(random_bytes_of_the_system());
        self.outbox.push(Message {
            to: parent.clone(),
            write: WriteId(Uuid::from_random_bytes(write)),
            body: ArrivalBody {
                kind: ArrivalKind::SubworkflowClosed,
                name: operation.unwrap_or_default(),
                content: Vec::new(),
            },
        });
    }

    fn enqueue(&mut self, attempt: QueuedAttempt, now: Timestamp) {
        let is_it = |queued: &Queued| {
            let there = &queued.attempt;
            there.run == attempt.run
                && there.segment == attempt.segment
                && there.operation == attempt.operation
                && there.attempt == attempt.attempt
        };
        if !self.queued.iter().any(is_it) {
            self.queued.push(Queued {
                due: attempt.due.unwrap_or(now),
                claimed_by: None,
                attempt,
            });
        }
    }
}

impl Run {
    /// Returns the answer to a turn that is not to be applied.
    fn verdict(&self, owner: Option<WorkerId>, turn: &TurnCommit) -> Option<Verdict> {
        if self.writes.contains(&turn.write) {
            return Some(Verdict::Committed);
        }
        let is_open = !self.record.status.is_terminal();
        let is_owner = is_open && self.record.owner == owner && self.record.epoch == turn.epoch;
        let is_next = turn
            .turn
            .as_ref()
            .is_none_or(|turn| turn.turn == next_turn(self));
        if !is_owner || !is_next || self.record.segment != turn.segment {
            return Some(Verdict::Lost);
        }
        let read = turn.update.read().unwrap_or(self.record.read);
        let is_unread = turn.update.needs_all_read() && self.record.arrivals > read;
        is_unread.then_some(Verdict::Unread)
    }

    fn append(&mut self, turn: &TurnCommit) {
        if let Some(turn) = &turn.turn {
            self.turns.push(turn.clone());
            self.has_progress = true;
        }
        for (key, value) in &turn.data {
            match value {
                Some(value) => self.data.insert(key.clone(), value.clone()),
                None => self.data.remove(key),
            };
        }
    }

    /// Writes the run row; [`RunUpdate::Append`] leaves it as it is.
    fn update(&mut self, update: &RunUpdate, now: Timestamp) {
        let Some(read) = update.read() else {
            return;
        };
        self.record.read = self.record.read.max(read);
        self.record.updated_at = now;
        match update {
            RunUpdate::Append => {}
            RunUpdate::Drain { seal, .. } => {
                self.is_sealed |= seal;
                self.record.wake_at = self.record.wake_at.filter(|_| self.has_unread());
            }
            RunUpdate::Park { wake_at, .. } => self.give_up(Status::Waiting, *wake_at),
            RunUpdate::Release { .. } => self.give_up(Status::Waiting, Some(now)),
            RunUpdate::Block { reason, build, .. } => {
                self.give_up(Status::Blocked, Some(now));
                self.record.blocked = Some((reason.clone(), build.clone()));
            }
            RunUpdate::Pause { .. } => self.give_up(Status::Paused, None),
            RunUpdate::End { status, .. } => self.give_up(*status, None),
        }
    }

    fn give_up(&mut self, status: Status, wake_at: Option<Timestamp>) {
        self.record.status = status;
        self.record.wake_at = wake_at;
        self.record.blocked = None;
        // Who edits a run has not seen what its owners lost.
        if self.record.owner.take().is_some() {
            self.record.lost = 0;
        }
        self.is_sealed = false;
        self.has_progress = false;
    }
}

fn next_turn(run: &Run) -> TurnNumber {
    run.turns
        .last()
        .map_or(TurnNumber(0), |last| last.turn.next())
}
