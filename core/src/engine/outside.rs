//! What is done from outside to a run that nobody owns: the one turn that does it.
//!
//! Pure: from the row and the history of a run to the turn, which the store takes only if both still stand. The code of
//! the workflow is not run, so that a run can be controlled whose code is not at hand or does not fit.

use std::fmt;

use crate::backend::{ArrivalBody, ArrivalKind, Message, RunRecord, RunUpdate, TurnCommit};
use crate::clock::Timestamp;
use crate::engine::identifiers;
use crate::engine::ledger::{Ledger, Open};
use crate::engine::messages::{self, ClosedContent, ControlContent, TimerMove};
use crate::error::{Error, ErrorKind, Result};
use crate::history::{
    Event, EventKind, OperationKey, Outcome, PausedTimers, RunStarted, StoredTurn, decode_record,
    encode_record,
};
use crate::id::{EventNumber, TurnNumber, WorkflowId, WriteId};
use crate::options::ClosePolicy;
use crate::status::Status;

/// Says what is done to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    Pause {
        reason: String,
        timers: PausedTimers,
    },
    Resume {
        reason: String,
    },
    /// Lifts a pause, so that the code can end.
    Cancel {
        reason: String,
    },
    Terminate {
        reason: String,
    },
    MoveTimer {
        operation: OperationKey,
        to: TimerMove,
        reason: String,
    },
}

impl Act {
    /// Returns the request to the owner of a run.
    pub(crate) fn request(&self) -> ControlContent {
        match self.clone() {
            Self::Pause { reason, timers } => ControlContent::Pause { reason, timers },
            Self::Resume { reason } => ControlContent::Resume { reason },
            Self::Cancel { reason } => ControlContent::Cancel { reason },
            Self::Terminate { reason } => ControlContent::Terminate { reason },
            Self::MoveTimer {
                operation,
                to,
                reason,
            } => ControlContent::MoveTimer {
                operation,
                to,
                reason,
            },
        }
    }

    fn event(&self, at: Timestamp, ledger: &Ledger) -> Result<EventKind> {
        Ok(match self.clone() {
            Self::Pause { reason, timers } => EventKind::RunPaused { reason, timers },
            Self::Resume { reason } => EventKind::RunResumed { reason },
            Self::Cancel { reason } => EventKind::CancelRequested { reason },
            Self::Terminate { reason } => EventKind::RunTerminated { reason },
            Self::MoveTimer {
                operation,
                to,
                reason,
            } => {
                let due = find_timer(ledger, &operation)?;
                EventKind::TimerMoved {
                    operation,
                    due: to.due(due, at),
                    reason,
                }
            }
        })
    }

    /// Says what becomes of the row; the ledger has folded the event.
    fn update(&self, row: &RunRecord, ledger: &Ledger) -> RunUpdate {
        match self {
            Self::MoveTimer { .. } => stays(row, ledger),
            Self::Pause { .. } => RunUpdate::Pause { read: row.read },
            Self::Resume { .. } | Self::Cancel { .. } => RunUpdate::Release { read: row.read },
            Self::Terminate { .. } => RunUpdate::End {
                read: row.arrivals,
                status: Status::Terminated,
            },
        }
    }
}

/// Leaves a run where it is, but for when it is due.
fn stays(row: &RunRecord, ledger: &Ledger) -> RunUpdate {
    let read = row.read;
    match (&row.status, &row.blocked) {
        (Status::Paused, _) => RunUpdate::Pause { read },
        (_, Some((reason, build))) => RunUpdate::Block {
            read,
            reason: reason.clone(),
            build: build.clone(),
        },
        _ => RunUpdate::Park {
            read,
            wake_at: ledger.first_due().map(|(due, _)| *due),
        },
    }
}

/// Finds when a timer is due.
///
/// # Errors
/// `NotFound` when it is not open, with those that are.
pub(crate) fn find_timer(ledger: &Ledger, operation: &OperationKey) -> Result<Timestamp> {
    let mut timers = ledger.timers();
    if let Some((_, due)) = timers.find(|(open, _)| *open == operation) {
        return Ok(due);
    }
    let open: Vec<_> = ledger
        .timers()
        .map(|(open, due)| format!("`{open}` due {due}"))
        .collect();
    let open = match open.as_slice() {
        [] => "none is".to_owned(),
        open => open.join(", "),
    };
    Err(Error::new(
        ErrorKind::NotFound,
        format!("no timer `{operation}` is open; open: {open}"),
    ))
}

/// Folds the history of a run.
///
/// # Errors
/// `Corrupt` or `NewerVersion` when it cannot be read.
pub(crate) fn read(turns: &[StoredTurn]) -> Result<(Vec<Event>, Ledger)> {
    let mut events = Vec::new();
    for turn in turns {
        events.append(&mut decode_record(&turn.record)?);
    }
    let mut ledger = Ledger::unsure();
    events.iter().for_each(|event| ledger.fold(event));
    Ok((events, ledger))
}

/// Is what an edit rests on.
pub(crate) struct Grounds<'a> {
    pub(crate) row: &'a RunRecord,
    /// All turns of its newest segment.
    pub(crate) turns: &'a [StoredTurn],
    pub(crate) hash_key: &'a [u8; 16],
    pub(crate) now: Timestamp,
}

impl fmt::Debug for Grounds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grounds")
            .field("run", &self.row.identity.workflow_id)
            .field("turns", &self.turns.len())
            .finish_non_exhaustive()
    }
}

/// Makes the turn that does `act` to a run.
///
/// # Errors
/// `Corrupt` or `NewerVersion` when the history cannot be read; `NotFound` when the timer to move is not open.
pub(crate) fn edit(act: &Act, grounds: &Grounds<'_>, write: WriteId) -> Result<TurnCommit> {
    let Grounds { row, turns, .. } = grounds;
    let (events, mut ledger) = read(turns)?;
    // What arrived before the edit is not after it.
    let at = grounds.now.max(ledger.at()).max(row.updated_at);
    let event = Event {
        at,
        kind: act.event(at, &ledger)?,
    };
    ledger.fold(&event);
    let mut turn = TurnCommit {
        run: row.identity.workflow_id.clone(),
        segment: row.segment,
        epoch: row.epoch,
        write,
        turn: Some(StoredTurn {
            turn: TurnNumber(turns.len() as u64),
            first_event: EventNumber(events.len() as u64),
            record: encode_record(&[event])?,
        }),
        update: act.update(row, &ledger),
        data: Vec::new(),
        subworkflows: Vec::new(),
        enqueue: Vec::new(),
        withdraw: Vec::new(),
        outbox: Vec::new(),
    };
    // What a cancel ends is for the next owner to say, who replays the code: it may shield some of it.
    if let Act::Terminate { reason } = act {
        close(&mut turn, &ledger, grounds)?;
        tell_parent(&mut turn, started(&events)?, grounds, reason)?;
    }
    Ok(turn)
}

fn started(events: &[Event]) -> Result<&RunStarted> {
    match events.first().map(|event| &event.kind) {
        Some(EventKind::RunStarted(started)) => Ok(started),
        _ => Err(Error::new(
            ErrorKind::Corrupt,
            "a history does not begin with the start of its run",
        )),
    }
}

/// Ends what is open: queued attempts are withdrawn, subworkflows are told by their policies.
fn close(turn: &mut TurnCommit, ledger: &Ledger, grounds: &Grounds<'_>) -> Result<()> {
    for (operation, open) in ledger.open() {
        match open {
            Open::Task(task) if task.placement.is_queued() => turn.withdraw.push(operation.clone()),
            Open::Subworkflow(child, policy) => {
                if let Some(request) = closing(*policy, "its parent ended") {
                    send(
                        turn,
                        grounds,
                        child,
                        ArrivalKind::Control,
                        "close",
                        &request,
                    )?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns what a subworkflow is told when its parent ends; nothing when it goes on.
pub(crate) fn closing(policy: ClosePolicy, why: &str) -> Option<ControlContent> {
    let reason = why.to_owned();
    match policy {
        ClosePolicy::Abandon => None,
        ClosePolicy::Cancel => Some(ControlContent::Cancel { reason }),
        ClosePolicy::Terminate => Some(ControlContent::Terminate { reason }),
    }
}

fn tell_parent(
    turn: &mut TurnCommit,
    started: &RunStarted,
    grounds: &Grounds<'_>,
    reason: &str,
) -> Result<()> {
    let row = grounds.row;
    let (Some(parent), Some(operation)) = (&row.identity.parent, &row.parent_operation) else {
        return Ok(());
    };
    let closed = ClosedContent {
        segment: started.parent_segment,
        operation: OperationKey::clone(operation),
        outcome: terminated(reason),
    };
    let name = operation.to_string();
    let kind = ArrivalKind::SubworkflowClosed;
    send(turn, grounds, parent, kind, &name, &closed)
}

fn send<T: serde::Serialize>(
    turn: &mut TurnCommit,
    grounds: &Grounds<'_>,
    to: &WorkflowId,
    kind: ArrivalKind,
    name: &str,
    content: &T,
) -> Result<()> {
    let purpose = format!("message {} of {}", turn.outbox.len(), turn.write.0);
    let (segment, epoch) = (turn.segment, turn.epoch);
    turn.outbox.push(Message {
        to: to.clone(),
        write: identifiers::write_id(
            grounds.hash_key,
            &turn.run,
            segment,
            epoch,
            purpose.as_bytes(),
            0,
        ),
        body: ArrivalBody {
            kind,
            name: name.to_owned(),
            content: messages::encode(content)?,
        },
    });
    Ok(())
}

/// Is how a terminated run ended, for whoever waits for it.
pub(crate) fn terminated(reason: &str) -> Outcome {
    Err(Error::new(
        ErrorKind::Terminated,
        format!("the run was terminated: {reason}"),
    ))
}
