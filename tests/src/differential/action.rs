//! One operation of a list, as it was drawn.
//!
//! Invariants: an action names workers, runs and earlier writes by position and says what is wrong with it, and takes
//! epochs, turns and claims from the stores when it is performed. So a list from which some are dropped still makes
//! sense, and what an action asks for depends on nothing but the list.

use std::time::Duration;

use longhaul_core::backend::{ArrivalKind, RunFilter, Serves, StartRun};
use longhaul_core::status::Status;

/// Says how a turn is made wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// It is right.
    Nothing,
    /// It names the epoch before.
    EpochBefore,
    /// It names the epoch after.
    EpochAfter,
    /// It names another segment.
    Segment,
    /// It leaves a turn out.
    Gap,
    /// It has a number that is taken.
    Taken,
    /// Another worker commits it.
    Worker,
}

/// Says what becomes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The row is not touched.
    Append,
    /// What was read is marked, and the run is sealed or not.
    Drain(bool),
    /// It parks, until a time from now in seconds if one is given.
    Park(Option<i64>),
    /// It is released.
    Release,
    /// It is blocked for a build of this number.
    Block(usize),
    /// It is paused.
    Pause,
    /// It ends.
    End(Status),
}

/// Is one turn of a commit.
#[derive(Debug, Clone)]
pub struct TurnPlan {
    /// The run: of all, or of those that somebody owns.
    pub run: usize,
    /// Whether it is one that somebody owns.
    pub is_owned: bool,
    /// What is wrong with it.
    pub wrong: Wrong,
    /// What becomes of the run.
    pub fate: Fate,
    /// Whether all arrivals are read, or those that were read before.
    pub reads_all: bool,
    /// Whether it appends a turn.
    pub has_turn: bool,
    /// Keys of the data, each with a value or none to remove it.
    pub data: Vec<(usize, Option<u8>)>,
    /// The run that is started as a subworkflow.
    pub child: Option<usize>,
    /// Operations that are queued: name, attempt, queue, task, priority, seconds from now.
    pub enqueue: Vec<(usize, u32, usize, usize, i16, Option<u64>)>,
    /// The operation that is withdrawn.
    pub withdraw: Option<usize>,
    /// Runs that a message goes to.
    pub send: Vec<usize>,
}

/// Is one operation.
#[derive(Debug, Clone)]
pub enum Action {
    /// Joins a worker at a place: a new one, or the one that is there again.
    Join { worker: usize, is_new: bool },
    /// Beats, and extends the lease by some time.
    Beat {
        worker: usize,
        extend: Option<Duration>,
        serves: Serves,
    },
    /// Leaves.
    Leave { worker: usize },
    /// Moves the clocks, and extends all leases before or not.
    Advance { duration: Duration, extends: bool },
    /// Takes over from the dead, and from a worker by force.
    TakeOver { force: Option<usize> },
    /// Starts runs.
    Start {
        worker: Option<usize>,
        runs: Vec<StartRun>,
    },
    /// Acquires.
    Acquire {
        worker: usize,
        serves: Serves,
        limit: usize,
    },
    /// Reads a run anew, in its epoch or the one after.
    Reload {
        worker: usize,
        run: usize,
        is_late: bool,
    },
    /// Lists what a worker owns.
    Owned { worker: usize },
    /// Commits turns through a lane of the first run's owner.
    Commit {
        lane: u16,
        other: usize,
        turns: Vec<TurnPlan>,
    },
    /// Edits runs that nobody owns.
    Edit(Vec<TurnPlan>),
    /// Puts something into inboxes: the run, the most unread arrivals that it may have, the kind, and whether it comes
    /// twice.
    Arrive(Vec<(usize, u64, ArrivalKind, bool)>),
    /// Reads inboxes of runs after numbers.
    Inbox {
        worker: usize,
        runs: Vec<(usize, u64)>,
    },
    /// Delivers messages.
    Deliver { limit: usize },
    /// Counts what is due.
    Due(Serves),
    /// Claims attempts of queues with slots.
    Claim {
        worker: usize,
        queues: Vec<(usize, usize)>,
        tasks: Vec<usize>,
    },
    /// Reports an attempt that was claimed, as its worker or another, with its number or another.
    Report {
        nth: usize,
        by: Option<usize>,
        is_next: bool,
    },
    /// Asks an earlier write again.
    Repeat { back: usize },
    /// Reads the row of a run.
    Run(usize),
    /// Reads states.
    States(Vec<usize>),
    /// Lists and counts.
    List {
        filter: RunFilter,
        after: Option<usize>,
        limit: usize,
    },
    /// Reads a history.
    History {
        run: usize,
        segment: Option<u32>,
        from: u64,
        limit: usize,
    },
    /// Reads data of a run.
    Data { run: usize, key: usize },
    /// Reads workers and queues.
    Register,
    /// Opens the stores again; all workers are dead then.
    Reopen,
}
