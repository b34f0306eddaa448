//! Names and numbers: a type of its own for each, checked where it enters.
//!
//! Invariants: a name is 1 to 255 characters without control characters; a workflow id does not end in `/` and digits,
//! as that names a segment. Numbers only grow.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// Is the largest number of characters in a name.
pub const NAME_CHARACTERS_MAX: usize = 255;

/// Checks a text that names something.
pub(crate) fn check_name(what: &str, text: &str) -> Result<()> {
    let invalid = |why: &str| {
        let shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
        Err(Error::new(
            ErrorKind::InvalidInput,
            format!("{what} `{shown}` {why}"),
        ))
    };
    if text.is_empty() {
        return invalid("is empty; give it at least one character");
    }
    if text.chars().nth(NAME_CHARACTERS_MAX).is_some() {
        return invalid("is longer than 255 characters");
    }
    if text.chars().any(char::is_control) {
        return invalid("contains a control character");
    }
    Ok(())
}

/// Begins the names of queues, signals and data that are Longhaul's own.
pub(crate) const OWN: &str = "longhaul:";

fn check_own_name(what: &str, text: &str) -> Result<()> {
    check_name(what, text)?;
    if text.starts_with(OWN) {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("{what} `{text}` begins with `{OWN}`, as Longhaul's own do; choose another"),
        ));
    }
    Ok(())
}

fn check_workflow_id(what: &str, text: &str) -> Result<()> {
    check_name(what, text)?;
    let segment = text.rsplit_once('/').map(|(_, last)| last);
    if segment.is_some_and(|last| !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit())) {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("{what} `{text}` ends in `/` and digits, which names a segment of a run"),
        ));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and makes a name of it.
            ///
            /// # Errors
            /// `InvalidInput` when it is empty, too long, or has characters that are not allowed.
            pub fn new(text: impl AsRef<str>) -> Result<Self> {
                $check($what, text.as_ref())?;
                Ok(Self::from_stored(text))
            }

            /// Takes a name that was checked when it was stored.
            #[must_use]
            pub fn from_stored(text: impl AsRef<str>) -> Self {
                Self(Arc::from(text.as_ref()))
            }

            /// Returns the text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }
    };
}

name!(
    /// Names a run; unique in its store.
    WorkflowId, "workflow id", check_workflow_id
);
name!(
    /// Names a workflow or a task that can be a run: its function's name unless it says otherwise.
    WorkflowType, "workflow type", check_name
);
name!(
    /// Names a task: its function's name unless it says otherwise.
    TaskName, "task name", check_name
);
name!(
    /// Names a signal. Names that begin with `longhaul:` are Longhaul's own.
    SignalName, "signal name", check_own_name
);
name!(
    /// Names a value in the workflow data of a run. Names that begin with `longhaul:` are Longhaul's own.
    DataKey, "data key", check_own_name
);
name!(
    /// Names a task queue. Names that begin with `longhaul:` are Longhaul's own.
    QueueName, "queue name", check_own_name
);
name!(
    /// Tells which workers can execute a run: its workflow type, or `task:` and the task's name.
    Route, "route", check_name
);
name!(
    /// Names a build of the user's program, so that a run which one build cannot replay is not tried by it again.
    BuildId, "build id", check_name
);

/// Begins the names of data that answers an update.
const ANSWER: &str = "longhaul:answer:";

impl DataKey {
    /// Makes the name of the answer to a request.
    pub(crate) fn of_answer(request: Uuid) -> Self {
        Self::from_stored(format!("{ANSWER}{request}"))
    }

    /// Tells whether the value answers an update.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        self.as_str().starts_with(ANSWER)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// Returns the number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// Numbers the segments of a run, from 1.
    Segment(u32)
);
number!(
    /// Numbers the ownerships of a run: it grows with each one and fences the owners before.
    Epoch(u64)
);
number!(
    /// Numbers the turns of a segment, densely from 0.
    TurnNumber(u64)
);
number!(
    /// Numbers the events of a segment, densely from 0.
    EventNumber(u64)
);
number!(
    /// Numbers the arrivals of a run, densely from 1; 0 is before the first.
    ArrivalNumber(u64)
);

impl QueueName {
    /// Names the queue of tasks that name none and that the worker of their run had no room for. Every worker that can
    /// run tasks serves it.
    #[must_use]
    pub fn spilled() -> Self {
        Self::from_stored("longhaul:spilled")
    }
}

impl Segment {
    /// Is the segment that a start opens.
    pub const FIRST: Self = Self(1);
}

/// Holds 128 bits and prints them in the usual hexadecimal form.
///
/// Workflow code gets one from `ctx.uuid()`; it is the same at each replay.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// Makes a version 4 uuid of sixteen random bytes.
    #[must_use]
    pub fn from_random_bytes(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes)
    }

    /// Takes the bytes as they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Is how many characters the text of a uuid has.
const UUID_CHARACTERS: usize = 36;

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: [char; 16] = [
            '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
        ];
        let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or('?');
        let mut text = String::with_capacity(UUID_CHARACTERS);
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.push(digit(byte >> 4));
            text.push(digit(byte & 15));
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::new(ErrorKind::InvalidInput, format!("`{text}` is not a uuid"));
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        if digits.len() != 32 || !digits.is_ascii() {
            return Err(wrong());
        }
        u128::from_str_radix(&digits, 16)
            .map(|number| Self(number.to_be_bytes()))
            .map_err(|_| wrong())
    }
}

impl Serialize for Uuid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Uuid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            return text.parse().map_err(D::Error::custom);
        }
        let bytes = bytes::Bytes::deserialize(deserializer)?;
        <[u8; 16]>::try_from(&bytes[..])
            .map(Self)
            .map_err(|_| D::Error::custom("a uuid has sixteen bytes"))
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id!(
    /// Names a worker; each start of one draws a new id.
    WorkerId
);
uuid_id!(
    /// Names one logical write, kept over its retries, so that asking again changes nothing.
    WriteId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused_with_a_reason() {
        for (text, why) in [
            ("", "empty"),
            ("a\0b", "control"),
            (&"x".repeat(256), "longer"),
            ("order/2", "segment"),
        ] {
            let error = WorkflowId::new(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.message().contains(why), "{error}");
        }
        assert!(WorkflowId::new("x".repeat(255)).is_ok());
        assert!(WorkflowId::new("order/2/ship#1").is_ok());
    }

    #[test]
    fn own_queues_cannot_be_named_by_users() {
        let error = QueueName::new(QueueName::spilled()).unwrap_err();
        assert!(error.message().contains("Longhaul's own"), "{error}");
        assert!(QueueName::new("longhaul").is_ok());
    }

    #[test]
    fn uuid_reads_what_it_prints() {
        let uuid = Uuid::from_random_bytes([0xab; 16]);
        assert_eq!(uuid.to_string(), "abababab-abab-4bab-abab-abababababab");
        assert_eq!(uuid.to_string().parse::<Uuid>().unwrap(), uuid);
        let packed = rmp_serde::to_vec(&uuid).unwrap();
        assert_eq!(rmp_serde::from_slice::<Uuid>(&packed).unwrap(), uuid);
    }
}
