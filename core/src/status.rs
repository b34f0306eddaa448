//! The states of a run and the one table of what may follow what.
//!
//! Pure: a table and look-ups. [`TRANSITIONS`] is the only place that says which change is allowed; the diagram in
//! `docs/status.md` is rendered from it and a test keeps the two in step.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// Tells where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Status {
    /// Started, and no worker has taken it yet.
    Pending,
    /// Owned by a worker.
    Running,
    /// Parked: it waits for a timer, a signal or an outcome, and costs a row and nothing else.
    Waiting,
    /// Held back by a pause until someone resumes it.
    Paused,
    /// Cannot go on with the code that tried; goes on by itself when other code serves it.
    Blocked,
    /// Ended with a result.
    Completed,
    /// Ended with an error.
    Failed,
    /// Ended by a cancel.
    Cancelled,
    /// Ended by a terminate.
    Terminated,
}

use Status::{
    Blocked, Cancelled, Completed, Failed, Paused, Pending, Running, Terminated, Waiting,
};

/// Lists every allowed change of status with its cause.
pub const TRANSITIONS: &[(Status, Status, &str)] = &[
    (Pending, Running, "a worker takes it"),
    (Pending, Paused, "pause"),
    (Pending, Terminated, "terminate"),
    (Running, Waiting, "park"),
    (Running, Running, "takeover"),
    (Running, Paused, "pause"),
    (Running, Blocked, "cannot go on"),
    (Running, Completed, "returns"),
    (Running, Failed, "returns an error"),
    (Running, Cancelled, "ends after a cancel"),
    (Running, Terminated, "terminate"),
    (Waiting, Running, "due, or something arrived"),
    (Waiting, Paused, "pause"),
    (Waiting, Terminated, "terminate"),
    (Paused, Waiting, "resume"),
    (Paused, Terminated, "terminate"),
    (Blocked, Running, "other code takes it"),
    (Blocked, Paused, "pause"),
    (Blocked, Terminated, "terminate"),
];

impl Status {
    /// Lists all states.
    pub const ALL: [Self; 9] = [
        Pending, Running, Waiting, Paused, Blocked, Completed, Failed, Cancelled, Terminated,
    ];

    /// Tells whether the segment has ended.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Completed | Failed | Cancelled | Terminated)
    }

    /// Tells whether `next` may follow.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        TRANSITIONS
            .iter()
            .any(|(from, to, _)| *from == self && *to == next)
    }

    /// Returns the name as it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Pending => "Pending",
            Running => "Running",
            Waiting => "Waiting",
            Paused => "Paused",
            Blocked => "Blocked",
            Completed => "Completed",
            Failed => "Failed",
            Cancelled => "Cancelled",
            Terminated => "Terminated",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Status {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidInput,
                    format!("`{text}` is not a status; there are {}", names()),
                )
            })
    }
}

fn names() -> String {
    Status::ALL.map(Status::as_str).join(", ")
}

/// Renders the table as a Mermaid state diagram.
#[must_use]
pub fn diagram() -> String {
    let mut text = String::from("stateDiagram-v2\n    [*] --> Pending : start\n");
    for (from, to, cause) in TRANSITIONS {
        let _ = writeln!(text, "    {from} --> {to} : {cause}");
    }
    for status in Status::ALL.into_iter().filter(|s| s.is_terminal()) {
        let _ = writeln!(text, "    {status} --> [*]");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_the_end() {
        assert!(TRANSITIONS.iter().all(|(from, _, _)| !from.is_terminal()));
    }

    #[test]
    fn every_state_can_be_reached_and_left() {
        for status in Status::ALL {
            let entered = status == Pending || TRANSITIONS.iter().any(|t| t.1 == status);
            let left = status.is_terminal() || TRANSITIONS.iter().any(|t| t.0 == status);
            assert!(entered && left, "{status}");
        }
    }

    #[test]
    fn every_open_state_can_be_terminated() {
        for status in Status::ALL.into_iter().filter(|s| !s.is_terminal()) {
            assert!(status.may_become(Terminated), "{status}");
        }
    }

    #[test]
    fn status_reads_what_it_prints() {
        for status in Status::ALL {
            assert_eq!(status.to_string().parse::<Status>().unwrap(), status);
        }
    }
}
