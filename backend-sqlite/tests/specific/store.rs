//! A store with two workers, as the rules need it.

use longhaul_core::backend::{AcquiredRun, ClaimRequest, QueuedAttempt, RunRecord, Tasks};
use longhaul_core::history::{OperationKey, OperationKind};
use longhaul_core::id::{QueueName, TaskName};

use super::*;

pub(crate) struct Store {
    pub(crate) backend: SqliteBackend,
    pub(crate) clock: BackendClock,
    _folder: tempfile::TempDir,
}

impl Store {
    /// Opens a store with two workers, the first of which owns the run `a`.
    pub(crate) async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = clock();
        let config = SqliteConfig::new(folder.path()).clock(clock.clone());
        let backend = SqliteBackend::open(config).await.unwrap();
        join(&backend, 1).await;
        join(&backend, 2).await;
        backend
            .start(Some(lane(1)), vec![start_of("a")])
            .await
            .unwrap();
        Self {
            backend,
            clock,
            _folder: folder,
        }
    }

    pub(crate) async fn commit(&self, owner: u8, turn: TurnCommit) -> Verdict {
        let mut verdicts = self.backend.commit(lane(owner), vec![turn]).await.unwrap();
        verdicts.remove(0)
    }

    /// Writes the run row without a turn.
    pub(crate) async fn update(
        &self,
        owner: u8,
        epoch: u64,
        write: u8,
        update: RunUpdate,
    ) -> Verdict {
        let mut commit = turn_of("a", 0, write);
        commit.turn = None;
        commit.epoch = Epoch(epoch);
        commit.update = update;
        self.commit(owner, commit).await
    }

    pub(crate) async fn acquire(&self, owner: u8, build: &str) -> Vec<AcquiredRun> {
        let mut serves = serves();
        serves.build = BuildId::new(build).unwrap();
        let request = AcquireRequest {
            lane: lane(owner),
            serves,
            limit: 10,
        };
        self.backend.acquire(request).await.unwrap()
    }

    pub(crate) async fn record(&self, id: &str) -> RunRecord {
        let id = WorkflowId::new(id).unwrap();
        self.backend.run(&id).await.unwrap().unwrap()
    }

    pub(crate) async fn enqueue(&self, attempts: Vec<QueuedAttempt>) {
        let mut commit = turn_of("a", 1, 1);
        commit.enqueue = attempts;
        assert_eq!(self.commit(1, commit).await, Verdict::Committed);
    }

    pub(crate) async fn claim(&self, owner: u8, slots: usize) -> Vec<u32> {
        let request = ClaimRequest {
            worker: worker(owner),
            queues: vec![(QueueName::new("q").unwrap(), slots)],
            tasks: vec![TaskName::new("t").unwrap()],
        };
        let claimed = self.backend.claim(request).await.unwrap();
        claimed
            .into_iter()
            .map(|attempt| attempt.operation.nth)
            .collect()
    }
}

pub(crate) fn attempt(nth: u32, priority: i16, due: Option<Timestamp>) -> QueuedAttempt {
    QueuedAttempt {
        run: WorkflowId::new("a").unwrap(),
        segment: Segment::FIRST,
        operation: OperationKey::new(OperationKind::Task, "t", nth),
        attempt: 1,
        queue: QueueName::new("q").unwrap(),
        task: TaskName::new("t").unwrap(),
        priority,
        due,
        content: vec![5],
    }
}
