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
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::CASES;

    const FILES: &[(&str, &str)] = &[("start", include_str!("start.rs"))];

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
