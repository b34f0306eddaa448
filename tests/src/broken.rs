//! Wrong backends with a name each, and which cases find them out.
//!
//! Invariants: a case that no wrong backend fails proves nothing, so each one is in [`PROOFS`].

mod backend;
mod commit;
mod events;
mod inspect;
mod state;

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use longhaul_core::backend::Backend;
use longhaul_core::clock::BackendClock;

use crate::{CASES, Case, Fixture, World};

macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident: $($case:literal),+;)+) => {
        /// Says what a wrong backend does wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fault {
            /// Does nothing wrong.
            Nothing,
            $($(#[$doc])* $fault,)+
        }

        /// Lists, for each fault, cases that fail on a backend which has it.
        pub const PROOFS: &[(Fault, &[&str])] = &[$((Fault::$fault, &[$($case),+]),)+];
    };
}

faults! {
    /// Takes ids that differ in case for one.
    FoldsCase:
        "hostile::ids_that_differ_in_case_are_different";
    /// Keeps 254 characters of an id.
    CutsIds:
        "hostile::longest_ids_are_kept_apart_by_their_last_character";
    /// Leaves quotes and percent signs out of names.
    DropsOddCharacters:
        "hostile::odd_ids_are_kept_and_kept_apart",
        "hostile::odd_names_of_everything_else_come_back_as_they_were",
        "hostile::odd_tags_choose_their_own_runs";
    /// Ends records at their first zero byte.
    StopsAtNul:
        "start::first_record_and_all_else_of_a_start_are_stored",
        "hostile::records_of_any_bytes_come_back_as_they_were";
    /// Keeps the first 64 KiB of a record.
    CutsLargeRecords:
        "hostile::large_records_come_back_whole";
    /// Loses tags.
    LosesTags:
        "start::first_record_and_all_else_of_a_start_are_stored";
    /// Returns tags in the order of their names.
    SortsTags:
        "start::first_record_and_all_else_of_a_start_are_stored";
    /// Shows no lost ownerships.
    CountsNoLosses:
        "ownership::takeover_frees_runs_and_counts_the_loss",
        "ownership::losses_in_a_row_add_up",
        "control::edit_keeps_the_count_of_losses";
    /// Shows the largest count of losses there ever was.
    NeverForgetsLosses:
        "ownership::progress_starts_the_count_of_losses_anew",
        "ownership::park_clears_the_count_of_losses";
    /// Takes a drain, which any worker commits before it replays, for progress.
    ForgetsLossesInDrains:
        "ownership::drain_keeps_the_count_of_losses";
    /// Commits in whatever epoch the run is.
    IgnoresTheEpoch:
        "commit::turn_of_another_epoch_is_lost";
    /// Commits to the first segment whatever was asked for.
    IgnoresTheSegment:
        "commit::turn_of_another_segment_is_lost";
    /// Gives each commit a new `WriteId`.
    ForgetsWrites:
        "commit::same_write_again_is_committed_and_changes_nothing",
        "commit::same_write_again_after_further_turns_is_committed",
        "commit::same_park_again_is_committed_and_does_not_park_again",
        "commit::same_end_again_is_committed",
        "commit::same_write_again_after_a_takeover_is_committed",
        "commit::same_write_without_a_turn_again_is_committed",
        "commit::racing_repetitions_of_one_turn_are_all_committed";
    /// Gives each commit that appends no turn and leaves the row as it is a new `WriteId`.
    ForgetsWritesOfBareAppends:
        "commit::same_append_without_a_turn_again_is_committed_and_changes_nothing";
    /// Takes all arrivals for read when a run parks or ends.
    ParksOverUnread:
        "commit::park_and_end_are_unread_when_something_arrived",
        "commit::arrival_and_park_never_miss_each_other";
    /// Forgets data.
    ForgetsData:
        "commit::data_is_set_replaced_and_removed_in_order_of_keys";
    /// Keeps removed data.
    KeepsRemovedData:
        "commit::data_is_set_replaced_and_removed_in_order_of_keys";
    /// Keeps one set of data for all runs.
    SharesData:
        "commit::data_belongs_to_its_run_and_outlives_it";
    /// Drops subworkflows.
    DropsSubworkflows:
        "commit::subworkflow_of_a_turn_is_due_and_knows_its_parent";
    /// Refuses a subworkflow that was started by the same operation.
    TakesOwnSubworkflowsForOthers:
        "commit::own_subworkflow_that_is_there_already_is_no_refusal";
    /// Drops messages.
    DropsMessages:
        "commit::outbox_delivers_each_message_once_and_in_order";
    /// Puts each message into the outbox twice.
    SendsTwice:
        "commit::same_write_again_is_committed_and_changes_nothing",
        "commit::outbox_delivers_each_message_once_and_in_order",
        "commit::racing_deliveries_deliver_each_message_once",
        "cancellation::dropped_delivery_delivers_once";
    /// Reverses the messages of a commit.
    SendsBackwards:
        "commit::outbox_delivers_each_message_once_and_in_order";
    /// Loses queued attempts.
    LosesQueuedAttempts:
        "tasks::claimed_attempt_is_what_was_queued";
    /// Ignores when attempts are due.
    QueuesEverythingForNow:
        "tasks::earlier_due_is_claimed_first_among_equal_priorities",
        "tasks::attempt_is_not_claimed_before_it_is_due",
        "tasks::beat_counts_what_can_be_claimed_and_knows_when_more_can";
    /// Ignores priorities.
    IgnoresPriorities:
        "tasks::higher_priority_is_claimed_first";
    /// Ignores withdrawals.
    IgnoresWithdrawals:
        "tasks::withdrawn_attempt_is_neither_claimed_nor_reported",
        "control::withdrawn_attempt_of_a_paused_run_is_gone";
    /// Never seals.
    NeverSeals:
        "commit::sealed_run_refuses_arrivals_until_it_parks";
    /// Never lifts a seal.
    SealsForGood:
        "commit::sealed_run_refuses_arrivals_until_it_parks",
        "commit::seal_is_lifted_when_the_run_changes_hands",
        "arrivals::repeated_arrival_is_answered_in_spite_of_a_seal";
    /// Marks nothing as read in a drain.
    DrainsNothing:
        "commit::drain_clears_the_due_time_only_when_all_is_read";
    /// Marks more as read than was.
    DrainsEverything:
        "commit::drain_clears_the_due_time_only_when_all_is_read";
    /// Writes the row for an append.
    TouchesTheRowOfAnAppend:
        "commit::append_does_not_touch_the_row";
    /// Wakes runs a second before their time.
    FiresEarly:
        "timers::run_is_not_due_before_its_time_and_due_exactly_at_it";
    /// Wakes runs a second after their time.
    FiresLate:
        "timers::run_is_not_due_before_its_time_and_due_exactly_at_it";
    /// Parks for good whatever the time.
    ForgetsTimers:
        "timers::run_is_not_due_before_its_time_and_due_exactly_at_it",
        "timers::park_until_a_time_that_is_past_is_due_at_once";
    /// Makes a run due that parks for good.
    WakesParkedRuns:
        "commit::parked_run_waits_unowned_and_counts_no_loss";
    /// Parks a run that is released.
    ReleasesForGood:
        "commit::released_run_is_due_now_with_its_unread_arrivals";
    /// Releases a run that is blocked.
    BlocksNobody:
        "commit::blocked_run_is_due_for_other_builds_alone";
    /// Parks a run that ends.
    NeverEnds:
        "commit::finished_run_is_unowned_and_never_due_again",
        "control::paused_run_that_is_ended_leaves_no_attempts";
    /// Stores every end as `Completed`.
    EndsAsCompleted:
        "commit::finished_run_is_unowned_and_never_due_again",
        "arrivals::finished_run_refuses_and_says_how_it_ended";
    /// Commits for whoever asks.
    IgnoresTheOwner:
        "commit::turn_through_a_lane_of_another_worker_is_lost";
    /// Writes a turn before what belongs to it.
    WritesInTwoSteps:
        "cancellation::dropped_commit_is_whole_or_not_there";
    /// Says `Committed` for `Unread`.
    CommitsUnread:
        "commit::park_and_end_are_unread_when_something_arrived",
        "commit::unread_turn_is_taken_when_it_comes_again_with_all_read";
    /// Says `Committed` for `Lost`.
    CommitsLost:
        "commit::another_turn_of_a_number_that_is_taken_is_lost",
        "commit::turn_of_an_unknown_or_unowned_run_is_lost",
        "commit::racing_turns_of_one_number_commit_one";
    /// Starts the subworkflows of a turn that it refuses.
    WritesEffectsOfRefusedTurns:
        "commit::turn_that_is_not_taken_leaves_no_effects";
    /// Appends at the end what does not follow.
    FillsGaps:
        "commit::turn_after_a_gap_is_lost",
        "commit::another_turn_of_a_number_that_is_taken_is_lost";
    /// Ignores routes.
    IgnoresRoutes:
        "timers::runs_of_other_routes_are_neither_counted_nor_taken";
    /// Hands a blocked run to the build that blocked it.
    IgnoresTheBuild:
        "commit::blocked_run_is_due_for_other_builds_alone",
        "commit::arrival_does_not_make_a_blocked_run_due_for_the_same_build";
    /// Hands a blocked run to nobody.
    BlocksForEveryBuild:
        "commit::blocked_run_is_due_for_other_builds_alone";
    /// Tells nobody of lost attempts.
    TellsNobodyOfLostAttempts:
        "ownership::takeover_gives_up_claims_and_tells_their_runs",
        "ownership::lost_claim_of_a_parked_run_makes_it_due",
        "cancellation::dropped_claim_leaves_its_attempt_queued_or_claimed";
    /// Tells nobody of refused subworkflows.
    TellsNobodyOfRefusedSubworkflows:
        "commit::subworkflow_whose_id_is_taken_arrives_as_closed_without_content";
    /// Reverses inboxes.
    ReversesInboxes:
        "arrivals::arrivals_are_numbered_densely_from_one";
    /// Ignores statuses.
    IgnoresStatuses:
        "inspect::filter_by_status_chooses_any_of_them";
    /// Ignores types and kinds.
    IgnoresTypesAndKinds:
        "inspect::filter_by_type_and_kind";
    /// Ignores tags.
    IgnoresTags:
        "inspect::filters_narrow_each_other_and_pages_follow_them";
    /// Chooses by the first tag alone.
    IgnoresAllTagsButOne:
        "inspect::filter_by_tags_needs_all_of_them";
    /// Ignores parent and root of a filter.
    IgnoresFamilies:
        "inspect::filter_by_parent_and_root";
    /// Takes `%` and `_` of a prefix for any character.
    ReadsPatterns:
        "inspect::filter_by_prefix_takes_every_character_as_it_is";
    /// Forgets what a worker has when it joins again.
    JoinsAnew:
        "ownership::joining_again_extends_the_lease_and_changes_nothing_else";
    /// Lets a dead worker join.
    ForgetsTheDead:
        "ownership::dead_worker_cannot_join_again";
    /// Extends the lease with every beat.
    ExtendsUnasked:
        "ownership::beat_extends_the_lease_only_when_asked_to",
        "ownership::beat_without_extension_only_reads";
    /// Extends no lease.
    NeverExtends:
        "ownership::beat_extends_the_lease_only_when_asked_to",
        "cancellation::dropped_beat_extends_when_it_is_asked_again";
    /// Answers the beat of a dead worker.
    BeatsForTheDead:
        "ownership::beat_of_a_dead_worker_says_so",
        "ownership::worker_that_never_joined_owns_nothing";
    /// Names no run with arrivals in a beat.
    NamesNoArrivals:
        "arrivals::beat_of_the_owner_names_runs_with_something_unread";
    /// Names runs in beats after they were drained.
    NamesArrivalsForGood:
        "arrivals::beat_of_the_owner_names_runs_with_something_unread";
    /// Sees no lease end.
    LeasesForGood:
        "ownership::worker_is_dead_when_its_lease_is_over_by_the_clock";
    /// Counts nothing in beats.
    CountsNothingInBeats:
        "timers::beat_counts_what_is_due_like_the_timers_do";
    /// Forgets next times.
    ForgetsNextTimes:
        "timers::next_due_time_is_the_earliest_that_is_ahead";
    /// Hides the outbox.
    HidesTheOutbox:
        "commit::outbox_delivers_each_message_once_and_in_order";
    /// Frees nothing when a worker leaves.
    LeavesWithEverything:
        "ownership::worker_that_leaves_frees_what_it_had",
        "cancellation::dropped_leave_frees_what_there_was_once";
    /// Says that it took over and does nothing.
    TakesNothingOver:
        "ownership::takeover_frees_runs_and_counts_the_loss",
        "cancellation::dropped_takeover_frees_all_or_nothing";
    /// Ignores that a takeover is forced.
    WaitsForTheLease:
        "ownership::forced_takeover_does_not_wait_for_the_lease";
    /// Takes over from every worker.
    TakesOverTheLiving:
        "ownership::forced_takeover_does_not_wait_for_the_lease";
    /// Treats a dead worker as one that left.
    LeavesInsteadOfDying:
        "ownership::takeover_frees_runs_and_counts_the_loss";
    /// Tells workers that they own nothing.
    ForgetsWhatWorkersOwn:
        "ownership::owned_runs_are_listed_with_their_epochs_in_the_order_of_ids",
        "ownership::beat_counts_what_the_worker_owns",
        "cancellation::dropped_acquire_loses_no_run",
        "cancellation::dropped_start_is_whole_or_not_there";
    /// Counts no peers.
    HidesPeers:
        "ownership::beat_counts_the_other_workers_that_live_and_can_run_tasks";
    /// Counts a worker among its own peers.
    CountsWorkersAsTheirOwnPeers:
        "ownership::beat_counts_the_other_workers_that_live_and_can_run_tasks";
    /// Counts the dead among peers.
    CountsTheDeadAmongPeers:
        "ownership::beat_counts_the_other_workers_that_live_and_can_run_tasks";
    /// Counts workers without tasks among peers.
    CountsTheIdleAmongPeers:
        "ownership::beat_counts_the_other_workers_that_live_and_can_run_tasks";
    /// Tells workers that they have claimed nothing.
    ForgetsWhatWorkersClaimed:
        "tasks::beat_counts_what_the_worker_has_claimed",
        "tasks::claimed_attempts_are_listed_until_they_are_reported";
    /// Tells workers of all claims.
    ListsForeignClaims:
        "tasks::claimed_attempts_are_listed_until_they_are_reported";
    /// Takes commits through the first lane of a worker alone.
    KnowsOneLane:
        "commit::every_lane_of_the_owner_may_commit";
    /// Counts more due runs than a page holds.
    CountsBeyondThePage:
        "timers::count_of_due_runs_ends_at_the_largest_page";
    /// Ignores the lane of a start.
    StartsUnowned:
        "start::start_through_a_lane_is_owned_in_the_first_epoch";
    /// Starts for a dead worker as for none.
    StartsForTheDead:
        "start::start_by_a_dead_worker_is_refused",
        "ownership::worker_that_never_joined_owns_nothing";
    /// Starts the runs of a batch one after another.
    StartsOneByOne:
        "cancellation::dropped_start_is_whole_or_not_there";
    /// Says that a run is new whose id is taken.
    StartsAgain:
        "start::same_id_starts_once",
        "start::racing_starts_of_one_id_make_one_run";
    /// Shows a run that exists as `Pending`.
    ForgetsWhatExists:
        "start::repeated_start_shows_the_run_as_it_stands";
    /// Reverses the answers to a batch.
    AnswersBackwards:
        "start::batch_of_starts_is_answered_in_order",
        "arrivals::batch_of_arrivals_is_answered_in_order",
        "tasks::batch_of_reports_is_answered_in_order",
        "inspect::states_are_told_in_the_order_asked_for_and_none_for_the_unknown";
    /// Finds no due runs.
    WakesNobody:
        "start::start_without_a_lane_is_due_now",
        "arrivals::arrival_makes_a_parked_run_due_now";
    /// Ignores the limit.
    IgnoresTheLimit:
        "timers::limit_bounds_what_is_taken";
    /// Says `Lost` or nothing to a dead worker instead of `WorkerDead`.
    AnswersTheDead:
        "commit::commit_of_a_dead_worker_is_refused_and_writes_nothing",
        "ownership::nothing_of_a_dead_worker_is_accepted";
    /// Takes the newest first.
    TakesTheNewestFirst:
        "arrivals::arrival_does_not_put_off_a_run_that_was_due_before",
        "timers::runs_are_taken_in_the_order_of_their_due_times",
        "timers::due_order_spans_routes";
    /// Acquires without history.
    AcquiresWithoutHistory:
        "arrivals::acquired_run_comes_with_what_is_unread_alone";
    /// Acquires without inbox.
    AcquiresWithoutInbox:
        "arrivals::acquired_run_comes_with_what_is_unread_alone";
    /// Returns arrivals that were read.
    ReadsEverythingAgain:
        "arrivals::inbox_reads_only_what_is_newer",
        "arrivals::acquired_run_comes_with_what_is_unread_alone";
    /// Shows every ownership as the first.
    KeepsTheEpoch:
        "ownership::acquired_run_is_running_without_a_due_time";
    /// Hands out runs again.
    AcquiresTwice:
        "timers::racing_acquirers_take_each_run_once";
    /// Reloads nothing.
    ReloadsNothing:
        "ownership::reload_shows_an_owned_run_anew",
        "cancellation::dropped_acquire_loses_no_run";
    /// Shows a run to workers that do not own it.
    ReloadsForAnyone:
        "ownership::reload_shows_nothing_to_whoever_does_not_own_it";
    /// Says `Committed` and writes nothing.
    AcknowledgesWithoutWriting:
        "commit::turns_are_stored_densely_as_they_were_given";
    /// Loses the turns after a bad one.
    StopsAtTheFirstBadTurn:
        "commit::batch_with_bad_members_commits_exactly_the_good_ones";
    /// Gives each arrival a new `WriteId`.
    ArrivesTwice:
        "arrivals::same_write_arrives_once",
        "arrivals::same_write_that_was_read_arrives_no_second_time",
        "cancellation::dropped_arrival_arrives_once_when_it_is_asked_again";
    /// Bounds no inbox.
    IsNeverFull:
        "arrivals::full_inbox_refuses_until_something_is_read";
    /// Bounds an inbox by all arrivals there ever were.
    CountsReadAsUnread:
        "arrivals::full_inbox_refuses_until_something_is_read";
    /// Starts a run that something arrives for.
    MakesUnknownRuns:
        "arrivals::unknown_run_refuses_and_is_not_made";
    /// Accepts arrivals and drops them.
    DropsArrivals:
        "arrivals::arrivals_are_numbered_densely_from_one",
        "arrivals::racing_arrivals_get_a_number_each";
    /// Remembers writes of all runs together.
    RemembersWritesOfAllRunsTogether:
        "arrivals::same_write_to_another_run_is_another_arrival";
    /// Says `Unknown` for `Finished`.
    ForgetsHowRunsEnded:
        "arrivals::finished_run_refuses_and_says_how_it_ended";
    /// Tells no sender who owns the run.
    NamesNoOwner:
        "arrivals::arrival_is_stored_as_it_was_accepted";
    /// Shows foreign inboxes.
    ShowsForeignInboxes:
        "arrivals::inbox_reads_only_own_runs";
    /// Delivers nothing.
    DeliversNothing:
        "commit::message_to_a_finished_or_unknown_run_is_dropped";
    /// Delivers beyond the limit.
    DeliversBeyondTheLimit:
        "commit::outbox_delivers_each_message_once_and_in_order";
    /// Counts owned runs.
    CountsOwnedRuns:
        "arrivals::arrival_does_not_make_an_owned_run_due";
    /// Claims whatever there is.
    IgnoresSlots:
        "tasks::no_more_are_claimed_than_each_queue_has_slots";
    /// Claims any task.
    ClaimsAnyTask:
        "tasks::only_tasks_that_the_worker_runs_are_claimed";
    /// Reverses claims.
    ReversesClaims:
        "tasks::equal_attempts_are_claimed_in_the_order_they_were_put_in";
    /// Hands out attempts again.
    ClaimsTwice:
        "tasks::claimed_attempt_is_what_was_queued",
        "tasks::racing_claims_get_each_attempt_once";
    /// Accepts reports and drops them.
    DropsOutcomes:
        "tasks::reported_outcome_reaches_the_run_and_leaves_the_queue",
        "tasks::reported_outcome_makes_a_parked_run_due";
    /// Gives each report a new `WriteId`.
    ForgetsReports:
        "tasks::same_report_again_is_accepted_and_changes_nothing",
        "cancellation::dropped_claim_and_report_end_an_attempt_once";
    /// Says `Accepted` for `Stale`.
    AcceptsStaleReports:
        "tasks::report_of_an_attempt_that_was_reported_is_stale",
        "tasks::report_of_another_workers_claim_is_stale",
        "tasks::report_of_an_attempt_that_nobody_claimed_is_stale",
        "tasks::attempt_of_a_finished_run_is_neither_claimed_nor_reported",
        "tasks::next_attempt_of_an_operation_is_an_attempt_of_its_own";
    /// Hides last turns.
    HidesLastTurns:
        "inspect::states_are_told_in_the_order_asked_for_and_none_for_the_unknown";
    /// Bends a bad limit to a good one.
    TakesAnyPage:
        "inspect::limit_of_nothing_or_above_the_largest_page_is_invalid";
    /// Forgets where the page began.
    ForgetsWhereThePageBegan:
        "inspect::pages_miss_and_repeat_nothing_while_others_are_started",
        "inspect::history_is_paged_by_turn";
    /// Skips after unknown ids.
    SkipsAfterUnknownIds:
        "inspect::page_goes_on_after_an_id_that_is_not_there";
    /// Lists by time.
    ListsByTime:
        "inspect::runs_are_listed_in_the_order_of_the_bytes_of_their_ids",
        "inspect::pages_miss_and_repeat_nothing_while_others_are_started";
    /// Reverses pages.
    ReversesPages:
        "inspect::runs_are_listed_in_the_order_of_the_bytes_of_their_ids",
        "inspect::workers_are_shown_as_they_joined_with_what_they_own",
        "inspect::queues_show_what_waits_and_what_is_claimed";
    /// Counts all runs.
    CountsAllRuns:
        "inspect::filter_by_status_chooses_any_of_them";
    /// Shows the newest segment whatever was asked for.
    ShowsAnySegment:
        "inspect::history_is_of_the_segment_that_was_asked_for";
    /// Says that an unknown run has an empty history.
    FindsEverything:
        "inspect::unknown_run_is_none_or_not_found";
    /// Shows a clock that is ahead.
    RunsAhead:
        "timers::clock_is_never_ahead_of_due_times";
    /// Opens an empty store for the one that was there.
    ForgetsAllOnReopening:
        "reopening::reopening_keeps_the_row_and_the_history",
        "reopening::reopening_keeps_the_register_and_its_ownerships",
        "reopening::reopening_keeps_the_inbox_and_what_it_knows",
        "reopening::reopening_keeps_what_was_committed_known",
        "reopening::reopening_keeps_data",
        "reopening::reopening_keeps_queues_and_claims",
        "reopening::reopening_keeps_the_outbox",
        "reopening::reopening_keeps_due_times_seals_and_losses",
        "reopening::reopening_keeps_what_was_fixed_when_the_store_was_made",
        "reopening::reopening_keeps_what_blocks_a_run",
        "reopening::reopening_keeps_a_pause",
        "reopening::reopening_keeps_the_dead_dead";
    /// Delivers nothing once a run was sealed.
    DeliversNothingPastSeals:
        "commit::message_gets_past_a_seal";
    /// Gives no hints.
    NeverHints:
        "arrivals::hint_follows_an_arrival",
        "control::hint_follows_a_pause_and_its_end";
    /// Gives no hints of ends.
    HintsNoEnds:
        "arrivals::hint_follows_the_end_of_a_run",
        "control::hint_follows_an_answer_to_an_update";
    /// Takes every change for an end.
    HintsEndsAlone:
        "arrivals::hint_of_a_run_that_is_due_says_more_than_that_runs_ended";
    /// Ignores updates that come without a turn.
    NeedsATurnToWriteARow:
        "commit::update_without_a_turn_changes_the_row_alone";
    /// Counts a name that is given twice twice.
    CountsNamesTwice:
        "timers::route_that_is_named_twice_counts_once",
        "tasks::task_that_is_named_twice_counts_once";
    /// Takes runs that other builds blocked in the order of the builds.
    TakesBuildByBuild:
        "timers::runs_that_other_builds_blocked_are_taken_in_the_order_of_their_due_times";
    /// Starts runs over subworkflows.
    StartsOverSubworkflows:
        "start::start_of_an_id_that_a_subworkflow_has_finds_it";
    /// Takes runs that are started again through a lane.
    StartsTakeOver:
        "start::start_through_a_lane_takes_no_run_that_is_there";
    /// Takes a later mark for what was read, also when it is lower.
    ReadsGoBack:
        "commit::what_was_read_stays_read";
    /// Clears losses at a park alone.
    KeepsLossesOfReleasedRuns:
        "commit::release_and_block_clear_the_count_of_losses";
    /// Lifts a seal at a drain that has none.
    DrainsUnseal:
        "commit::seal_outlasts_later_drains";
    /// Lifts a seal at a park or an end alone.
    LiftsSealsByParkAlone:
        "commit::seal_is_lifted_by_release_and_block",
        "control::paused_run_takes_arrivals_in_spite_of_a_seal_before";
    /// Refuses no subworkflow whose id another of the same batch took.
    ForgetsRefusalsWithinABatch:
        "commit::two_turns_of_a_batch_that_want_one_id_get_one_subworkflow";
    /// Ignores a subworkflow that has the id of its parent.
    IgnoresSubworkflowsOfOwnId:
        "commit::subworkflow_with_the_id_of_its_parent_is_refused";
    /// Drops what a run sends to itself.
    DropsMessagesToSelf:
        "commit::message_to_the_sender_itself_arrives";
    /// Wakes no run by a message.
    DeliversWithoutWaking:
        "commit::message_makes_a_parked_run_due";
    /// Refuses the beat of a worker whose lease is over.
    RefusesLateBeats:
        "ownership::lease_that_is_over_can_be_extended_until_somebody_takes_over";
    /// Extends by the lease of the join whatever the beat asks for.
    ExtendsByTheFirstLease:
        "ownership::beat_extends_by_what_it_asks_for";
    /// Takes over from the first of several workers.
    TakesOverOneAtATime:
        "ownership::takeover_frees_what_all_the_dead_had";
    /// Loses the inboxes of runs whose owner died.
    LosesInboxesOfTheDead:
        "ownership::takeover_keeps_unread_arrivals";
    /// Takes nothing for read that a dead owner read.
    ReadsAnewAfterTakeovers:
        "ownership::takeover_keeps_what_the_dead_have_read";
    /// Tells one run of its lost attempts, and no other.
    TellsOneRunOfLostAttempts:
        "ownership::takeover_tells_each_run_of_its_own_lost_attempts";
    /// Drops the claims of runs whose owner died.
    DropsClaimsWithOwners:
        "ownership::claim_outlives_the_owner_of_its_run";
    /// Looks for repeated writes before a batch, not within it.
    ForgetsWritesWithinABatch:
        "arrivals::same_write_twice_in_one_batch_arrives_once";
    /// Stores every arrival as a signal.
    TakesEverythingForASignal:
        "arrivals::arrivals_of_every_kind_come_back_as_they_were";
    /// Takes a far time for now.
    WrapsFarTimes:
        "timers::park_until_the_last_time_there_is_is_kept";
    /// Puts an attempt into its queue again.
    QueuesAgain:
        "tasks::attempt_that_is_queued_already_is_not_put_in_twice";
    /// Drops outcomes once a run was sealed.
    DropsOutcomesPastSeals:
        "tasks::outcomes_and_losses_of_attempts_get_past_a_seal";
    /// Hands out attempts task by task.
    ClaimsTaskByTask:
        "tasks::claim_order_spans_the_tasks_of_a_queue";
    /// Forgets the priority of an attempt that is not due yet.
    ForgetsPrioritiesOfTheDelayed:
        "tasks::delayed_attempt_keeps_its_priority";
    /// Withdraws the first attempt of an operation alone.
    WithdrawsOneAttempt:
        "tasks::withdrawal_takes_every_attempt_of_its_operation";
    /// Withdraws an operation of all runs.
    WithdrawsForAllRuns:
        "tasks::withdrawal_leaves_the_attempts_of_other_runs";
    /// Takes a report for that of any run's attempt.
    ReportsForAnyRun:
        "tasks::report_ends_the_attempt_of_its_own_run";
    /// Lists runs without their tags.
    ListsWithoutTags:
        "inspect::listed_rows_are_those_that_are_shown_alone";
    /// Takes one status for another in filters.
    MixesUpStatuses:
        "inspect::every_status_has_a_filter_of_its_own";
    /// Keeps one tag of each name.
    KeepsOneTagOfEachName:
        "inspect::tag_name_may_be_given_twice";
    /// Takes runs from their owners that are started again through a lane.
    StartsSteal:
        "start::start_through_a_lane_leaves_the_owner_of_a_run_that_is_there";
    /// Says that a run is new which a dead worker starts, and makes none.
    AcknowledgesStartsOfTheDead:
        "start::start_that_races_a_takeover_is_never_left_with_the_dead";
    /// Parks in whatever epoch the run is.
    IgnoresTheEpochOfParks:
        "commit::late_park_does_not_end_the_next_ownership_of_the_same_worker";
    /// Counts a stranger among the workers that it took over from.
    TakesOverStrangers:
        "ownership::takeover_of_a_stranger_does_nothing";
    /// Looks for a repeated write first and puts it in afterwards.
    LooksBeforeItWrites:
        "arrivals::racing_repetitions_arrive_once";
    /// Gives a name to what arrives without.
    NamesTheNameless:
        "hostile::arrival_without_name_and_content_is_kept";
    /// Writes a thousand effects of a turn.
    CutsManyEffects:
        "hostile::turn_of_many_effects_is_written_whole";
    /// Takes a limit of more than 63 bits for none.
    CutsLargeLimits:
        "hostile::largest_limits_take_all_there_is";
    /// Takes a lease of more than a year for none.
    WrapsLongLeases:
        "hostile::lease_without_an_end_is_never_over";
    /// Cuts numbers to 63 bits.
    CutsLargeNumbers:
        "hostile::turn_of_the_largest_numbers_is_kept_or_refused_alone";
    /// Cuts the turn that a page begins with to 63 bits, and then to nothing.
    WrapsLargeTurns:
        "hostile::numbers_past_all_there_is_find_nothing";
    /// Refuses a worker that joins again.
    RefusesToJoinAgain:
        "ownership::joining_again_extends_the_lease_and_changes_nothing_else",
        "cancellation::dropped_join_registers_a_worker_once";
    /// Locks itself for good when a read is dropped.
    LocksWhenAReadIsDropped:
        "cancellation::dropped_reads_leave_everything_as_it_was";
    /// Says that it edited and does nothing.
    EditsNothing:
        "control::edit_of_a_parked_run_is_written_whole",
        "control::edit_that_ends_a_run_ends_it_for_good",
        "control::edit_changes_when_a_parked_run_is_due",
        "control::edit_gives_a_blocked_run_to_every_build",
        "control::parked_run_can_be_paused_by_an_edit_and_put_off_no_more";
    /// Edits runs whoever owns them.
    EditsOwnedRuns:
        "control::edit_of_an_owned_run_is_lost",
        "control::edit_and_owner_never_write_the_same_turn",
        "control::batch_of_edits_with_bad_members_commits_exactly_the_good_ones";
    /// Says `Committed` for an edit that is lost.
    CommitsLostEdits:
        "control::edit_of_a_finished_or_unknown_run_is_lost",
        "control::racing_edits_of_one_run_commit_one";
    /// Edits a run as it stands, whatever the editor saw of it.
    EditsWhatItDidNotSee:
        "control::edit_from_an_older_view_is_lost";
    /// Gives each edit a new `WriteId`.
    ForgetsEdits:
        "control::same_edit_again_is_committed_and_changes_nothing",
        "cancellation::dropped_edit_is_whole_or_not_there";
    /// Takes all arrivals for read when an edit parks or ends a run.
    EditsOverUnread:
        "control::edit_that_parks_or_ends_is_unread_when_something_arrived";
    /// Parks a run that is paused.
    PausesByParking:
        "control::paused_run_is_unowned_and_never_due",
        "control::message_to_a_paused_run_waits_in_its_inbox",
        "control::queued_attempts_of_a_paused_run_are_not_handed_out",
        "control::claimed_attempt_of_a_paused_run_is_reported",
        "control::lost_claim_of_a_paused_run_wakes_nobody";
    /// Says `Unread` to a pause when something is.
    PausesWhenAllIsRead:
        "control::pause_leaves_what_is_unread_to_the_next_owner";
    /// Takes the attempts of a paused run off their queues.
    LosesAttemptsOfPausedRuns:
        "control::queued_attempts_are_handed_out_after_the_pause_as_before";
    /// Refuses to start nothing.
    RefusesEmptyBatches:
        "hostile::empty_batches_are_answered_with_nothing";
}

/// Opens stores of `F` behind a wrong backend.
#[derive(Debug)]
pub struct BrokenFixture<F> {
    inner: F,
    backend: Arc<dyn Backend>,
    fault: Fault,
}

impl<F: Fixture> BrokenFixture<F> {
    /// Opens a store with a fault.
    pub async fn open_with(fault: Fault) -> Self {
        let inner = F::open().await;
        Self {
            backend: Arc::new(backend::Broken::new(inner.backend(), fault)),
            inner,
            fault,
        }
    }
}

#[async_trait]
impl<F: Fixture> Fixture for BrokenFixture<F> {
    async fn open() -> Self {
        Self::open_with(Fault::Nothing).await
    }

    fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.backend)
    }

    fn clock(&self) -> &BackendClock {
        self.inner.clock()
    }

    async fn reopen(&mut self) -> Arc<dyn Backend> {
        if self.fault == Fault::ForgetsAllOnReopening {
            *self = Self::open_with(self.fault).await;
        } else {
            let inner = self.inner.reopen().await;
            self.backend = Arc::new(backend::Broken::new(inner, self.fault));
        }
        self.backend()
    }
}

/// Puts a wrong backend before a right one.
#[must_use]
pub fn wrap(inner: Arc<dyn Backend>, fault: Fault) -> Arc<dyn Backend> {
    Arc::new(backend::Broken::new(inner, fault))
}

/// Tells whether a case fails on stores of `F` that have a fault.
pub async fn fails<F: Fixture + 'static>(case: &Case, fault: Fault) -> bool {
    let fixture: Box<dyn Fixture> = Box::new(BrokenFixture::<F>::open_with(fault).await);
    let checking = (case.check)(World::over(fixture).await);
    tokio::spawn(checking)
        .await
        .is_err_and(|error| error.is_panic())
}

/// Checks every proof on stores of `F`, that each case has one, and that it passes where nothing is wrong.
///
/// # Panics
/// When a case passes on a backend that it is said to fail on, or there is no proof for it.
pub async fn check_proofs<F: Fixture + 'static>() {
    let mut wrong = Vec::new();
    let mut proven = HashSet::new();
    for (fault, names) in PROOFS {
        for name in *names {
            let case = crate::case_of(name);
            proven.insert((case.topic, case.name));
            if !fails::<F>(case, *fault).await {
                wrong.push(format!("{name} does not find out {fault:?}"));
            }
        }
    }
    for case in CASES {
        if fails::<F>(case, Fault::Nothing).await {
            wrong.push(format!("{}::{} fails for no reason", case.topic, case.name));
        }
        if !proven.contains(&(case.topic, case.name)) {
            wrong.push(format!("no fault fails {}::{}", case.topic, case.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
