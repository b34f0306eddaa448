//! Starting runs that this worker owns from their first moment.
//!
//! Invariants: starts that come while one request is in flight go together in the next. A run is handed to the lane only
//! when its start was acknowledged as new.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::backend::{Error as BackendError, Kind, RunRecord, StartRun, Started};
use crate::hub::StartHere;
use crate::id::{ArrivalNumber, Epoch, Segment};
use crate::status::Status;
use crate::worker::lane::LaneInput;
use crate::worker::shared::{START_LANE, Shared};

/// Is the most starts in one request.
const STARTS_AT_ONCE: usize = 512;

/// Starts runs until the worker drains.
pub(crate) async fn run(shared: Arc<Shared>, mut starts: mpsc::UnboundedReceiver<StartHere>) {
    let mut batch = Vec::new();
    while starts.recv_many(&mut batch, STARTS_AT_ONCE).await > 0 {
        start_all(&shared, std::mem::take(&mut batch)).await;
    }
}

async fn start_all(shared: &Shared, batch: Vec<StartHere>) {
    let has_room =
        shared.vitals.live.load(Ordering::SeqCst) + batch.len() <= shared.options.live_max;
    let owned = has_room && !shared.is_draining();
    let lane = owned.then(|| shared.lane_of(START_LANE));
    let runs: Vec<_> = batch.iter().map(|start| start.run.clone()).collect();
    let mut pause = Duration::from_millis(5);
    let mut asked = Asked::Once;
    let answer = loop {
        match shared.heard(shared.backend.start(lane, runs.clone()).await) {
            Err(error)
                if error.kind() == Kind::Unclear
                    || asked == Asked::Again && error.should_ask_again() =>
            {
                asked = Asked::Again;
                shared.environment.sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
            answer => break answer,
        }
    };
    match answer {
        Ok(started) => {
            for (start, started) in batch.into_iter().zip(started) {
                hand_on(shared, start, started, owned.then_some(asked));
            }
            if !owned {
                shared.nudge.notify_one();
            }
        }
        Err(error) => refuse_all(shared, batch, &error),
    }
}

/// Says how often a start was asked for before it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Once,
    Again,
}

fn hand_on(shared: &Shared, start: StartHere, started: Started, owned: Option<Asked>) {
    match (&started, owned) {
        (Started::New, Some(_)) => {
            shared.vitals.live.fetch_add(1, Ordering::SeqCst);
            let record = owned_here(shared, &start.run);
            let input = LaneInput::Started(Box::new(record), Box::new(start.first));
            drop(shared.lane.send(input));
        }
        (Started::Exists(existing), Some(Asked::Again))
            if existing.owner == Some(shared.worker()) =>
        {
            // The first asking may have started it; if the run is live already, this changes nothing.
            let id = existing.identity.workflow_id.clone();
            let owned = vec![(id, existing.epoch)];
            drop(shared.lane.send(LaneInput::Owned(owned)));
        }
        _ => {}
    }
    drop(start.reply.send(Ok(started)));
}

/// Returns the row of a run that this worker just started.
fn owned_here(shared: &Shared, run: &StartRun) -> RunRecord {
    RunRecord {
        identity: run.identity.clone(),
        kind: run.kind,
        segment: Segment::FIRST,
        route: run.route.clone(),
        partition: run.partition,
        status: Status::Running,
        owner: Some(shared.worker()),
        epoch: Epoch(1),
        arrivals: ArrivalNumber(0),
        read: ArrivalNumber(0),
        wake_at: None,
        lost: 0,
        blocked: None,
        fingerprint: run.fingerprint,
        tags: run.tags.clone(),
        parent_operation: run.parent_operation.clone(),
        created_at: shared.backend.clock(),
        updated_at: shared.backend.clock(),
    }
}

fn refuse_all(shared: &Shared, batch: Vec<StartHere>, error: &BackendError) {
    if error.kind() == Kind::WorkerDead {
        shared.nudge.notify_one();
    }
    for start in batch {
        drop(start.reply.send(Err(error.clone())));
    }
}
