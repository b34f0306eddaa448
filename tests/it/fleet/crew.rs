//! Worker processes of the checkout example on one store, seen from outside.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use longhaul::client::HistoryEntry;
use longhaul::prelude::*;
use tokio::runtime::Runtime;

use crate::kill::PATIENCE;
use crate::kill::shop::{Process, Shop};
use crate::world::World;

/// Says how far an order is.
const STAGE: Data<String> = Data::new("stage");

/// Is a store with a shop, whose workers are processes.
pub(crate) struct Fleet {
    // Workers end before their store does.
    shop: Option<Rc<Shop>>,
    workers: Cell<usize>,
    client: Client,
    world: World,
    runtime: &'static Runtime,
}

/// Is one worker process; its output goes to files of its name.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) process: Process,
}

/// Is what a worker process has printed of itself last.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Report {
    pub(crate) deaths: u64,
    pub(crate) refused: u64,
}

impl Fleet {
    pub(crate) fn at(runtime: &'static Runtime, world: impl Future<Output = World>) -> Self {
        let world = runtime.block_on(world);
        let client = runtime.block_on(world.client());
        Self {
            shop: None,
            workers: Cell::new(0),
            client,
            world,
            runtime,
        }
    }

    /// Opens a shop, none of whose orders is started.
    pub(crate) fn open(&mut self, shop: Shop) -> Rc<Shop> {
        self.shop = Some(Rc::new(shop.at(self.world.url())));
        self.shop()
    }

    pub(crate) fn shop(&self) -> Rc<Shop> {
        Rc::clone(self.shop.as_ref().unwrap())
    }

    /// Starts the orders of these numbers.
    pub(crate) fn start(&self, orders: Range<usize>) {
        let shop = self.shop();
        let starts = shop.orders()[orders].iter().map(|order| {
            let arguments = format!("[{}]", order.json());
            let start = self.client.start_by_name("checkout", &arguments);
            start.id(&order.id).into_future()
        });
        let started = self.runtime.block_on(futures::future::join_all(starts));
        assert!(started.iter().all(Result::is_ok), "{started:?}");
    }

    /// Starts a worker process.
    pub(crate) fn worker(&self, options: &[String]) -> Member {
        let number = self.workers.get() + 1;
        self.workers.set(number);
        let name = name_of(number);
        let mut arguments = vec!["worker"];
        arguments.extend(options.iter().map(String::as_str));
        let process = self.shop().spawn(&name, &arguments);
        Member { name, process }
    }

    /// Tells whether the store knows the worker as one that lives.
    pub(crate) fn joined(&self, member: &Member) -> bool {
        self.record(member).is_some()
    }

    /// Counts the runs that the worker owns.
    pub(crate) fn owned(&self, member: &Member) -> usize {
        self.record(member).map_or(0, |record| record.runs)
    }

    fn record(&self, member: &Member) -> Option<longhaul::backend::WorkerRecord> {
        let workers = self.runtime.block_on(self.client.workers()).unwrap();
        let label = format!("process {}", member.process.id());
        workers.into_iter().find(|worker| worker.label == label)
    }

    /// Counts the orders of these numbers that wait for their approval.
    pub(crate) fn approving(&self, orders: Range<usize>) -> usize {
        let shop = self.shop();
        let stages = shop.orders()[orders].iter().map(|order| async {
            let run = self.client.handle::<()>(&order.id).unwrap();
            run.get(STAGE).await.unwrap()
        });
        let stages = self.runtime.block_on(futures::future::join_all(stages));
        let approving = stages.into_iter().flatten();
        approving.filter(|stage| stage == "approving").count()
    }

    pub(crate) fn completed(&self) -> u64 {
        let completed = self.client.list().status(Status::Completed).count();
        self.runtime.block_on(completed).unwrap()
    }

    pub(crate) fn histories(&self, orders: Range<usize>) -> Vec<Vec<HistoryEntry>> {
        let shop = self.shop();
        let history = |id: &str| {
            let run = self.client.handle::<()>(id).unwrap();
            self.runtime.block_on(run.history()).unwrap()
        };
        shop.orders()[orders]
            .iter()
            .map(|order| history(&order.id))
            .collect()
    }

    pub(crate) fn report(&self, member: &Member) -> Report {
        self.report_of(&member.name)
    }

    pub(crate) fn report_of(&self, name: &str) -> Report {
        let printed = self.shop().read(&format!("{name}.out"));
        let last = printed.lines().rev().find_map(report_in);
        last.unwrap_or_default()
    }

    /// Lists what each worker of the fleet has printed last, killed ones too.
    pub(crate) fn reports(&self) -> Vec<Report> {
        let names = (1..=self.workers.get()).map(name_of);
        names.map(|name| self.report_of(&name)).collect()
    }

    /// Waits until something holds.
    pub(crate) fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(
                begun.elapsed() < 2 * PATIENCE,
                "it does not come to hold: {what}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn name_of(number: usize) -> String {
    format!("worker-{number}")
}

/// Reads the counters of a line such as `worker ...; declared dead 1 times, 7 stale writes refused`.
fn report_in(line: &str) -> Option<Report> {
    let (_, counters) = line.rsplit_once("; declared dead ")?;
    let mut numbers = counters.split(' ').filter_map(|word| word.parse().ok());
    Some(Report {
        deaths: numbers.next()?,
        refused: numbers.next()?,
    })
}

#[test]
fn counters_are_read_from_the_last_line_of_a_worker() {
    let line = "worker 7 left; declared dead 2 times, 31 stale writes refused";
    let report = report_in(line).unwrap();
    assert_eq!((report.deaths, report.refused), (2, 31));
    assert!(report_in("worker 7 runs; stop it with Ctrl-C").is_none());
}
