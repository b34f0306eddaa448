//! Attempts from task queues: claimed, run, reported.
//!
//! Invariants: a claim belongs to the worker's lease; its outcome goes to the inbox of its run, whoever owns that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::backend::{AttemptReport, ClaimRequest, Error as BackendError, QueuedAttempt, Reported};
use crate::clock::Abort;
use crate::context::{CancelFlag, TaskData};
use crate::engine::messages::{self, AttemptContent, OutcomeContent};
use crate::error::Error;
use crate::history::Outcome;
use crate::id::{QueueName, TaskName, WorkerId, WriteId};
use crate::worker::attempt::{AttemptRequest, run_attempt, slot};
use crate::worker::shared::Shared;

/// Is a claimed attempt: its queue, and its task once that was spawned.
type Claimed = (QueueName, Option<Box<dyn Abort>>);

type Running = Arc<Mutex<HashMap<u64, Claimed>>>;

/// Holds the claimed attempts that run here.
pub(crate) struct Claims {
    shared: Arc<Shared>,
    running: Running,
    next: u64,
}

impl Claims {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            running: Running::default(),
            next: 0,
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

    fn start(&mut self, worker: WorkerId, attempt: QueuedAttempt) {
        let number = self.next;
        self.next += 1;
        let shared = Arc::clone(&self.shared);
        let running = Arc::clone(&self.running);
        let entry = (attempt.queue.clone(), None);
        lock(&self.running).insert(number, entry);
        let task = self.shared.spawn("queued attempt", async move {
            let content = execute(&shared, &attempt).await;
            if let Some(content) = content {
                report(&shared, worker, attempt, content).await;
            }
            lock(&running).remove(&number);
            shared.nudge.notify_one();
        });
        if let Some((_, slot)) = lock(&self.running).get_mut(&number) {
            *slot = Some(task);
        }
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        self.forget_all();
    }
}

fn lock(running: &Running) -> MutexGuard<'_, HashMap<u64, Claimed>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn execute(shared: &Arc<Shared>, attempt: &QueuedAttempt) -> Option<Vec<u8>> {
    let _slot = slot(shared).await?;
    let outcome: Outcome = match request(shared, attempt) {
        Ok(request) => match run_attempt(shared, request).await {
            Ok(outcome) => outcome,
            Err(unfit) => Err(unfit),
        },
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
        match shared.backend.report(vec![report.clone()]).await {
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
