//! Starting, signalling and reading runs from outside.
//!
//! Invariants: an answer is given after the commit it speaks of. A write whose answer was unclear is asked again under
//! the same name until it is answered.

mod arrival;
mod by_name;
mod complete;
mod connect;
mod control;
mod handle;
mod list;
mod looks;
mod reads;
mod signal;
mod start_inside;
mod sweep;
mod update;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;

pub use self::by_name::{Json, StartByName};
pub use self::connect::{Connector, Opening};
pub use self::control::{OpenTimer, PauseRun};
pub use self::handle::{Handle, HistoryEntry, RunInfo};
pub use self::list::List;
pub use self::signal::SendSignal;
pub use self::start_inside::StartedIn;
pub use self::sweep::Swept;
pub use self::update::SendUpdate;
pub use self::watch::Watch;

use crate::backend::{
    Backend, ExistingRun, Kind, QueueRecord, Result as BackendResult, StartRun, Started,
    WorkerRecord,
};
use crate::call::{Call, Target};
use crate::clock::{Environment, TokioEnvironment};
use crate::context::{IntoValue, Signal};
use crate::engine::identifiers::{fingerprint, route_of};
use crate::engine::live::Settings;
use crate::engine::machine::{check_payload, check_tags};
use crate::error::{Error, ErrorKind, Result};
use crate::history::{Event, EventKind, RunStarted, encode_record};
use crate::hub::{Hub, StartHere};
use crate::id::{WorkflowId, WorkflowType};
use crate::identity::{RunKind, WorkflowIdentity};
use crate::options::{Limits, TaskOptions};
use crate::payload::{Binding, Codec, CodecChain, Payload};
use crate::registry::Registration;
use crate::worker::program::check_replay;

/// Is the longest pause before an unclear answer is asked again.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Starts and reaches runs. Cheap to clone; clones and their workers know each other.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    backend: Arc<dyn Backend>,
    environment: Arc<dyn Environment>,
    hub: Arc<Hub>,
    settings: Arc<Settings>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.inner.backend.name())
    }
}

impl Client {
    /// Connects to the store that a URL names: `memory:`, `sqlite://orders.db`, and those of other compiled-in backends.
    ///
    /// # Errors
    /// `InvalidInput` for an unknown scheme or option, with the known ones; `Unavailable`, `Corrupt` or `NewerVersion`
    /// when the store cannot be opened.
    pub async fn connect(url: &str) -> Result<Self> {
        Self::builder().connect(url).await
    }

    /// Uses a backend that was opened already.
    #[must_use]
    pub fn of(backend: Arc<dyn Backend>) -> Self {
        Self::builder().build(backend)
    }

    /// Begins to build a client with limits, codecs or an environment of its own.
    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            limits: Limits::default(),
            codecs: CodecChain::default(),
            environment: None,
        }
    }

    /// Starts a run, or joins the one that has the call's id, type and arguments already. A call without an id gets a
    /// new one.
    ///
    /// # Errors
    /// `AlreadyExists` when the id belongs to a run of another type or with other arguments; `InvalidInput` or
    /// `LimitExceeded` for a bad id or arguments; `Unavailable` when the backend cannot be reached.
    ///
    /// # Cancel safety
    /// A dropped call has started the run or not; start it again under the same id to know.
    pub async fn start<R>(&self, call: Call<R>) -> Result<Handle<R>> {
        self.start_run(NewRun::of(call)?).await
    }

    /// Starts a run of a type that is known by name, with arguments as JSON text: an array of arguments, or a single
    /// one. The type need not be registered in this process.
    pub fn start_by_name(&self, name: &str, arguments: &str) -> StartByName {
        StartByName::new(self.clone(), name, arguments)
    }

    /// Returns a handle of a run that exists, or will.
    ///
    /// # Errors
    /// `InvalidInput` when the id is not one.
    pub fn handle<R>(&self, id: impl AsRef<str>) -> Result<Handle<R>> {
        Ok(Handle::new(self.clone(), WorkflowId::new(id)?, None))
    }

    /// Lists runs in the order of their ids; workflows only, unless the list says `all`.
    pub fn list(&self) -> List {
        List::new(self.clone())
    }

    /// Lists the task queues that hold something, in the order of their names.
    ///
    /// # Errors
    /// `Unavailable` when the backend cannot be reached.
    pub async fn queues(&self) -> Result<Vec<QueueRecord>> {
        Ok(self.inner.backend.queues().await?)
    }

    /// Lists the registered workers, in the order of their ids.
    ///
    /// # Errors
    /// `Unavailable` when the backend cannot be reached.
    pub async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        Ok(self.inner.backend.workers().await?)
    }

    /// Starts a run, or joins the one with its id, and sends it a signal: for whoever does not know whether it is there.
    ///
    /// They are two requests. When the second one fails, ask again: the same id joins what was started. Give the call an
    /// id; each start is another run otherwise.
    ///
    /// # Errors
    /// As [`Client::start`] and [`Handle::signal`]; `Finished` when a run with this id has ended.
    pub async fn start_with_signal<R, T: Serialize>(
        &self,
        call: Call<R>,
        signal: Signal<T>,
        value: impl IntoValue<T>,
    ) -> Result<Handle<R>> {
        let send = value.into_value();
        let handle = self.start(call).await?;
        handle.signal(signal, send).await?;
        Ok(handle)
    }

    pub(crate) async fn start_run<R>(&self, new: NewRun) -> Result<Handle<R>> {
        let id = self.id_of(&new);
        let (run, first) = self.prepare(&id, &new)?;
        let handle = Handle::new(self.clone(), id, Some(new.workflow_type.clone()));
        match self.send_start(run.clone(), first).await? {
            Started::New => Ok(handle.of_new_run()),
            Started::Exists(existing) => {
                refuse_another(&run, &ExistingRun::from(&*existing))?;
                Ok(handle)
            }
        }
    }

    fn id_of(&self, new: &NewRun) -> WorkflowId {
        let id = new.id.clone();
        id.unwrap_or_else(|| WorkflowId::from_stored(self.inner.environment.uuid().to_string()))
    }

    fn prepare(&self, id: &WorkflowId, new: &NewRun) -> Result<(StartRun, Event)> {
        let settings = &self.inner.settings;
        let name = new.workflow_type.as_str();
        check_payload(&new.arguments, &settings.limits, "arguments", name)?;
        check_tags(&new.tags, &settings.limits)?;
        let binding = Binding {
            run: id,
            kind: "arguments",
            key: name,
        };
        let arguments = settings.codecs.encode(new.arguments.clone(), &binding)?;
        let identity = WorkflowIdentity::root(id.clone(), new.workflow_type.clone());
        let seed = self.inner.environment.random_bytes();
        let mut started = RunStarted::new(identity.clone(), new.kind, arguments, seed);
        started.version = new.version;
        started.task.clone_from(&new.task);
        let first = Event {
            at: self.inner.backend.clock(),
            kind: EventKind::RunStarted(Box::new(started)),
        };
        let run = StartRun {
            route: route_of(new.kind, name),
            partition: partition(id, self.inner.backend.store().partitions),
            fingerprint: fingerprint(&settings.hash_key, &new.arguments),
            record: encode_record(std::slice::from_ref(&first))?,
            identity,
            kind: new.kind,
            tags: new.tags.clone(),
            parent_operation: None,
        };
        Ok((run, first))
    }

    async fn send_start(&self, run: StartRun, first: Event) -> Result<Started> {
        if let Some(worker) = self.inner.hub.worker_for(&run.route) {
            let (reply, answer) = oneshot::channel();
            let start = StartHere {
                run: run.clone(),
                first,
                reply,
            };
            if worker.starts.send(start).is_ok()
                && let Ok(Ok(started)) = answer.await
            {
                return Ok(started);
            }
        }
        let started = self
            .ask(|| self.inner.backend.start(None, vec![run.clone()]))
            .await?;
        self.inner.hub.nudge();
        started
            .into_iter()
            .next()
            .ok_or_else(|| Error::new(ErrorKind::Bug, "a start was not answered"))
    }

    /// Asks until the answer is clear. Once an answer was unclear, a refusal does not tell that nothing was done.
    pub(crate) async fn ask<T, F>(&self, ask: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = BackendResult<T>>,
    {
        let mut pause = Duration::from_millis(5);
        let mut is_unclear = false;
        loop {
            match ask().await {
                Err(error)
                    if is_unclear && error.should_ask_again() || error.kind() == Kind::Unclear =>
                {
                    is_unclear = true;
                    self.inner.environment.sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                answer => return answer.map_err(Into::into),
            }
        }
    }

    /// Checks that code goes on with a history as it is: replays all of it against `registration` and writes nothing.
    ///
    /// # Errors
    /// `Nondeterminism` with the first difference when code and history part; `Corrupt` when it is no history.
    pub fn check_replay(&self, registration: Registration, history: &[Event]) -> Result<()> {
        check_replay(&self.inner.settings, registration, history)
    }

    /// Returns the store, for tools that need more than a client gives.
    #[must_use]
    pub fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.inner.backend)
    }

    pub(crate) fn environment(&self) -> Arc<dyn Environment> {
        Arc::clone(&self.inner.environment)
    }

    pub(crate) fn hub(&self) -> Arc<Hub> {
        Arc::clone(&self.inner.hub)
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.inner.settings)
    }
}

/// Builds a [`Client`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `connect` or `build` is called"]
pub struct ClientBuilder {
    limits: Limits,
    codecs: CodecChain,
    environment: Option<Arc<dyn Environment>>,
}

impl ClientBuilder {
    /// Sets the limits of runs that this client and its workers handle.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Adds a codec; it sees payloads after those added before.
    pub fn codec(mut self, codec: Arc<dyn Codec>) -> Self {
        self.codecs.push(codec);
        self
    }

    /// Sets where time, chance and tasks come from; tokio by default.
    pub fn environment(mut self, environment: Arc<dyn Environment>) -> Self {
        self.environment = Some(environment);
        self
    }

    /// Connects to the store that a URL names.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect(self, url: &str) -> Result<Client> {
        let backend = connect::open(url).await?;
        Ok(self.build(backend))
    }

    /// Uses a backend that was opened already.
    #[must_use]
    pub fn build(self, backend: Arc<dyn Backend>) -> Client {
        let environment = self
            .environment
            .unwrap_or_else(|| Arc::new(TokioEnvironment::new()));
        let settings = Settings {
            hash_key: backend.store().hash_key,
            limits: self.limits,
            codecs: self.codecs,
        };
        Client {
            inner: Arc::new(Inner {
                backend,
                environment,
                hub: Arc::new(Hub::default()),
                settings: Arc::new(settings),
            }),
        }
    }
}

/// Is everything that a start says.
#[derive(Debug)]
pub(crate) struct NewRun {
    pub(crate) id: Option<WorkflowId>,
    pub(crate) kind: RunKind,
    pub(crate) workflow_type: WorkflowType,
    pub(crate) version: u32,
    pub(crate) task: Option<TaskOptions>,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) arguments: Payload,
}

impl NewRun {
    fn of<R>(call: Call<R>) -> Result<Self> {
        let options = call.options;
        let (kind, name, version, task) = match call.target {
            Target::Task(task) => (RunKind::Task, task.name, 0, Some(options.task)),
            Target::Workflow(workflow) => {
                (RunKind::Workflow, workflow.name, workflow.version, None)
            }
        };
        Ok(Self {
            id: options.id.transpose()?,
            kind,
            workflow_type: WorkflowType::new(name)?,
            version,
            task,
            tags: options.tags,
            arguments: call.arguments?,
        })
    }
}

/// Refuses a run that exists and is another than the one that was asked for.
fn refuse_another(asked: &StartRun, existing: &ExistingRun) -> Result<()> {
    let same_type =
        asked.identity.workflow_type == existing.workflow_type && asked.kind == existing.kind;
    let what = match same_type {
        true if asked.fingerprint == existing.fingerprint => return Ok(()),
        true => "other arguments",
        false => "another type",
    };
    Err(Error::new(
        ErrorKind::AlreadyExists,
        format!(
            "run `{}` exists already with {what}: it is a `{}` and {}; use another id",
            asked.identity.workflow_id, existing.workflow_type, existing.status
        ),
    ))
}

/// Spreads runs over partitions by the hash of their root's id.
///
/// Source: SipHash-2-4 with a fixed key, so that the number never changes.
fn partition(root: &WorkflowId, partitions: u16) -> u16 {
    use std::hash::Hasher as _;
    let mut hasher = siphasher::sip::SipHasher24::new();
    hasher.write(root.as_str().as_bytes());
    u16::try_from(hasher.finish() % u64::from(partitions.max(1))).unwrap_or_default()
}

/// Makes the error of a run that ended without a result.
pub(crate) fn end_error(id: &WorkflowId, event: &EventKind) -> Error {
    match event {
        EventKind::RunFailed { error } => error.clone(),
        EventKind::RunCancelled { reason } => Error::new(
            ErrorKind::Cancelled,
            format!("run `{id}` was cancelled: {reason}"),
        ),
        EventKind::RunTerminated { reason } => Error::new(
            ErrorKind::Terminated,
            format!("run `{id}` was terminated: {reason}"),
        ),
        _ => Error::new(
            ErrorKind::Corrupt,
            format!("history of run `{id}` does not end with its end"),
        ),
    }
}
