//! What the parts of one worker share.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{Notify, Semaphore, mpsc};

use crate::backend::{Backend, Lane, Result as BackendResult, Serves};
use crate::clock::{BoxFuture, Environment};
use crate::engine::execution::Program;
use crate::engine::live::Settings;
use crate::hub::Hub;
use crate::id::{QueueName, WorkerId};
use crate::identity::RunKind;
use crate::registry::{Dependencies, Registration, Registry};
use crate::worker::gathered::QuickOnes;
use crate::worker::health::Vitals;
use crate::worker::lane::LaneInput;
use crate::worker::load::Load;
use crate::worker::program::program_of;

/// Numbers the lanes of a worker: each has one request in flight. Those from `COMMIT_LANES` on are for commits.
pub(crate) const START_LANE: u16 = 0;
pub(crate) const ACQUIRE_LANE: u16 = 1;
pub(crate) const COMMIT_LANES: std::ops::Range<u16> = 2..LANES;
pub(crate) const LANES: u16 = 4;

/// Holds a worker's options, checked.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) slots: usize,
    pub(crate) lease: Duration,
    pub(crate) live_max: usize,
    pub(crate) park_after: Duration,
    pub(crate) always_park: bool,
    pub(crate) beat: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) queues: Vec<(QueueName, usize)>,
    pub(crate) label: String,
}

/// Is what the parts of one worker share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) environment: Arc<dyn Environment>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) registry: Registry,
    pub(crate) dependencies: Arc<Dependencies>,
    pub(crate) options: Options,
    pub(crate) serves: Serves,
    pub(crate) vitals: Arc<Vitals>,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) quick: QuickOnes,
    pub(crate) load: Load,
    take_ups: AtomicU64,
    pub(crate) nudge: Arc<Notify>,
    pub(crate) deliver: Notify,
    pub(crate) lane: mpsc::UnboundedSender<LaneInput>,
}

/// Gathers what [`Shared`] is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) environment: Arc<dyn Environment>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) registry: Registry,
    pub(crate) dependencies: Arc<Dependencies>,
    pub(crate) options: Options,
    pub(crate) serves: Serves,
    pub(crate) lane: mpsc::UnboundedSender<LaneInput>,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        let worker = WorkerId(parts.environment.uuid());
        Self {
            backend: parts.backend,
            hub: parts.hub,
            settings: parts.settings,
            registry: parts.registry,
            dependencies: parts.dependencies,
            slots: Arc::new(Semaphore::new(parts.options.slots)),
            options: parts.options,
            serves: parts.serves,
            vitals: Arc::new(Vitals::new(worker, Arc::clone(&parts.environment))),
            quick: QuickOnes::default(),
            load: Load::default(),
            take_ups: AtomicU64::new(0),
            nudge: Arc::new(Notify::new()),
            deliver: Notify::new(),
            lane: parts.lane,
            environment: parts.environment,
        }
    }

    /// Returns the id of this start of the worker.
    pub(crate) fn worker(&self) -> WorkerId {
        self.vitals.worker()
    }

    /// Draws a new id, after the one before was declared dead.
    pub(crate) fn renew_worker(&self) -> WorkerId {
        let worker = WorkerId(self.environment.uuid());
        self.vitals.rise_as(worker);
        worker
    }

    /// Tells whether the worker runs, and under this id.
    pub(crate) fn is_still(&self, worker: WorkerId) -> bool {
        !self.vitals.is_stopped() && self.worker() == worker
    }

    pub(crate) fn lane_of(&self, number: u16) -> Lane {
        Lane {
            worker: self.worker(),
            number,
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.vitals.draining.load(Ordering::SeqCst)
    }

    pub(crate) fn is_trusted(&self) -> bool {
        self.vitals.lease.is_trusted(self.environment.elapsed())
    }

    /// Takes note of whether the backend answered, and passes the answer on.
    pub(crate) fn heard<T>(&self, answer: BackendResult<T>) -> BackendResult<T> {
        match &answer {
            Err(error) if error.should_ask_again() => {
                self.vitals.failed(error, self.backend.clock());
            }
            _ => self.vitals.reached(),
        }
        answer
    }

    /// Returns the number that a run's writes count from: no two take-ups here share a write's name, not even in one
    /// epoch.
    pub(crate) fn first_write(&self) -> u64 {
        self.take_ups.fetch_add(1, Ordering::SeqCst) << 32
    }

    /// Returns how to make the future of a run, if this process can execute it.
    pub(crate) fn program(&self, kind: RunKind, workflow_type: &str) -> Option<Program> {
        let registration = match kind {
            RunKind::Workflow => Registration::Workflow(self.registry.workflow(workflow_type)?),
            RunKind::Task => Registration::Task(self.registry.task(workflow_type)?),
        };
        Some(program_of(registration))
    }

    /// Runs `future` beside the caller; a panic in it is logged and ends it alone.
    pub(crate) fn spawn(
        &self,
        what: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Box<dyn crate::clock::Abort> {
        let guarded: BoxFuture<'static, ()> = Box::pin(async move {
            if AssertUnwindSafe(future).catch_unwind().await.is_err() {
                tracing::error!(part = what, "part of the worker panicked");
            }
        });
        self.environment.spawn(guarded)
    }
}
