//! What cases are written with: a store with one worker, and short ways to ask it for things.
//!
//! Invariants: every helper that does not say otherwise panics when the backend answers with an error. Each turn,
//! arrival and worker gets an id that no other has.

mod make;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use longhaul_core::backend::{
    AcquireRequest, AcquiredRun, Arrival, ArriveRequest, Arrived, AttemptReport, Backend, Beat,
    BeatRequest, Due, Lane, Message, QueuedAttempt, Reported, Result, RunFilter, RunRecord,
    RunUpdate, Serves, StartRun, Started, TakeOverRequest, TakenOver, TurnCommit, Verdict,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::history::{OperationKey, OperationKind, StoredTurn};
use longhaul_core::id::{
    ArrivalNumber, BuildId, DataKey, Epoch, EventNumber, Segment, TurnNumber, WorkerId, WorkflowId,
};
use longhaul_core::identity::WorkflowIdentity;
use longhaul_core::payload::Payload;
use longhaul_core::status::Status;

pub use self::make::*;
use crate::Fixture;

/// Is the lease of every worker.
pub const LEASE: Duration = Duration::from_secs(10);

/// Is a second.
pub const SECOND: Duration = Duration::from_secs(1);

/// Wraps a fixture with short methods; the worker [`World::me`] has joined.
pub struct World {
    fixture: Box<dyn Fixture>,
    /// Is the worker that most cases need.
    pub me: WorkerId,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

impl World {
    /// Opens an empty store and joins its first worker.
    pub async fn over(fixture: Box<dyn Fixture>) -> Self {
        let me = new_worker_id();
        let world = Self { fixture, me };
        world.join_as(me).await.unwrap();
        world
    }

    /// Returns the backend.
    #[must_use]
    pub fn backend(&self) -> Arc<dyn Backend> {
        self.fixture.backend()
    }

    /// Opens the store anew.
    pub async fn reopen(&mut self) {
        let _ = self.fixture.reopen().await;
    }

    /// Moves the clock.
    pub fn advance(&self, duration: Duration) {
        self.fixture.clock().advance(duration);
    }

    /// Returns the time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.fixture.clock().now()
    }

    /// Joins another worker.
    pub async fn worker(&self) -> WorkerId {
        let worker = new_worker_id();
        self.join_as(worker).await.unwrap();
        worker
    }

    /// Joins a worker of this id.
    pub async fn join_as(&self, worker: WorkerId) -> Result<()> {
        self.backend().join(join_of(worker)).await
    }

    /// Asks for a beat that extends nothing.
    pub async fn beat(&self, worker: WorkerId) -> Beat {
        self.beat_as(worker, &serves()).await
    }

    /// Asks for a beat of a worker that serves this.
    pub async fn beat_as(&self, worker: WorkerId, serves: &Serves) -> Beat {
        let request = BeatRequest {
            serves: serves.clone(),
            ..beat_of(worker)
        };
        self.backend().beat(request).await.unwrap()
    }

    /// Extends a lease.
    pub async fn extend(&self, worker: WorkerId) -> Result<Beat> {
        let extend = Some(LEASE);
        let request = BeatRequest {
            extend,
            ..beat_of(worker)
        };
        self.backend().beat(request).await
    }

    /// Declares a worker dead.
    pub async fn kill(&self, worker: WorkerId) -> TakenOver {
        let force = vec![worker];
        let request = TakeOverRequest { force };
        self.backend().take_over(request).await.unwrap()
    }

    /// Takes over from workers whose lease is over.
    pub async fn take_over(&self) -> TakenOver {
        let request = TakeOverRequest { force: Vec::new() };
        self.backend().take_over(request).await.unwrap()
    }

    /// Starts a run that nobody owns.
    pub async fn start(&self, id: &str) -> Started {
        self.start_as(run_of(id)).await
    }

    /// Starts a run that nobody owns.
    pub async fn start_as(&self, run: StartRun) -> Started {
        one(self.backend().start(None, vec![run]).await.unwrap())
    }

    /// Starts a run that [`World::me`] owns.
    pub async fn start_owned(&self, id: &str) -> Run {
        self.start_owned_by(self.me, id).await
    }

    /// Starts a run that a worker owns.
    pub async fn start_owned_by(&self, worker: WorkerId, id: &str) -> Run {
        let started = self
            .backend()
            .start(Some(lane(worker)), vec![run_of(id)])
            .await;
        assert_eq!(started.unwrap(), [Started::New]);
        Run {
            id: workflow_id(id),
            worker,
            epoch: Epoch(1),
            turns: 1,
            read: ArrivalNumber(0),
        }
    }

    /// Acquires what is due for a worker.
    pub async fn acquire(&self, worker: WorkerId) -> Vec<AcquiredRun> {
        self.acquire_as(worker, &serves(), 100).await
    }

    /// Acquires up to `limit` runs for a worker that serves this.
    pub async fn acquire_as(
        &self,
        worker: WorkerId,
        serves: &Serves,
        limit: usize,
    ) -> Vec<AcquiredRun> {
        let request = AcquireRequest {
            serves: serves.clone(),
            limit,
            ..acquire_of(worker)
        };
        self.backend().acquire(request).await.unwrap()
    }

    /// Acquires the one run that is due.
    pub async fn take(&self, worker: WorkerId) -> Run {
        Run::from(one(self.acquire(worker).await))
    }

    /// Commits one turn.
    pub async fn commit(&self, turn: &Turn) -> Verdict {
        one(self.try_commit(turn).await.unwrap())
    }

    /// Commits one turn and returns the backend's error, if there is one.
    pub async fn try_commit(&self, turn: &Turn) -> Result<Vec<Verdict>> {
        self.backend()
            .commit(turn.lane, vec![turn.commit.clone()])
            .await
    }

    /// Commits turns of one worker together.
    pub async fn commit_all(&self, turns: &[&Turn]) -> Vec<Verdict> {
        let commits = turns.iter().map(|turn| turn.commit.clone()).collect();
        self.backend().commit(turns[0].lane, commits).await.unwrap()
    }

    /// Edits a run that nobody owns.
    pub async fn edit(&self, turn: &Turn) -> Verdict {
        one(self
            .backend()
            .edit(vec![turn.commit.clone()])
            .await
            .unwrap())
    }

    /// Edits a run by a turn that must be taken, and moves the run on.
    pub async fn edited(&self, turn: Turn, run: &mut Run) {
        assert_eq!(self.edit(&turn).await, Verdict::Committed);
        run.turns += 1;
    }

    /// Starts a run and pauses it.
    pub async fn start_and_pause(&self, id: &str) -> Run {
        let mut run = self.start_owned(id).await;
        self.done(run.turn().pause(), &mut run).await;
        run
    }

    /// Commits a turn that must be taken, and moves the run on.
    pub async fn done(&self, turn: Turn, run: &mut Run) {
        assert_eq!(self.commit(&turn).await, Verdict::Committed);
        run.turns += u64::from(turn.commit.turn.is_some());
        if let Some(read) = turn.commit.update.read() {
            run.read = run.read.max(read);
        }
    }

    /// Appends a turn.
    pub async fn append(&self, run: &mut Run) {
        let turn = run.turn();
        self.done(turn, run).await;
    }

    /// Parks a run for good.
    pub async fn park(&self, run: &mut Run) {
        let turn = run.turn().park();
        self.done(turn, run).await;
    }

    /// Parks a run until a time.
    pub async fn park_until(&self, run: &mut Run, wake_at: Timestamp) {
        let turn = run.turn().park_until(wake_at);
        self.done(turn, run).await;
    }

    /// Ends a run.
    pub async fn end(&self, run: &mut Run) {
        let turn = run.turn().end();
        self.done(turn, run).await;
    }

    /// Starts a run and ends it.
    pub async fn start_and_end(&self, id: &str) {
        let mut run = self.start_owned(id).await;
        self.end(&mut run).await;
    }

    /// Starts a run and parks it until a time.
    pub async fn start_and_park(&self, id: &str, wake_at: Option<Timestamp>) -> Run {
        let mut run = self.start_owned(id).await;
        match wake_at {
            Some(wake_at) => self.park_until(&mut run, wake_at).await,
            None => self.park(&mut run).await,
        }
        run
    }

    /// Puts something into an inbox.
    pub async fn arrive(&self, request: &ArriveRequest) -> Arrived {
        one(self.backend().arrive(vec![request.clone()]).await.unwrap())
    }

    /// Sends a signal that must be accepted; returns its number.
    pub async fn signal(&self, id: &str) -> ArrivalNumber {
        number_of(&self.arrive(&signal_to(id)).await)
    }

    /// Reads the unread arrivals of a run that a worker owns; none when it does not own it.
    pub async fn inbox(&self, run: &Run) -> Option<Vec<Arrival>> {
        let asked = vec![(run.id.clone(), run.read)];
        let found = self.backend().inbox(run.worker, asked).await.unwrap();
        found.into_iter().next().map(|(_, arrivals)| arrivals)
    }

    /// Delivers all messages; returns how many there were.
    pub async fn deliver(&self) -> usize {
        self.backend().deliver(1_000).await.unwrap()
    }

    /// Counts what is due.
    pub async fn due(&self) -> Due {
        self.backend().due(&serves()).await.unwrap()
    }

    /// Returns the row of a run.
    pub async fn run(&self, id: &str) -> RunRecord {
        self.find(id).await.unwrap()
    }

    /// Returns the row of a run, if there is one.
    pub async fn find(&self, id: &str) -> Option<RunRecord> {
        self.backend().run(&workflow_id(id)).await.unwrap()
    }

    /// Returns the history of a run.
    pub async fn history(&self, id: &str) -> Vec<StoredTurn> {
        self.backend().history(history_of(id)).await.unwrap()
    }

    /// Returns how many turns a run has.
    pub async fn turns(&self, id: &str) -> usize {
        self.history(id).await.len()
    }

    /// Returns a value of the data of a run.
    pub async fn data(&self, id: &str, key: &str) -> Option<Payload> {
        let key = DataKey::new(key).unwrap();
        self.backend().data(&workflow_id(id), &key).await.unwrap()
    }

    /// Returns the ids of the runs that a filter chooses.
    pub async fn list(&self, filter: RunFilter) -> Vec<String> {
        ids(&self.backend().list(list_of(filter)).await.unwrap())
    }

    /// Claims attempts of the default queue.
    pub async fn claim(&self, worker: WorkerId, slots: usize) -> Vec<QueuedAttempt> {
        let request = claim_of(worker, slots);
        self.backend().claim(request).await.unwrap()
    }

    /// Claims the one attempt that a single slot gets.
    pub async fn claim_one(&self, worker: WorkerId) -> QueuedAttempt {
        one(self.claim(worker, 1).await)
    }

    /// Reports the end of an attempt.
    pub async fn report(&self, report: &AttemptReport) -> Reported {
        one(self.backend().report(vec![report.clone()]).await.unwrap())
    }
}

/// Is a run that a worker owns, and how far it is.
#[derive(Debug, Clone)]
pub struct Run {
    /// The run.
    pub id: WorkflowId,
    /// Its owner.
    pub worker: WorkerId,
    /// The ownership.
    pub epoch: Epoch,
    /// How many turns it has.
    pub turns: u64,
    /// The last arrival that it has read.
    pub read: ArrivalNumber,
}

impl From<AcquiredRun> for Run {
    fn from(acquired: AcquiredRun) -> Self {
        Self {
            id: acquired.run.identity.workflow_id,
            worker: acquired.run.owner.unwrap(),
            epoch: acquired.run.epoch,
            turns: u64::try_from(acquired.turns.len()).unwrap(),
            read: acquired.run.read,
        }
    }
}

impl Run {
    /// Makes the next turn, which only appends.
    #[must_use]
    pub fn turn(&self) -> Turn {
        self.turn_at(self.turns)
    }

    /// Makes a turn of this number.
    #[must_use]
    pub fn turn_at(&self, number: u64) -> Turn {
        let commit = TurnCommit {
            run: self.id.clone(),
            segment: Segment::FIRST,
            epoch: self.epoch,
            write: new_write_id(),
            turn: Some(StoredTurn {
                turn: TurnNumber(number),
                first_event: EventNumber(number * 2),
                record: format!("turn {number}").into_bytes(),
            }),
            update: RunUpdate::Append,
            data: Vec::new(),
            subworkflows: Vec::new(),
            enqueue: Vec::new(),
            withdraw: Vec::new(),
            outbox: Vec::new(),
        };
        Turn {
            lane: lane(self.worker),
            commit,
            read: self.read,
        }
    }

    /// Makes an attempt of this run for the default queue.
    #[must_use]
    pub fn attempt(&self, operation: &str) -> QueuedAttempt {
        QueuedAttempt {
            run: self.id.clone(),
            segment: Segment::FIRST,
            operation: operation_of(operation),
            attempt: 1,
            queue: queue("mail"),
            task: task("charge"),
            priority: 0,
            due: None,
            content: operation.as_bytes().to_vec(),
        }
    }
}

/// Builds a turn.
#[derive(Debug, Clone)]
pub struct Turn {
    /// The lane that commits it.
    pub lane: Lane,
    /// What is committed.
    pub commit: TurnCommit,
    read: ArrivalNumber,
}

impl Turn {
    fn with(mut self, update: RunUpdate) -> Self {
        self.commit.update = update;
        self
    }

    /// Says that arrivals up to `number` were read; comes before the methods that say what becomes of the run.
    #[must_use]
    pub const fn reading(mut self, number: ArrivalNumber) -> Self {
        self.read = number;
        self
    }

    /// Commits through a lane of another worker.
    #[must_use]
    pub const fn by(mut self, worker: WorkerId) -> Self {
        self.lane = lane(worker);
        self
    }

    /// Leaves the turn away: only the row changes.
    #[must_use]
    pub fn without_turn(mut self) -> Self {
        self.commit.turn = None;
        self
    }

    /// Drains what was read.
    #[must_use]
    pub fn drain(self) -> Self {
        let read = self.read;
        self.with(RunUpdate::Drain { read, seal: false })
    }

    /// Drains what was read and seals the run.
    #[must_use]
    pub fn seal(self) -> Self {
        let read = self.read;
        self.with(RunUpdate::Drain { read, seal: true })
    }

    /// Parks without a timer.
    #[must_use]
    pub fn park(self) -> Self {
        let read = self.read;
        let wake_at = None;
        self.with(RunUpdate::Park { read, wake_at })
    }

    /// Parks until a time.
    #[must_use]
    pub fn park_until(self, wake_at: Timestamp) -> Self {
        let read = self.read;
        let wake_at = Some(wake_at);
        self.with(RunUpdate::Park { read, wake_at })
    }

    /// Releases the run.
    #[must_use]
    pub fn release(self) -> Self {
        let read = self.read;
        self.with(RunUpdate::Release { read })
    }

    /// Pauses the run.
    #[must_use]
    pub fn pause(self) -> Self {
        let read = self.read;
        self.with(RunUpdate::Pause { read })
    }

    /// Blocks the run for a build.
    #[must_use]
    pub fn block(self, build: &str) -> Self {
        let read = self.read;
        self.with(RunUpdate::Block {
            read,
            reason: "other code".to_owned(),
            build: BuildId::new(build).unwrap(),
        })
    }

    /// Ends the run as completed.
    #[must_use]
    pub fn end(self) -> Self {
        self.end_as(Status::Completed)
    }

    /// Ends the run.
    #[must_use]
    pub fn end_as(self, status: Status) -> Self {
        let read = self.read;
        self.with(RunUpdate::End { read, status })
    }

    /// Sets a value of the data.
    #[must_use]
    pub fn set(mut self, key: &str, value: &[u8]) -> Self {
        let value = Payload::from_bytes(value.to_vec());
        let key = DataKey::new(key).unwrap();
        self.commit.data.push((key, Some(value)));
        self
    }

    /// Removes a value of the data.
    #[must_use]
    pub fn remove(mut self, key: &str) -> Self {
        self.commit.data.push((DataKey::new(key).unwrap(), None));
        self
    }

    /// Starts a subworkflow.
    #[must_use]
    pub fn child(mut self, id: &str) -> Self {
        let parent = WorkflowIdentity::root(self.commit.run.clone(), workflow_type("order"));
        let mut child = run_of(id);
        child.identity = parent.child(workflow_id(id), workflow_type("order"));
        child.parent_operation = Some(OperationKey::new(OperationKind::Subworkflow, "order", 1));
        self.commit.subworkflows.push(child);
        self
    }

    /// Puts an attempt into its queue.
    #[must_use]
    pub fn enqueue(mut self, attempt: QueuedAttempt) -> Self {
        self.commit.enqueue.push(attempt);
        self
    }

    /// Takes back the attempts of an operation.
    #[must_use]
    pub fn withdraw(mut self, operation: &str) -> Self {
        self.commit.withdraw.push(operation_of(operation));
        self
    }

    /// Sends a message to another run.
    #[must_use]
    pub fn send(mut self, to: &str, name: &str) -> Self {
        self.commit.outbox.push(Message {
            to: workflow_id(to),
            write: new_write_id(),
            body: body_of(name),
        });
        self
    }
}
