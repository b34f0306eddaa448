//! What goes wrong with turns.

use longhaul_core::backend::{
    HistoryRequest, Lane, PAGE_MAX, Result, RunUpdate, TurnCommit, Verdict,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::{ArrivalNumber, DataKey, Segment, TurnNumber};
use longhaul_core::status::Status;

use super::Fault;
use super::backend::{Broken, plain};
use crate::world::{SECOND, new_write_id};

impl Broken {
    /// Changes a turn before it is committed.
    async fn spoil(&self, turn: &mut TurnCommit) -> Result<()> {
        if let Some(turn) = &mut turn.turn {
            self.spoil_record(&mut turn.record);
            if self.has(Fault::CutsLargeNumbers) {
                turn.first_event.0 &= u64::MAX >> 1;
            }
        }
        let now = self.inner.clock();
        match self.fault {
            Fault::IgnoresTheEpoch | Fault::IgnoresTheEpochOfParks
                if self.has(Fault::IgnoresTheEpoch)
                    || matches!(turn.update, RunUpdate::Park { .. }) =>
            {
                if let Some(row) = self.inner.run(&turn.run).await? {
                    turn.epoch = row.epoch;
                }
            }
            Fault::IgnoresTheSegment => turn.segment = Segment::FIRST,
            Fault::ForgetsWrites => turn.write = new_write_id(),
            Fault::ForgetsWritesOfBareAppends
                if turn.turn.is_none() && turn.update == RunUpdate::Append =>
            {
                turn.write = new_write_id();
            }
            Fault::ParksOverUnread => {
                let row = self.inner.run(&turn.run).await?;
                let arrivals = row.map(|row| row.arrivals).unwrap_or_default();
                if let RunUpdate::Park { read, .. } | RunUpdate::End { read, .. } = &mut turn.update
                {
                    *read = arrivals;
                }
            }
            Fault::ForgetsData => turn.data.clear(),
            Fault::DropsOddCharacters => {
                for (key, _) in &mut turn.data {
                    *key = DataKey::from_stored(plain(key.as_str()));
                }
            }
            Fault::KeepsRemovedData => turn.data.retain(|(_, value)| value.is_some()),
            Fault::SharesData => {
                for (key, value) in &turn.data {
                    if let Some(value) = value {
                        self.memory().data.insert(key.clone(), value.clone());
                    }
                }
            }
            Fault::DropsSubworkflows => turn.subworkflows.clear(),
            Fault::TakesOwnSubworkflowsForOthers => {
                for run in &mut turn.subworkflows {
                    run.fingerprint = *new_write_id().0.as_bytes();
                }
            }
            Fault::DropsMessages => turn.outbox.clear(),
            Fault::SendsTwice => {
                let mut again = turn.outbox.clone();
                for message in &mut again {
                    message.write = new_write_id();
                }
                turn.outbox.extend(again);
            }
            Fault::SendsBackwards => turn.outbox.reverse(),
            Fault::LosesQueuedAttempts => turn.enqueue.clear(),
            Fault::QueuesEverythingForNow => turn.enqueue.iter_mut().for_each(|one| one.due = None),
            Fault::IgnoresPriorities => turn.enqueue.iter_mut().for_each(|one| one.priority = 0),
            Fault::IgnoresWithdrawals => turn.withdraw.clear(),
            Fault::KeepsLossesOfReleasedRuns
                if matches!(
                    turn.update,
                    RunUpdate::Release { .. } | RunUpdate::Block { .. }
                ) =>
            {
                if let Some(row) = self.inner.run(&turn.run).await? {
                    let mut memory = self.memory();
                    memory.kept_losses.insert(turn.run.clone(), row.lost);
                }
            }
            _ => {}
        }
        self.spoil_effects(turn);
        self.spoil_update(turn, now);
        Ok(())
    }

    fn spoil_effects(&self, turn: &mut TurnCommit) {
        let run = turn.run.clone();
        match self.fault {
            Fault::IgnoresSubworkflowsOfOwnId => turn
                .subworkflows
                .retain(|kid| kid.identity.workflow_id != run),
            Fault::CutsManyEffects => {
                turn.data.truncate(1_000);
                turn.enqueue.truncate(1_000);
                turn.outbox.truncate(1_000);
            }
            Fault::LosesAttemptsOfPausedRuns => {
                let mut memory = self.memory();
                let queued = turn.enqueue.iter();
                memory
                    .queued
                    .extend(queued.map(|one| (run.clone(), one.operation.clone())));
                if matches!(turn.update, RunUpdate::Pause { .. }) {
                    let all = memory.queued.iter().filter(|(of, _)| *of == run);
                    turn.withdraw
                        .extend(all.map(|(_, operation)| operation.clone()));
                }
            }
            Fault::DropsMessagesToSelf => turn.outbox.retain(|message| message.to != run),
            Fault::QueuesAgain => {
                for attempt in &mut turn.enqueue {
                    let key = (run.clone(), attempt.operation.clone());
                    if !self.memory().queued.insert(key) {
                        attempt.attempt += 1_000;
                    }
                }
            }
            Fault::ForgetsPrioritiesOfTheDelayed => {
                let delayed = turn.enqueue.iter_mut().filter(|one| one.due.is_some());
                delayed.for_each(|one| one.priority = 0);
            }
            Fault::WithdrawsOneAttempt => {
                let operations = turn.withdraw.drain(..);
                self.memory().withdrawn.extend(operations);
            }
            Fault::WithdrawsForAllRuns => {
                let operations = turn.withdraw.iter().cloned();
                self.memory().withdrawn.extend(operations);
            }
            _ => {}
        }
    }

    /// Keeps seals in the place of the right backend, and lifts them at the wrong moments.
    fn spoil_seal(&self, turn: &mut TurnCommit) {
        let mut memory = self.memory();
        match &mut turn.update {
            RunUpdate::Drain { seal, .. } if *seal => {
                *seal = false;
                memory.sealed.insert(turn.run.clone());
            }
            RunUpdate::Drain { .. } if self.has(Fault::DrainsUnseal) => {
                memory.sealed.remove(&turn.run);
            }
            RunUpdate::Park { .. } | RunUpdate::End { .. } => {
                memory.sealed.remove(&turn.run);
            }
            _ => {}
        }
    }

    fn spoil_update(&self, turn: &mut TurnCommit, now: Timestamp) {
        let read = turn.update.read().unwrap_or_default();
        if self.has(Fault::DrainsUnseal) || self.has(Fault::LiftsSealsByParkAlone) {
            self.spoil_seal(turn);
        }
        match (self.fault, &mut turn.update) {
            (Fault::ReadsGoBack, RunUpdate::Drain { .. }) => {
                self.memory().read.insert(turn.run.clone(), read);
            }
            (Fault::WrapsFarTimes, RunUpdate::Park { wake_at, .. }) => {
                *wake_at = wake_at.map(|at| at.min(now.after(SECOND * 1_000_000_000)));
            }
            (Fault::NeverSeals, RunUpdate::Drain { seal, .. }) => *seal = false,
            (
                Fault::SealsForGood
                | Fault::DeliversNothingPastSeals
                | Fault::DropsOutcomesPastSeals,
                RunUpdate::Drain { seal: true, .. },
            ) => {
                self.memory().sealed.insert(turn.run.clone());
            }
            (Fault::ForgetsLossesInDrains, RunUpdate::Drain { .. }) => {
                self.memory().drained.insert(turn.run.clone());
            }
            (Fault::DrainsNothing, RunUpdate::Drain { read, .. }) => *read = ArrivalNumber(0),
            (Fault::DrainsEverything, RunUpdate::Drain { read, .. }) => *read = ArrivalNumber(2),
            (Fault::TouchesTheRowOfAnAppend, update @ RunUpdate::Append) => {
                *update = RunUpdate::Drain { read, seal: false };
            }
            (Fault::FiresEarly, RunUpdate::Park { wake_at, .. }) => {
                *wake_at = wake_at.map(|at| {
                    let second = i64::try_from(SECOND.as_micros()).unwrap();
                    Timestamp::from_micros(at.as_micros() - second)
                });
            }
            (Fault::FiresLate, RunUpdate::Park { wake_at, .. }) => {
                *wake_at = wake_at.map(|at| at.after(SECOND));
            }
            (Fault::ForgetsTimers, RunUpdate::Park { wake_at, .. }) => *wake_at = None,
            (Fault::WakesParkedRuns, RunUpdate::Park { wake_at, .. }) => {
                *wake_at = wake_at.or(Some(now));
            }
            (Fault::ReleasesForGood, update @ RunUpdate::Release { .. }) => {
                *update = RunUpdate::Park {
                    read: ArrivalNumber(u64::from(u32::MAX)),
                    wake_at: None,
                };
            }
            (Fault::BlocksNobody, update @ RunUpdate::Block { .. }) => {
                *update = RunUpdate::Release { read };
            }
            (Fault::PausesByParking, update @ RunUpdate::Pause { .. }) => {
                *update = RunUpdate::Park {
                    read: ArrivalNumber(u64::from(u32::MAX)),
                    wake_at: None,
                };
            }
            (Fault::NeverEnds, update @ RunUpdate::End { .. }) => {
                *update = RunUpdate::Park {
                    read,
                    wake_at: None,
                };
            }
            (Fault::EndsAsCompleted, RunUpdate::End { status, .. }) => *status = Status::Completed,
            _ => {}
        }
    }

    /// Edits one run.
    pub(super) async fn edit_one(&self, mut turn: TurnCommit) -> Result<Verdict> {
        self.spoil(&mut turn).await?;
        let row = self.inner.run(&turn.run).await?;
        match (self.fault, &row) {
            (Fault::EditsNothing, _) => return Ok(Verdict::Committed),
            (Fault::ForgetsEdits, _) => turn.write = new_write_id(),
            (Fault::EditsOverUnread, Some(row)) => {
                if let RunUpdate::Park { read, .. } | RunUpdate::End { read, .. } = &mut turn.update
                {
                    *read = row.arrivals;
                }
            }
            (Fault::EditsWhatItDidNotSee, Some(row)) => {
                (turn.epoch, turn.segment) = (row.epoch, row.segment);
                return self.append_whatever(None, turn).await;
            }
            (Fault::EditsOwnedRuns, Some(row)) if row.owner.is_some() => {
                let lane = row.owner.map(crate::world::lane);
                turn.epoch = row.epoch;
                return self.append_whatever(lane, turn).await;
            }
            _ => {}
        }
        let verdict = self.inner.edit(vec![turn]).await?.remove(0);
        match (self.fault, verdict) {
            (Fault::CommitsLostEdits, Verdict::Lost) => Ok(Verdict::Committed),
            (_, verdict) => Ok(verdict),
        }
    }

    /// Appends a turn behind the last one there is, whatever its number.
    async fn append_whatever(&self, lane: Option<Lane>, mut turn: TurnCommit) -> Result<Verdict> {
        let request = HistoryRequest {
            run: turn.run.clone(),
            segment: None,
            from: TurnNumber(0),
            limit: PAGE_MAX,
        };
        let history = self.inner.history(request).await?;
        if let Some(turn) = &mut turn.turn {
            turn.turn = TurnNumber(history.len() as u64);
        }
        let mut verdicts = match lane {
            Some(lane) => self.inner.commit(lane, vec![turn]).await?,
            None => self.inner.edit(vec![turn]).await?,
        };
        Ok(verdicts.remove(0))
    }

    pub(super) async fn commit_one(&self, lane: Lane, mut turn: TurnCommit) -> Result<Verdict> {
        self.spoil(&mut turn).await?;
        if self.has(Fault::PausesWhenAllIsRead)
            && let RunUpdate::Pause { read } = turn.update
            && let Some(row) = self.inner.run(&turn.run).await?
            && row.arrivals > read
        {
            return Ok(Verdict::Unread);
        }
        if self.has(Fault::KnowsOneLane) && lane.number > 0 {
            return Ok(Verdict::Lost);
        }
        if self.has(Fault::NeedsATurnToWriteARow) && turn.turn.is_none() {
            return Ok(Verdict::Committed);
        }
        let mut lane = lane;
        if self.has(Fault::IgnoresTheOwner)
            && let Some(owner) = self.inner.run(&turn.run).await?.and_then(|row| row.owner)
        {
            lane.worker = owner;
        }
        if self.has(Fault::WritesInTwoSteps) {
            let first = TurnCommit {
                update: RunUpdate::Append,
                data: Vec::new(),
                subworkflows: Vec::new(),
                enqueue: Vec::new(),
                outbox: Vec::new(),
                ..turn.clone()
            };
            self.inner.commit(lane, vec![first]).await?;
            tokio::task::yield_now().await;
        }
        let verdict = self.inner.commit(lane, vec![turn.clone()]).await?.remove(0);
        match (self.fault, &verdict) {
            (Fault::CommitsUnread, Verdict::Unread) => Ok(Verdict::Committed),
            (Fault::CommitsLost, Verdict::Lost) => Ok(Verdict::Committed),
            (Fault::WritesEffectsOfRefusedTurns, Verdict::Unread) => {
                self.inner.start(None, turn.subworkflows).await?;
                Ok(verdict)
            }
            (Fault::FillsGaps, Verdict::Lost) => {
                let request = HistoryRequest {
                    run: turn.run.clone(),
                    segment: None,
                    from: TurnNumber(0),
                    limit: PAGE_MAX,
                };
                let Ok(history) = self.inner.history(request).await else {
                    return Ok(verdict);
                };
                if let Some(turn) = &mut turn.turn {
                    turn.turn = TurnNumber(history.len() as u64);
                }
                Ok(self.inner.commit(lane, vec![turn]).await?.remove(0))
            }
            _ => Ok(verdict),
        }
    }
}
