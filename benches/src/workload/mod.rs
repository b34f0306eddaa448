//! The workloads W1 to W10 and SCALE, each a function of a subject that returns rows.

mod child;
mod kill;
mod latency;
mod parked;
mod replay;
mod scale;
mod sequence;
mod throughput;
mod timers;

use std::sync::Arc;

use longhaul::Result;
use longhaul::prelude::*;

use crate::limit::Limits;
use crate::row::Row;
use crate::subject::{Engine, Store, Subject};
use crate::workflows::Hangs;

pub(crate) use kill::be_killed;
pub(crate) use parked::be_idle;
pub(crate) use scale::{Shape, be_a_share, be_one_run};

/// Names a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
#[value(rename_all = "UPPER")]
pub(crate) enum Workload {
    W1,
    W2,
    W3,
    W4,
    W5,
    W6,
    W7,
    W8,
    W9,
    W10,
    Scale,
}

impl Workload {
    pub(crate) const ALL: [Self; 11] = [
        Self::W1,
        Self::W2,
        Self::W3,
        Self::W4,
        Self::W5,
        Self::W6,
        Self::W7,
        Self::W8,
        Self::W9,
        Self::W10,
        Self::Scale,
    ];

    /// Tells whether the workload says something about a backend.
    pub(crate) fn is_for(self, engine: Engine) -> bool {
        engine != Engine::Memory || !matches!(self, Self::W6 | Self::W7 | Self::W10)
    }

    /// Measures.
    pub(crate) async fn run(self, subject: &Subject, limits: &Limits) -> Result<Vec<Row>> {
        match self {
            Self::W1 => throughput::measure(subject, limits).await,
            Self::W2 => latency::start_to_result(subject, limits).await,
            Self::W3 => sequence::one_after_another(subject, limits).await,
            Self::W4 => sequence::side_by_side(subject).await,
            Self::W5 => latency::signal_to_result(subject, limits).await,
            Self::W6 => parked::measure(subject).await,
            Self::W7 => kill::measure(subject).await,
            Self::W8 => replay::measure(subject).await,
            Self::W9 => timers::measure(subject).await,
            Self::W10 => throughput::against_volume(subject, limits).await,
            Self::Scale => scale::measure(subject, limits).await,
        }
    }
}

/// Is a store with a client and a worker of default options in this process.
struct Bench {
    client: Client,
    worker: Worker,
    store: Arc<Store>,
}

impl Bench {
    async fn open(subject: &Subject) -> Result<Self> {
        Self::at(Arc::new(subject.store()?)).await
    }

    async fn at(store: Arc<Store>) -> Result<Self> {
        let client = store.client().await?;
        let worker = start_worker(&client, Hangs(false)).await?;
        Ok(Self {
            client,
            worker,
            store,
        })
    }

    /// Waits until what was started is done, or waits in the store: none is yet to be taken up, none is live.
    async fn until_all_are_parked(&self) -> Result<()> {
        loop {
            let pending = self.client.list().status(Status::Pending).count().await?;
            if pending == 0 && self.worker.live_runs() == 0 {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
    }

    /// Ends the worker and returns the store.
    async fn close(self) -> Result<Arc<Store>> {
        self.worker.shutdown().await?;
        Ok(self.store)
    }
}

async fn start_worker(client: &Client, hangs: Hangs) -> Result<Worker> {
    Worker::builder(client).provide(hangs).start().await
}

/// Does something `count` times, `in_flight` of it at a time.
async fn repeat<F, W>(count: usize, in_flight: usize, work: W) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
    W: Fn(usize) -> F + Send + Sync + 'static,
{
    let (work, next) = (
        Arc::new(work),
        Arc::new(std::sync::atomic::AtomicUsize::new(0)),
    );
    let lanes: Vec<_> = (0..in_flight)
        .map(|_| {
            let (work, next) = (Arc::clone(&work), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if at >= count {
                        return Ok::<(), longhaul::Error>(());
                    }
                    work(at).await?;
                }
            })
        })
        .collect();
    for lane in lanes {
        lane.await??;
    }
    Ok(())
}
