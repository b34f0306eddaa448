//! Pausing, resuming, cancelling and terminating runs.
//!
//! Invariants: a run that somebody owns is asked through its inbox, once; one that nobody owns is changed by an edit that
//! the store takes only if nobody came to own it meanwhile. Whoever lost that race looks again. A request that was
//! answered is durable.

use std::future::IntoFuture;

use crate::backend::{ArrivalBody, ArrivalKind, ArriveRequest, RunRecord, Verdict};
use crate::client::Client;
use crate::client::arrival::finished;
use crate::client::looks::Looks;
use crate::client::signal::SendSignal;
use crate::clock::{BoxFuture, Timestamp};
use crate::engine::messages::{self, TimerMove};
use crate::engine::outside::{self, Act, Grounds, edit, terminated};
use crate::error::{Error, ErrorKind, Result};
use crate::history::{OperationKey, PausedTimers};
use crate::id::{WorkflowId, WriteId};
use crate::payload::Payload;
use crate::status::Status;

/// Controls one run.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    client: Client,
    id: WorkflowId,
}

impl Control {
    pub(crate) const fn new(client: Client, id: WorkflowId) -> Self {
        Self { client, id }
    }

    async fn pause(&self, reason: String, timers: PausedTimers) -> Result<()> {
        let act = Act::Pause { reason, timers };
        self.until_it_is(Status::Paused, &act).await
    }

    pub(crate) async fn terminate(&self, reason: String) -> Result<()> {
        let act = Act::Terminate { reason };
        self.until_it_is(Status::Terminated, &act).await
    }

    /// Asks the owner, or edits what nobody owns, and waits until that shows.
    async fn until_it_is(&self, goal: Status, act: &Act) -> Result<()> {
        let mut looks = Looks::new(&self.client);
        let mut is_asked = false;
        loop {
            let row = self.client.row(&self.id).await?;
            if row.status == goal {
                return Ok(());
            }
            if row.status.is_terminal() {
                return Err(finished(&self.id, row.status));
            }
            // A pause that was asked for is not edited in as well: the request would be left in the inbox.
            let may_edit = !is_asked || matches!(act, Act::Terminate { .. });
            if row.owner.is_none() && may_edit {
                if self.edit(&row, act).await? {
                    return Ok(());
                }
            } else if !is_asked {
                is_asked = self.ask(act).await?;
            }
            looks.next().await;
        }
    }

    pub(crate) async fn resume(&self, reason: String) -> Result<()> {
        let act = Act::Resume { reason };
        let mut looks = Looks::new(&self.client);
        loop {
            let row = self.client.row(&self.id).await?;
            match row.status {
                ended if ended.is_terminal() => return Err(finished(&self.id, ended)),
                Status::Paused if self.edit(&row, &act).await? => return Ok(()),
                Status::Paused => {}
                // It may be about to pause.
                _ if row.owner.is_some() => {
                    if self.ask(&act).await? {
                        return Ok(());
                    }
                }
                _ => return Ok(()),
            }
            looks.next().await;
        }
    }

    pub(crate) async fn cancel(&self, reason: String) -> Result<()> {
        let act = Act::Cancel { reason };
        let mut looks = Looks::new(&self.client);
        loop {
            let row = self.client.row(&self.id).await?;
            let is_done = match row.status {
                Status::Cancelled => true,
                ended if ended.is_terminal() => return Err(finished(&self.id, ended)),
                Status::Paused => self.edit(&row, &act).await?,
                _ => self.ask(&act).await? && !self.is_paused_unread().await?,
            };
            if is_done {
                return Ok(());
            }
            looks.next().await;
        }
    }

    pub(crate) fn signal(&self, name: &str, payload: Result<Payload>) -> SendSignal {
        SendSignal::new(self.client.clone(), self.id.clone(), name, payload)
    }

    /// Lists the open timers and time limits, by when they are due.
    pub(crate) async fn timers(&self) -> Result<Vec<OpenTimer>> {
        let row = self.client.row(&self.id).await?;
        if row.status.is_terminal() {
            return Ok(Vec::new());
        }
        let turns = self.client.turns(&self.id, Some(row.segment)).await?;
        let (_, ledger) = outside::read(&turns)?;
        let timers = ledger.timers().map(|(operation, due)| OpenTimer {
            operation: operation.clone(),
            due,
        });
        let mut timers: Vec<_> = timers.collect();
        timers.sort_by(|one, other| (one.due, &one.operation).cmp(&(other.due, &other.operation)));
        Ok(timers)
    }

    pub(crate) async fn move_timer(
        &self,
        operation: OperationKey,
        to: TimerMove,
        reason: String,
    ) -> Result<()> {
        let mut looks = Looks::new(&self.client);
        let act = Act::MoveTimer {
            operation: operation.clone(),
            to,
            reason,
        };
        loop {
            let row = self.client.row(&self.id).await?;
            if row.status.is_terminal() {
                return Err(finished(&self.id, row.status));
            }
            let is_done = if row.owner.is_none() {
                self.edit(&row, &act).await?
            } else {
                let turns = self.client.turns(&self.id, Some(row.segment)).await?;
                outside::find_timer(&outside::read(&turns)?.1, &operation)?;
                self.ask(&act).await?
            };
            if is_done {
                return Ok(());
            }
            looks.next().await;
        }
    }

    /// Tells whether the run paused while it was asked for something else, which then waits with it.
    async fn is_paused_unread(&self) -> Result<bool> {
        Ok(self.client.row(&self.id).await?.status == Status::Paused)
    }

    /// Puts a request into the inbox; tells whether it is there, or else the run has just ended.
    async fn ask(&self, act: &Act) -> Result<bool> {
        let request = ArriveRequest {
            run: self.id.clone(),
            write: WriteId(self.client.environment().uuid()),
            body: ArrivalBody {
                kind: ArrivalKind::Control,
                name: "control".to_owned(),
                content: messages::encode(&act.request())?,
            },
            // Whoever cannot take more signals can still be stopped.
            inbox_max: u64::MAX,
        };
        match self.client.arrive(request).await {
            Err(error) if error.kind() == ErrorKind::Finished => Ok(false),
            answer => answer.map(|()| true),
        }
    }

    /// Changes a run that nobody owns; tells whether nobody came to own or to change it meanwhile.
    async fn edit(&self, row: &RunRecord, act: &Act) -> Result<bool> {
        let client = &self.client;
        let turns = client.turns(&self.id, Some(row.segment)).await?;
        let grounds = Grounds {
            row,
            turns: &turns,
            hash_key: &client.settings().hash_key,
            now: client.backend().clock(),
        };
        let turn = edit(act, &grounds, WriteId(client.environment().uuid()))?;
        let backend = client.backend();
        let verdicts = client.ask(|| backend.edit(vec![turn.clone()])).await?;
        match verdicts.into_iter().next() {
            Some(Verdict::Committed) => {
                tracing::info!(run = %self.id, act = ?act, "run edited");
                if let Act::Terminate { reason } = act {
                    client.hub().ended(&self.id, terminated(reason));
                }
                client.hub().nudge();
                Ok(true)
            }
            Some(Verdict::Refused(reason)) => Err(Error::new(ErrorKind::LimitExceeded, reason)),
            _ => Ok(false),
        }
    }
}

/// Is a timer, or the time limit of a wait, that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenTimer {
    /// The operation, such as `timer:sleep#1`.
    pub operation: OperationKey,
    /// When it is due.
    pub due: Timestamp,
}

/// Pauses a run; made by [`Handle::pause`](crate::client::Handle::pause) and awaited.
#[must_use = "nothing is paused until it is awaited"]
#[derive(Debug)]
pub struct PauseRun {
    control: Control,
    reason: String,
    timers: PausedTimers,
}

impl PauseRun {
    pub(crate) const fn new(control: Control, reason: String) -> Self {
        Self {
            control,
            reason,
            timers: PausedTimers::RunOn,
        }
    }

    /// Makes the timers of the run stand still meanwhile: after the resume, as much of each is left as when it was
    /// paused. By default they run on, and what came due is told after the resume.
    pub const fn stopping_timers(mut self) -> Self {
        self.timers = PausedTimers::StandStill;
        self
    }
}

impl IntoFuture for PauseRun {
    type Output = Result<()>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.control.pause(self.reason, self.timers).await })
    }
}
