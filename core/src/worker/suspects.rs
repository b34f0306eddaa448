//! Taking up runs that several workers in a row died with.
//!
//! Invariants: one suspect is taken up at a time, after a record of that was committed and before the next one's; so
//! when the process dies of it, the record says of which.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use crate::backend::{AcquiredRun, RunUpdate, TurnCommit, Verdict};
use crate::engine::identifiers;
use crate::engine::live::{Approach, Draft, approach};
use crate::history::StoredTurn;
use crate::id::WorkflowId;
use crate::worker::commit::Submitted;
use crate::worker::lane::Lane;

/// Holds the suspects that wait, and the one that is being taken up.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    waiting: VecDeque<(AcquiredRun, StoredTurn)>,
    current: Option<WorkflowId>,
}

impl Suspects {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.current.is_none()
    }

    fn has(&self, run: &WorkflowId) -> bool {
        let mut waiting = self.waiting.iter();
        self.current.as_ref() == Some(run)
            || waiting.any(|(waiting, _)| waiting.run.identity.workflow_id == *run)
    }
}

impl Lane {
    /// Takes up a run, at once or when it is its turn.
    pub(crate) fn approach(&mut self, acquired: AcquiredRun) {
        if self.is_here(&acquired.run) {
            return;
        }
        if self.suspects.has(&acquired.run.identity.workflow_id) {
            self.shared.vitals.live.fetch_sub(1, Ordering::SeqCst);
            return;
        }
        match approach(&acquired, self.clock()) {
            Approach::Direct => self.take_up(&acquired),
            Approach::Recorded(turn) => self.suspects.waiting.push_back((acquired, turn)),
            Approach::Refused(error) => self.refuse(&acquired.run, &error),
        }
    }

    /// Makes the turn that records the next suspect, when none is being taken up.
    pub(crate) fn next_suspect(&mut self) -> Option<(TurnCommit, Submitted)> {
        if self.suspects.current.is_some() {
            return None;
        }
        let (mut acquired, turn) = self.suspects.waiting.pop_front()?;
        let run = acquired.run.identity.workflow_id.clone();
        let (segment, epoch) = (acquired.run.segment, acquired.run.epoch);
        acquired.turns.push(turn.clone());
        self.suspects.current = Some(run.clone());
        let (key, number) = (&self.shared.settings.hash_key, self.shared.first_write());
        let commit = TurnCommit {
            write: identifiers::write_id(key, &run, segment, epoch, b"recovery", number),
            run: run.clone(),
            segment,
            epoch,
            turn: Some(turn),
            update: RunUpdate::Append,
            data: Vec::new(),
            subworkflows: Vec::new(),
            enqueue: Vec::new(),
            withdraw: Vec::new(),
            outbox: Vec::new(),
        };
        let submitted = Submitted {
            run,
            epoch,
            draft: Draft::default(),
            update: RunUpdate::Append,
            seals: false,
            suspect: Some(Box::new(acquired)),
        };
        Some((commit, submitted))
    }

    /// Takes up a suspect whose record is durable.
    pub(crate) fn on_suspect_recorded(&mut self, acquired: &AcquiredRun, verdict: &Verdict) {
        let run = acquired.run.identity.workflow_id.clone();
        if *verdict == Verdict::Committed {
            tracing::info!(%run, "several workers died with this run; it is taken up alone");
            self.take_up(acquired);
        } else {
            self.shared.vitals.live.fetch_sub(1, Ordering::SeqCst);
        }
        if !self.runs.contains_key(&run) {
            self.note_recovered(&run);
        }
    }

    /// Lets the next suspect come, when this run was the one that was being taken up.
    pub(crate) fn note_recovered(&mut self, run: &WorkflowId) {
        if self.suspects.current.as_ref() == Some(run) {
            self.suspects.current = None;
        }
    }
}
