//! Engines that are wrong on purpose, so that what judges an engine can be judged.
//!
//! Invariants: without the feature `sabotage` every question here is answered with a constant "no", and nothing of it
//! is left in the program. With it, one mistake at most is chosen, for one thread.

/// Names a mistake that an engine can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(
    not(feature = "sabotage"),
    expect(unreachable_pub, reason = "public with the feature `sabotage`")
)]
pub enum Sabotage {
    /// Takes a turn for committed before it is.
    AcknowledgeBeforeCommit,
    /// Drops a signal that nothing waits for yet.
    DropEarlySignals,
    /// Records again, after a takeover, that a timer fired.
    FireTimersAgain,
    /// Tells who waits the result of a turn that was refused.
    TellRefusedResults,
    /// Goes on with a future whose turn was undone.
    KeepUndoneFutures,
    /// Allows one retry more than the policy.
    RetryOnceMore,
    /// Takes an outcome for an operation that has one.
    AcceptOutcomesTwice,
    /// Gives commands in an order that changes from one time to the next.
    ReorderCommands,
    /// Takes an unclear answer for a refusal.
    TakeUnclearForRefused,
    /// Records no attempt as lost.
    ForgetLostAttempts,
    /// Starts tasks here that it gives to others.
    StartSpilledTasks,
    /// Records a task that it gives to others as one that runs here.
    RecordSpilledAsLocal,
    /// Tells the code of a paused run what arrives.
    TellWhilePaused,
    /// Starts attempts of a paused run.
    StartWhilePaused,
    /// Drops the outcomes of attempts that end while their run is paused.
    DropKeptOutcomes,
}

#[cfg(feature = "sabotage")]
mod chosen {
    use std::cell::Cell;

    use super::Sabotage;

    thread_local! {
        static CHOSEN: Cell<Option<Sabotage>> = const { Cell::new(None) };
    }

    /// Chooses the mistake that the engine makes on this thread; none for a right one.
    pub fn choose(mistake: Option<Sabotage>) {
        CHOSEN.set(mistake);
    }

    pub(crate) fn makes(mistake: Sabotage) -> bool {
        CHOSEN.get() == Some(mistake)
    }
}

#[cfg(not(feature = "sabotage"))]
mod chosen {
    pub(crate) const fn makes(_: super::Sabotage) -> bool {
        false
    }
}

#[cfg(feature = "sabotage")]
pub use chosen::choose;
pub(crate) use chosen::makes;
