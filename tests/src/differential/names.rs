//! The few names that lists use, so that operations meet.

/// Is a name of 254 characters, the beginning of the longest one.
const LONG: &str = concat!(
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
);
/// Is a name of 255 characters.
const LONGER: &str = concat!(
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
);

/// Names the runs: such that prefixes, cases and patterns matter.
pub(super) const RUNS: [&str; 20] = [
    LONG,
    LONGER,
    "a",
    "A",
    "a/kid",
    "a%",
    "a_b",
    "axb",
    "b",
    "b/é",
    "é",
    "e\u{301}",
    "z",
    "z 1",
    "z 2",
    "z 3",
    "z 4",
    "y",
    "y'",
    "\u{10FFFF}",
];

pub(super) const ROUTES: [&str; 3] = ["order", "task:charge", "ship"];
pub(super) const BUILDS: [&str; 3] = ["build-1", "build-2", "build-3"];
pub(super) const QUEUES: [&str; 2] = ["mail", "print"];
pub(super) const TASKS: [&str; 2] = ["charge", "refund"];
pub(super) const KEYS: [&str; 3] = ["k", "K", "l"];
pub(super) const OPERATIONS: [&str; 3] = ["x", "y", "z"];
