//! Engines and stores that are wrong on purpose; the simulator that does not find them out is worth nothing.

use longhaul_core::sabotage::Sabotage;
use longhaul_tests::broken::Fault;

/// Says what is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The engine makes a mistake.
    Engine(Sabotage),
    /// The store does.
    Store(Fault),
    /// The store makes two mistakes, each of which is harmless without the other.
    Stores(Fault, Fault),
    /// Timers go by the clock of the worker's machine.
    Clock,
    /// The store looks for unread arrivals first, and parks or ends the run later.
    TwoSteps,
}

/// Names every wrong variant.
pub(crate) const ALL: [(&str, Wrong); 37] = [
    (
        "acknowledges before the commit",
        Wrong::Engine(Sabotage::AcknowledgeBeforeCommit),
    ),
    (
        "drops early signals",
        Wrong::Engine(Sabotage::DropEarlySignals),
    ),
    (
        "fires timers again after a takeover",
        Wrong::Engine(Sabotage::FireTimersAgain),
    ),
    (
        "tells the result of a refused turn",
        Wrong::Engine(Sabotage::TellRefusedResults),
    ),
    (
        "keeps the future of an undone turn",
        Wrong::Engine(Sabotage::KeepUndoneFutures),
    ),
    ("retries once more", Wrong::Engine(Sabotage::RetryOnceMore)),
    (
        "accepts outcomes twice",
        Wrong::Engine(Sabotage::AcceptOutcomesTwice),
    ),
    (
        "orders commands by a map",
        Wrong::Engine(Sabotage::ReorderCommands),
    ),
    (
        "takes an unclear answer for a refusal",
        Wrong::Engine(Sabotage::TakeUnclearForRefused),
    ),
    (
        "forgets lost attempts",
        Wrong::Engine(Sabotage::ForgetLostAttempts),
    ),
    (
        "starts spilled tasks itself as well",
        Wrong::Engine(Sabotage::StartSpilledTasks),
    ),
    (
        "records spilled tasks as its own",
        Wrong::Engine(Sabotage::RecordSpilledAsLocal),
    ),
    (
        "tells a paused run what arrives",
        Wrong::Engine(Sabotage::TellWhilePaused),
    ),
    (
        "starts attempts of a paused run",
        Wrong::Engine(Sabotage::StartWhilePaused),
    ),
    (
        "drops outcomes of a paused run",
        Wrong::Engine(Sabotage::DropKeptOutcomes),
    ),
    (
        "parks a run that is paused",
        Wrong::Store(Fault::PausesByParking),
    ),
    (
        "loses queued attempts of paused runs",
        Wrong::Store(Fault::LosesAttemptsOfPausedRuns),
    ),
    (
        "has no fence at all",
        Wrong::Stores(Fault::IgnoresTheOwner, Fault::IgnoresTheEpoch),
    ),
    (
        "has no fence on the epoch",
        Wrong::Store(Fault::IgnoresTheEpoch),
    ),
    (
        "completes over unread arrivals",
        Wrong::Store(Fault::ParksOverUnread),
    ),
    (
        "drops arrivals it accepted",
        Wrong::Store(Fault::DropsArrivals),
    ),
    (
        "gives an attempt to two workers",
        Wrong::Store(Fault::ClaimsTwice),
    ),
    (
        "forgets which writes it applied",
        Wrong::Store(Fault::ForgetsWrites),
    ),
    (
        "takes over without freeing runs",
        Wrong::Store(Fault::ForgetsWhatWorkersOwn),
    ),
    (
        "wakes nobody on an arrival",
        Wrong::Store(Fault::WakesNobody),
    ),
    (
        "accepts an arrival twice",
        Wrong::Store(Fault::ArrivesTwice),
    ),
    (
        "gives a run to two workers",
        Wrong::Store(Fault::AcquiresTwice),
    ),
    ("keeps the epoch", Wrong::Store(Fault::KeepsTheEpoch)),
    ("shares data between runs", Wrong::Store(Fault::SharesData)),
    (
        "loses queued attempts",
        Wrong::Store(Fault::LosesQueuedAttempts),
    ),
    (
        "acknowledges without writing",
        Wrong::Store(Fault::AcknowledgesWithoutWriting),
    ),
    (
        "calls undone turns committed",
        Wrong::Store(Fault::CommitsUnread),
    ),
    ("forgets timers", Wrong::Store(Fault::ForgetsTimers)),
    (
        "drops messages to other runs",
        Wrong::Store(Fault::DropsMessages),
    ),
    (
        "tells nobody of lost attempts",
        Wrong::Store(Fault::TellsNobodyOfLostAttempts),
    ),
    ("reads the worker's clock for timers", Wrong::Clock),
    ("checks and registers in two steps", Wrong::TwoSteps),
];
