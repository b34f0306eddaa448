//! What goes wrong with arrivals, due times and task queues.

use std::collections::HashSet;

use async_trait::async_trait;
use longhaul_core::backend::{
    Arrival, ArrivalKind, ArriveRequest, Arrived, AttemptReport, ClaimRequest, Due, Events, Hint,
    HintStream, PAGE_MAX, QueuedAttempt, Reported, Result, RunFilter, Serves, Tasks, Timers,
};
use longhaul_core::id::{ArrivalNumber, WorkerId, WorkflowId};
use longhaul_core::status::Status;

use super::Fault;
use super::backend::{Broken, is_unique};
use crate::world::{new_write_id, task};

impl Broken {
    pub(super) fn spoil_arrivals(&self, arrivals: Vec<Arrival>) -> Vec<Arrival> {
        let hidden = match self.fault {
            Fault::TellsNobodyOfLostAttempts => Some(ArrivalKind::AttemptLost),
            Fault::TellsNobodyOfRefusedSubworkflows => Some(ArrivalKind::SubworkflowClosed),
            _ => None,
        };
        let mut arrivals = self.reversed(Fault::ReversesInboxes, arrivals);
        arrivals.retain(|arrival| Some(arrival.body.kind) != hidden);
        arrivals
    }

    fn spoil_claims(&self, claimed: &mut Vec<QueuedAttempt>) {
        let mut memory = self.memory();
        let withdrawn = &memory.withdrawn;
        match self.fault {
            Fault::ClaimsTaskByTask => claimed.sort_by(|one, other| one.task.cmp(&other.task)),
            Fault::WithdrawsOneAttempt => {
                claimed.retain(|one| one.attempt > 1 || !withdrawn.contains(&one.operation));
            }
            Fault::WithdrawsForAllRuns => {
                claimed.retain(|one| !withdrawn.contains(&one.operation));
            }
            Fault::ReportsForAnyRun => memory.claimed.extend(claimed.iter().cloned()),
            _ => {}
        }
    }
}

struct Silence;

#[async_trait]
impl HintStream for Silence {
    async fn next(&mut self) -> Hint {
        std::future::pending().await
    }
}

/// Leaves ends out.
struct Changes(Box<dyn HintStream>);

#[async_trait]
impl HintStream for Changes {
    async fn next(&mut self) -> Hint {
        while self.0.next().await != Hint::Changed {}
        Hint::Changed
    }
}

/// Says less than there is to say.
struct Ends(Box<dyn HintStream>);

#[async_trait]
impl HintStream for Ends {
    async fn next(&mut self) -> Hint {
        self.0.next().await;
        Hint::Ended
    }
}

#[async_trait]
impl Events for Broken {
    async fn arrive(&self, mut arrivals: Vec<ArriveRequest>) -> Result<Vec<Arrived>> {
        let mut of_batch = HashSet::new();
        for request in &mut arrivals {
            request.run = self.spoil_id(&request.run);
            self.spoil_record(&mut request.body.content);
            match self.fault {
                Fault::ArrivesTwice => request.write = new_write_id(),
                Fault::ForgetsWritesWithinABatch if !of_batch.insert(request.write) => {
                    request.write = new_write_id();
                }
                Fault::NamesTheNameless if request.body.name.is_empty() => {
                    "signal".clone_into(&mut request.body.name);
                }
                Fault::LooksBeforeItWrites => {
                    let known = self.memory().arrived.get(&request.write).cloned();
                    tokio::task::yield_now().await;
                    if let Some(known) = known {
                        return Ok(vec![known]);
                    }
                    let write = std::mem::replace(&mut request.write, new_write_id());
                    let arrived = self.inner.arrive(vec![request.clone()]).await?;
                    let mut memory = self.memory();
                    memory
                        .arrived
                        .extend(arrived.first().map(|one| (write, one.clone())));
                    return Ok(arrived);
                }
                Fault::TakesEverythingForASignal => request.body.kind = ArrivalKind::Signal,
                Fault::IsNeverFull => request.inbox_max = u64::MAX,
                Fault::CountsReadAsUnread => {
                    let row = self.inner.run(&request.run).await?;
                    let read = row.map(|row| row.read.0).unwrap_or_default();
                    request.inbox_max = request.inbox_max.saturating_sub(read);
                }
                Fault::MakesUnknownRuns => {
                    let run = crate::world::run_of(request.run.as_str());
                    self.inner.start(None, vec![run]).await?;
                }
                _ => {}
            }
        }
        match self.fault {
            Fault::DropsArrivals => {
                let accepted = Arrived::Accepted {
                    number: ArrivalNumber(1),
                    owner: None,
                    accepted_at: self.inner.clock(),
                };
                return Ok(vec![accepted; arrivals.len()]);
            }
            Fault::SealsForGood | Fault::DrainsUnseal | Fault::LiftsSealsByParkAlone => {
                let memory = self.memory();
                let is_sealed = |request: &ArriveRequest| memory.sealed.contains(&request.run);
                if arrivals.iter().any(is_sealed) {
                    return Ok(vec![Arrived::Sealed; arrivals.len()]);
                }
            }
            Fault::RemembersWritesOfAllRunsTogether => {
                let mut answers = Vec::new();
                for request in arrivals {
                    let write = request.write;
                    let known = self.memory().arrived.get(&write).cloned();
                    let answer = match known {
                        Some(known) => known,
                        None => self.inner.arrive(vec![request]).await?.remove(0),
                    };
                    self.memory().arrived.insert(write, answer.clone());
                    answers.push(answer);
                }
                return Ok(answers);
            }
            _ => {}
        }
        let mut arrived = self.inner.arrive(arrivals).await?;
        for arrived in &mut arrived {
            match (self.fault, &mut *arrived) {
                (Fault::ForgetsHowRunsEnded, Arrived::Finished(_)) => *arrived = Arrived::Unknown,
                (Fault::NamesNoOwner, Arrived::Accepted { owner, .. }) => *owner = None,
                _ => {}
            }
        }
        Ok(self.reversed(Fault::AnswersBackwards, arrived))
    }

    async fn inbox(
        &self,
        worker: WorkerId,
        mut runs: Vec<(WorkflowId, ArrivalNumber)>,
    ) -> Result<Vec<(WorkflowId, Vec<Arrival>)>> {
        match self.fault {
            Fault::ReadsEverythingAgain => {
                for (_, after) in &mut runs {
                    *after = ArrivalNumber(0);
                }
            }
            Fault::ShowsForeignInboxes => {
                let mut found = Vec::new();
                for (run, after) in runs {
                    let row = self.inner.run(&run).await?;
                    let owner = row.and_then(|row| row.owner).unwrap_or(worker);
                    found.extend(self.inner.inbox(owner, vec![(run, after)]).await?);
                }
                return Ok(found);
            }
            _ => {}
        }
        let mut found = self.inner.inbox(worker, runs).await?;
        let mut is_told = false;
        for (_, arrivals) in &mut found {
            *arrivals = self.spoil_arrivals(std::mem::take(arrivals));
            if self.has(Fault::TellsOneRunOfLostAttempts) {
                arrivals.retain(|one| !is_told || one.body.kind != ArrivalKind::AttemptLost);
                is_told |= !arrivals.is_empty();
            }
        }
        Ok(found)
    }

    async fn deliver(&self, limit: usize) -> Result<usize> {
        match self.fault {
            Fault::DeliversNothing => Ok(0),
            Fault::DeliversNothingPastSeals if !self.memory().sealed.is_empty() => Ok(0),
            Fault::DeliversWithoutWaking => {
                self.memory().is_woken_by_message = true;
                self.inner.deliver(limit).await
            }
            Fault::DeliversBeyondTheLimit => self.inner.deliver(PAGE_MAX).await,
            _ => self.inner.deliver(limit).await,
        }
    }

    fn hints(&self) -> Box<dyn HintStream> {
        let inner = self.inner.hints();
        match self.fault {
            Fault::NeverHints => Box::new(Silence),
            Fault::HintsNoEnds => Box::new(Changes(inner)),
            Fault::HintsEndsAlone => Box::new(Ends(inner)),
            _ => inner,
        }
    }
}

#[async_trait]
impl Timers for Broken {
    async fn due(&self, serves: &Serves) -> Result<Due> {
        let mut due = self.inner.due(&self.spoil_serves(serves)).await?;
        match self.fault {
            Fault::WakesNobody => due = Due::default(),
            Fault::DeliversWithoutWaking if self.memory().is_woken_by_message => {
                due = Due::default();
            }
            Fault::ForgetsNextTimes => due.next = None,
            Fault::CountsNamesTwice if !is_unique(&serves.routes) => due.now *= 2,
            Fault::CountsBeyondThePage if due.now == PAGE_MAX => due.now += 1,
            Fault::CountsOwnedRuns => {
                let filter = RunFilter {
                    statuses: vec![Status::Running],
                    ..RunFilter::default()
                };
                due.now += usize::try_from(self.inner.count(&filter).await?).unwrap();
            }
            _ => {}
        }
        Ok(due)
    }
}

#[async_trait]
impl Tasks for Broken {
    async fn claim(&self, mut request: ClaimRequest) -> Result<Vec<QueuedAttempt>> {
        match self.fault {
            Fault::IgnoresSlots => {
                for (_, slots) in &mut request.queues {
                    *slots = PAGE_MAX;
                }
            }
            Fault::ClaimsAnyTask => {
                for name in ["refund", "notify", "other"].map(task) {
                    if !request.tasks.contains(&name) {
                        request.tasks.push(name);
                    }
                }
            }
            _ => {}
        }
        let is_doubled = self.has(Fault::CountsNamesTwice) && !is_unique(&request.tasks);
        let mut claimed = self.inner.claim(request).await?;
        if is_doubled {
            claimed.extend(claimed.clone());
        }
        self.spoil_claims(&mut claimed);
        let claimed = self.reversed(Fault::ReversesClaims, claimed);
        if self.has(Fault::ClaimsTwice) {
            let mut memory = self.memory();
            memory.claimed.extend(claimed);
            return Ok(memory.claimed.clone());
        }
        Ok(claimed)
    }

    async fn claimed(&self, worker: WorkerId) -> Result<Vec<QueuedAttempt>> {
        match self.fault {
            Fault::ForgetsWhatWorkersClaimed => Ok(Vec::new()),
            Fault::ListsForeignClaims => {
                let mut all = Vec::new();
                for one in self.inner.workers().await? {
                    all.extend(self.inner.claimed(one.worker).await?);
                }
                Ok(all)
            }
            _ => {
                let claimed = self.inner.claimed(worker).await?;
                Ok(self.reversed(Fault::ReversesClaims, claimed))
            }
        }
    }

    async fn report(&self, mut reports: Vec<AttemptReport>) -> Result<Vec<Reported>> {
        match self.fault {
            Fault::DropsOutcomes => {
                return Ok(vec![Reported::Accepted { owner: None }; reports.len()]);
            }
            Fault::DropsOutcomesPastSeals if !self.memory().sealed.is_empty() => {
                return Ok(vec![Reported::Accepted { owner: None }; reports.len()]);
            }
            Fault::DropsClaimsWithOwners if self.memory().has_lost_an_owner => {
                return Ok(vec![Reported::Stale; reports.len()]);
            }
            Fault::ReportsForAnyRun => {
                for report in &mut reports {
                    let memory = self.memory();
                    let of_operation = |one: &&QueuedAttempt| one.operation == report.operation;
                    if let Some(any) = memory.claimed.iter().find(of_operation) {
                        report.run = any.run.clone();
                    }
                }
            }
            Fault::ForgetsReports => {
                for report in &mut reports {
                    report.write = new_write_id();
                }
            }
            _ => {}
        }
        let mut reported = self.inner.report(reports).await?;
        if self.has(Fault::AcceptsStaleReports) {
            for reported in &mut reported {
                if *reported == Reported::Stale {
                    *reported = Reported::Accepted { owner: None };
                }
            }
        }
        Ok(self.reversed(Fault::AnswersBackwards, reported))
    }
}
