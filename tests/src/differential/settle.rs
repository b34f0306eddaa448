//! What is compared when a list is done: everything that the stores can show.
//!
//! Invariants: first everything is read as it stands, then all workers die and one of each build takes what is due, as
//! inboxes, claims and losses show only then.

use longhaul_core::backend::{ArrivalKind, PAGE_MAX, RunFilter, RunRecord, Serves};
use longhaul_core::id::{ArrivalNumber, BuildId};
use longhaul_core::identity::RunKind;
use longhaul_core::status::Status;

use super::action::Action;
use super::names::{BUILDS, KEYS, QUEUES, ROUTES, RUNS, TASKS};
use super::pair::{Difference, Pair};
use super::perform::{beat, data, history, list, owned, perform, register};
use super::send::{deliver, inbox};
use super::take::acquire;
use super::turns::{note_children, owners};
use crate::world::{LEASE, list_of, queue, route, task, workflow_id, workflow_type};

type Done = Result<(), Difference>;

/// Compares everything.
pub(super) async fn settle(pair: &mut Pair) -> Done {
    let rows = read_all(pair).await?;
    for worker in owners(&rows) {
        let runs = owned(pair, worker).await?;
        let runs: Vec<_> = runs
            .into_iter()
            .map(|run| (run, ArrivalNumber(0)))
            .collect();
        inbox(pair, worker, &runs).await?;
        beat(pair, worker, None, &serves(BUILDS[0])).await?;
    }
    pair.advance(LEASE * 3);
    perform(pair, &Action::TakeOver { force: None }).await?;
    deliver(pair, PAGE_MAX).await?;
    let mut refused = 0;
    for build in BUILDS {
        let join = Action::Join {
            worker: 0,
            is_new: true,
        };
        perform(pair, &join).await?;
        let worker = pair.workers[0];
        beat(pair, worker, Some(LEASE), &serves(build)).await?;
        let taken = acquire(pair, worker, &serves(build), PAGE_MAX).await?;
        let arrivals = taken.iter().flat_map(|run| &run.inbox);
        let is_refusal = |kind| kind == ArrivalKind::SubworkflowClosed;
        refused += arrivals.filter(|one| is_refusal(one.body.kind)).count();
    }
    let claim = Action::Claim {
        worker: 0,
        queues: (0..QUEUES.len()).map(|queue| (queue, PAGE_MAX)).collect(),
        tasks: (0..TASKS.len()).collect(),
    };
    perform(pair, &claim).await?;
    let rows = read_all(pair).await?;
    note_children(pair, &rows, refused);
    Ok(())
}

fn serves(build: &str) -> Serves {
    Serves {
        routes: ROUTES.map(route).to_vec(),
        tasks: TASKS.map(task).to_vec(),
        queues: QUEUES.map(queue).to_vec(),
        build: BuildId::new(build).unwrap(),
    }
}

async fn read_all(pair: &mut Pair) -> Result<Vec<RunRecord>, Difference> {
    let all = list_of(RunFilter::default());
    let rows = pair.get(async |it| it.list(all.clone()).await).await?;
    perform(pair, &Action::States((0..RUNS.len()).collect())).await?;
    for run in 0..RUNS.len() {
        history(pair, run, None, 0, PAGE_MAX).await?;
        data(pair, run, 0).await?;
    }
    for key in 1..KEYS.len() {
        data(pair, 0, key).await?;
    }
    for filter in filters() {
        list(pair, &filter, None, PAGE_MAX).await?;
    }
    for after in 0..RUNS.len() {
        list(pair, &RunFilter::default(), Some(after), 3).await?;
    }
    register(pair).await?;
    Ok(rows)
}

fn filters() -> Vec<RunFilter> {
    let mut all = Vec::new();
    let mut push = |change: &dyn Fn(&mut RunFilter)| {
        let mut filter = RunFilter::default();
        change(&mut filter);
        all.push(filter);
    };
    for status in [
        Status::Pending,
        Status::Running,
        Status::Waiting,
        Status::Paused,
        Status::Blocked,
        Status::Completed,
        Status::Failed,
        Status::Cancelled,
        Status::Terminated,
    ] {
        push(&|filter| filter.statuses = vec![status]);
    }
    for kind in [RunKind::Workflow, RunKind::Task] {
        push(&|filter| filter.kind = Some(kind));
    }
    for name in ["order", "charge"] {
        push(&|filter| filter.workflow_type = Some(workflow_type(name)));
    }
    for (name, value) in [("customer", "7"), ("plan", "7"), ("plan", "")] {
        push(&|filter| filter.tags = vec![(name.to_owned(), value.to_owned())]);
    }
    for prefix in ["a%", "a_", "", "z "] {
        push(&|filter| filter.id_prefix = Some(prefix.to_owned()));
    }
    for id in ["a", "A", "b"] {
        push(&|filter| filter.parent = Some(workflow_id(id)));
        push(&|filter| filter.root = Some(workflow_id(id)));
        push(&|filter| filter.id_prefix = Some(id.to_owned()));
    }
    all
}
