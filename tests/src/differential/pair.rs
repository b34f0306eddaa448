//! Two stores that are asked the same, and what is remembered of their answers.
//!
//! Invariants: both clocks show the same time. What is remembered comes from the left store, after its answer was
//! found to be the right one's. Errors are compared by kind and refusals of turns by being refusals, as their texts
//! are the backend's own. What else is evened out says why where it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use longhaul_core::backend::{
    ArriveRequest, AttemptReport, Backend, Kind, Lane, QueuedAttempt, Result as Answered,
    TurnCommit, Verdict,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::{Uuid, WorkerId, WorkflowId, WriteId};

use super::branch::Branch;
use crate::Fixture;

/// Is what both stores answered.
pub(super) type Answer<T> = Result<T, Kind>;

/// Is an answer that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What the left store answered.
    pub left: String,
    /// What the right store answered.
    pub right: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "left answered  {}\nright answered {}",
            self.left, self.right
        )
    }
}

/// Is a write that can be asked again.
#[derive(Debug, Clone)]
pub(super) enum Write {
    Commit(Option<Lane>, Vec<TurnCommit>, Vec<Verdict>),
    Arrive(Vec<ArriveRequest>),
    Report(Vec<AttemptReport>),
}

/// Holds two stores.
pub(super) struct Pair {
    left: Box<dyn Fixture>,
    right: Box<dyn Fixture>,
    names: u128,
    /// How many calls were compared.
    pub(super) operations: usize,
    pub(super) branches: BTreeMap<Branch, usize>,
    /// The workers at their places.
    pub(super) workers: Vec<WorkerId>,
    /// The workers that left: a backend may refuse their ids or not.
    pub(super) departed: BTreeSet<WorkerId>,
    pub(super) claimed: Vec<(WorkerId, QueuedAttempt)>,
    pub(super) writes: Vec<Write>,
    /// The run whose messages may be in the outbox.
    pub(super) sender: Option<WorkflowId>,
}

impl Pair {
    pub(super) fn new(left: Box<dyn Fixture>, right: Box<dyn Fixture>, places: usize) -> Self {
        let (now, other) = (left.clock().now(), right.clock().now());
        left.clock().advance(other.since(now));
        right.clock().advance(now.since(other));
        let mut pair = Self {
            left,
            right,
            names: 0,
            operations: 0,
            branches: BTreeMap::new(),
            workers: Vec::new(),
            departed: BTreeSet::new(),
            claimed: Vec::new(),
            writes: Vec::new(),
            sender: None,
        };
        pair.begin(0);
        pair.workers = (0..places).map(|_| pair.new_worker()).collect();
        pair
    }

    /// Says which action begins, so that the names that it draws are its own wherever it stands in a list.
    pub(super) const fn begin(&mut self, tag: u64) {
        self.names = (tag as u128 + 1) << 32;
    }

    const fn draw(&mut self) -> Uuid {
        self.names += 1;
        Uuid::from_bytes(self.names.to_be_bytes())
    }

    pub(super) const fn new_worker(&mut self) -> WorkerId {
        WorkerId(self.draw())
    }

    pub(super) const fn new_write(&mut self) -> WriteId {
        WriteId(self.draw())
    }

    pub(super) fn now(&self) -> Timestamp {
        self.left.clock().now()
    }

    pub(super) fn advance(&self, duration: Duration) {
        self.left.clock().advance(duration);
        self.right.clock().advance(duration);
    }

    pub(super) async fn reopen(&mut self) {
        drop(self.left.reopen().await);
        drop(self.right.reopen().await);
    }

    pub(super) fn note(&mut self, branch: Branch) {
        *self.branches.entry(branch).or_default() += 1;
    }

    pub(super) fn note_if(&mut self, is_so: bool, branch: Branch) {
        if is_so {
            self.note(branch);
        }
    }

    /// Asks both stores and compares their answers.
    pub(super) async fn ask<T: fmt::Debug + PartialEq>(
        &mut self,
        call: impl AsyncFn(&dyn Backend) -> Answered<T>,
    ) -> Result<Answer<T>, Difference> {
        self.ask_evened(call, |_| {}).await
    }

    /// Asks both stores and compares their answers after what the contract leaves open was evened out.
    pub(super) async fn ask_evened<T: fmt::Debug + PartialEq>(
        &mut self,
        call: impl AsyncFn(&dyn Backend) -> Answered<T>,
        even_out: impl Fn(&mut T),
    ) -> Result<Answer<T>, Difference> {
        self.operations += 1;
        let mut left = call(&*self.left.backend()).await.map_err(|e| e.kind());
        let mut right = call(&*self.right.backend()).await.map_err(|e| e.kind());
        for answer in [&mut left, &mut right].into_iter().flatten() {
            even_out(answer);
        }
        if left == right {
            return Ok(left);
        }
        Err(Difference {
            left: format!("{left:?}"),
            right: format!("{right:?}"),
        })
    }

    /// Asks what no right store refuses.
    pub(super) async fn get<T: fmt::Debug + PartialEq>(
        &mut self,
        call: impl AsyncFn(&dyn Backend) -> Answered<T>,
    ) -> Result<T, Difference> {
        self.ask(call).await?.map_err(|kind| Difference {
            left: format!("{kind:?}"),
            right: format!("{kind:?}, as the left store; but that is never refused"),
        })
    }
}
