//! A run that is paused: what runs here ends, what arrives is kept, and nothing new starts.
//!
//! Invariants: nothing is told to the code until the pause is lifted. What arrives stays unread, and so in the inbox when
//! the ownership ends. What attempts come to is recorded, and decided on after the pause. A cancel lifts the pause, and
//! a terminate ends it.

use super::Live;
use super::inputs::signal_received;
use crate::backend::{Arrival, ArrivalKind};
use crate::clock::Timestamp;
use crate::engine::execution::Stuck;
use crate::engine::messages::{self, ControlContent};
use crate::history::{EventKind, OperationKey, Outcome};
use crate::sabotage::{self, Sabotage};

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
            self.ledger.hold_back(&operation);
        }
    }

    /// Records what an attempt came to, for when the run is resumed.
    pub(super) fn keep_outcome(
        &mut self,
        operation: OperationKey,
        attempt: u32,
        outcome: Outcome,
        now: Timestamp,
    ) {
        if self.attempt_of(&operation) == Some(attempt)
            && !sabotage::makes(Sabotage::DropKeptOutcomes)
        {
            self.push(
                now,
                EventKind::OutcomeKept {
                    operation,
                    attempt,
                    outcome,
                },
            );
        }
    }

    /// Decides on what attempts came to while the run was paused.
    pub(super) fn take_kept_outcomes(&mut self, now: Timestamp) {
        for (operation, (attempt, outcome)) in self.ledger.kept().clone() {
            self.take_outcome(operation, attempt, outcome, now);
        }
    }

    pub(super) fn take_while_paused(&mut self, arrival: Arrival, now: Timestamp) {
        if arrival.number <= self.read {
            return;
        }
        let control = (arrival.body.kind == ArrivalKind::Control)
            .then(|| messages::decode::<ControlContent>(&arrival.body.content));
        match control {
            None | Some(Ok(ControlContent::Pause { .. } | ControlContent::MoveTimer { .. })) => {
                self.kept.push(arrival);
            }
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
                for kept in std::mem::take(&mut self.kept) {
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
        self.take_kept_outcomes(now);
        for arrival in std::mem::take(&mut self.kept) {
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
