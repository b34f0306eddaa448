//! From what arrived to events.
//!
//! Invariant: an outcome is taken for the attempt that is open and no other; an arrival is taken once.

use super::{Live, Refusal};
use crate::backend::{Arrival, ArrivalBody, ArrivalKind};
use crate::clock::Timestamp;
use crate::engine::execution::Stuck;
use crate::engine::ledger::Open;
use crate::engine::messages::{self, ClosedContent, ControlContent, OutcomeContent};
use crate::engine::outside::terminated;
use crate::error::{Error, ErrorKind, Result};
use crate::history::{EventKind, OperationKey, Outcome};
use crate::id::SignalName;
use crate::payload::Payload;
use crate::sabotage::{self, Sabotage};
use crate::status::Status;

impl Live {
    pub(super) fn take_arrival(&mut self, arrival: Arrival, now: Timestamp) {
        if arrival.number <= self.read {
            return;
        }
        let number = arrival.number;
        match self.take_body(arrival, now) {
            Ok(()) => {
                self.read = number;
                self.draft.drains = true;
            }
            Err(error) => self.stuck = Some(Stuck(error)),
        }
    }

    /// Reads what arrived before the turn in which the code ends, and that no order of events could give to the code.
    /// A signal is still part of the history, before its last event.
    pub(super) fn read_past_the_end(&mut self, arrival: &Arrival) {
        let Some(last) = self.draft.events.pop() else {
            return;
        };
        self.read = arrival.number;
        self.draft.drains = true;
        if arrival.body.kind == ArrivalKind::Signal {
            self.push(last.at, signal_received(arrival.clone()));
        }
        self.draft.events.push(last);
    }

    pub(super) fn take_body(&mut self, arrival: Arrival, now: Timestamp) -> Result<()> {
        if arrival.body.kind == ArrivalKind::Signal {
            if !self.drops_early_signal(&arrival.body.name) {
                self.deliver(now, signal_received(arrival));
            }
            return Ok(());
        }
        let accepted_at = arrival.accepted_at;
        let ArrivalBody {
            kind,
            name,
            content,
        } = arrival.body;
        match kind {
            ArrivalKind::Signal => {}
            ArrivalKind::TaskOutcome => {
                let ended: OutcomeContent = messages::decode(&content)?;
                if ended.segment == self.segment {
                    self.take_outcome(ended.operation, ended.attempt, ended.outcome, now);
                }
            }
            ArrivalKind::AttemptLost => self.take_lost(&name, &content, now),
            ArrivalKind::SubworkflowClosed if content.is_empty() => {
                self.take_refused_subworkflow(&name, now);
            }
            ArrivalKind::SubworkflowClosed => {
                let closed: ClosedContent = messages::decode(&content)?;
                let is_open = self.ledger.get(&closed.operation).is_some();
                if closed.segment == self.segment && is_open {
                    self.deliver(
                        now,
                        EventKind::SubworkflowClosed {
                            operation: closed.operation,
                            outcome: closed.outcome,
                        },
                    );
                }
            }
            ArrivalKind::Control => {
                self.take_control(messages::decode(&content)?, accepted_at, now);
            }
        }
        Ok(())
    }

    /// Tells whether a wrong engine would drop the signal, as nothing waits for it yet.
    fn drops_early_signal(&self, name: &str) -> bool {
        let waits = |(operation, open): (&OperationKey, &Open)| {
            matches!(open, Open::Receive) && &*operation.name == name
        };
        sabotage::makes(Sabotage::DropEarlySignals) && !self.ledger.open().any(waits)
    }

    pub(super) fn take_lost(&mut self, name: &str, content: &[u8], now: Timestamp) {
        let Ok(attempt) = <[u8; 4]>::try_from(content).map(u32::from_be_bytes) else {
            return;
        };
        let Some(operation) = self.open_operation(name) else {
            return;
        };
        if self.attempt_of(&operation) != Some(attempt) {
            return;
        }
        self.push(
            now,
            EventKind::AttemptLost {
                operation: operation.clone(),
                attempt,
            },
        );
        match self.check_lost(&operation) {
            Ok(()) => self.place(&operation),
            Err(Refusal::Blocked(error)) => self.stuck = Some(Stuck(error)),
        }
    }

    pub(super) fn take_refused_subworkflow(&mut self, name: &str, now: Timestamp) {
        let Some(operation) = self.open_operation(name) else {
            return;
        };
        let Some(Open::Subworkflow(child, _)) = self.ledger.get(&operation) else {
            return;
        };
        let error = Error::new(
            ErrorKind::AlreadyExists,
            format!("subworkflow `{child}` was not started: another run has this id"),
        );
        let outcome = Err(error);
        self.deliver(now, EventKind::SubworkflowClosed { operation, outcome });
    }

    /// Finds the open operation that prints so. Many thousands may be open, and few end in the same number.
    pub(super) fn open_operation(&self, name: &str) -> Option<OperationKey> {
        let (_, nth) = name.rsplit_once('#')?;
        let nth: u32 = nth.parse().ok()?;
        self.ledger
            .open()
            .map(|(operation, _)| operation)
            .filter(|operation| operation.nth == nth)
            .find(|operation| operation.to_string() == name)
            .cloned()
    }

    pub(super) fn take_control(
        &mut self,
        control: ControlContent,
        accepted_at: Timestamp,
        now: Timestamp,
    ) {
        match control {
            ControlContent::Pause { reason, timers } => {
                // One that was asked for before the run was resumed is over.
                if self
                    .ledger
                    .resumed_at()
                    .is_none_or(|resumed| resumed < accepted_at)
                {
                    self.push(now, EventKind::RunPaused { reason, timers });
                    self.start_nothing();
                }
            }
            ControlContent::Resume { .. } => {}
            ControlContent::MoveTimer {
                operation,
                to,
                reason,
            } => {
                let mut timers = self.ledger.timers();
                let due = timers.find(|(open, _)| **open == operation);
                // It may have ended on the way.
                if let Some(due) = due.map(|(_, due)| to.due(due, now)) {
                    drop(timers);
                    self.push(
                        now,
                        EventKind::TimerMoved {
                            operation,
                            due,
                            reason,
                        },
                    );
                    self.take_due(now);
                }
            }
            ControlContent::Cancel { .. } if self.ledger.is_cancelled() => {}
            ControlContent::Cancel { reason } => {
                for operation in self.ledger.unsheltered() {
                    self.drop_operation(&operation, "its parent was cancelled");
                }
                self.deliver(now, EventKind::CancelRequested { reason });
            }
            ControlContent::Terminate { reason } => {
                self.close_subworkflows();
                self.withdraw_all();
                let outcome = terminated(&reason);
                self.push(now, EventKind::RunTerminated { reason });
                self.end(Status::Terminated, &outcome);
            }
        }
    }

    pub(super) fn take_outcome(
        &mut self,
        operation: OperationKey,
        attempt: u32,
        outcome: Outcome,
        now: Timestamp,
    ) {
        let is_again = sabotage::makes(Sabotage::AcceptOutcomesTwice);
        if self.attempt_of(&operation) != Some(attempt) && !is_again {
            return;
        }
        let error = match outcome {
            Ok(result) => {
                let completed = EventKind::TaskCompleted {
                    operation,
                    attempt,
                    result,
                };
                return self.deliver(now, completed);
            }
            Err(error) => error,
        };
        let delay = self.ledger.task(&operation).and_then(|task| {
            let spared = u32::from(sabotage::makes(Sabotage::RetryOnceMore));
            task.options
                .retry
                .next_delay(task.failed + 1 - spared, &error)
        });
        let Some(delay) = delay else {
            let failed = EventKind::TaskFailed {
                operation,
                attempt,
                error,
            };
            return self.deliver(now, failed);
        };
        let retry_at = self.stamp(now).after(delay);
        self.push(
            now,
            EventKind::AttemptFailed {
                operation: operation.clone(),
                attempt,
                error,
                retry_at,
            },
        );
        self.place_if_queued(&operation);
    }

    pub(super) fn take_starting(&mut self, operation: OperationKey, attempt: u32, now: Timestamp) {
        if self.attempt_of(&operation) == Some(attempt) {
            self.draft.release.push(operation.clone());
            self.push(now, EventKind::AttemptStarted { operation, attempt });
        }
    }

    pub(super) fn take_abandoned(&mut self, operation: OperationKey, attempt: u32, now: Timestamp) {
        self.handed_out.remove(&operation);
        self.draft.start.retain(|waiting| *waiting != operation);
        if self.attempt_of(&operation) == Some(attempt) {
            self.push(now, EventKind::AttemptLost { operation, attempt });
        }
    }

    pub(super) fn take_due(&mut self, now: Timestamp) {
        while let Some((due, operation)) = self.ledger.first_due().cloned() {
            if due > now || self.is_paused() || self.draft.ended.is_some() || self.stuck.is_some() {
                return;
            }
            if self.ledger.task(&operation).is_some() {
                self.ledger.started(&operation);
                self.hand_out(operation);
            } else {
                self.deliver(now.max(due), EventKind::TimerFired { operation });
            }
        }
    }
}

pub(super) fn signal_received(arrival: Arrival) -> EventKind {
    EventKind::SignalReceived {
        signal: SignalName::from_stored(arrival.body.name),
        arrival: arrival.number,
        payload: Payload::from_bytes(arrival.body.content),
        accepted_at: arrival.accepted_at,
    }
}
