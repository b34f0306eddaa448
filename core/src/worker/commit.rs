//! Handing turns to the backend and acting on its verdicts.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::{
    AcquiredRun, Error as BackendError, Kind, Lane as LaneId, QueuedAttempt,
    Result as BackendResult, RunUpdate, TurnCommit, Verdict,
};
use crate::engine::live::{Draft, Input};
use crate::history::{EventKind, StoredTurn, encode_record};
use crate::id::{Epoch, QueueName, TurnNumber, WorkflowId};
use crate::sabotage::{self, Sabotage};
use crate::status::Status;
use crate::worker::lane::{Answered, Lane};
use crate::worker::run::{Ending, Waiting};
use crate::worker::shared::Shared;

/// Is the most turns in one commit.
const TURNS_PER_COMMIT_MAX: usize = 1_024;

/// Is the longest pause before an unanswered commit is asked again.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Is a turn that was handed to the backend, with what it causes.
#[derive(Debug)]
pub(crate) struct Submitted {
    pub(crate) run: WorkflowId,
    pub(crate) epoch: Epoch,
    pub(crate) draft: Draft,
    pub(crate) update: RunUpdate,
    /// Whether the turn only seals the inbox of a run whose draft waits.
    pub(crate) seals: bool,
    /// The suspect that is taken up once the turn is committed.
    pub(crate) suspect: Option<Box<AcquiredRun>>,
}

impl Lane {
    /// Commits the turns that are ready, as long as a lane is free.
    pub(crate) fn submit(&mut self) {
        while let Some(lane) = self.free.last().copied() {
            let (turns, submitted) = self.ready_turns();
            if turns.is_empty() {
                return;
            }
            self.free.pop();
            self.send(lane, turns, submitted);
        }
    }

    fn send(&mut self, lane: u16, turns: Vec<TurnCommit>, submitted: Vec<Submitted>) {
        let shared = Arc::clone(&self.shared);
        let fence = shared.lane_of(lane);
        if sabotage::makes(Sabotage::AcknowledgeBeforeCommit) {
            let verdicts = vec![Verdict::Committed; turns.len()];
            drop(self.shared.spawn("commit", async move {
                drop(commit(&shared, fence, turns).await);
            }));
            return self.in_flight.push(Box::pin(async move {
                Answered {
                    lane,
                    submitted,
                    answer: Ok(verdicts),
                }
            }));
        }
        self.in_flight.push(Box::pin(async move {
            Answered {
                lane,
                submitted,
                answer: commit(&shared, fence, turns).await,
            }
        }));
    }

    fn ready_turns(&mut self) -> (Vec<TurnCommit>, Vec<Submitted>) {
        let mut turns = Vec::new();
        let mut submitted = Vec::new();
        if let Some((turn, sent)) = self.next_suspect() {
            turns.push(turn);
            submitted.push(sent);
        }
        while turns.len() < TURNS_PER_COMMIT_MAX
            && let Some(id) = self.dirty.pop_front()
        {
            if let Some((turn, sent)) = self.turn_of(&id) {
                turns.push(turn);
                submitted.push(sent);
            }
        }
        // These have no run here any more, so their verdicts, which come last, are not looked at.
        turns.append(&mut self.blocked);
        (turns, submitted)
    }

    fn turn_of(&mut self, id: &WorkflowId) -> Option<(TurnCommit, Submitted)> {
        let clock = self.clock();
        let draining = self.draining;
        let build = self.shared.serves.build.clone();
        let run = self.runs.get_mut(id)?;
        if !std::mem::take(&mut run.is_dirty) || run.is_waiting() {
            return None;
        }
        let seals = run.must_seal();
        if matches!(run.ending, Some(Ending::Refuse(_))) {
            run.live.drop_draft();
        }
        let update = if seals {
            RunUpdate::Drain {
                read: run.live.committed_read(),
                seal: true,
            }
        } else {
            run.update(run.live.draft(), draining, clock, &build)
        };
        if update == RunUpdate::Append && run.live.draft().is_empty() {
            // Whatever asked for a turn has passed, such as a park while something became due.
            run.ending = None;
            run.idle_since = None;
            self.touch(id);
            return None;
        }
        let write = run.live.write_id();
        let (turn, first_event) = (run.live.next_turn(), run.live.next_event());
        let draft = if seals {
            run.live.count_write();
            Draft::default()
        } else {
            run.live.hand_out_draft()
        };
        let stored = match stored_turn(turn, first_event, &draft) {
            Ok(stored) => stored,
            Err(error) => {
                tracing::error!(run = %id, %error, "turn cannot be stored");
                self.forget(id);
                return None;
            }
        };
        run.waiting = Waiting::Commit;
        run.idle_since = None;
        let commit = TurnCommit {
            run: id.clone(),
            segment: run.live.segment,
            epoch: run.live.epoch,
            write,
            turn: stored,
            update: update.clone(),
            data: draft.data.clone(),
            subworkflows: draft.subworkflows.clone(),
            enqueue: draft.enqueue.clone(),
            withdraw: draft.withdraw.clone(),
            outbox: draft.outbox.clone(),
        };
        let submitted = Submitted {
            run: id.clone(),
            epoch: run.live.epoch,
            draft,
            update,
            seals,
            suspect: None,
        };
        Some((commit, submitted))
    }

    /// Acts on the answer to a commit.
    pub(crate) fn on_answer(
        &mut self,
        submitted: Vec<Submitted>,
        answer: BackendResult<Vec<Verdict>>,
    ) {
        self.shared.vitals.refuse(refused(submitted.len(), &answer));
        match answer {
            Ok(verdicts) => {
                for (submitted, verdict) in submitted.into_iter().zip(verdicts) {
                    self.on_verdict(submitted, verdict);
                }
            }
            Err(error) => {
                // Another owns these runs, or will; or the next looks find them owned and not live.
                tracing::error!(%error, "commit refused; runs given up");
                for submitted in submitted {
                    self.tell_refused(&submitted);
                    self.forget(&submitted.run);
                }
                self.shared.nudge.notify_one();
            }
        }
    }

    fn on_verdict(&mut self, mut submitted: Submitted, verdict: Verdict) {
        if let Some(suspect) = submitted.suspect.take() {
            return self.on_suspect_recorded(&suspect, &verdict);
        }
        let is_mine = self
            .runs
            .get(&submitted.run)
            .is_some_and(|run| run.live.epoch == submitted.epoch);
        if !is_mine {
            return;
        }
        match verdict {
            Verdict::Committed => self.on_committed(submitted),
            Verdict::Unread => self.on_unread(submitted),
            Verdict::Lost => {
                tracing::warn!(run = %submitted.run, "ownership lost; turn dropped");
                self.tell_refused(&submitted);
                self.forget(&submitted.run);
            }
            Verdict::Refused(reason) => self.on_refused(&submitted, reason),
        }
    }

    fn on_committed(&mut self, submitted: Submitted) {
        self.cause(&submitted.draft);
        log_spilled(&submitted.run, &submitted.draft);
        self.warn_of_length(&submitted);
        self.note_recovered(&submitted.run);
        if submitted.update.gives_up() {
            return self.give_up(&submitted);
        }
        let id = submitted.run;
        if let Some(run) = self.runs.get_mut(&id) {
            run.waiting = Waiting::No;
            if submitted.seals {
                run.sealed = true;
            } else if let Some(read) = submitted.update.read() {
                run.live.note_committed(read);
            }
            run.release_and_stop(&submitted.draft);
        }
        self.start_attempts(&id, &submitted.draft.start);
        if let Some(run) = self.runs.get_mut(&id) {
            run.live.take_back(submitted.draft);
        }
        if self.shared.options.always_park && !submitted.seals {
            return self.replay_anew(&id, submitted.epoch);
        }
        self.give_queued(&id);
    }

    fn warn_of_length(&self, submitted: &Submitted) {
        let Some(run) = self.runs.get(&submitted.run) else {
            return;
        };
        let limit = self.shared.settings.limits.history_events_max;
        let events = run.live.next_event().0;
        if grows_long(events - submitted.draft.events.len() as u64, events, limit) {
            let id = &submitted.run;
            tracing::warn!(run = %id, events, limit, "the history nears its limit, past which the run fails");
        }
    }

    /// Lets go of a run whose ownership ended with the turn.
    fn give_up(&mut self, submitted: &Submitted) {
        self.forget(&submitted.run);
        self.tell_end(&submitted.run, &submitted.draft);
        if !submitted.update.needs_all_read() {
            self.shared.hub.nudge();
        }
    }

    /// Drops the future of a run that goes on, so that its next turn begins with a replay.
    fn replay_anew(&mut self, id: &WorkflowId, epoch: Epoch) {
        if let Some(run) = self.runs.get_mut(id) {
            run.waiting = Waiting::Reload;
            self.reload(id, epoch);
        }
    }

    /// Tells others in this process what the turn caused for them.
    fn cause(&self, draft: &Draft) {
        if !draft.outbox.is_empty() {
            self.shared.deliver.notify_one();
        }
        if !draft.subworkflows.is_empty() || !draft.enqueue.is_empty() {
            self.shared.hub.nudge();
        }
    }

    /// Tells who waits what a wrong engine would.
    fn tell_refused(&self, submitted: &Submitted) {
        if sabotage::makes(Sabotage::TellRefusedResults) {
            self.tell_end(&submitted.run, &submitted.draft);
        }
    }

    fn tell_end(&self, id: &WorkflowId, draft: &Draft) {
        let Some(status) = draft.ended else { return };
        let outcome = match draft.events.last().map(|event| &event.kind) {
            Some(EventKind::RunCompleted { result }) => Ok(result.clone()),
            Some(other) => Err(crate::client::end_error(id, other)),
            None => return,
        };
        log_end(id, status);
        self.shared.hub.ended(id, outcome);
    }

    fn on_unread(&mut self, submitted: Submitted) {
        let id = submitted.run;
        let epoch = submitted.epoch;
        let Some(run) = self.runs.get_mut(&id) else {
            return;
        };
        run.refusals += 1;
        run.ending = None;
        if submitted.draft.events.is_empty() || sabotage::makes(Sabotage::KeepUndoneFutures) {
            run.waiting = Waiting::No;
            self.wants_reading(&id);
            return self.give_queued(&id);
        }
        tracing::debug!(run = %id, "turn undone: something arrived that it had not read");
        undo(run, submitted.draft);
        self.reload(&id, epoch);
    }

    fn on_refused(&mut self, submitted: &Submitted, reason: String) {
        tracing::error!(run = %submitted.run, reason, "the store refused a turn");
        if let Some(run) = self.runs.get_mut(&submitted.run) {
            run.waiting = Waiting::No;
            run.ending = Some(Ending::Refuse(reason));
        }
        self.touch(&submitted.run);
    }
}

/// Puts what an undone turn had taken in before what came since; arrivals come again from the inbox.
fn undo(run: &mut crate::worker::run::Run, draft: Draft) {
    run.waiting = Waiting::Reload;
    let again = draft
        .inputs
        .into_iter()
        .filter(|input| !matches!(input, Input::Arrival(_)));
    for input in again.rev() {
        run.queued.push_front(input);
    }
    run.queued
        .retain(|input| !matches!(input, Input::Arrival(_)));
    run.seen = run.live.committed_read();
}

fn stored_turn(
    turn: TurnNumber,
    first_event: crate::id::EventNumber,
    draft: &Draft,
) -> crate::error::Result<Option<StoredTurn>> {
    if draft.events.is_empty() {
        return Ok(None);
    }
    Ok(Some(StoredTurn {
        turn,
        first_event,
        record: encode_record(&draft.events)?,
    }))
}

/// Tells how much work of a run its owner gave away.
fn log_spilled(id: &WorkflowId, draft: &Draft) {
    if draft.enqueue.is_empty() {
        return;
    }
    let spilled = QueueName::spilled();
    let is_spilled = |attempt: &&QueuedAttempt| attempt.queue == spilled;
    let attempts = draft.enqueue.iter().filter(is_spilled).count();
    if attempts > 0 {
        tracing::debug!(run = %id, attempts, "attempts spilled");
    }
}

/// Tells whether a turn took the history past four fifths of its limit: true for one turn of a run at most.
const fn grows_long(before: u64, after: u64, limit: u64) -> bool {
    let long = limit - limit / 5;
    before <= long && long < after
}

fn log_end(id: &WorkflowId, status: Status) {
    tracing::info!(run = %id, %status, "run ended");
}

/// Counts the turns of a commit that the store refused, as their runs were not this worker's any more.
pub(crate) fn refused(turns: usize, answer: &BackendResult<Vec<Verdict>>) -> usize {
    match answer {
        Ok(verdicts) => {
            let lost = verdicts.iter().filter(|verdict| **verdict == Verdict::Lost);
            lost.count()
        }
        Err(error) if error.kind() == Kind::WorkerDead => turns,
        Err(_) => 0,
    }
}

/// Asks the same until it is answered, or until the worker is another one and has forgotten what it asked: an unclear
/// answer is never taken for a refusal.
async fn commit(
    shared: &Shared,
    lane: LaneId,
    turns: Vec<TurnCommit>,
) -> BackendResult<Vec<Verdict>> {
    let mut pause = Duration::from_millis(5);
    loop {
        match shared.heard(shared.backend.commit(lane, turns.clone()).await) {
            Err(error)
                if error.should_ask_again()
                    && shared.is_still(lane.worker)
                    && !gives_up(&error) =>
            {
                shared.environment.sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            answer => return answer,
        }
    }
}

/// Tells whether a wrong engine would take the error for a refusal.
fn gives_up(error: &BackendError) -> bool {
    sabotage::makes(Sabotage::TakeUnclearForRefused) && error.kind() == Kind::Unclear
}

#[cfg(test)]
mod tests {
    use super::grows_long;

    #[test]
    fn history_is_called_long_by_one_turn_alone_and_before_its_limit() {
        for limit in [0, 1, 4, 5, 60, 50_000] {
            for turn in [1, 3, 7, 1_000] {
                let turns = (0..=limit / turn).map(|number| number * turn);
                let long: Vec<_> = turns
                    .filter(|before| grows_long(*before, before + turn, limit))
                    .collect();
                let [before] = long[..] else {
                    panic!("{turn} events a turn, limit {limit}: {long:?}");
                };
                assert!(
                    before <= limit && before + turn > limit / 2,
                    "{before} of {limit}"
                );
            }
        }
    }
}
