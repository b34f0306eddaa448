//! What a caller cannot find out whose call went wrong, and the cases that need it.
//!
//! Invariants: each exception has its reason, and [`check_exceptions`](super::check_exceptions) proves that it is
//! needed. An excepted case gets its fault at another call.

use super::Mishap;
use crate::Case;
use crate::faulty::Operation;

/// Says which calls of some cases may not go wrong in some ways.
#[derive(Debug, Clone, Copy)]
pub struct Exception {
    /// The method.
    pub operation: Operation,
    /// What may not go wrong.
    pub mishaps: &'static [Mishap],
    /// Why.
    pub why: &'static str,
    /// The cases as `topic::name`.
    pub cases: &'static [&'static str],
}

const LOST_OR_DOUBLED: &[Mishap] = &[Mishap::AnswerLost, Mishap::Doubled];

/// Lists all exceptions.
pub const EXCEPTIONS: &[Exception] = &[
    Exception {
        operation: Operation::Claim,
        mishaps: &[Mishap::Doubled],
        why: "each of two claims takes up to its slots",
        cases: &[
            "control::queued_attempts_are_handed_out_after_the_pause_as_before",
            "inspect::queues_show_what_waits_and_what_is_claimed",
            "reopening::reopening_keeps_queues_and_claims",
            "tasks::attempt_of_a_finished_run_is_neither_claimed_nor_reported",
            "tasks::beat_counts_what_the_worker_has_claimed",
            "tasks::claim_order_spans_the_tasks_of_a_queue",
            "tasks::claimed_attempts_are_listed_until_they_are_reported",
            "tasks::delayed_attempt_keeps_its_priority",
            "tasks::earlier_due_is_claimed_first_among_equal_priorities",
            "tasks::higher_priority_is_claimed_first",
            "tasks::no_more_are_claimed_than_each_queue_has_slots",
            "tasks::outcomes_and_losses_of_attempts_get_past_a_seal",
            "tasks::report_ends_the_attempt_of_its_own_run",
            "tasks::withdrawn_attempt_is_neither_claimed_nor_reported",
        ],
    },
    Exception {
        operation: Operation::Claim,
        mishaps: &[Mishap::AnswerLost],
        why: "attempts that were claimed unheard are found in the order they were put in",
        cases: &[
            "control::queued_attempts_are_handed_out_after_the_pause_as_before",
            "tasks::claim_order_spans_the_tasks_of_a_queue",
            "tasks::delayed_attempt_keeps_its_priority",
            "tasks::earlier_due_is_claimed_first_among_equal_priorities",
            "tasks::higher_priority_is_claimed_first",
        ],
    },
    Exception {
        operation: Operation::Deliver,
        mishaps: LOST_OR_DOUBLED,
        why: "how many messages were moved is told once",
        cases: &[
            "commit::same_write_again_is_committed_and_changes_nothing",
            "commit::outbox_delivers_each_message_once_and_in_order",
            "commit::racing_deliveries_deliver_each_message_once",
            "commit::message_to_a_finished_or_unknown_run_is_dropped",
            "commit::message_gets_past_a_seal",
            "reopening::reopening_keeps_the_outbox",
            "cancellation::dropped_commit_is_whole_or_not_there",
        ],
    },
    Exception {
        operation: Operation::TakeOver,
        mishaps: LOST_OR_DOUBLED,
        why: "whom a takeover declared dead, and what it freed, is told once",
        cases: &[
            "ownership::worker_is_dead_when_its_lease_is_over_by_the_clock",
            "ownership::beat_extends_the_lease_only_when_asked_to",
            "ownership::takeover_frees_runs_and_counts_the_loss",
            "ownership::takeover_gives_up_claims_and_tells_their_runs",
            "ownership::forced_takeover_does_not_wait_for_the_lease",
        ],
    },
    Exception {
        operation: Operation::Acquire,
        mishaps: &[Mishap::Doubled],
        why: "each of two acquisitions takes up to its limit",
        cases: &[
            "arrivals::arrival_does_not_put_off_a_run_that_was_due_before",
            "timers::due_order_spans_routes",
            "timers::limit_bounds_what_is_taken",
            "timers::runs_that_other_builds_blocked_are_taken_in_the_order_of_their_due_times",
        ],
    },
    Exception {
        operation: Operation::Acquire,
        mishaps: LOST_OR_DOUBLED,
        why: "runs that were acquired unheard are found in the order of their ids",
        cases: &["timers::runs_are_taken_in_the_order_of_their_due_times"],
    },
];

/// Returns the cases of an exception.
pub(super) fn cases_of(exception: &Exception) -> Vec<&'static Case> {
    let names = exception.cases.iter();
    names.map(|name| crate::case_of(name)).collect()
}

/// Tells whether a call of a case may go wrong so.
pub(super) fn allows(case: &Case, operation: Operation, mishap: Mishap) -> bool {
    let name = case.to_string();
    !EXCEPTIONS.iter().any(|exception| {
        exception.operation == operation
            && exception.mishaps.contains(&mishap)
            && exception.cases.contains(&name.as_str())
    })
}
