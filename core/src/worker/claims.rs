//! Attempts from task queues: claimed, run, reported.
//!
//! Invariants: a claim belongs to the worker's lease; its outcome goes to the inbox of its run, whoever owns that. One
//! request claims for all queues; one request of reports is in flight, and what ends meanwhile goes with the next.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::mpsc;

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

/// Is the most reports in one request.
const REPORTED_AT_ONCE: usize = 256;

/// Holds the claimed attempts that run here.
pub(crate) struct Claims {
    shared: Arc<Shared>,
    running: Running,
    reports: mpsc::UnboundedSender<AttemptReport>,
    reporter: Box<dyn Abort>,
    /// How many looks in a row found more claimed attempts than run here.
    missing: u32,
}

impl Claims {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let running = Running::default();
        let (reports, ended) = mpsc::unbounded_channel();
        let reporting = report_all(Arc::clone(&shared), Arc::clone(&running), ended);
        Self {
            reporter: shared.spawn("reporter", reporting),
            shared,
            running,
            reports,
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
        tracing::debug!(attempts = claimed.len(), "claimed from queues");
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
        let running = std::mem::take(&mut *lock(&self.running));
        self.shared.load.set_claimed(0);
        for (_, task) in running.into_values() {
            if let Some(task) = task {
                task.abort();
            }
        }
    }

    fn free_slots(&self) -> Vec<(QueueName, usize)> {
        let running = lock(&self.running);
        let used = |queue: &QueueName| running.values().filter(|(used, _)| used == queue).count();
        let options = &self.shared.options;
        let named = options.queues.iter();
        let named = named.map(|(queue, slots)| (queue.clone(), slots.saturating_sub(used(queue))));
        let spilled = QueueName::spilled();
        let free = self
            .shared
            .load
            .free_for_spilled(options.slots, used(&spilled));
        named
            .chain([(spilled, free)])
            .filter(|(_, free)| *free > 0)
            .collect()
    }

    fn start(&self, worker: WorkerId, attempt: QueuedAttempt) {
        let name = name_of(&attempt);
        if !self.add(&name, &attempt.queue) {
            return;
        }
        let (shared, reports) = (Arc::clone(&self.shared), self.reports.clone());
        let task = self.shared.spawn("queued attempt", async move {
            if let Some(content) = execute(&shared, &attempt).await {
                drop(reports.send(report_of(&shared, worker, attempt, content)));
            }
        });
        if let Some((_, slot)) = lock(&self.running).get_mut(&name) {
            *slot = Some(task);
        }
    }

    /// Takes note of an attempt; says whether it was not here yet.
    fn add(&self, name: &Name, queue: &QueueName) -> bool {
        let mut running = lock(&self.running);
        let is_new = match running.entry(name.clone()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert((queue.clone(), None));
                true
            }
        };
        self.shared.load.set_claimed(running.len());
        is_new
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        self.reporter.abort();
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

fn request(shared: &Arc<Shared>, attempt: &QueuedAttempt) -> Result<Box<AttemptRequest>, Error> {
    let content: AttemptContent = messages::decode(&attempt.content)?;
    Ok(Box::new(AttemptRequest {
        identity: content.identity,
        segment: attempt.segment,
        operation: attempt.operation.clone(),
        task: TaskName::from_stored(attempt.task.as_str()),
        arguments: content.arguments,
        options: Arc::new(content.options),
        attempt: attempt.attempt,
        data: TaskData::Stored(Arc::clone(&shared.backend)),
        cancelled: CancelFlag::default(),
    }))
}

fn report_of(
    shared: &Shared,
    worker: WorkerId,
    attempt: QueuedAttempt,
    content: Vec<u8>,
) -> AttemptReport {
    AttemptReport {
        worker,
        run: attempt.run,
        segment: attempt.segment,
        operation: attempt.operation,
        attempt: attempt.attempt,
        write: WriteId(shared.environment.uuid()),
        content,
    }
}

/// Reports what ended, all that waits together.
async fn report_all(
    shared: Arc<Shared>,
    running: Running,
    mut ended: mpsc::UnboundedReceiver<AttemptReport>,
) {
    while let Some(first) = ended.recv().await {
        let mut batch = vec![first];
        while batch.len() < REPORTED_AT_ONCE
            && let Ok(next) = ended.try_recv()
        {
            batch.push(next);
        }
        report(&shared, &batch).await;
        let mut running = lock(&running);
        for one in batch {
            running.remove(&(one.run, one.segment, one.operation, one.attempt));
        }
        shared.load.set_claimed(running.len());
        shared.nudge.notify_one();
    }
}

async fn report(shared: &Shared, batch: &[AttemptReport]) {
    let mut pause = Duration::from_millis(20);
    loop {
        match shared.heard(shared.backend.report(batch.to_vec()).await) {
            Ok(answers) => return tell_owners(shared, batch, &answers),
            Err(error) if error.should_ask_again() => {
                shared.environment.sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
            Err(error) => {
                tracing::warn!(outcomes = batch.len(), %error, "outcomes not accepted");
                return;
            }
        }
    }
}

/// Tells the owners in this process that something arrived, each run once.
fn tell_owners(shared: &Shared, batch: &[AttemptReport], answers: &[Reported]) {
    let accepted = batch.iter().zip(answers);
    let runs: BTreeMap<_, _> = accepted
        .filter_map(|(report, answer)| match answer {
            Reported::Accepted { owner } => Some((&report.run, *owner)),
            Reported::Stale => None,
        })
        .collect();
    for (run, owner) in runs {
        shared.hub.arrived(run, owner, None);
    }
}
