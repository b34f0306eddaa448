//! The one list of cases. From it come the table [`CASES`] and the tests that `conformance!` expands to.

use crate::Case;

/// Makes the table and the macro of one list.
macro_rules! list {
    (($dollar:tt) $($topic:ident: $($case:ident),+ $(,)?;)+) => {
        /// Lists all cases.
        pub const CASES: &[Case] = &[$($(
            Case {
                topic: stringify!($topic),
                name: stringify!($case),
                check: |world| Box::pin(crate::$topic::$case(world)),
            },
        )+)+];

        /// Makes a test of each case, in a module of each topic, for one [`Fixture`](crate::Fixture).
        #[macro_export]
        macro_rules! conformance {
            ($dollar fixture:ty) => {
                $(mod $topic {
                    use super::*;
                    $(
                        #[test]
                        fn $case() {
                            $dollar crate::run::<$dollar fixture>(|world| {
                                Box::pin($dollar crate::$topic::$case(world))
                            });
                        }
                    )+
                })+
            };
        }
    };
}

/// Makes the test that runs every case once under a fault, for one [`Fixture`](crate::Fixture); see
/// [`faults`](mod@crate::faults).
#[macro_export]
macro_rules! faults {
    ($fixture:ty) => {
        #[test]
        fn every_case_holds_when_one_of_its_calls_goes_wrong() {
            $crate::faults::check_all::<$fixture>();
        }
    };
}

list! { ($)
    start:
        same_id_starts_once,
        racing_starts_of_one_id_make_one_run,
        start_through_a_lane_is_owned_in_the_first_epoch,
        start_without_a_lane_is_due_now,
        start_by_a_dead_worker_is_refused,
        first_record_and_all_else_of_a_start_are_stored,
        batch_of_starts_is_answered_in_order,
        repeated_start_shows_the_run_as_it_stands,
        start_of_an_id_that_a_subworkflow_has_finds_it,
        start_through_a_lane_takes_no_run_that_is_there,
        start_through_a_lane_leaves_the_owner_of_a_run_that_is_there,
        start_that_races_a_takeover_is_never_left_with_the_dead;
    commit:
        turns_are_stored_densely_as_they_were_given,
        turn_after_a_gap_is_lost,
        another_turn_of_a_number_that_is_taken_is_lost,
        turn_of_another_epoch_is_lost,
        turn_of_another_segment_is_lost,
        turn_through_a_lane_of_another_worker_is_lost,
        turn_of_an_unknown_or_unowned_run_is_lost,
        same_write_again_is_committed_and_changes_nothing,
        same_write_again_after_further_turns_is_committed,
        same_park_again_is_committed_and_does_not_park_again,
        same_end_again_is_committed,
        same_write_again_after_a_takeover_is_committed,
        same_write_without_a_turn_again_is_committed,
        same_append_without_a_turn_again_is_committed_and_changes_nothing,
        every_lane_of_the_owner_may_commit,
        batch_with_bad_members_commits_exactly_the_good_ones,
        park_and_end_are_unread_when_something_arrived,
        unread_turn_is_taken_when_it_comes_again_with_all_read,
        drain_clears_the_due_time_only_when_all_is_read,
        sealed_run_refuses_arrivals_until_it_parks,
        seal_is_lifted_when_the_run_changes_hands,
        append_does_not_touch_the_row,
        parked_run_waits_unowned_and_counts_no_loss,
        released_run_is_due_now_with_its_unread_arrivals,
        blocked_run_is_due_for_other_builds_alone,
        arrival_does_not_make_a_blocked_run_due_for_the_same_build,
        finished_run_is_unowned_and_never_due_again,
        update_without_a_turn_changes_the_row_alone,
        data_is_set_replaced_and_removed_in_order_of_keys,
        data_belongs_to_its_run_and_outlives_it,
        turn_that_is_not_taken_leaves_no_effects,
        subworkflow_of_a_turn_is_due_and_knows_its_parent,
        subworkflow_whose_id_is_taken_arrives_as_closed_without_content,
        own_subworkflow_that_is_there_already_is_no_refusal,
        outbox_delivers_each_message_once_and_in_order,
        racing_deliveries_deliver_each_message_once,
        message_to_a_finished_or_unknown_run_is_dropped,
        message_gets_past_a_seal,
        commit_of_a_dead_worker_is_refused_and_writes_nothing,
        what_was_read_stays_read,
        release_and_block_clear_the_count_of_losses,
        seal_outlasts_later_drains,
        seal_is_lifted_by_release_and_block,
        two_turns_of_a_batch_that_want_one_id_get_one_subworkflow,
        subworkflow_with_the_id_of_its_parent_is_refused,
        message_to_the_sender_itself_arrives,
        message_makes_a_parked_run_due,
        late_park_does_not_end_the_next_ownership_of_the_same_worker,
        racing_turns_of_one_number_commit_one,
        racing_repetitions_of_one_turn_are_all_committed,
        arrival_and_park_never_miss_each_other;
    control:
        edit_of_a_parked_run_is_written_whole,
        edit_that_ends_a_run_ends_it_for_good,
        edit_of_an_owned_run_is_lost,
        edit_of_a_finished_or_unknown_run_is_lost,
        edit_from_an_older_view_is_lost,
        same_edit_again_is_committed_and_changes_nothing,
        edit_that_parks_or_ends_is_unread_when_something_arrived,
        edit_changes_when_a_parked_run_is_due,
        edit_gives_a_blocked_run_to_every_build,
        edit_keeps_the_count_of_losses,
        batch_of_edits_with_bad_members_commits_exactly_the_good_ones,
        racing_edits_of_one_run_commit_one,
        edit_and_owner_never_write_the_same_turn,
        paused_run_is_unowned_and_never_due,
        pause_leaves_what_is_unread_to_the_next_owner,
        paused_run_takes_arrivals_in_spite_of_a_seal_before,
        message_to_a_paused_run_waits_in_its_inbox,
        queued_attempts_of_a_paused_run_are_not_handed_out,
        queued_attempts_are_handed_out_after_the_pause_as_before,
        claimed_attempt_of_a_paused_run_is_reported,
        lost_claim_of_a_paused_run_wakes_nobody,
        withdrawn_attempt_of_a_paused_run_is_gone,
        paused_run_that_is_ended_leaves_no_attempts,
        parked_run_can_be_paused_by_an_edit_and_put_off_no_more,
        hint_follows_an_answer_to_an_update,
        hint_follows_a_pause_and_its_end;
    ownership:
        worker_is_dead_when_its_lease_is_over_by_the_clock,
        beat_extends_the_lease_only_when_asked_to,
        beat_without_extension_only_reads,
        beat_of_a_dead_worker_says_so,
        nothing_of_a_dead_worker_is_accepted,
        worker_that_never_joined_owns_nothing,
        takeover_frees_runs_and_counts_the_loss,
        losses_in_a_row_add_up,
        progress_starts_the_count_of_losses_anew,
        park_clears_the_count_of_losses,
        drain_keeps_the_count_of_losses,
        takeover_gives_up_claims_and_tells_their_runs,
        lost_claim_of_a_parked_run_makes_it_due,
        worker_that_leaves_frees_what_it_had,
        forced_takeover_does_not_wait_for_the_lease,
        dead_worker_cannot_join_again,
        joining_again_extends_the_lease_and_changes_nothing_else,
        acquired_run_is_running_without_a_due_time,
        owned_runs_are_listed_with_their_epochs_in_the_order_of_ids,
        beat_counts_what_the_worker_owns,
        beat_counts_the_other_workers_that_live_and_can_run_tasks,
        reload_shows_an_owned_run_anew,
        reload_shows_nothing_to_whoever_does_not_own_it,
        lease_that_is_over_can_be_extended_until_somebody_takes_over,
        beat_extends_by_what_it_asks_for,
        takeover_frees_what_all_the_dead_had,
        takeover_keeps_unread_arrivals,
        takeover_keeps_what_the_dead_have_read,
        takeover_tells_each_run_of_its_own_lost_attempts,
        claim_outlives_the_owner_of_its_run,
        takeover_of_a_stranger_does_nothing;
    arrivals:
        arrivals_are_numbered_densely_from_one,
        racing_arrivals_get_a_number_each,
        arrival_is_stored_as_it_was_accepted,
        same_write_arrives_once,
        same_write_that_was_read_arrives_no_second_time,
        same_write_to_another_run_is_another_arrival,
        full_inbox_refuses_until_something_is_read,
        finished_run_refuses_and_says_how_it_ended,
        unknown_run_refuses_and_is_not_made,
        batch_of_arrivals_is_answered_in_order,
        arrival_makes_a_parked_run_due_now,
        arrival_does_not_put_off_a_run_that_was_due_before,
        arrival_does_not_make_an_owned_run_due,
        inbox_reads_only_own_runs,
        inbox_reads_only_what_is_newer,
        beat_of_the_owner_names_runs_with_something_unread,
        acquired_run_comes_with_what_is_unread_alone,
        hint_follows_an_arrival,
        hint_follows_the_end_of_a_run,
        hint_of_a_run_that_is_due_says_more_than_that_runs_ended,
        same_write_twice_in_one_batch_arrives_once,
        arrivals_of_every_kind_come_back_as_they_were,
        repeated_arrival_is_answered_in_spite_of_a_seal,
        racing_repetitions_arrive_once;
    timers:
        run_is_not_due_before_its_time_and_due_exactly_at_it,
        next_due_time_is_the_earliest_that_is_ahead,
        beat_counts_what_is_due_like_the_timers_do,
        runs_of_other_routes_are_neither_counted_nor_taken,
        runs_are_taken_in_the_order_of_their_due_times,
        due_order_spans_routes,
        limit_bounds_what_is_taken,
        count_of_due_runs_ends_at_the_largest_page,
        racing_acquirers_take_each_run_once,
        park_until_a_time_that_is_past_is_due_at_once,
        clock_is_never_ahead_of_due_times,
        route_that_is_named_twice_counts_once,
        runs_that_other_builds_blocked_are_taken_in_the_order_of_their_due_times,
        park_until_the_last_time_there_is_is_kept;
    tasks:
        claimed_attempt_is_what_was_queued,
        higher_priority_is_claimed_first,
        equal_attempts_are_claimed_in_the_order_they_were_put_in,
        earlier_due_is_claimed_first_among_equal_priorities,
        attempt_is_not_claimed_before_it_is_due,
        no_more_are_claimed_than_each_queue_has_slots,
        only_tasks_that_the_worker_runs_are_claimed,
        racing_claims_get_each_attempt_once,
        beat_counts_what_the_worker_has_claimed,
        claimed_attempts_are_listed_until_they_are_reported,
        reported_outcome_reaches_the_run_and_leaves_the_queue,
        reported_outcome_makes_a_parked_run_due,
        same_report_again_is_accepted_and_changes_nothing,
        report_of_an_attempt_that_was_reported_is_stale,
        report_of_another_workers_claim_is_stale,
        report_of_an_attempt_that_nobody_claimed_is_stale,
        batch_of_reports_is_answered_in_order,
        withdrawn_attempt_is_neither_claimed_nor_reported,
        attempt_of_a_finished_run_is_neither_claimed_nor_reported,
        next_attempt_of_an_operation_is_an_attempt_of_its_own,
        beat_counts_what_can_be_claimed_and_knows_when_more_can,
        task_that_is_named_twice_counts_once,
        attempt_that_is_queued_already_is_not_put_in_twice,
        outcomes_and_losses_of_attempts_get_past_a_seal,
        claim_order_spans_the_tasks_of_a_queue,
        delayed_attempt_keeps_its_priority,
        withdrawal_takes_every_attempt_of_its_operation,
        withdrawal_leaves_the_attempts_of_other_runs,
        report_ends_the_attempt_of_its_own_run;
    inspect:
        runs_are_listed_in_the_order_of_the_bytes_of_their_ids,
        pages_miss_and_repeat_nothing_while_others_are_started,
        page_goes_on_after_an_id_that_is_not_there,
        filter_by_status_chooses_any_of_them,
        filter_by_type_and_kind,
        filter_by_tags_needs_all_of_them,
        filter_by_parent_and_root,
        filter_by_prefix_takes_every_character_as_it_is,
        filters_narrow_each_other_and_pages_follow_them,
        limit_of_nothing_or_above_the_largest_page_is_invalid,
        history_is_paged_by_turn,
        history_is_of_the_segment_that_was_asked_for,
        states_are_told_in_the_order_asked_for_and_none_for_the_unknown,
        unknown_run_is_none_or_not_found,
        workers_are_shown_as_they_joined_with_what_they_own,
        queues_show_what_waits_and_what_is_claimed,
        listed_rows_are_those_that_are_shown_alone,
        every_status_has_a_filter_of_its_own,
        tag_name_may_be_given_twice;
    hostile:
        odd_ids_are_kept_and_kept_apart,
        ids_that_differ_in_case_are_different,
        longest_ids_are_kept_apart_by_their_last_character,
        odd_names_of_everything_else_come_back_as_they_were,
        odd_tags_choose_their_own_runs,
        records_of_any_bytes_come_back_as_they_were,
        large_records_come_back_whole,
        empty_batches_are_answered_with_nothing,
        arrival_without_name_and_content_is_kept,
        turn_of_many_effects_is_written_whole,
        largest_limits_take_all_there_is,
        lease_without_an_end_is_never_over,
        turn_of_the_largest_numbers_is_kept_or_refused_alone,
        numbers_past_all_there_is_find_nothing;
    reopening:
        reopening_keeps_the_row_and_the_history,
        reopening_keeps_the_register_and_its_ownerships,
        reopening_keeps_the_inbox_and_what_it_knows,
        reopening_keeps_what_was_committed_known,
        reopening_keeps_data,
        reopening_keeps_queues_and_claims,
        reopening_keeps_the_outbox,
        reopening_keeps_due_times_seals_and_losses,
        reopening_keeps_what_was_fixed_when_the_store_was_made,
        reopening_keeps_what_blocks_a_run,
        reopening_keeps_a_pause,
        reopening_keeps_the_dead_dead;
    cancellation:
        dropped_start_is_whole_or_not_there,
        dropped_commit_is_whole_or_not_there,
        dropped_edit_is_whole_or_not_there,
        dropped_arrival_arrives_once_when_it_is_asked_again,
        dropped_acquire_loses_no_run,
        dropped_claim_and_report_end_an_attempt_once,
        dropped_takeover_frees_all_or_nothing,
        dropped_delivery_delivers_once,
        dropped_claim_leaves_its_attempt_queued_or_claimed,
        dropped_join_registers_a_worker_once,
        dropped_beat_extends_when_it_is_asked_again,
        dropped_leave_frees_what_there_was_once,
        dropped_reads_leave_everything_as_it_was;
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::CASES;

    /// Returns the names of the cases that a file of this crate holds.
    fn cases_of(text: &str) -> impl Iterator<Item = &str> {
        text.split("\npub async fn ")
            .skip(1)
            .filter_map(|function| {
                let (name, rest) = function.split_once('(')?;
                let (arguments, _) = rest.split_once(')')?;
                arguments.contains("world: World").then_some(name)
            })
    }

    #[test]
    fn every_case_that_is_written_is_listed_once() {
        let listed: HashSet<_> = CASES.iter().map(ToString::to_string).collect();
        assert_eq!(listed.len(), CASES.len(), "a case is listed twice");
        let mut written = HashSet::new();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let topic = path.file_stem().unwrap().to_str().unwrap();
                let text = std::fs::read_to_string(&path).unwrap();
                written.extend(cases_of(&text).map(|name| format!("{topic}::{name}")));
            }
        }
        let unlisted: Vec<_> = written.difference(&listed).collect();
        let unwritten: Vec<_> = listed.difference(&written).collect();
        assert!(unlisted.is_empty(), "not listed: {unlisted:?}");
        assert!(unwritten.is_empty(), "not found: {unwritten:?}");
    }
}
