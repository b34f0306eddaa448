//! What becomes of a run and its attempts when their owners died.
//!
//! Invariants: an attempt that cannot have run is not counted as lost. A run that several workers lost in a row is a
//! suspect: it is replayed only after a record says so, and blocked when that went wrong too often. An ownership that
//! ended before the code could run counts for nothing.

use super::{Live, Refusal, read_history};
use crate::backend::AcquiredRun;
use crate::clock::Timestamp;
use crate::engine::ledger::Open;
use crate::error::{Error, ErrorKind};
use crate::history::{Event, EventKind, OperationKey, Placement, StoredTurn, encode_record};
use crate::id::{EventNumber, TurnNumber};
use crate::retry::{LOST_ATTEMPTS_MAX, RECOVERIES_MAX, SUSPECT_FROM_LOST, TRACED_FROM_LOST};
use crate::sabotage::{self, Sabotage};

impl Live {
    /// Notes the attempts that died with the owner before. One that was waiting for its time had not started.
    pub(super) fn give_up_lost_attempts(&mut self, now: Timestamp) -> Result<(), Refusal> {
        if sabotage::makes(Sabotage::ForgetLostAttempts) {
            return Ok(());
        }
        let lost: Vec<_> = self
            .ledger
            .open()
            .filter(|(_, open)| match open {
                Open::Task(task) => {
                    task.placement == Placement::Local
                        && task.not_before.is_none_or(|not_before| not_before <= now)
                        && may_have_started(task.lost, task.is_started)
                }
                Open::Step(step) => may_have_started(step.lost, step.is_started),
                _ => false,
            })
            .map(|(operation, _)| operation.clone())
            .filter(|operation| !self.handed_out.contains(operation))
            .filter(|operation| !self.ledger.kept().contains_key(operation))
            .collect();
        for operation in lost {
            if let Some(attempt) = self.attempt_of(&operation) {
                self.push(
                    now,
                    EventKind::AttemptLost {
                        operation: operation.clone(),
                        attempt,
                    },
                );
                self.check_lost(&operation)?;
            }
        }
        Ok(())
    }

    /// Tells whether the start of the open attempt of an operation must be recorded before it.
    pub(crate) fn is_traced(&self, operation: &OperationKey) -> bool {
        self.lost_of(operation) >= TRACED_FROM_LOST
    }

    pub(super) fn lost_of(&self, operation: &OperationKey) -> u32 {
        match self.ledger.get(operation) {
            Some(Open::Task(task)) => task.lost,
            Some(Open::Step(step)) => step.lost,
            _ => 0,
        }
    }

    pub(super) fn check_lost(&self, operation: &OperationKey) -> Result<(), Refusal> {
        let lost = self.lost_of(operation);
        if lost < LOST_ATTEMPTS_MAX {
            return Ok(());
        }
        Err(Refusal::Blocked(Error::new(
            ErrorKind::Bug,
            format!("{lost} attempts of `{operation}` were lost with their workers"),
        )))
    }

    /// Tells whether attempts belong in the owner's process, now, and are not there.
    pub(crate) fn has_unstarted_attempts(&self) -> bool {
        self.unstarted().next().is_some()
    }

    fn unstarted(&self) -> impl Iterator<Item = &OperationKey> {
        let unstarted = self.ledger.open().filter(|(operation, open)| {
            let is_local = match open {
                Open::Task(task) => task.placement == Placement::Local && task.not_before.is_none(),
                Open::Step(_) => true,
                _ => false,
            };
            is_local && !self.handed_out.contains(*operation)
        });
        unstarted.map(|(operation, _)| operation)
    }

    /// Starts again what runs here and is not running.
    pub(super) fn restart_attempts(&mut self) {
        let idle: Vec<_> = self.unstarted().cloned().collect();
        for operation in idle {
            self.hand_out(operation);
        }
        self.handed_out
            .retain(|operation| self.ledger.get(operation).is_some());
    }
}

/// Tells whether an attempt whose worker died can have run.
const fn may_have_started(lost: u32, is_started: bool) -> bool {
    is_started || lost < TRACED_FROM_LOST
}

/// Says how to take up a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Approach {
    /// As it is.
    Direct,
    /// After this turn was committed, and alone: the run may be what its owners died of.
    Recorded(StoredTurn),
    /// Not at all.
    Refused(Error),
}

/// Decides how to take up a run that a worker just came to own.
pub(crate) fn approach(acquired: &AcquiredRun, now: Timestamp) -> Approach {
    if acquired.run.lost == 0 {
        return Approach::Direct;
    }
    let Ok(events) = read_history(acquired) else {
        return Approach::Direct;
    };
    let is_try = |event: &&Event| event.kind == EventKind::RecoveryStarted;
    let tries = events.iter().rev().take_while(is_try).count();
    if tries >= RECOVERIES_MAX {
        return Approach::Refused(Error::new(
            ErrorKind::Bug,
            format!("{tries} workers in a row died when they replayed this run"),
        ));
    }
    if tries == 0 && acquired.run.lost < SUSPECT_FROM_LOST {
        return Approach::Direct;
    }
    let at = events.last().map_or(now, |last| now.max(last.at));
    let event = Event {
        at,
        kind: EventKind::RecoveryStarted,
    };
    match encode_record(&[event]) {
        Ok(record) => Approach::Recorded(StoredTurn {
            turn: TurnNumber(acquired.turns.len() as u64),
            first_event: EventNumber(events.len() as u64),
            record,
        }),
        Err(error) => Approach::Refused(error),
    }
}
