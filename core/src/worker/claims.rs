//! Attempts from task queues: claimed, run, reported.
//!
//! Invariants: a claim belongs to the worker's lease; its outcome goes to the inbox of its run, whoever owns that.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;

use crate::backend::{AttemptReport, ClaimRequest, Error as BackendError, QueuedAttempt, Reported};
use crate::clock::Abort;
use crate::context::{CancelFlag, TaskData};
use crate::engine::execution::panic_error;
use crate::engine::messages::{self, AttemptContent, OutcomeContent};
use crate::error::Error;
use crate::history::{OperationKey, Outcome};
use crate::id::{QueueName, Segment, TaskName, WorkerId, WorkflowId, WriteId};
use crate::worker::attempt::{AttemptRequest, run_attempt, slot};
use crate::worker::keeper::LOOKS_UNTIL_MISSING;
use crate::worker::shared::Shared;

/// Names a claimed attempt.
type Name = (WorkflowId, Segment, OperationKey, u32);

/// Is a claimed attempt: its queue, and its task once that was spawned.
type Claimed = (QueueName, Option<Box<dyn Abort>>);

type Running = Arc<Mutex<BTreeMap<Name, Claimed>>>;

/// Holds the claimed attempts that run here.
pub(crate) struct Claims {
    shared: Arc<Shared>,
    running: Running,
    /// How many looks in a row found more claimed attempts than run here.
    missing: u32,
}

impl Claims {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            running: Running::default(),
            missing: 0,
        }
    }

    /// Claims what free slots allow and runs it.
    pub(crate) async fn claim(&mut self) -> Result<(), BackendError> {
        let queues = self.free_slots();
        if queues.is_empty() {
            return Ok(());
        }
        let worker = self.shared.worker();
        let claimed = self
            .shared
            .backend
            .claim(ClaimRequest {
                worker,
                queues,
                tasks: self.shared.serves.tasks.clone(),
            })
            .await?;
        for attempt in claimed {
            self.start(worker, attempt);
        }
        Ok(())
    }

    /// Runs attempts that were claimed and do not run here, as the answer to their claim was lost.
    pub(crate) async fn find_missing(&mut self, claimed: usize) -> Result<(), BackendError> {
        let is_missing = claimed > lock(&self.running).len();
        self.missing = if is_missing { self.missing + 1 } else { 0 };
        if self.missing < LOOKS_UNTIL_MISSING {
            return Ok(());
        }
        self.missing = 0;
        let worker = self.shared.worker();
        // What ran when the question was asked may have been reported since the store answered.
        let known: BTreeSet<_> = lock(&self.running).keys().cloned().collect();
        for attempt in self.shared.backend.claimed(worker).await? {
            if !known.contains(&name_of(&attempt)) {
                tracing::warn!(run = %attempt.run, "claimed and not running; started");
                self.start(worker, attempt);
            }
        }
        Ok(())
    }

    /// Stops everything, as the claims are another's now.
    pub(crate) fn forget_all(&self) {
        let running =
            std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        for (_, task) in running.into_values() {
            if let Some(task) = task {
                task.abort();
            }
        }
    }

    fn free_slots(&self) -> Vec<(QueueName, usize)> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let used = |queue: &QueueName| running.values().filter(|(used, _)| used == queue).count();
        self.shared
            .options
            .queues
            .iter()
            .map(|(queue, slots)| (queue.clone(), slots.saturating_sub(used(queue))))
            .filter(|(_, free)| *free > 0)
            .collect()
    }

    fn start(&self, worker: WorkerId, attempt: QueuedAttempt) {
        let name = name_of(&attempt);
        let entry = (attempt.queue.clone(), None);
        match lock(&self.running).entry(name.clone()) {
            Entry::Occupied(_) => return,
            Entry::Vacant(vacant) => vacant.insert(entry),
        };
        let (shared, running) = (Arc::clone(&self.shared), Arc::clone(&self.running));
        let done = name.clone();
        let task = self.shared.spawn("queued attempt", async move {
            let content = execute(&shared, &attempt).await;
            if let Some(content) = content {
                report(&shared, worker, attempt, content).await;
            }
            lock(&running).remove(&done);
            shared.nudge.notify_one();
        });
        if let Some((_, slot)) = lock(&self.running).get_mut(&name) {
            *slot = Some(task);
        }
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        self.forget_all();
    }
}

fn name_of(attempt: &QueuedAttempt) -> Name {
    (
        attempt.run.clone(),
        attempt.segment,
        attempt.operation.clone(),
        attempt.attempt,
    )
}

fn lock(running: &Running) -> MutexGuard<'_, BTreeMap<Name, Claimed>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn execute(shared: &Arc<Shared>, attempt: &QueuedAttempt) -> Option<Vec<u8>> {
    let _slot = slot(shared).await?;
    let outcome: Outcome = match request(shared, attempt) {
        Ok(request) => {
            let attempt = AssertUnwindSafe(run_attempt(shared, request)).catch_unwind();
            match attempt.await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(unfit)) => Err(unfit),
                Err(panic) => Err(panic_error("attempt", &*panic)),
            }
        }
        Err(error) => Err(error),
    };
    messages::encode(&OutcomeContent {
        segment: attempt.segment,
        operation: attempt.operation.clone(),
        attempt: attempt.attempt,
        outcome,
    })
    .ok()
}

fn request(shared: &Arc<Shared>, attempt: &QueuedAttempt) -> Result<AttemptRequest, Error> {
    let content: AttemptContent = messages::decode(&attempt.content)?;
    Ok(AttemptRequest {
        identity: content.identity,
        segment: attempt.segment,
        operation: attempt.operation.clone(),
        task: TaskName::from_stored(attempt.task.as_str()),
        arguments: content.arguments,
        options: content.options,
        attempt: attempt.attempt,
        data: TaskData::Stored(Arc::clone(&shared.backend)),
        cancelled: CancelFlag::new(),
    })
}

async fn report(shared: &Shared, worker: WorkerId, attempt: QueuedAttempt, content: Vec<u8>) {
    let report = AttemptReport {
        worker,
        run: attempt.run.clone(),
        segment: attempt.segment,
        operation: attempt.operation,
        attempt: attempt.attempt,
        write: WriteId(shared.environment.uuid()),
        content,
    };
    let mut pause = Duration::from_millis(20);
    loop {
        match shared.heard(shared.backend.report(vec![report.clone()]).await) {
            Ok(answers) => {
                if let Some(Reported::Accepted { owner }) = answers.first() {
                    shared.hub.arrived(&attempt.run, *owner, None);
                }
                return;
            }
            Err(error) if error.should_ask_again() => {
                shared.environment.sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
            Err(error) => {
                tracing::warn!(run = %attempt.run, %error, "outcome not accepted");
                return;
            }
        }
    }
}
