//! A store of its own for each test, on each backend.

#[path = "namespace.rs"]
pub(crate) mod namespace;
#[path = "schema.rs"]
pub(crate) mod schema;

use std::time::Duration;

use longhaul::prelude::*;
use longhaul::worker::WorkerBuilder;

/// Is the time after which a test that waits has failed.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) use self::namespace::Namespace;
pub(crate) use self::schema::Schema;

pub(crate) struct World {
    url: String,
    // The last client of a memory store would take the store with it.
    keeper: Option<Client>,
    _folder: Option<tempfile::TempDir>,
    _schema: Option<Schema>,
    _namespace: Option<Namespace>,
}

impl World {
    pub(crate) async fn memory() -> Self {
        let name = Client::connect("memory:").await.unwrap();
        let id = name
            .start_by_name("name", "[]")
            .await
            .unwrap()
            .id()
            .to_string();
        let url = format!("memory://{id}");
        Self {
            keeper: Some(Client::connect(&url).await.unwrap()),
            url,
            _folder: None,
            _schema: None,
            _namespace: None,
        }
    }

    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            url: format!("sqlite://{}", folder.path().join("store.db").display()),
            keeper: None,
            _folder: Some(folder),
            _schema: None,
            _namespace: None,
        }
    }

    pub(crate) async fn postgres() -> Self {
        let schema = Schema::new();
        Self {
            url: schema.url(),
            keeper: None,
            _folder: None,
            _schema: Some(schema),
            _namespace: None,
        }
    }

    pub(crate) async fn redis() -> Self {
        Self::in_namespace(Namespace::new("LONGHAUL_TEST_REDIS"))
    }

    pub(crate) async fn redis_cluster() -> Self {
        Self::in_namespace(Namespace::new("LONGHAUL_TEST_REDIS_CLUSTER"))
    }

    fn in_namespace(namespace: Namespace) -> Self {
        Self {
            url: namespace.url(),
            keeper: None,
            _folder: None,
            _schema: None,
            _namespace: Some(namespace),
        }
    }

    /// Returns what another process connects with.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Connects anew, as another process would.
    pub(crate) async fn client(&self) -> Client {
        let _ = &self.keeper;
        Client::connect(&self.url).await.unwrap()
    }

    /// Starts a worker with a client of its own, so that dropping both is a crash.
    pub(crate) async fn worker(&self) -> (Client, Worker) {
        let client = self.client().await;
        let worker = quick(&client).start().await.unwrap();
        (client, worker)
    }
}

/// Is what the priced tasks depend on.
pub(crate) struct Rate(pub(crate) u32);

/// Makes a worker whose lease and patience suit tests.
pub(crate) fn quick(client: &Client) -> WorkerBuilder {
    Worker::builder(client)
        .provide(Rate(7))
        .lease(Duration::from_millis(600))
        .park_after(Duration::from_millis(50))
        .drain_timeout(Duration::from_secs(5))
}

/// Waits for a result with a bound.
pub(crate) async fn result<R: serde::de::DeserializeOwned>(run: &Handle<R>) -> Result<R> {
    match tokio::time::timeout(PATIENCE, run.result()).await {
        Ok(result) => result,
        Err(_) => panic!(
            "run {:?} did not end: {:#?}\n{:#?}",
            run.id(),
            run.info().await,
            run.history().await
        ),
    }
}

/// Waits until a run stands so.
pub(crate) async fn reaches<R>(run: &Handle<R>, status: Status) {
    let waiting = async {
        while run.status().await.unwrap() != status {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
        panic!("run {:?} is {:?}, not {status}", run.id(), run.info().await);
    }
}

/// Waits until something holds.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, waiting).await.is_ok(),
        "it does not come to hold"
    );
}

/// Tells whether tests over a backend run; all do unless `LONGHAUL_TEST_BACKENDS` names those that do, with commas.
pub(crate) fn is_asked_for(backend: &str) -> bool {
    let asked_for = std::env::var("LONGHAUL_TEST_BACKENDS").ok();
    asked_for.is_none_or(|names| names.split(',').any(|name| name == backend))
}

/// Runs each test on each backend, as tests of their own.
macro_rules! on_every_backend {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if crate::world::is_asked_for("memory") {
                    super::$name(crate::world::World::memory().await).await;
                }
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if crate::world::is_asked_for("postgres") {
                    super::$name(crate::world::World::postgres().await).await;
                }
            })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if crate::world::is_asked_for("redis") {
                    super::$name(crate::world::World::redis().await).await;
                }
            })*
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if crate::world::is_asked_for("sqlite") {
                    super::$name(crate::world::World::sqlite().await).await;
                }
            })*
        }
    };
}
