//! The worker's watch: beats, takeovers, acquiring what is due, moving the outbox, claiming from queues.
//!
//! Invariants: an idle worker asks the backend once per beat and nothing else. Hints and nudges only make it look
//! earlier. A worker that is told it is dead forgets everything and joins again under a new id.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::backend::{
    AcquireRequest, Beat, BeatRequest, Error as BackendError, Hint, HintStream, JoinRequest, Kind,
    TakeOverRequest,
};
use crate::clock::Timestamp;
use crate::worker::claims::Claims;
use crate::worker::lane::LaneInput;
use crate::worker::shared::{ACQUIRE_LANE, LANES, Shared};

/// Is the shortest time between two looks that hints ask for.
const HINTS_COALESCED: Duration = Duration::from_millis(10);

/// Is how many looks in a row must find a run owned and not live, or an attempt claimed and not running, before it is
/// taken up: longer than it takes to hand it over.
pub(crate) const LOOKS_UNTIL_MISSING: u32 = 3;

/// Is the most runs taken in one request.
const ACQUIRED_AT_ONCE: usize = 256;

/// Is the most messages moved in one request.
const DELIVERED_AT_ONCE: usize = 256;

pub(crate) struct Keeper {
    shared: Arc<Shared>,
    claims: Claims,
    hints: Box<dyn HintStream>,
    extended_at: Duration,
    next_beat: Duration,
    next_due: Option<Timestamp>,
    failures: u32,
    /// How many looks in a row found more owned runs than live ones.
    missing: u32,
}

impl Keeper {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            claims: Claims::new(Arc::clone(&shared)),
            hints: shared.backend.hints(),
            extended_at: Duration::ZERO,
            next_beat: Duration::ZERO,
            next_due: None,
            failures: 0,
            missing: 0,
            shared,
        }
    }

    /// Registers the worker and takes over what the dead left.
    pub(crate) async fn join(&mut self) -> Result<(), BackendError> {
        let shared = &self.shared;
        let requested = shared.environment.elapsed();
        shared
            .backend
            .join(JoinRequest {
                worker: shared.worker(),
                lease: shared.options.lease,
                lanes: LANES,
                serves: shared.serves.clone(),
                label: shared.options.label.clone(),
            })
            .await?;
        shared.vitals.lease.renew(requested, shared.options.lease);
        self.extended_at = requested;
        self.take_over().await
    }

    /// Watches until the worker has drained.
    pub(crate) async fn run(mut self, mut done: oneshot::Receiver<()>) {
        loop {
            let (pause, is_beat) = self.pause();
            let shared = Arc::clone(&self.shared);
            tokio::select! {
                biased;
                _ = &mut done => return,
                () = shared.deliver.notified() => {
                    if let Err(error) = self.deliver().await {
                        self.on_error(&error).await;
                    }
                    continue;
                }
                () = shared.nudge.notified() => {}
                hint = self.hints.next() => match hint {
                    Hint::Ended => continue,
                    Hint::Changed => shared.environment.sleep(HINTS_COALESCED).await,
                },
                () = shared.environment.sleep(pause) => {
                    if !is_beat {
                        self.next_due = None;
                    }
                }
            }
            match self.look().await {
                Ok(()) => {
                    self.failures = 0;
                    self.shared.vitals.reached();
                }
                Err(error) => self.on_error(&error).await,
            }
        }
    }

    fn pause(&self) -> (Duration, bool) {
        let shared = &self.shared;
        let beat = self.next_beat.saturating_sub(shared.environment.elapsed());
        let due = self.next_due.map(|due| {
            due.since(shared.backend.clock())
                .max(Duration::from_millis(1))
        });
        match due {
            Some(due) if due < beat => (due, false),
            _ => (beat, true),
        }
    }

    async fn look(&mut self) -> Result<(), BackendError> {
        let shared = Arc::clone(&self.shared);
        let requested = shared.environment.elapsed();
        let lease = shared.options.lease;
        let is_used = requested.saturating_sub(self.extended_at) >= lease / 3;
        let beat = shared
            .backend
            .beat(BeatRequest {
                worker: shared.worker(),
                extend: is_used.then_some(lease),
                serves: shared.serves.clone(),
            })
            .await?;
        if is_used {
            shared.vitals.lease.renew(requested, lease);
            self.extended_at = requested;
        }
        self.next_beat = requested + self.beat_interval();
        self.act_on(beat).await
    }

    fn beat_interval(&self) -> Duration {
        let lease = self.shared.options.lease;
        let beat = self.shared.options.beat.min(lease);
        let [byte, ..] = self.shared.environment.random_bytes();
        let jitter = beat.mul_f64(f64::from(byte) / 255.0 / 5.0);
        (beat + jitter).min(lease / 3)
    }

    async fn act_on(&mut self, beat: Beat) -> Result<(), BackendError> {
        for run in beat.arrivals {
            drop(self.shared.lane.send(LaneInput::Arrived(run, None)));
        }
        if !beat.dead.is_empty() {
            self.take_over().await?;
        }
        if beat.outbox {
            self.deliver().await?;
        }
        self.shared.load.set_peers(beat.peers);
        self.find_missing(beat.owned).await?;
        self.claims.find_missing(beat.claimed).await?;
        self.next_due = [beat.due.next, beat.next_claimable]
            .into_iter()
            .flatten()
            .min();
        if self.shared.is_draining() {
            return Ok(());
        }
        if beat.due.now > 0 {
            self.acquire().await?;
        }
        if beat.claimable > 0 {
            self.claims.claim().await?;
        }
        Ok(())
    }

    /// Takes up runs that are owned and not live for longer than it takes to hand them over.
    async fn find_missing(&mut self, owned: usize) -> Result<(), BackendError> {
        let is_missing = owned > self.shared.vitals.live.load(Ordering::SeqCst);
        self.missing = if is_missing { self.missing + 1 } else { 0 };
        if self.missing >= LOOKS_UNTIL_MISSING {
            self.missing = 0;
            let owned = self.shared.backend.owned(self.shared.worker()).await?;
            drop(self.shared.lane.send(LaneInput::Owned(owned)));
        }
        Ok(())
    }

    async fn take_over(&self) -> Result<(), BackendError> {
        let taken = self
            .shared
            .backend
            .take_over(TakeOverRequest { force: Vec::new() })
            .await?;
        if !taken.workers.is_empty() {
            tracing::info!(
                workers = taken.workers.len(),
                runs = taken.runs,
                "took over from dead workers"
            );
            self.shared.nudge.notify_one();
        }
        Ok(())
    }

    async fn acquire(&self) -> Result<(), BackendError> {
        loop {
            let live = self.shared.vitals.live.load(Ordering::SeqCst);
            let room = self.shared.options.live_max.saturating_sub(live);
            if room == 0 {
                drop(self.shared.lane.send(LaneInput::MakeRoom));
                return Ok(());
            }
            let limit = room.min(ACQUIRED_AT_ONCE);
            let runs = self
                .shared
                .backend
                .acquire(AcquireRequest {
                    lane: self.shared.lane_of(ACQUIRE_LANE),
                    serves: self.shared.serves.clone(),
                    limit,
                })
                .await?;
            let taken = runs.len();
            self.shared.vitals.live.fetch_add(taken, Ordering::SeqCst);
            if taken > 0 {
                drop(self.shared.lane.send(LaneInput::Acquired(runs)));
            }
            if taken < limit {
                return Ok(());
            }
        }
    }

    async fn deliver(&self) -> Result<(), BackendError> {
        while self.shared.backend.deliver(DELIVERED_AT_ONCE).await? > 0 {
            self.shared.hub.nudge();
        }
        Ok(())
    }

    async fn on_error(&mut self, error: &BackendError) {
        if error.kind() == Kind::WorkerDead {
            self.rise_again().await;
        } else {
            self.back_off(error).await;
        }
    }

    async fn back_off(&mut self, error: &BackendError) {
        let clock = self.shared.backend.clock();
        self.shared.vitals.failed(error, clock);
        self.pause_longer().await;
    }

    /// Waits longer each time until a look succeeds.
    async fn pause_longer(&mut self) {
        self.failures = (self.failures + 1).min(4);
        let pause = Duration::from_millis(50) * (1 << self.failures);
        self.shared.environment.sleep(pause).await;
    }

    /// Forgets what the worker had and joins again under a new id.
    async fn rise_again(&mut self) {
        tracing::warn!(worker = %self.shared.worker(), "declared dead; joining again");
        self.shared.vitals.lease.revoke();
        let (done, forgotten) = oneshot::channel();
        drop(self.shared.lane.send(LaneInput::Dead(done)));
        drop(forgotten.await);
        self.claims.forget_all();
        self.take_new_id();
        self.next_beat = Duration::ZERO;
        while let Err(error) = self.join().await {
            // It joined without being told, or half: it was away for a lease since, and nobody joins under a dead id.
            if error.kind() == Kind::WorkerDead {
                self.take_new_id();
                self.pause_longer().await;
            } else {
                self.back_off(&error).await;
            }
        }
        tracing::info!(worker = %self.shared.worker(), "worker joined again");
    }

    fn take_new_id(&self) {
        let before = self.shared.worker();
        let worker = self.shared.renew_worker();
        self.shared.hub.rename(before, worker);
    }
}
