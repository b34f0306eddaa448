//! One run's future: delivering an event polls it until it is quiet.
//!
//! Invariants: after each event exactly the operations that it resolves are woken, in the order of their positions, then
//! the root is polled until it is pending without having been woken during the poll. A wake from anywhere else means
//! that the code awaits something that is not durable. Dropping an execution asks for nothing.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as PollContext, Poll, Wake, Waker};

use crate::clock::BoxFuture;
use crate::command::Command;
use crate::engine::machine::Machine;
use crate::error::{Error, ErrorKind};
use crate::history::{Event, EventKind, Outcome};
use crate::id::EventNumber;
use crate::payload::Payload;
use crate::sabotage::{self, Sabotage};

/// Is the largest number of polls for one event; code that needs more wakes itself for ever.
const POLLS_MAX: u32 = 100_000;

/// Is the largest number of cancelled operations in a row that the code may answer with new ones.
const CANCELLED_ROUNDS_MAX: u32 = 1_000;

/// Makes the future of a run from its machine and its arguments; called again for each replay.
pub(crate) type Program =
    Arc<dyn Fn(&Arc<Machine>, Payload) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// Is called when the future is woken by something that is not durable.
pub(crate) type ForeignWake = Arc<dyn Fn() + Send + Sync>;

/// Says why the code cannot go on, as opposed to a failure that it returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stuck(pub(crate) Error);

/// Holds the future of one run.
pub(crate) struct Execution {
    machine: Arc<Machine>,
    future: Option<BoxFuture<'static, Outcome>>,
    signal: Arc<RunWaker>,
}

impl fmt::Debug for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execution")
            .field("machine", &self.machine)
            .field("finished", &self.future.is_none())
            .finish_non_exhaustive()
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        self.machine.tear_down();
        let future = self.future.take();
        // A panic in a destructor of user code must not take the worker down.
        drop(catch_unwind(AssertUnwindSafe(|| drop(future))));
    }
}

impl Execution {
    pub(crate) fn new(
        machine: Arc<Machine>,
        program: &Program,
        arguments: Payload,
        foreign: ForeignWake,
    ) -> Self {
        let future = program(&machine, arguments);
        Self {
            machine,
            future: Some(Box::pin(tokio::task::unconstrained(future))),
            signal: Arc::new(RunWaker {
                woken: AtomicBool::new(false),
                awake: AtomicBool::new(false),
                foreign,
            }),
        }
    }

    /// Tells whether the code has returned.
    pub(crate) fn has_ended(&self) -> bool {
        self.future.is_none()
    }

    pub(crate) fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    /// Delivers an event, by its number in the history, and returns what the code asked for, in order.
    pub(crate) fn deliver(
        &mut self,
        number: EventNumber,
        event: &Event,
    ) -> Result<Vec<Command>, Stuck> {
        let wakers = self.machine.apply(number, event.at, &event.kind);
        let starts = matches!(event.kind, EventKind::RunStarted(_));
        if wakers.is_empty() && !starts {
            return Ok(Vec::new());
        }
        let inside = Inside::enter(&self.signal);
        for waker in wakers {
            waker.wake();
        }
        let ended = self.poll_until_quiet()?;
        drop(inside);
        let mut commands = self.machine.take_commands();
        if sabotage::makes(Sabotage::ReorderCommands) {
            reorder(&mut commands);
        }
        if let Some(outcome) = ended {
            commands.push(self.last_command(outcome));
        }
        Ok(commands)
    }

    fn poll_until_quiet(&mut self) -> Result<Option<Outcome>, Stuck> {
        let mut cancelled_rounds = 0;
        for _ in 0..POLLS_MAX {
            self.signal.woken.store(false, Ordering::Relaxed);
            let polled = self.poll_once();
            if let Some(fault) = self.machine.take_fault() {
                self.end();
                return Ok(Some(Err(fault)));
            }
            if let Poll::Ready(outcome) = polled {
                self.end();
                return Ok(Some(outcome));
            }
            let cancelled = self.machine.resolve_cancelled();
            if !cancelled.is_empty() {
                cancelled_rounds += 1;
                if cancelled_rounds > CANCELLED_ROUNDS_MAX {
                    return Err(stuck(
                        "the workflow was cancelled and goes on starting operations; return when one fails",
                    ));
                }
                cancelled.into_iter().for_each(Waker::wake);
                continue;
            }
            if !self.signal.woken.load(Ordering::Relaxed) {
                return self.check_durable().map(|()| None);
            }
        }
        Err(stuck(
            "the workflow wakes itself without end while nothing happens",
        ))
    }

    fn poll_once(&mut self) -> Poll<Outcome> {
        let Some(future) = &mut self.future else {
            return Poll::Pending;
        };
        let waker = Waker::from(Arc::clone(&self.signal));
        let mut context = PollContext::from_waker(&waker);
        catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)))
            .unwrap_or_else(|panic| Poll::Ready(Err(panic_error("workflow", &*panic))))
    }

    fn check_durable(&self) -> Result<(), Stuck> {
        if self.machine.has_open_operations() {
            return Ok(());
        }
        Err(not_durable())
    }

    fn end(&mut self) {
        if let Some(future) = self.future.take() {
            self.machine.tear_down();
            drop(catch_unwind(AssertUnwindSafe(|| drop(future))));
        }
    }

    fn last_command(&self, outcome: Outcome) -> Command {
        match outcome {
            Ok(result) => Command::Complete { result },
            Err(error) if error.kind() == ErrorKind::Cancelled => {
                match self.machine.cancel_reason() {
                    Some(reason) => Command::EndCancelled { reason },
                    None => Command::Fail { error },
                }
            }
            Err(error) => Command::Fail { error },
        }
    }
}

/// Gives commands the order of a map that is another one each time.
fn reorder(commands: &mut [Command]) {
    thread_local! {
        static TIMES: Cell<usize> = const { Cell::new(0) };
    }
    TIMES.set(TIMES.get() + 1);
    if !commands.is_empty() {
        commands.rotate_left(TIMES.get() % commands.len());
    }
}

/// Makes the report that the code awaited something that cannot be replayed.
pub(crate) fn not_durable() -> Stuck {
    stuck(
        "the workflow awaited something that is not durable; await only what its context gives (ctx.sleep instead of \
         tokio::time::sleep, a task or ctx.step for IO)",
    )
}

fn stuck(message: &str) -> Stuck {
    Stuck(Error::new(ErrorKind::Nondeterminism, message))
}

/// Turns a caught panic into an error.
pub(crate) fn panic_error(what: &str, panic: &(dyn Any + Send)) -> Error {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is not text".to_owned());
    Error::new(ErrorKind::Panicked, format!("{what} panicked: {message}"))
}

thread_local! {
    static INSIDE: Cell<usize> = const { Cell::new(0) };
}

/// Marks that this thread is polling or waking one run.
struct Inside {
    before: usize,
    signal: Arc<RunWaker>,
}

impl Inside {
    fn enter(signal: &Arc<RunWaker>) -> Self {
        let before = INSIDE.replace(Arc::as_ptr(signal).addr());
        signal.awake.store(true, Ordering::Release);
        Self {
            before,
            signal: Arc::clone(signal),
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.signal.awake.store(false, Ordering::Release);
        INSIDE.set(self.before);
    }
}

struct RunWaker {
    woken: AtomicBool,
    awake: AtomicBool,
    foreign: ForeignWake,
}

impl Wake for RunWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if INSIDE.get() == Arc::as_ptr(self).addr() && self.awake.load(Ordering::Acquire) {
            self.woken.store(true, Ordering::Relaxed);
        } else {
            (self.foreign)();
        }
    }
}
