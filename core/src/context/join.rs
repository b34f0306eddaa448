//! Waiting for many futures in an order that does not change.
//!
//! Invariants: children are polled in the order of their positions, and only those that were woken; the order is ours
//! and part of the stored histories, whatever other crates do.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as PollContext, Poll, Wake, Waker};

use crate::error::Result;

/// Waits for all futures and yields their outputs in the order given.
///
/// Thousands of branches are fine: each event polls only the branches that it woke.
pub fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> JoinAll<F> {
    JoinAll(Branches::new(futures))
}

/// Waits for all futures; see [`join_all`].
#[must_use = "a join does nothing until it is awaited"]
pub struct JoinAll<F: Future>(Branches<F>);

impl<F: Future> Unpin for JoinAll<F> {}

impl<F: Future> fmt::Debug for JoinAll<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinAll({} open)", self.0.open)
    }
}

impl<F: Future> Future for JoinAll<F> {
    type Output = Vec<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut PollContext<'_>) -> Poll<Self::Output> {
        self.0.poll_woken(context, |_| false);
        if self.0.open > 0 {
            return Poll::Pending;
        }
        Poll::Ready(self.0.take_outputs())
    }
}

/// Waits for all futures, or for the first error in time; the others are dropped then. Made by `ctx.join_all`.
#[must_use = "a join does nothing until it is awaited"]
pub struct TryJoinAll<F: Future>(Branches<F>);

impl<F: Future> Unpin for TryJoinAll<F> {}

impl<F: Future> fmt::Debug for TryJoinAll<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TryJoinAll({} open)", self.0.open)
    }
}

impl<T, F: Future<Output = Result<T>>> TryJoinAll<F> {
    pub(crate) fn new(futures: impl IntoIterator<Item = F>) -> Self {
        Self(Branches::new(futures))
    }
}

impl<T, F: Future<Output = Result<T>>> Future for TryJoinAll<F> {
    type Output = Result<Vec<T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut PollContext<'_>) -> Poll<Self::Output> {
        let failed = self.0.poll_woken(context, Result::is_err);
        if !failed && self.0.open > 0 {
            return Poll::Pending;
        }
        let branches = std::mem::take(&mut self.0.branches);
        if failed {
            let error = branches.into_iter().find_map(|branch| match branch {
                Branch::Done(Err(error)) => Some(error),
                Branch::Done(Ok(_)) | Branch::Open(_) => None,
            });
            return match error {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            };
        }
        Poll::Ready(
            branches
                .into_iter()
                .filter_map(Branch::into_output)
                .collect(),
        )
    }
}

enum Branch<F: Future> {
    Open(Pin<Box<F>>),
    Done(F::Output),
}

impl<F: Future> Branch<F> {
    fn into_output(self) -> Option<F::Output> {
        match self {
            Self::Done(output) => Some(output),
            Self::Open(_) => None,
        }
    }
}

struct Branches<F: Future> {
    branches: Vec<Branch<F>>,
    open: usize,
    woken: Arc<Woken>,
}

impl<F: Future> Branches<F> {
    fn new(futures: impl IntoIterator<Item = F>) -> Self {
        let branches: Vec<_> = futures
            .into_iter()
            .map(|future| Branch::Open(Box::pin(future)))
            .collect();
        Self {
            open: branches.len(),
            woken: Arc::new(Woken {
                branches: Mutex::new((0..branches.len()).collect()),
                parent: Mutex::new(None),
            }),
            branches,
        }
    }

    /// Polls the woken branches in order; stops at the first output that `stop` accepts.
    fn poll_woken(&mut self, context: &PollContext<'_>, stop: impl Fn(&F::Output) -> bool) -> bool {
        self.woken.set_parent(context.waker());
        for position in self.woken.take() {
            let Some(slot) = self.branches.get_mut(position) else {
                continue;
            };
            let Branch::Open(future) = slot else { continue };
            let waker = Waker::from(Arc::new(BranchWaker {
                position,
                woken: Arc::clone(&self.woken),
            }));
            if let Poll::Ready(output) = future.as_mut().poll(&mut PollContext::from_waker(&waker))
            {
                self.open -= 1;
                let stops = stop(&output);
                *slot = Branch::Done(output);
                if stops {
                    return true;
                }
            }
        }
        false
    }

    fn take_outputs(&mut self) -> Vec<F::Output> {
        std::mem::take(&mut self.branches)
            .into_iter()
            .filter_map(Branch::into_output)
            .collect()
    }
}

struct Woken {
    branches: Mutex<BTreeSet<usize>>,
    parent: Mutex<Option<Waker>>,
}

impl Woken {
    fn take(&self) -> BTreeSet<usize> {
        std::mem::take(&mut self.branches.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_parent(&self, waker: &Waker) {
        let mut parent = self.parent.lock().unwrap_or_else(PoisonError::into_inner);
        if !parent.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *parent = Some(waker.clone());
        }
    }

    fn wake(&self, position: usize) {
        self.branches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(position);
        let parent = self
            .parent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(parent) = parent {
            parent.wake();
        }
    }
}

struct BranchWaker {
    position: usize,
    woken: Arc<Woken>,
}

impl Wake for BranchWaker {
    fn wake(self: Arc<Self>) {
        self.woken.wake(self.position);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.wake(self.position);
    }
}

/// Waits for the first of several branches, in the order written, and drops the others.
///
/// Always biased: when two branches are ready, the upper one wins, at each replay again. Dropped operations are
/// cancelled.
///
/// ```
/// # async fn race() -> u32 {
/// let fast = async { 1 };
/// let slow = std::future::pending::<u32>();
/// longhaul_core::select! {
///     value = fast => value,
///     value = slow => value + 1,
/// }
/// # }
/// # let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// # let polled = std::future::Future::poll(Box::pin(race()).as_mut(), &mut context);
/// # assert_eq!(polled, std::task::Poll::Ready(1));
/// ```
#[macro_export]
macro_rules! select {
    ($($input:tt)*) => {
        $crate::__private::tokio_select! { biased; $($input)* }
    };
}
