//! Starting runs that this worker owns from their first moment.
//!
//! Invariants: starts that come while one request is in flight go together in the next. A run is handed to the lane only
//! when its start was acknowledged as new.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::backend::{
    Error as BackendError, Kind, Lane, Result as BackendResult, RunRecord, StartRun, Started,
};
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
    let mut are_many = false;
    while starts.recv_many(&mut batch, STARTS_AT_ONCE).await > 0 {
        are_many |= batch.len() > 1;
        if are_many {
            // Whoever is about to start a run does so before the batch is sent; a lone one need not wait for nobody.
            tokio::task::yield_now().await;
        }
        while batch.len() < STARTS_AT_ONCE
            && let Ok(start) = starts.try_recv()
        {
            batch.push(start);
        }
        are_many = batch.len() > 1;
        start_all(&shared, std::mem::take(&mut batch)).await;
    }
}

async fn start_all(shared: &Shared, batch: Vec<StartHere>) {
    let has_room =
        shared.vitals.live.load(Ordering::SeqCst) + batch.len() <= shared.options.live_max;
    let owned = has_room && !shared.is_draining();
    let runs: Vec<_> = batch.iter().map(|start| start.run.clone()).collect();
    let (asked, answer) = ask(shared, owned.then(|| shared.lane_of(START_LANE)), runs).await;
    match answer {
        Ok(started) if owned => hand_on(shared, batch, started, asked),
        Ok(started) => {
            reply(batch.into_iter().map(|start| start.reply).zip(started));
            shared.nudge.notify_one();
        }
        Err(error) => refuse_all(shared, batch, &error),
    }
}

/// Asks the backend until it answers clearly.
async fn ask(
    shared: &Shared,
    lane: Option<Lane>,
    runs: Vec<StartRun>,
) -> (Asked, BackendResult<Vec<Started>>) {
    let mut pause = Duration::from_millis(5);
    let mut asked = Asked::Once;
    loop {
        match shared.heard(shared.backend.start(lane, runs.clone()).await) {
            Err(error)
                if error.kind() == Kind::Unclear
                    || asked == Asked::Again && error.should_ask_again() =>
            {
                asked = Asked::Again;
                shared.environment.sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
            answer => return (asked, answer),
        }
    }
}

/// Says how often a start was asked for before it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Once,
    Again,
}

/// Hands the runs that this worker started to its lane, all at once, so that they share a commit; then replies.
fn hand_on(shared: &Shared, batch: Vec<StartHere>, started: Vec<Started>, asked: Asked) {
    let mut begun = Vec::new();
    let mut replies = Vec::new();
    for (start, started) in batch.into_iter().zip(started) {
        match (&started, asked) {
            (Started::New, _) => begun.push((owned_here(shared, &start.run), start.first)),
            (Started::Exists(existing), Asked::Again) => look_for(shared, existing),
            (Started::Exists(_), Asked::Once) => {}
        }
        replies.push((start.reply, started));
    }
    if !begun.is_empty() {
        shared.vitals.live.fetch_add(begun.len(), Ordering::SeqCst);
        drop(shared.lane.send(LaneInput::Started(begun)));
    }
    reply(replies);
}

fn reply(replies: impl IntoIterator<Item = (oneshot::Sender<BackendResult<Started>>, Started)>) {
    for (reply, started) in replies {
        drop(reply.send(Ok(started)));
    }
}

/// Looks for a run that the first of several askings may have started; if it is live already, this changes nothing.
fn look_for(shared: &Shared, existing: &RunRecord) {
    if existing.owner == Some(shared.worker()) {
        let id = existing.identity.workflow_id.clone();
        let owned = vec![(id, existing.epoch)];
        drop(shared.lane.send(LaneInput::Owned(owned)));
    }
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
