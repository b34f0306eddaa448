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

list! { ($)
    start:
        same_id_starts_once,
        racing_starts_of_one_id_make_one_run,
        start_through_a_lane_is_owned_in_the_first_epoch,
        start_without_a_lane_is_due_now,
        start_by_a_dead_worker_is_refused,
        first_record_and_all_else_of_a_start_are_stored,
        batch_of_starts_is_answered_in_order,
        repeated_start_shows_the_run_as_it_stands;
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
        commit_of_a_dead_worker_is_refused_and_writes_nothing;
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
        takeover_gives_up_claims_and_tells_their_runs,
        lost_claim_of_a_parked_run_makes_it_due,
        worker_that_leaves_frees_what_it_had,
        forced_takeover_does_not_wait_for_the_lease,
        dead_worker_cannot_join_again,
        joining_again_extends_the_lease_and_changes_nothing_else,
        acquired_run_is_running_without_a_due_time,
        reload_shows_an_owned_run_anew,
        reload_shows_nothing_to_whoever_does_not_own_it;
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::CASES;

    const FILES: &[(&str, &str)] = &[
        ("start", include_str!("start.rs")),
        ("commit", include_str!("commit.rs")),
        ("ownership", include_str!("ownership.rs")),
    ];

    #[test]
    fn every_case_in_a_file_is_listed() {
        let listed: HashSet<_> = CASES.iter().map(|case| (case.topic, case.name)).collect();
        let mut written = HashSet::new();
        for (topic, text) in FILES {
            for line in text.lines() {
                if let Some(rest) = line.strip_prefix("pub async fn ") {
                    let name = rest.split('(').next().unwrap();
                    assert!(
                        listed.contains(&(*topic, name)),
                        "{topic}::{name} is not listed"
                    );
                    assert!(written.insert((*topic, name)));
                }
            }
        }
        assert_eq!(
            written.len(),
            CASES.len(),
            "a case is listed twice or is not there"
        );
    }
}
