//! What a backend can answer instead of doing what it was asked.

use std::fmt;

use crate::error::{Error as PublicError, ErrorKind};

/// Is a `Result` with a backend's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Sorts errors by what the engine does about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Nothing was applied; asking again later may help.
    Unavailable,
    /// It may have been applied or not; ask the same again until it is answered.
    Unclear,
    /// The worker is not registered, or was declared dead: it owns nothing any more.
    WorkerDead,
    /// No such run.
    NotFound,
    /// The run is finished.
    Finished,
    /// The request itself is wrong and will never be accepted.
    Invalid,
    /// A stored record cannot be read.
    Corrupt,
    /// The store was written by a newer version.
    NewerVersion,
}

/// Tells what a backend could not do and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    message: String,
}

impl Error {
    /// Makes an error.
    #[must_use]
    pub fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            message: message.to_string(),
        }
    }

    /// Returns what sort of error it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Tells whether the same request should be asked again.
    #[must_use]
    pub const fn should_ask_again(&self) -> bool {
        matches!(self.kind, Kind::Unavailable | Kind::Unclear)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error {
    /// Makes the error that users see.
    #[must_use]
    pub fn into_public(self) -> PublicError {
        let kind = match self.kind {
            Kind::Unavailable | Kind::Unclear | Kind::WorkerDead => ErrorKind::Unavailable,
            Kind::NotFound => ErrorKind::NotFound,
            Kind::Finished => ErrorKind::Finished,
            Kind::Invalid => ErrorKind::InvalidInput,
            Kind::Corrupt => ErrorKind::Corrupt,
            Kind::NewerVersion => ErrorKind::NewerVersion,
        };
        PublicError::new(kind, self.message)
    }
}

impl From<Error> for PublicError {
    fn from(error: Error) -> Self {
        error.into_public()
    }
}
