//! What lists of operations must have come by, as a difference hides where nobody goes.
//!
//! Invariants: each answer of the contract is here but `Verdict::Refused`: what a store cannot hold is its own.

/// Makes the enum of the branches, its list and their texts.
macro_rules! branches {
    ($($name:ident $text:literal,)+) => {
        /// Names an answer or an effect that random operations reach rarely.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Branch {
            $(#[doc = concat!("Is: ", $text, ".")] $name,)+
        }

        impl Branch {
            /// Lists all.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Returns what it is, in words.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

branches! {
    StartedNew "start is new",
    StartedExists "start finds a run",
    StartedByTheDead "start of a dead worker",
    Appended "append is committed",
    Drained "drain is committed",
    Sealed "drain seals",
    Parked "park is committed",
    Released "release is committed",
    Blocked "block is committed",
    Ended "end is committed",
    Paused "pause is committed",
    Edited "edit is committed",
    PausedByEdit "edit pauses",
    PauseLifted "edit lifts a pause",
    EditLost "edit is lost",
    EditUnread "edit is unread",
    WrittenWithoutTurn "row is written without a turn",
    Unread "turn is unread",
    LostUnowned "turn of an unowned run is lost",
    LostToEpoch "turn of another epoch is lost",
    LostToSegment "turn of another segment is lost",
    LostToGap "turn after a gap is lost",
    LostToTurn "turn whose number is taken is lost",
    LostToWorker "turn of another worker is lost",
    CommittedByTheDead "commit of a dead worker",
    BatchMixed "batch of turns with different verdicts",
    CommittedAgain "commit is repeated",
    CommittedAgainUnowned "commit is repeated after the ownership",
    ArrivedAgain "arrival is repeated",
    ReportedAgain "report is repeated and accepted",
    ArrivedUnowned "arrival at an unowned run",
    ArrivedOwned "arrival at an owned run",
    ArrivedSealed "arrival is sealed off",
    ArrivedFull "arrival at a full inbox",
    ArrivedFinished "arrival at a finished run",
    ArrivedUnknown "arrival at an unknown run",
    ReportedAccepted "report is accepted",
    ReportedStale "report is stale",
    Acquired "run is acquired",
    AcquiredUnread "run is acquired with unread arrivals",
    AcquiredLost "run is acquired that was lost",
    AcquiredBlocked "blocked run is acquired by another build",
    AcquiredByTheDead "acquisition of a dead worker",
    AcquiredInPart "limit leaves due runs",
    ReloadedOwn "reload of an own run",
    ReloadedNone "reload of a run of another",
    OwnedSeveral "worker owns several runs",
    BeatExtended "beat extends",
    BeatOfTheDead "beat of a dead worker",
    BeatArrivals "beat names arrivals",
    BeatDead "beat names the dead",
    BeatOutbox "beat names the outbox",
    BeatPeers "beat counts peers",
    BeatClaimable "beat counts what can be claimed",
    BeatNextClaimable "beat tells the next claim",
    DueNow "runs are due",
    DueNext "run is due later",
    JoinedNew "worker joins",
    JoinedAgain "worker joins again",
    JoinedDead "dead worker joins",
    LeftOwning "worker leaves with runs",
    TakenOverByLease "takeover by lease frees runs",
    TakenOverByForce "takeover by force frees runs",
    TakenOverClaims "takeover gives up claims",
    InboxRead "inbox is read",
    Claimed "attempt is claimed",
    ClaimsListed "claims are listed",
    ClaimedByTheDead "claim of a dead worker",
    Enqueued "attempt is queued",
    Withdrawn "attempt is withdrawn",
    ChildStarted "subworkflow is started",
    ChildRefused "subworkflow is refused",
    Delivered "message is delivered",
    DataSet "data is set",
    DataRemoved "data is removed",
    ListedPage "page begins after an id",
    ListedNothing "filter chooses nothing",
    InvalidLimit "limit is invalid",
    NotFound "run is not found",
    HistoryPaged "history is paged",
    StateFinished "state of a finished run",
    Reopened "store is opened again",
}
