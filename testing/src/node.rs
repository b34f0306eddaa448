//! One process of a simulated fleet: its time, its chance and its tasks.
//!
//! Invariants: everything that runs in a node was spawned through it. A paused node polls nothing while time goes on, as
//! under SIGSTOP; a crashed one never polls anything again.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use longhaul_core::clock::{Abort, BoxFuture, Environment};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::chance::Chance;

/// Is one simulated process. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Node(Arc<Inner>);

struct Inner {
    born: Instant,
    /// What its monotonic clock shows at birth.
    origin: Duration,
    /// How much slower its monotonic clock runs than time, in millionths.
    slow_ppm: u32,
    state: Mutex<State>,
}

struct State {
    chance: Chance,
    life: Life,
    waiting: Vec<Waker>,
    tasks: Vec<AbortHandle>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    Paused,
    Crashed,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").finish_non_exhaustive()
    }
}

impl Node {
    /// Boots a process whose clock shows `origin` and runs slower than time by `slow_ppm` millionths.
    pub(crate) fn boot(chance: Chance, origin: Duration, slow_ppm: u32) -> Self {
        Self(Arc::new(Inner {
            born: Instant::now(),
            origin,
            slow_ppm,
            state: Mutex::new(State {
                chance,
                life: Life::Running,
                waiting: Vec::new(),
                tasks: Vec::new(),
            }),
        }))
    }

    /// Ends the process where it stands.
    pub(crate) fn crash(&self) {
        let mut state = self.state();
        state.life = Life::Crashed;
        state.waiting.clear();
        let tasks = std::mem::take(&mut state.tasks);
        drop(state);
        tasks.iter().for_each(AbortHandle::abort);
    }

    /// Stops the process until [`Node::resume`].
    pub(crate) fn pause(&self) {
        let mut state = self.state();
        if state.life == Life::Running {
            state.life = Life::Paused;
        }
    }

    /// Lets a paused process go on.
    pub(crate) fn resume(&self) {
        let mut state = self.state();
        if state.life == Life::Paused {
            state.life = Life::Running;
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// Returns how long `elapsed` of time is on the clock of this process.
    pub(crate) fn on_its_clock(&self, elapsed: Duration) -> Duration {
        elapsed.saturating_sub(elapsed / 1_000_000 * self.0.slow_ppm)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Environment for Node {
    fn elapsed(&self) -> Duration {
        self.0.origin + self.on_its_clock(self.0.born.elapsed())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let longer = duration / 1_000_000 * self.0.slow_ppm;
        Box::pin(tokio::time::sleep(duration + longer))
    }

    fn spawn(&self, future: BoxFuture<'static, ()>) -> Box<dyn Abort> {
        let node = self.clone();
        let task = tokio::spawn(Gated { node, future }).abort_handle();
        let mut state = self.state();
        state.tasks.retain(|task| !task.is_finished());
        state.tasks.push(task.clone());
        Box::new(task)
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        drop(self.spawn(Box::pin(async move { work() })));
    }

    fn random_bytes(&self) -> [u8; 32] {
        let mut state = self.state();
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_mut(8) {
            let drawn = state.chance.next().to_le_bytes();
            chunk
                .iter_mut()
                .zip(drawn)
                .for_each(|(to, from)| *to = from);
        }
        bytes
    }
}

/// Is polled only while its process runs.
struct Gated {
    node: Node,
    future: BoxFuture<'static, ()>,
}

impl Future for Gated {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        {
            let mut state = self.node.state();
            match state.life {
                Life::Running => {}
                Life::Paused => {
                    state.waiting.push(context.waker().clone());
                    return Poll::Pending;
                }
                Life::Crashed => return Poll::Pending,
            }
        }
        self.future.as_mut().poll(context)
    }
}
