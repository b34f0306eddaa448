//! What becomes of the attempts of an owner that died.
//!
//! Invariant: an attempt that cannot have run is not counted as lost.

use super::{Live, Refusal};
use crate::clock::Timestamp;
use crate::engine::ledger::Open;
use crate::error::{Error, ErrorKind};
use crate::history::{EventKind, OperationKey, Placement};
use crate::retry::{LOST_ATTEMPTS_MAX, TRACED_FROM_LOST};

impl Live {
    /// Notes the attempts that died with the owner before. One that was waiting for its time had not started.
    pub(super) fn give_up_lost_attempts(&mut self, now: Timestamp) -> Result<(), Refusal> {
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

    /// Starts again what runs here and is not running.
    pub(super) fn restart_attempts(&mut self) {
        let idle: Vec<_> = self
            .ledger
            .open()
            .filter(|(operation, open)| {
                let is_local = match open {
                    Open::Task(task) => {
                        task.placement == Placement::Local && task.not_before.is_none()
                    }
                    Open::Step(_) => true,
                    _ => false,
                };
                is_local && !self.handed_out.contains(*operation)
            })
            .map(|(operation, _)| operation.clone())
            .collect();
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
