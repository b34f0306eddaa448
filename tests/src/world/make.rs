//! Short ways to make names, requests and bodies, and to read answers.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use longhaul_core::backend::{
    AcquireRequest, AcquiredRun, Arrival, ArrivalBody, ArrivalKind, ArriveRequest, Arrived,
    AttemptReport, BeatRequest, ClaimRequest, HistoryRequest, JoinRequest, Lane, ListRequest,
    PAGE_MAX, QueuedAttempt, RunFilter, RunRecord, Serves, StartRun,
};
use longhaul_core::history::{OperationKey, OperationKind};
use longhaul_core::id::{
    ArrivalNumber, BuildId, QueueName, Route, TaskName, TurnNumber, Uuid, WorkerId, WorkflowId,
    WorkflowType, WriteId,
};
use longhaul_core::identity::{RunKind, WorkflowIdentity};

use super::LEASE;

/// Says what workers serve unless a case says otherwise.
#[must_use]
pub fn serves() -> Serves {
    Serves {
        routes: vec![route("order")],
        tasks: vec![task("charge")],
        queues: vec![queue("mail")],
        build: BuildId::new("build-1").unwrap(),
    }
}

/// Says the same of a worker of another build.
#[must_use]
pub fn serves_of_build(build: &str) -> Serves {
    Serves {
        build: BuildId::new(build).unwrap(),
        ..serves()
    }
}

/// Makes the request that joins a worker.
#[must_use]
pub fn join_of(worker: WorkerId) -> JoinRequest {
    JoinRequest {
        worker,
        lease: LEASE,
        lanes: 2,
        serves: serves(),
        label: "a worker".to_owned(),
    }
}

/// Makes a beat that extends nothing.
#[must_use]
pub fn beat_of(worker: WorkerId) -> BeatRequest {
    BeatRequest {
        worker,
        extend: None,
        serves: serves(),
    }
}

/// Makes the request of a worker's first lane for all that is due.
#[must_use]
pub fn acquire_of(worker: WorkerId) -> AcquireRequest {
    AcquireRequest {
        lane: lane(worker),
        serves: serves(),
        limit: 100,
    }
}

/// Makes the claim of attempts of the default queue.
#[must_use]
pub fn claim_of(worker: WorkerId, slots: usize) -> ClaimRequest {
    ClaimRequest {
        worker,
        queues: vec![(queue("mail"), slots)],
        tasks: vec![task("charge")],
    }
}

/// Makes the request for the first page of the runs that a filter chooses.
#[must_use]
pub fn list_of(filter: RunFilter) -> ListRequest {
    ListRequest {
        filter,
        after: None,
        limit: PAGE_MAX,
    }
}

/// Makes the request for the first page of a run's newest history.
#[must_use]
pub fn history_of(id: &str) -> HistoryRequest {
    HistoryRequest {
        run: workflow_id(id),
        segment: None,
        from: TurnNumber(0),
        limit: PAGE_MAX,
    }
}

/// Makes the start of a run.
#[must_use]
pub fn run_of(id: &str) -> StartRun {
    StartRun {
        identity: WorkflowIdentity::root(workflow_id(id), workflow_type("order")),
        kind: RunKind::Workflow,
        route: route("order"),
        partition: 3,
        fingerprint: [7; 16],
        tags: vec![("customer".to_owned(), "7".to_owned())],
        record: b"turn 0".to_vec(),
        parent_operation: None,
    }
}

/// Makes a signal that an inbox of 100 takes.
#[must_use]
pub fn signal_to(id: &str) -> ArriveRequest {
    ArriveRequest {
        run: workflow_id(id),
        write: new_write_id(),
        body: body_of("approved"),
        inbox_max: 100,
    }
}

/// Makes the body of a signal.
#[must_use]
pub fn body_of(name: &str) -> ArrivalBody {
    ArrivalBody {
        kind: ArrivalKind::Signal,
        name: name.to_owned(),
        content: format!("content of {name}").into_bytes(),
    }
}

/// Makes the report of a claimed attempt.
#[must_use]
pub fn report_of(worker: WorkerId, attempt: &QueuedAttempt) -> AttemptReport {
    AttemptReport {
        worker,
        run: attempt.run.clone(),
        segment: attempt.segment,
        operation: attempt.operation.clone(),
        attempt: attempt.attempt,
        write: new_write_id(),
        content: b"an outcome".to_vec(),
    }
}

/// Returns the number of an accepted arrival.
#[must_use]
pub fn number_of(arrived: &Arrived) -> ArrivalNumber {
    match arrived {
        Arrived::Accepted { number, .. } => *number,
        other => panic!("the arrival is not accepted: {other:?}"),
    }
}

/// Returns the ids of runs.
#[must_use]
pub fn ids(runs: &[RunRecord]) -> Vec<String> {
    let id = |run: &RunRecord| run.identity.workflow_id.to_string();
    runs.iter().map(id).collect()
}

/// Returns the ids of acquired runs.
#[must_use]
pub fn acquired_ids(runs: &[AcquiredRun]) -> Vec<String> {
    let id = |run: &AcquiredRun| run.run.identity.workflow_id.to_string();
    runs.iter().map(id).collect()
}

/// Returns the names of arrivals.
#[must_use]
pub fn names(arrivals: &[Arrival]) -> Vec<&str> {
    arrivals
        .iter()
        .map(|arrival| arrival.body.name.as_str())
        .collect()
}

/// Returns the names of the operations of attempts.
#[must_use]
pub fn operations(attempts: &[QueuedAttempt]) -> Vec<&str> {
    attempts
        .iter()
        .map(|attempt| &*attempt.operation.name)
        .collect()
}

/// Names a run.
#[must_use]
pub fn workflow_id(text: &str) -> WorkflowId {
    WorkflowId::new(text).unwrap()
}

/// Names a type.
#[must_use]
pub fn workflow_type(text: &str) -> WorkflowType {
    WorkflowType::new(text).unwrap()
}

/// Names a route.
#[must_use]
pub fn route(text: &str) -> Route {
    Route::new(text).unwrap()
}

/// Names a queue.
#[must_use]
pub fn queue(text: &str) -> QueueName {
    QueueName::new(text).unwrap()
}

/// Names a task.
#[must_use]
pub fn task(text: &str) -> TaskName {
    TaskName::new(text).unwrap()
}

/// Names an operation.
#[must_use]
pub fn operation_of(name: &str) -> OperationKey {
    OperationKey::new(OperationKind::Task, name, 1)
}

/// Returns the first lane of a worker.
#[must_use]
pub const fn lane(worker: WorkerId) -> Lane {
    Lane { worker, number: 0 }
}

/// Draws the id of a worker.
#[must_use]
pub fn new_worker_id() -> WorkerId {
    WorkerId(new_uuid())
}

/// Draws the name of a write.
#[must_use]
pub fn new_write_id() -> WriteId {
    WriteId(new_uuid())
}

fn new_uuid() -> Uuid {
    static DRAWN: AtomicU64 = AtomicU64::new(1);
    let number = DRAWN.fetch_add(1, Ordering::Relaxed);
    Uuid::from_bytes(u128::from(number).to_be_bytes())
}

/// Returns the only one.
///
/// # Panics
/// When there are none or several.
#[must_use]
#[track_caller]
pub fn one<T: fmt::Debug>(mut all: Vec<T>) -> T {
    assert_eq!(all.len(), 1, "one is expected: {all:?}");
    all.remove(0)
}
