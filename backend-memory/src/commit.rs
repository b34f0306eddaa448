//! The one place where an owned run changes.

use longhaul_core::backend::{
    ArrivalBody, ArrivalKind, Message, RunUpdate, StartRun, Started, TurnCommit, Verdict,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::{WorkerId, WorkflowId, WriteId};
use longhaul_core::status::Status;

use crate::store::{Run, Store, Turn};
use crate::workers::new_write;

/// Tells whether a turn concerns anybody but the owner of its run: a warm step wakes nobody.
pub(crate) fn concerns_others(turn: &TurnCommit) -> bool {
    turn.update.gives_up()
        || !turn.subworkflows.is_empty()
        || !turn.enqueue.is_empty()
        || !turn.outbox.is_empty()
}

impl Store {
    pub(crate) fn commit(
        &mut self,
        worker: WorkerId,
        commit: TurnCommit,
        now: Timestamp,
    ) -> Verdict {
        let refused = match self.run(&commit.run) {
            Some(run) => judge(run, worker, &commit),
            None => Some(Verdict::Lost),
        };
        if let Some(verdict) = refused {
            return verdict;
        }
        let id = commit.run.clone();
        for operation in &commit.withdraw {
            for number in self.attempts_for(&id, commit.segment, operation) {
                self.remove_attempt(number);
            }
        }
        for attempt in commit.enqueue {
            self.enqueue(attempt, now);
        }
        for subworkflow in &commit.subworkflows {
            self.start_subworkflow(&id, subworkflow, now);
        }
        self.outbox.extend(commit.outbox);
        let has_ended = matches!(commit.update, RunUpdate::End { .. });
        self.change(&id, |run| {
            for (key, value) in commit.data {
                match value {
                    Some(value) => run.data.insert(key, value),
                    None => run.data.remove(&key),
                };
            }
            write_row(
                run,
                &commit.update,
                commit.write,
                commit.turn.is_none(),
                now,
            );
            run.turns.extend(commit.turn.map(|stored| Turn {
                stored,
                write: Some(commit.write),
            }));
            if commit.update.gives_up() {
                run.lost_turns = run.turns.len();
            }
        });
        if has_ended {
            self.forget_attempts(&id);
        }
        Verdict::Committed
    }

    /// Starts a subworkflow, or tells the run that its id is taken.
    fn start_subworkflow(&mut self, parent: &WorkflowId, start: &StartRun, now: Timestamp) {
        let Started::Exists(existing) = self.start(start, None, now) else {
            return;
        };
        let is_own = existing.identity.parent == start.identity.parent
            && existing.parent_operation == start.parent_operation
            && existing.fingerprint == start.fingerprint
            && existing.identity.workflow_type == start.identity.workflow_type;
        if is_own {
            return;
        }
        let operation = start.parent_operation.as_ref();
        self.outbox.push_back(Message {
            to: parent.clone(),
            write: new_write(),
            body: ArrivalBody {
                kind: ArrivalKind::SubworkflowClosed,
                name: operation.map(ToString::to_string).unwrap_or_default(),
                content: Vec::new(),
            },
        });
    }

    fn forget_attempts(&mut self, run: &WorkflowId) {
        let numbers = self.attempts_of.get(run).cloned().unwrap_or_default();
        for number in numbers {
            self.remove_attempt(number);
        }
    }
}

/// Says why a turn is not applied; none when it is.
fn judge(run: &Run, worker: WorkerId, commit: &TurnCommit) -> Option<Verdict> {
    if is_repeated(run, commit) {
        return Some(Verdict::Committed);
    }
    let is_owned = run.record.owner == Some(worker)
        && run.record.epoch == commit.epoch
        && run.record.segment == commit.segment;
    let follows = commit
        .turn
        .as_ref()
        .is_none_or(|turn| turn.turn.0 == run.turns.len() as u64);
    if !is_owned || !follows {
        return Some(Verdict::Lost);
    }
    let is_unread = commit
        .update
        .read()
        .is_some_and(|read| run.record.arrivals > read);
    (is_unread && commit.update.needs_all_read()).then_some(Verdict::Unread)
}

/// Tells whether this very write was committed before.
fn is_repeated(run: &Run, commit: &TurnCommit) -> bool {
    let Some(turn) = &commit.turn else {
        return run.last_write == Some(commit.write);
    };
    if run.record.segment != commit.segment {
        return false;
    }
    usize::try_from(turn.turn.0)
        .ok()
        .and_then(|number| run.turns.get(number))
        .is_some_and(|stored| stored.write == Some(commit.write))
}

fn write_row(
    run: &mut Run,
    update: &RunUpdate,
    write: WriteId,
    is_without_turn: bool,
    now: Timestamp,
) {
    let Some(read) = update.read() else { return };
    let record = &mut run.record;
    record.read = record.read.max(read);
    record.lost = 0;
    record.updated_at = now;
    if is_without_turn {
        run.last_write = Some(write);
    }
    if let RunUpdate::Drain { seal, .. } = update {
        run.is_sealed |= *seal;
        if record.arrivals <= record.read {
            record.wake_at = None;
        }
        return;
    }
    record.owner = None;
    record.lost = 0;
    record.blocked = None;
    run.is_sealed = false;
    match update {
        RunUpdate::Append | RunUpdate::Drain { .. } => {}
        RunUpdate::Park { wake_at, .. } => {
            record.status = Status::Waiting;
            record.wake_at = *wake_at;
        }
        RunUpdate::Release { .. } => {
            record.status = Status::Waiting;
            record.wake_at = Some(now);
        }
        RunUpdate::Block { reason, build, .. } => {
            record.status = Status::Blocked;
            record.wake_at = Some(now);
            record.blocked = Some((reason.clone(), build.clone()));
        }
        RunUpdate::End { status, .. } => {
            record.status = *status;
            record.wake_at = None;
            run.inbox.clear();
        }
    }
}
