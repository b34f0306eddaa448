//! Attempts that start in one round of the lane: polled once beside each other, and apart from then on.
//!
//! To spawn a task for each attempt costs a wake-up of another thread, which is more than many attempts take. So a round
//! spawns one task, which polls each of its attempts once, or none for a lone one; those that have not ended go on in
//! tasks of their own.
//!
//! Invariants: an attempt is polled by one task at a time, with its slot, while the lease is trusted, and not after it
//! was stopped. Only what was quick to its first await when it last began is gathered, so that an attempt waits for
//! another's computation at most once after that became slow; nothing here but when an attempt runs depends on that.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::clock::{Abort, BoxFuture};
use crate::engine::execution::panic_error;
use crate::error::{Error, Result};
use crate::history::{OperationKey, Outcome};
use crate::id::{Epoch, WorkflowId};
use crate::map::Set;
use crate::worker::attempt::slot;
use crate::worker::lane::{Lane, LaneInput};
use crate::worker::shared::Shared;

/// Is how long a poll may take that others wait for: about what it costs to spawn a task.
const QUICK: Duration = Duration::from_micros(100);

/// Is the most attempts that one task polls, so that a large round is spread over the threads.
const GATHERED_MAX: usize = 32;

/// Is the most names that are known to be quick; steps may have a new one each time.
const QUICK_ONES_MAX: usize = 1_024;

/// Is what an attempt comes to; an error when this process cannot run it.
type Ended = Result<Outcome, Error>;

/// Says which attempt of which ownership.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) run: WorkflowId,
    pub(crate) epoch: Epoch,
    pub(crate) operation: OperationKey,
    pub(crate) attempt: u32,
}

/// Is an attempt that was not polled yet.
pub(crate) struct Fresh {
    pub(crate) place: Place,
    /// Opens once the start is recorded, when that is to be awaited.
    pub(crate) gate: Option<oneshot::Receiver<()>>,
    pub(crate) body: BoxFuture<'static, Ended>,
    pub(crate) stop: Stop,
}

/// Stops an attempt wherever it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<Mutex<Whereabouts>>);

#[derive(Debug, Default)]
enum Whereabouts {
    #[default]
    Gathered,
    Apart(Box<dyn Abort>),
    Stopped,
}

impl Abort for Stop {
    fn abort(&self) {
        let mut whereabouts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Whereabouts::Apart(task) = &*whereabouts {
            task.abort();
        }
        *whereabouts = Whereabouts::Stopped;
    }
}

impl Stop {
    fn is_stopped(&self) -> bool {
        let whereabouts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*whereabouts, Whereabouts::Stopped)
    }

    /// Hands over to the task that the attempt goes on in.
    fn is_in(&self, task: Box<dyn Abort>) {
        let mut whereabouts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *whereabouts {
            Whereabouts::Stopped => task.abort(),
            Whereabouts::Gathered | Whereabouts::Apart(_) => {
                *whereabouts = Whereabouts::Apart(task);
            }
        }
    }
}

/// Names the operations that were quick to their first await when they last began.
#[derive(Debug, Default)]
pub(crate) struct QuickOnes(RwLock<Set<Arc<str>>>);

impl QuickOnes {
    fn has(&self, operation: &OperationKey) -> bool {
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        names.contains(&operation.name)
    }

    fn note(&self, operation: &OperationKey, is_quick: bool) {
        if self.has(operation) == is_quick {
            return;
        }
        let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if is_quick {
            if names.len() >= QUICK_ONES_MAX {
                names.clear();
            }
            names.insert(Arc::clone(&operation.name));
        } else {
            names.remove(&operation.name);
        }
    }
}

impl Lane {
    /// Lets the attempts of this round begin. A lone one is polled here: a workflow that goes step by step would pay for
    /// two changes of task at each.
    pub(crate) fn start_gathered(&mut self) {
        if self.gathered.len() == 1 {
            let ended = poll_each(&self.shared, std::mem::take(&mut self.gathered));
            return self.ended.extend(split(&self.shared, ended));
        }
        let mut gathered = std::mem::take(&mut self.gathered).into_iter().peekable();
        while gathered.peek().is_some() {
            let some = gathered.by_ref().take(GATHERED_MAX).collect();
            let shared = Arc::clone(&self.shared);
            self.shared.spawn("attempts", async move {
                let ended = poll_each(&shared, some);
                tell(&shared, ended);
            });
        }
    }

    /// Starts an attempt with the others of this round, or apart when they would wait for it or it for something.
    pub(crate) fn start_fresh(&mut self, fresh: Fresh) {
        if fresh.gate.is_none() && self.shared.quick.has(&fresh.place.operation) {
            self.gathered.push(fresh);
        } else {
            go_apart(&self.shared, fresh, None);
        }
    }
}

/// Polls each attempt once, and returns what they came to; after one that took long, the others need not wait for the
/// next.
fn poll_each(shared: &Arc<Shared>, gathered: Vec<Fresh>) -> Vec<(Place, Ended)> {
    let mut before = shared.environment.elapsed();
    let mut is_late = false;
    let mut all_ended = Vec::with_capacity(gathered.len());
    for fresh in gathered {
        if fresh.stop.is_stopped() {
            give_up(fresh);
            continue;
        }
        let slot = Arc::clone(&shared.slots).try_acquire_owned();
        match slot {
            Ok(slot) if !is_late && shared.is_trusted() => {
                let operation = fresh.place.operation.clone();
                all_ended.extend(poll_first(shared, fresh, slot));
                let now = shared.environment.elapsed();
                is_late = now.saturating_sub(before) > QUICK;
                if is_late && all_ended.len() > 1 {
                    tell(shared, std::mem::take(&mut all_ended));
                }
                shared.quick.note(&operation, !is_late);
                before = now;
            }
            Ok(slot) if shared.is_trusted() => go_apart(shared, fresh, Some(slot)),
            _ => go_apart(shared, fresh, None),
        }
    }
    all_ended
}

/// Polls an attempt once, and returns what it came to. Whoever polls it next gives it a waker of its own, so that none is
/// needed here.
fn poll_first(
    shared: &Arc<Shared>,
    mut fresh: Fresh,
    slot: OwnedSemaphorePermit,
) -> Option<(Place, Ended)> {
    let mut context = Context::from_waker(Waker::noop());
    match poll_caught(&mut fresh.body, &mut context) {
        Poll::Ready(ended) => {
            drop(slot);
            let place = fresh.place.clone();
            give_up(fresh);
            return Some((place, ended));
        }
        Poll::Pending if fresh.stop.is_stopped() => give_up(fresh),
        Poll::Pending => go_apart(shared, fresh, Some(slot)),
    }
    None
}

/// Runs an attempt in a task of its own: once it has a slot; with a gate, once its start is recorded too.
fn go_apart(shared: &Arc<Shared>, fresh: Fresh, slot: Option<OwnedSemaphorePermit>) {
    let stop = fresh.stop.clone();
    let worker = Arc::clone(shared);
    stop.is_in(shared.spawn("attempt", run_apart(worker, fresh, slot)));
}

async fn run_apart(shared: Arc<Shared>, fresh: Fresh, held: Option<OwnedSemaphorePermit>) {
    let is_first_poll = held.is_none();
    let _slot = match held {
        Some(slot) => slot,
        None => match slot(&shared).await {
            Some(slot) => slot,
            None => return,
        },
    };
    let Fresh {
        place,
        gate,
        mut body,
        stop: _,
    } = fresh;
    if let Some(recorded) = gate {
        let starting = LaneInput::Starting(place.clone());
        drop(shared.lane.send(starting));
        if recorded.await.is_err() {
            return;
        }
    }
    let mut began = is_first_poll.then(|| shared.environment.elapsed());
    let polled = |context: &mut Context<'_>| {
        let polled = poll_caught(&mut body, context);
        if let Some(began) = began.take() {
            let took = shared.environment.elapsed().saturating_sub(began);
            shared.quick.note(&place.operation, took <= QUICK);
        }
        polled
    };
    let ended = poll_fn(polled).await;
    tell(&shared, vec![(place, ended)]);
}

fn poll_caught(body: &mut BoxFuture<'static, Ended>, context: &mut Context<'_>) -> Poll<Ended> {
    catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(context)))
        .unwrap_or_else(|panic| Poll::Ready(Ok(Err(panic_error("attempt", &*panic)))))
}

/// Drops an attempt; a destructor in it that panics concerns no other.
fn give_up(fresh: Fresh) {
    if catch_unwind(AssertUnwindSafe(|| drop(fresh))).is_err() {
        tracing::error!("a destructor of an attempt panicked");
    }
}

/// Tells the lane what attempts came to, all at once, so that their runs share the next commit.
fn tell(shared: &Shared, ended: Vec<(Place, Ended)>) {
    let outcomes = split(shared, ended);
    if !outcomes.is_empty() {
        drop(shared.lane.send(LaneInput::Outcomes(outcomes)));
    }
}

/// Returns the outcomes, and tells the lane which runs cannot go on in this process.
fn split(shared: &Shared, ended: Vec<(Place, Ended)>) -> Vec<(Place, Outcome)> {
    let mut outcomes = Vec::with_capacity(ended.len());
    for (place, ended) in ended {
        match ended {
            Ok(outcome) => outcomes.push((place, outcome)),
            Err(unfit) => drop(
                shared
                    .lane
                    .send(LaneInput::Unfit(place.run, place.epoch, unfit)),
            ),
        }
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::OperationKind;

    #[test]
    fn only_what_was_quick_when_it_last_began_is_gathered() {
        let charge = |nth| OperationKey::new(OperationKind::Task, "charge", nth);
        let quick = QuickOnes::default();
        assert!(!quick.has(&charge(1)), "nothing is known of it");
        quick.note(&charge(1), true);
        assert!(quick.has(&charge(2)));
        assert!(!quick.has(&OperationKey::new(OperationKind::Task, "refund", 1)));
        quick.note(&charge(2), false);
        assert!(!quick.has(&charge(3)), "it was slow");
    }

    #[test]
    fn what_is_known_to_be_quick_is_bounded() {
        let step = |name: usize| OperationKey::new(OperationKind::Step, name.to_string(), 1);
        let quick = QuickOnes::default();
        for name in 0..=QUICK_ONES_MAX {
            quick.note(&step(name), true);
        }
        assert!(quick.has(&step(QUICK_ONES_MAX)));
        let known = (0..=QUICK_ONES_MAX).filter(|name| quick.has(&step(*name)));
        assert!(known.count() <= QUICK_ONES_MAX);
    }

    #[test]
    fn attempt_that_is_stopped_before_it_goes_apart_is_stopped_there() {
        #[derive(Debug, Default)]
        struct Task(Arc<std::sync::atomic::AtomicBool>);
        impl Abort for Task {
            fn abort(&self) {
                self.0.store(true, std::sync::atomic::Ordering::SeqCst);
            }
        }
        let (stop, task) = (Stop::default(), Task::default());
        let is_aborted = Arc::clone(&task.0);
        stop.abort();
        assert!(stop.is_stopped());
        stop.is_in(Box::new(task));
        assert!(is_aborted.load(std::sync::atomic::Ordering::SeqCst));
    }
}
