//! A run that is paused: what runs here ends, what arrives is kept, and nothing new starts.
//!
//! Invariants: nothing is told to the code until the pause is lifted. What arrives stays unread, and goes back to the
//! inbox with the ownership; outcomes of attempts that ended here go there as messages of the turn that gives it up.
//! A cancel lifts the pause, and a terminate ends it.

use super::Live;
use super::inputs::signal_received;
use crate::backend::{Arrival, ArrivalKind};
use crate::clock::Timestamp;
use crate::engine::execution::Stuck;
use crate::engine::messages::{self, ControlContent, OutcomeContent};
use crate::history::{EventKind, OperationKey, Outcome};
use crate::sabotage::{self, Sabotage};

/// Is what reached a paused run.
#[derive(Debug, Default)]
pub(super) struct Kept {
    arrivals: Vec<Arrival>,
    outcomes: Vec<(OperationKey, u32, Outcome)>,
}

impl Live {
    /// Tells whether the run is paused.
    pub(crate) fn is_paused(&self) -> bool {
        self.ledger.is_paused() && self.draft.ended.is_none()
    }

    /// Tells whether the run is paused and nothing of it happens here any more, so that it can be given up.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.is_paused() && self.is_idle()
    }

    /// Takes back what the turn would start; it starts when the pause is lifted.
    pub(super) fn start_nothing(&mut self) {
        if sabotage::makes(Sabotage::StartWhilePaused) {
            return;
        }
        for operation in std::mem::take(&mut self.draft.start) {
            self.handed_out.remove(&operation);
        }
    }

    pub(super) fn keep_outcome(&mut self, operation: OperationKey, attempt: u32, outcome: Outcome) {
        if !sabotage::makes(Sabotage::DropKeptOutcomes) {
            self.kept.outcomes.push((operation, attempt, outcome));
        }
    }

    /// Sends the outcomes that were kept to the run's own inbox, where its next owner finds them.
    pub(crate) fn send_kept_outcomes(&mut self) {
        for (operation, attempt, outcome) in std::mem::take(&mut self.kept.outcomes) {
            let name = operation.to_string();
            let content = OutcomeContent {
                segment: self.segment,
                operation,
                attempt,
                outcome,
            };
            self.send(self.id.clone(), ArrivalKind::TaskOutcome, &name, &content);
        }
    }

    pub(super) fn take_while_paused(&mut self, arrival: Arrival, now: Timestamp) {
        if arrival.number <= self.read {
            return;
        }
        let control = (arrival.body.kind == ArrivalKind::Control)
            .then(|| messages::decode::<ControlContent>(&arrival.body.content));
        match control {
            None | Some(Ok(ControlContent::Pause { .. })) => self.kept.arrivals.push(arrival),
            Some(Ok(ControlContent::Resume { reason })) => {
                let at = now.max(arrival.accepted_at);
                self.deliver(at, EventKind::RunResumed { reason });
                self.go_on(now);
                self.note_read(&arrival);
            }
            Some(Ok(control @ ControlContent::Cancel { .. })) => {
                self.take_control(control, arrival.accepted_at, now);
                self.go_on(now);
                self.note_read(&arrival);
            }
            Some(Ok(control @ ControlContent::Terminate { .. })) => {
                for kept in std::mem::take(&mut self.kept.arrivals) {
                    if kept.body.kind == ArrivalKind::Signal {
                        self.push(now, signal_received(kept));
                    }
                }
                self.take_control(control, arrival.accepted_at, now);
                self.note_read(&arrival);
            }
            Some(Err(error)) => self.stuck = Some(Stuck(error)),
        }
    }

    fn note_read(&mut self, arrival: &Arrival) {
        if self.stuck.is_none() {
            self.read = self.read.max(arrival.number);
            self.draft.drains = true;
        }
    }

    /// Takes in what was kept, in its order, and starts what was held back.
    fn go_on(&mut self, now: Timestamp) {
        for (operation, attempt, outcome) in std::mem::take(&mut self.kept.outcomes) {
            self.take_outcome(operation, attempt, outcome, now);
        }
        for arrival in std::mem::take(&mut self.kept.arrivals) {
            if self.stuck.is_some() {
                return;
            }
            if self.draft.ended.is_some() {
                self.read_past_the_end(&arrival);
            } else {
                self.take_arrival(arrival, now);
            }
        }
        if self.draft.ended.is_none() && self.stuck.is_none() {
            self.restart_attempts();
        }
    }
}
