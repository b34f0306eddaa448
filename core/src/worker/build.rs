//! Options of a worker, and starting its parts.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::backend::{Error as BackendError, Serves};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::hub::{StartHere, WorkerLink};
use crate::id::{BuildId, QueueName, TaskName};
use crate::registry::{Dependencies, Registration, Registry};
use crate::worker::keeper::Keeper;
use crate::worker::lane::{Lane, LaneInput};
use crate::worker::shared::{self, Options, Shared};
use crate::worker::{Parts, Worker, starter};

/// Builds a [`Worker`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `start` is awaited"]
pub struct WorkerBuilder {
    client: Client,
    dependencies: Dependencies,
    registered: Vec<Registration>,
    only: Option<Vec<String>>,
    queues: Vec<(Result<QueueName>, usize)>,
    build: Option<Result<BuildId>>,
    options: Options,
}

impl WorkerBuilder {
    pub(crate) fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
            dependencies: Dependencies::new(),
            registered: Vec::new(),
            only: None,
            queues: Vec::new(),
            build: None,
            options: Options {
                slots: 256,
                lease: Duration::from_secs(5),
                live_max: 4_096,
                park_after: Duration::from_secs(2),
                always_park: false,
                beat: Duration::from_secs(1),
                drain_timeout: Duration::from_secs(30),
                queues: Vec::new(),
                label: format!("process {}", std::process::id()),
            },
        }
    }

    /// Provides a value for `Dep<T>` parameters of tasks.
    pub fn provide<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.dependencies.insert(value);
        self
    }

    /// Provides a shared value for `Dep<T>` parameters of tasks, which may be a trait object.
    pub fn provide_arc<T: ?Sized + Send + Sync + 'static>(mut self, value: Arc<T>) -> Self {
        self.dependencies.insert_arc(value);
        self
    }

    /// Narrows what is registered to these names.
    pub fn only(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.only = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Registers a task or workflow that is not linked in by itself; see `Call::registration`.
    pub fn register(mut self, registration: Registration) -> Self {
        self.registered.push(registration);
        self
    }

    /// Sets how many attempts run at once in this process; 256 by default.
    pub fn slots(mut self, slots: usize) -> Self {
        self.options.slots = slots;
        self
    }

    /// Takes tasks from this queue, up to `slots` at once. By default the queues that the registered tasks name are
    /// served, each with as many slots as the worker has.
    pub fn queue(mut self, queue: impl AsRef<str>, slots: usize) -> Self {
        self.queues.push((QueueName::new(queue), slots));
        self
    }

    /// Sets the lease: how long after its last sign of life the worker's runs stay its own; 5 s by default, at least
    /// 100 ms.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.options.lease = lease;
        self
    }

    /// Sets how many runs are kept in memory at most; 4,096 by default.
    pub fn live_max(mut self, runs: usize) -> Self {
        self.options.live_max = runs;
        self
    }

    /// Sets how long a run may be idle before it is parked; 2 s by default. A run that waits only for a timer more than
    /// 10 s away is parked at once.
    pub fn park_after(mut self, idle: Duration) -> Self {
        self.options.park_after = idle;
        self
    }

    /// Drops a run's future after each of its turns and replays it for the next, for tests: code that would not survive
    /// a restart at some await shows it at once. Attempts that run go on.
    pub fn always_park(mut self) -> Self {
        self.options.always_park = true;
        self
    }

    /// Sets how often an idle worker looks for what no hint told it of; 1 s by default, up to a fifth more by chance,
    /// and at least three times per lease. Longer is for tests in virtual time.
    pub fn beat(mut self, interval: Duration) -> Self {
        self.options.beat = interval;
        self
    }

    /// Sets how long a shutdown waits for attempts; 30 s by default.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.options.drain_timeout = timeout;
        self
    }

    /// Names this build of the program. A run that one build cannot go on with is not tried by it again. By default the
    /// name is made of the executable's length and time of change.
    pub fn build_id(mut self, build: impl AsRef<str>) -> Self {
        self.build = Some(BuildId::new(build));
        self
    }

    /// Sets the name that people see; the process number by default.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.options.label = label.into();
        self
    }

    /// Joins the store, takes over what dead workers left, and begins to work.
    ///
    /// # Errors
    /// `NotRegistered` when a task lacks a dependency (named with its type), or is transactional and takes a connection
    /// that the store does not give; `InvalidInput` for options that make no sense; `Unavailable` when the backend cannot
    /// be reached.
    pub async fn start(self) -> Result<Worker> {
        let (lane, lane_inputs) = mpsc::unbounded_channel();
        let (shared, hub) = self.into_shared(lane)?;
        let mut keeper = Keeper::new(Arc::clone(&shared));
        keeper.join().await.map_err(BackendError::into_public)?;
        tracing::info!(worker = %shared.worker(), "worker joined");
        Ok(start_parts(shared, hub, keeper, lane_inputs))
    }

    fn into_shared(
        mut self,
        lane: mpsc::UnboundedSender<LaneInput>,
    ) -> Result<(Arc<Shared>, Arc<crate::hub::Hub>)> {
        let registry = self.registry()?;
        registry.check_dependencies(&self.dependencies)?;
        let backend = self.client.backend();
        let given = backend
            .transactions()
            .map(|shared| shared.connection_type());
        registry.check_connections(backend.name(), given)?;
        check_options(&self.options)?;
        let queues = std::mem::take(&mut self.queues);
        self.options.queues = served_queues(queues, &registry, self.options.slots)?;
        let build = match self.build.take() {
            Some(build) => build?,
            None => build_of_this_program(),
        };
        let tasks = tasks_of(&registry);
        let named = self.options.queues.iter().map(|(queue, _)| queue.clone());
        let spilled = (!tasks.is_empty()).then(QueueName::spilled);
        let serves = Serves {
            routes: registry.routes(),
            queues: named.chain(spilled).collect(),
            tasks,
            build,
        };
        let hub = self.client.hub();
        let parts = shared::Parts {
            backend,
            environment: self.client.environment(),
            hub: Arc::clone(&hub),
            settings: self.client.settings(),
            registry,
            dependencies: Arc::new(self.dependencies),
            options: self.options,
            serves,
            lane,
        };
        Ok((Arc::new(Shared::new(parts)), hub))
    }

    fn registry(&mut self) -> Result<Registry> {
        let mut registry = Registry::linked()?;
        for registration in std::mem::take(&mut self.registered) {
            registry.register(registration)?;
        }
        match self.only.take() {
            Some(names) => registry.only(names),
            None => Ok(registry),
        }
    }
}

fn start_parts(
    shared: Arc<Shared>,
    hub: Arc<crate::hub::Hub>,
    keeper: Keeper,
    lane_inputs: mpsc::UnboundedReceiver<LaneInput>,
) -> Worker {
    let (starts, start_inputs) = mpsc::unbounded_channel::<StartHere>();
    let (lane_finished, lane_done) = oneshot::channel();
    let (keeper_stop, keeper_stopped) = oneshot::channel();
    let lane = Lane::new(Arc::clone(&shared), lane_inputs);
    let tasks = vec![
        shared.spawn("lane", async move {
            lane.run().await;
            let _ = lane_finished.send(());
        }),
        shared.spawn("starter", starter::run(Arc::clone(&shared), start_inputs)),
        shared.spawn("keeper", keeper.run(keeper_stopped)),
    ];
    hub.add(WorkerLink {
        worker: shared.worker(),
        routes: Arc::new(
            shared
                .serves
                .routes
                .iter()
                .cloned()
                .collect::<BTreeSet<_>>(),
        ),
        starts,
        lane: shared.lane.clone(),
        nudge: Arc::clone(&shared.nudge),
    });
    Worker {
        parts: Parts {
            tasks,
            lane_done: Mutex::new(Some(lane_done)),
            keeper_stop: Mutex::new(Some(keeper_stop)),
            hub,
        },
        shared,
    }
}

/// Is the longest lease.
const LEASE_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3_600);

fn check_options(options: &Options) -> Result<()> {
    let wrong = |what: &str| Err(Error::new(ErrorKind::InvalidInput, what));
    if options.slots == 0 {
        return wrong("a worker with 0 slots could run no task; give it at least 1");
    }
    if options.live_max == 0 {
        return wrong("a worker with room for 0 live runs could run none; give it at least 1");
    }
    if options.lease < Duration::from_millis(100) {
        return wrong("a lease under 100 ms cannot be kept; give it at least 100ms");
    }
    if options.lease > LEASE_MAX {
        return wrong("a lease of over ten years would free nothing in time; give it less");
    }
    Ok(())
}

fn served_queues(
    asked: Vec<(Result<QueueName>, usize)>,
    registry: &Registry,
    slots: usize,
) -> Result<Vec<(QueueName, usize)>> {
    if !asked.is_empty() {
        let mut served: Vec<(QueueName, usize)> = Vec::new();
        for (queue, slots) in asked {
            let queue = queue?;
            let is_known = served.iter().any(|(known, _)| *known == queue);
            if slots == 0 || is_known {
                let what = if is_known {
                    "is served twice"
                } else {
                    "has 0 slots"
                };
                let message = format!("queue `{queue}` {what}; name it once, with 1 slot or more");
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
            served.push((queue, slots));
        }
        return Ok(served);
    }
    let named: BTreeSet<_> = registry
        .iter()
        .filter_map(|registration| match registration {
            Registration::Task(task) => (task.options)().queue,
            Registration::Workflow(_) => None,
        })
        .collect();
    Ok(named.into_iter().map(|queue| (queue, slots)).collect())
}

fn tasks_of(registry: &Registry) -> Vec<TaskName> {
    registry
        .iter()
        .filter_map(|registration| match registration {
            Registration::Task(task) => Some(task.task_name()),
            Registration::Workflow(_) => None,
        })
        .collect()
}

fn build_of_this_program() -> BuildId {
    let name = std::env::current_exe()
        .and_then(std::fs::metadata)
        .map(|program| {
            let changed = program
                .modified()
                .ok()
                .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
                .unwrap_or_default();
            format!("{}-{}", program.len(), changed.as_micros())
        })
        .unwrap_or_else(|_| "unknown".to_owned());
    BuildId::from_stored(name)
}
