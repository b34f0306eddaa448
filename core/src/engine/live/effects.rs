//! From what the code asked for to what its turn causes.
//!
//! Invariant: nothing here happens; the draft says what the shell does after the commit.

use super::Live;
use crate::backend::{ArrivalBody, ArrivalKind, Message, QueuedAttempt, StartRun};
use crate::clock::Timestamp;
use crate::command::{Command, StartSubworkflow};
use crate::engine::execution::Stuck;
use crate::engine::identifiers::{fingerprint, route_of};
use crate::engine::ledger::Open;
use crate::engine::messages::{self, AttemptContent, ClosedContent};
use crate::engine::outside;
use crate::error::{Error, ErrorKind, Result};
use crate::history::{
    Event, EventKind, OperationKey, Outcome, Placement, RunStarted, encode_record,
};
use crate::id::{QueueName, WorkflowId};
use crate::options::ClosePolicy;
use crate::sabotage::{self, Sabotage};
use crate::status::Status;

impl Live {
    pub(super) fn record_command(&mut self, at: Timestamp, mut command: Command) {
        self.prepare(at, &command);
        self.spill_if_full(&mut command);
        let ended = match &command {
            Command::Complete { result } => Some((Status::Completed, Ok(result.clone()))),
            Command::Fail { error } => Some((Status::Failed, Err(error.clone()))),
            Command::EndCancelled { reason } => Some((Status::Cancelled, Err(cancelled(reason)))),
            _ => None,
        };
        if ended.is_some() {
            self.close_subworkflows();
            self.withdraw_all();
        }
        if let Some(operation) = command.operation()
            && self.machine().is_shielded(operation)
        {
            self.ledger.shelter(&operation.clone());
        }
        let event = self.push(at, command.into_event());
        self.misrecord_spilled();
        if let Some((status, outcome)) = ended {
            return self.end(status, &outcome);
        }
        match event.kind {
            EventKind::TaskScheduled { operation, .. } | EventKind::StepStarted { operation } => {
                self.place(&operation);
            }
            EventKind::PauseStarted { .. } => self.start_nothing(),
            _ => {}
        }
    }

    /// Sends a task away that names no queue when its owner has too much to do. One that runs here already stays.
    fn spill_if_full(&mut self, command: &mut Command) {
        if let Command::StartTask {
            operation,
            placement: placement @ Placement::Local,
            ..
        } = command
            && !self.handed_out.contains(operation)
            && !self.room.take()
        {
            *placement = Placement::Spilled;
        }
    }

    /// Records what a wrong engine would.
    fn misrecord_spilled(&mut self) {
        if sabotage::makes(Sabotage::RecordSpilledAsLocal)
            && let Some(event) = self.draft.events.last_mut()
            && let EventKind::TaskScheduled { placement, .. } = &mut event.kind
            && *placement == Placement::Spilled
        {
            *placement = Placement::Local;
        }
    }

    /// Does what must be known before the command's event is folded.
    pub(super) fn prepare(&mut self, at: Timestamp, command: &Command) {
        match command {
            Command::Cancel { operation } => {
                self.drop_operation(operation, "its parent dropped it");
            }
            Command::SetData { key, value } => {
                self.draft.data.retain(|(known, _)| known != key);
                self.draft.data.push((key.clone(), value.clone()));
            }
            Command::StartSubworkflow(start) => match self.subworkflow(at, start) {
                Ok(run) => self.draft.subworkflows.push(run),
                Err(error) => self.stuck = Some(Stuck(error)),
            },
            _ => {}
        }
    }

    pub(super) fn drop_operation(&mut self, operation: &OperationKey, why: &str) {
        match self.ledger.get(operation) {
            Some(Open::Task(task)) if task.placement.is_queued() => {
                self.withdraw(operation.clone());
            }
            Some(Open::Subworkflow(child, policy)) => {
                let (child, policy) = (child.clone(), *policy);
                self.close_subworkflow(&child, policy, why);
            }
            _ => {}
        }
        self.draft.start.retain(|started| started != operation);
        if self.handed_out.remove(operation) {
            self.draft.stop.push(operation.clone());
        }
    }

    /// Takes a queued attempt back, also one that this very turn would put in: backends withdraw first.
    fn withdraw(&mut self, operation: OperationKey) {
        self.draft
            .enqueue
            .retain(|attempt| attempt.operation != operation);
        self.draft.withdraw.push(operation);
    }

    pub(super) fn withdraw_all(&mut self) {
        let queued: Vec<_> = self
            .ledger
            .open()
            .filter(|(_, open)| matches!(open, Open::Task(task) if task.placement.is_queued()))
            .map(|(operation, _)| operation.clone())
            .collect();
        for operation in queued {
            self.withdraw(operation);
        }
        self.draft.start.clear();
        self.draft.stop.extend(std::mem::take(&mut self.handed_out));
    }

    pub(super) fn close_subworkflows(&mut self) {
        let children: Vec<_> = self
            .ledger
            .open()
            .filter_map(|(_, open)| match open {
                Open::Subworkflow(child, policy) => Some((child.clone(), *policy)),
                _ => None,
            })
            .collect();
        for (child, policy) in children {
            self.close_subworkflow(&child, policy, "its parent ended");
        }
    }

    pub(super) fn close_subworkflow(&mut self, child: &WorkflowId, policy: ClosePolicy, why: &str) {
        if let Some(request) = outside::closing(policy, why) {
            self.send(child.clone(), ArrivalKind::Control, "close", &request);
        }
    }

    pub(super) fn end(&mut self, status: Status, outcome: &Outcome) {
        self.draft.ended = Some(status);
        let (Some(parent), Some(operation)) =
            (self.identity.parent.clone(), self.parent_operation.clone())
        else {
            return;
        };
        let name = operation.to_string();
        let closed = ClosedContent {
            segment: self.parent_segment,
            operation,
            outcome: outcome.clone(),
        };
        self.send(parent, ArrivalKind::SubworkflowClosed, &name, &closed);
    }

    pub(super) fn send<T: serde::Serialize>(
        &mut self,
        to: WorkflowId,
        kind: ArrivalKind,
        name: &str,
        content: &T,
    ) {
        match messages::encode(content) {
            Ok(content) => {
                let purpose = format!("message {}", self.draft.outbox.len());
                self.draft.outbox.push(Message {
                    to,
                    write: self.derive_id(purpose.as_bytes(), self.writes),
                    body: ArrivalBody {
                        kind,
                        name: name.to_owned(),
                        content,
                    },
                });
            }
            Err(error) => self.stuck = Some(Stuck(error)),
        }
    }

    /// Gives the open attempt of an operation to where it runs.
    pub(super) fn place(&mut self, operation: &OperationKey) {
        match self.ledger.get(operation) {
            Some(Open::Task(task)) if task.placement.is_queued() => {
                let is_spilled = task.placement == Placement::Spilled;
                self.place_if_queued(operation);
                if is_spilled && sabotage::makes(Sabotage::StartSpilledTasks) {
                    self.hand_out(operation.clone());
                }
            }
            Some(Open::Task(task)) if task.not_before.is_none() => self.hand_out(operation.clone()),
            Some(Open::Step(_)) => self.hand_out(operation.clone()),
            _ => {}
        }
    }

    pub(super) fn place_if_queued(&mut self, operation: &OperationKey) {
        let Some(task) = self.ledger.task(operation) else {
            return;
        };
        if !task.placement.is_queued() {
            return;
        }
        let content = AttemptContent {
            identity: self.identity.clone(),
            arguments: task.arguments.clone(),
            options: (*task.options).clone(),
        };
        let queue = task.options.queue.clone();
        let attempt = QueuedAttempt {
            run: self.id.clone(),
            segment: self.segment,
            operation: operation.clone(),
            attempt: task.attempt(),
            queue: queue.unwrap_or_else(QueueName::spilled),
            task: task.task.clone(),
            priority: task.options.priority,
            due: task.not_before,
            content: messages::encode(&content).unwrap_or_default(),
        };
        self.draft.enqueue.push(attempt);
    }

    /// Starts an attempt here with the turn; while the run is paused, none is.
    pub(super) fn hand_out(&mut self, operation: OperationKey) {
        if self.is_paused() && !sabotage::makes(Sabotage::StartWhilePaused) {
            return;
        }
        self.handed_out.insert(operation.clone());
        self.draft.start.push(operation);
    }

    pub(super) fn attempt_of(&self, operation: &OperationKey) -> Option<u32> {
        match self.ledger.get(operation) {
            Some(Open::Task(task)) => Some(task.attempt()),
            Some(Open::Step(step)) => Some(1 + step.lost),
            _ => None,
        }
    }

    pub(super) fn subworkflow(&self, at: Timestamp, start: &StartSubworkflow) -> Result<StartRun> {
        let identity = self
            .identity
            .child(start.workflow_id.clone(), start.workflow_type.clone());
        let mut started = RunStarted::new(
            identity.clone(),
            start.kind,
            start.arguments.clone(),
            start.seed,
        );
        started.version = start.version;
        started.task.clone_from(&start.task);
        started.parent_segment = self.segment;
        let first = Event {
            at,
            kind: EventKind::RunStarted(Box::new(started)),
        };
        Ok(StartRun {
            identity,
            kind: start.kind,
            route: route_of(start.kind, start.workflow_type.as_str()),
            partition: self.partition,
            fingerprint: fingerprint(&self.settings.hash_key, &start.arguments),
            tags: start.tags.clone(),
            record: encode_record(&[first])?,
            parent_operation: Some(start.operation.clone()),
        })
    }
}

fn cancelled(reason: &str) -> Error {
    Error::new(
        ErrorKind::Cancelled,
        format!("the run was cancelled: {reason}"),
    )
}
