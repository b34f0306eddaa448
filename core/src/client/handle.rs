//! One run as seen from outside.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::{HintStream, RunRecord, RunState};
use crate::client::control::{Control, OpenTimer, PauseRun};
use crate::client::reads::unknown;
use crate::client::signal::SendSignal;
use crate::client::update::SendUpdate;
use crate::client::watch::Watch;
use crate::client::{Client, end_error};
use crate::clock::Timestamp;
use crate::context::{Data, IntoValue, Signal, Update};
use crate::engine::identifiers::route_of;
use crate::engine::messages::TimerMove;
use crate::error::Result;
use crate::history::{Event, EventKind, OperationKey, Outcome, decode_record};
use crate::hub::EndCell;
use crate::id::{DataKey, EventNumber, Segment, TurnNumber, WorkflowId, WorkflowType};
use crate::identity::{RunKind, WorkflowIdentity};
use crate::payload::{Binding, Payload};
use crate::status::Status;

/// Is how often a waiting client looks, at first, when nothing hints that it should.
const LOOK: Duration = Duration::from_secs(1);

/// Is how much longer than the last look a client may have waited in vain, as a part of all it waited.
const LOOKS_PER_WAIT: u32 = 100;

/// Is the shortest time between two looks that hints ask for.
const HINTS_COALESCED: Duration = Duration::from_millis(10);

/// Reaches one run. Cheap to clone.
pub struct Handle<R> {
    client: Client,
    id: WorkflowId,
    workflow_type: Option<WorkflowType>,
    /// Whether the start that made the handle started the run too, so that its end is still to come.
    is_new: bool,
    end: Arc<EndCell>,
    result: PhantomData<fn() -> R>,
}

impl<R> Clone for Handle<R> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            id: self.id.clone(),
            workflow_type: self.workflow_type.clone(),
            is_new: self.is_new,
            end: Arc::clone(&self.end),
            result: PhantomData,
        }
    }
}

impl<R> fmt::Debug for Handle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({:?})", self.id)
    }
}

impl<R> Drop for Handle<R> {
    fn drop(&mut self) {
        if Arc::strong_count(&self.end) == 1 {
            self.end = Arc::new(EndCell::new(None));
            self.client.hub().unwatch(&self.id);
        }
    }
}

impl<R> Handle<R> {
    pub(crate) fn new(client: Client, id: WorkflowId, workflow_type: Option<WorkflowType>) -> Self {
        Self {
            end: client.hub().watch(&id),
            client,
            id,
            workflow_type,
            is_new: false,
            result: PhantomData,
        }
    }

    pub(crate) fn of_new_run(mut self) -> Self {
        self.is_new = true;
        self
    }

    /// Returns the run's id.
    #[must_use]
    pub fn id(&self) -> &WorkflowId {
        &self.id
    }

    /// Waits until the run has ended and returns its result. A blocked or paused run is waited for.
    ///
    /// # Errors
    /// The error the run failed with; `Cancelled` or `Terminated`; `NotFound` when there is no such run; `InvalidInput`
    /// when the result is not an `R`.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn result(&self) -> Result<R>
    where
        R: DeserializeOwned,
    {
        let payload = self.outcome().await??;
        let name = match &self.workflow_type {
            Some(name) => name.clone(),
            None if self.client.settings().codecs.is_empty() => WorkflowType::from_stored("?"),
            None => self.client.row(&self.id).await?.identity.workflow_type,
        };
        let binding = Binding {
            run: &self.id,
            kind: "result",
            key: name.as_str(),
        };
        let payload = self.client.settings().codecs.decode(payload, &binding)?;
        payload.decode_as("result", self.id.as_str())
    }

    async fn outcome(&self) -> Result<Outcome> {
        let mut end = self.end.subscribe();
        let is_ours = self.is_executed_here();
        if let Some(outcome) = end.borrow_and_update().clone() {
            return Ok(outcome);
        }
        let mut hints = (!is_ours).then(|| self.client.backend().hints());
        let mut looks = if is_ours && self.is_new {
            None
        } else {
            self.look().await?
        };
        let environment = self.client.environment();
        let since = environment.elapsed();
        loop {
            if let Some(outcome) = looks {
                return Ok(outcome);
            }
            let waited = environment.elapsed().saturating_sub(since);
            let pause = LOOK.max(waited / LOOKS_PER_WAIT);
            tokio::select! {
                biased;
                changed = end.changed() => {
                    let ended = end.borrow_and_update().clone();
                    if let (Ok(()), Some(outcome)) = (changed, ended) {
                        return Ok(outcome);
                    }
                }
                () = next_hint(&mut hints) => environment.sleep(HINTS_COALESCED).await,
                () = environment.sleep(pause) => {}
            }
            looks = self.look().await?;
        }
    }

    /// Tells whether a worker of this process executes such runs, so that it tells of their end.
    fn is_executed_here(&self) -> bool {
        self.workflow_type.as_ref().is_some_and(|name| {
            [RunKind::Workflow, RunKind::Task].iter().any(|kind| {
                let route = route_of(*kind, name.as_str());
                self.client.hub().worker_for(&route).is_some()
            })
        })
    }

    async fn look(&self) -> Result<Option<Outcome>> {
        let backend = self.client.backend();
        let states = backend.states(std::slice::from_ref(&self.id)).await?;
        match states.into_iter().next().flatten() {
            Some(state) => self.ended(&state),
            None => Err(unknown(&self.id)),
        }
    }

    fn ended(&self, state: &RunState) -> Result<Option<Outcome>> {
        if !state.status.is_terminal() {
            return Ok(None);
        }
        let record = state.last_turn.as_ref().map(|turn| turn.record.as_slice());
        let events = decode_record(record.unwrap_or_default())?;
        Ok(events.last().map(|event| match &event.kind {
            EventKind::RunCompleted { result } => Ok(result.clone()),
            other => Err(end_error(&self.id, other)),
        }))
    }

    /// Sends a signal; it is durable when this returns, and delivered even if the run does not wait for it yet. With
    /// [`SendSignal::idempotency_key`] it may be sent again and arrives once.
    ///
    /// # Errors
    /// `NotFound` when there is no such run, `Finished` when it has ended, `LimitExceeded` when its inbox is full or the
    /// value too large, `Unavailable` when the backend cannot be reached.
    ///
    /// # Cancel safety
    /// A dropped call has sent the signal or not.
    pub fn signal<T: Serialize>(&self, signal: Signal<T>, value: impl IntoValue<T>) -> SendSignal {
        let payload = Payload::encode(&value.into_value());
        SendSignal::new(self.client.clone(), self.id.clone(), signal.name(), payload)
    }

    /// Sends a request to the run and waits for its answer.
    ///
    /// # Errors
    /// What the update's check or the workflow refused it with; `Finished` when the run has ended, or ends without an
    /// answer; `TimedOut` after [`SendUpdate::within`]; otherwise as [`Handle::signal`].
    ///
    /// # Cancel safety
    /// A dropped call has sent the request or not; with an idempotency key it can be asked again.
    pub fn update<Q: Serialize, A>(&self, update: Update<Q, A>, request: Q) -> SendUpdate<A> {
        SendUpdate::new(self.client.clone(), self.id.clone(), update, &request)
    }

    /// Returns a value of the run's workflow data as it was last committed.
    ///
    /// # Errors
    /// `NotFound` when there is no such run; `InvalidInput` when the stored value is not a `T`.
    pub async fn get<T: DeserializeOwned>(&self, key: Data<T>) -> Result<Option<T>> {
        let name = DataKey::new(key.name())?;
        let value = self.client.value(&self.id, &name).await?;
        value
            .map(|value| value.decode_as("data", key.name()))
            .transpose()
    }

    /// Follows a value of the run's workflow data: progress, or partial output.
    pub fn watch<T: DeserializeOwned>(&self, key: Data<T>) -> Watch<T> {
        Watch::new(self.client.clone(), self.id.clone(), key)
    }

    /// Returns where the run stands. One that is due while no worker serves its type is `Blocked`; see
    /// [`Handle::info`] for the reason.
    ///
    /// # Errors
    /// `NotFound` when there is no such run.
    pub async fn status(&self) -> Result<Status> {
        Ok(self.info().await?.status)
    }

    /// Returns what is known of the run.
    ///
    /// # Errors
    /// `NotFound` when there is no such run.
    pub async fn info(&self) -> Result<RunInfo> {
        let record = self.client.row(&self.id).await?;
        let is_due = record.owner.is_none()
            && matches!(record.status, Status::Pending | Status::Waiting)
            && record
                .wake_at
                .is_some_and(|due| due <= self.client.backend().clock());
        let route = record.route.clone();
        let mut info = RunInfo::new(record);
        if is_due && !self.is_served(&route).await? {
            info.status = Status::Blocked;
            info.reason = Some(format!(
                "no live worker serves `{route}`; start one that has it registered"
            ));
        }
        if info.status == Status::Paused {
            info.reason = self.reason_of_pause().await?;
        }
        Ok(info)
    }

    async fn reason_of_pause(&self) -> Result<Option<String>> {
        let history = self.history().await?;
        Ok(history
            .into_iter()
            .rev()
            .find_map(|entry| match entry.event.kind {
                EventKind::RunPaused { reason, .. } | EventKind::PauseStarted { reason, .. } => {
                    Some(reason)
                }
                _ => None,
            }))
    }

    async fn is_served(&self, route: &crate::id::Route) -> Result<bool> {
        let backend = self.client.backend();
        let now = backend.clock();
        let workers = backend.workers().await?;
        Ok(workers
            .iter()
            .any(|worker| worker.lease_until > now && worker.serves.routes.contains(route)))
    }

    /// Returns the history of the run's newest segment.
    ///
    /// # Errors
    /// `NotFound` when there is no such run; `Corrupt` or `NewerVersion` when a record cannot be read.
    pub async fn history(&self) -> Result<Vec<HistoryEntry>> {
        let mut entries = Vec::new();
        for turn in self.client.turns(&self.id, None).await? {
            for event in decode_record(&turn.record)? {
                entries.push(HistoryEntry {
                    number: EventNumber(entries.len() as u64),
                    turn: turn.turn,
                    event,
                });
            }
        }
        Ok(entries)
    }

    /// Pauses the run, and returns when it is paused: nothing new of it starts until it is resumed. Attempts that run in
    /// its owner end first; queued ones that a worker has claimed go on, and what they come to is kept. Signals are taken
    /// and told after the resume, as is what comes due meanwhile; see [`PauseRun::stopping_timers`].
    ///
    /// A run that is paused already stays as it is. A run of subworkflows is paused alone; pause the tree with
    /// `client.list().tree_of(id).pause(reason)`.
    ///
    /// # Errors
    /// `NotFound` when there is no such run, `Finished` when it has ended, `Unavailable` when the backend cannot be
    /// reached.
    ///
    /// # Cancel safety
    /// A dropped call has asked for the pause or not.
    pub fn pause(&self, reason: impl Into<String>) -> PauseRun {
        PauseRun::new(self.control(), reason.into())
    }

    /// Lets a paused run go on, by any worker that serves it. One that is not paused is left as it is.
    ///
    /// # Errors
    /// As [`Handle::pause`].
    pub async fn resume(&self, reason: impl Into<String>) -> Result<()> {
        self.control().resume(reason.into()).await
    }

    /// Asks the run to end. Each durable operation that it waits for, or comes to, fails with `Cancelled`; it may clean
    /// up and decides how it ends. Subworkflows end by their close policies, a pause is lifted. It cannot be taken back,
    /// and asking again changes nothing.
    ///
    /// It returns once the request is durable; await [`Handle::result`] for the end.
    ///
    /// # Errors
    /// As [`Handle::pause`]; none when the run was cancelled already.
    pub async fn cancel(&self, reason: impl Into<String>) -> Result<()> {
        self.control().cancel(reason.into()).await
    }

    /// Ends the run without running any more of its code, and returns when it has ended. Subworkflows end by their close
    /// policies. It reaches a run that is parked, paused or blocked too, also while no worker is there.
    ///
    /// # Errors
    /// As [`Handle::pause`]; none when the run was terminated already.
    pub async fn terminate(&self, reason: impl Into<String>) -> Result<()> {
        self.control().terminate(reason.into()).await
    }

    /// Lists the timers and time limits of waits that the run has open, those that are due first ahead.
    ///
    /// # Errors
    /// `NotFound` when there is no such run; `Unavailable` when the backend cannot be reached.
    pub async fn timers(&self) -> Result<Vec<OpenTimer>> {
        self.control().timers().await
    }

    /// Makes an open timer due now, and returns once that is durable. It is recorded, with the reason.
    ///
    /// # Errors
    /// `NotFound` when there is no such run, or no such timer is open, with those that are; `Finished` when the run has
    /// ended.
    pub async fn skip_timer(&self, timer: &OperationKey, reason: impl Into<String>) -> Result<()> {
        let control = self.control();
        control
            .move_timer(timer.clone(), TimerMove::Now, reason.into())
            .await
    }

    /// Puts an open timer off, and returns once that is durable. It is recorded, with the reason.
    ///
    /// # Errors
    /// As [`Handle::skip_timer`].
    pub async fn extend_timer(
        &self,
        timer: &OperationKey,
        by: Duration,
        reason: impl Into<String>,
    ) -> Result<()> {
        let control = self.control();
        control
            .move_timer(timer.clone(), TimerMove::Later(by), reason.into())
            .await
    }

    fn control(&self) -> Control {
        Control::new(self.client.clone(), self.id.clone())
    }
}

async fn next_hint(hints: &mut Option<Box<dyn HintStream>>) {
    match hints {
        Some(hints) => {
            hints.next().await;
        }
        None => std::future::pending().await,
    }
}

/// Is one event of a history with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// Its number in the segment.
    pub number: EventNumber,
    /// The turn that wrote it.
    pub turn: TurnNumber,
    /// What happened.
    pub event: Event,
}

/// Is what can be known of a run without reading its history.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunInfo {
    /// Who it is.
    pub identity: WorkflowIdentity,
    /// What it executes.
    pub kind: RunKind,
    /// Its newest segment.
    pub segment: Segment,
    /// Where it stands.
    pub status: Status,
    /// Why it is blocked or paused. A list leaves out why runs are paused.
    pub reason: Option<String>,
    /// Its tags.
    pub tags: Vec<(String, String)>,
    /// When it is due next, while nobody owns it.
    pub wake_at: Option<Timestamp>,
    /// When it was started.
    pub created_at: Timestamp,
    /// When its row was last written; turns that only append do not count.
    pub updated_at: Timestamp,
}

impl RunInfo {
    pub(crate) fn new(record: RunRecord) -> Self {
        Self {
            identity: record.identity,
            kind: record.kind,
            segment: record.segment,
            status: record.status,
            reason: record.blocked.map(|(reason, _)| reason),
            tags: record.tags,
            wake_at: record.wake_at,
            created_at: record.created_at,
            updated_at: record.updated_at,
        }
    }
}
