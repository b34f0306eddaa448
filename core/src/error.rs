//! The one public error: opaque, with a kind, a chain of causes and optional JSON details.
//!
//! Invariants: an error reads the same before and after it was stored; whoever branches looks at [`Error::kind`], never at text.
//! `Error` does not implement [`std::error::Error`], so that `?` can convert from every type that does.

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Is a `Result` whose error is [`Error`] unless another is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Sorts errors by what the caller can do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The user's code returned an error.
    Failed,
    /// The user's code panicked.
    Panicked,
    /// An attempt or an operation took longer than its timeout.
    TimedOut,
    /// The run or the operation was cancelled.
    Cancelled,
    /// The run was terminated.
    Terminated,
    /// The code does not fit the history of its run, or awaited something that is not durable.
    Nondeterminism,
    /// An argument, option, URL or identifier is wrong.
    InvalidInput,
    /// The named thing does not exist.
    NotFound,
    /// The named thing exists already and is another one.
    AlreadyExists,
    /// The run is finished and takes no more signals.
    Finished,
    /// A configured limit would be passed.
    LimitExceeded,
    /// The backend cannot be reached or is busy; asking again later may help.
    Unavailable,
    /// A stored record cannot be read.
    Corrupt,
    /// A stored record was written by a newer version.
    NewerVersion,
    /// A workflow, task or dependency is not registered in this process.
    NotRegistered,
    /// Longhaul itself is wrong; please report it.
    Bug,
    /// A kind written by a newer version of Longhaul.
    #[serde(other)]
    Other,
}

impl ErrorKind {
    const fn is_retryable_by_default(self) -> bool {
        matches!(
            self,
            Self::Failed | Self::Panicked | Self::TimedOut | Self::Unavailable | Self::Other
        )
    }
}

/// Tells what went wrong, why, and whether trying again can help.
///
/// `?` converts from any [`std::error::Error`]; such an error is retryable. Use [`Error::permanent`] and
/// [`Error::retry_after`] to steer the retries of a task, and [`Error::typed`] to keep a serde type that
/// [`Error::downcast`] gives back, also after a restart.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error(Box<Inner>);

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Inner {
    kind: ErrorKind,
    message: String,
    retryable: bool,
    retry_after_ms: Option<u64>,
    causes: Vec<String>,
    type_name: Option<String>,
    details: Option<String>,
}

impl Error {
    /// Makes an error of `kind`; whether it is retryable follows from the kind.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl fmt::Display) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.to_string(),
            retryable: kind.is_retryable_by_default(),
            retry_after_ms: None,
            causes: Vec::new(),
            type_name: None,
            details: None,
        }))
    }

    /// Makes a failure of the user's code from a message; it is retryable.
    #[must_use]
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    /// Makes an error that no retry can help.
    #[must_use]
    pub fn permanent(error: impl Into<Self>) -> Self {
        let mut error = error.into();
        error.0.retryable = false;
        error
    }

    /// Makes an error whose next attempt starts no earlier than `delay` from now, as a dependency asked for.
    #[must_use]
    pub fn retry_after(error: impl Into<Self>, delay: Duration) -> Self {
        let mut error = error.into();
        error.0.retryable = true;
        error.0.retry_after_ms = Some(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        error
    }

    /// Makes an error that keeps `error` itself, for [`Error::downcast`] before and after storage.
    #[must_use]
    pub fn typed<E>(error: &E) -> Self
    where
        E: std::error::Error + Serialize + 'static,
    {
        let mut made = Self::from_std(error);
        made.0.type_name = Some(std::any::type_name::<E>().to_owned());
        made.0.details = serde_json::to_string(error).ok();
        made
    }

    /// Adds a cause to the end of the chain.
    #[must_use]
    pub fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.0.causes.push(cause.to_string());
        self
    }

    /// Adds details, which are stored as JSON; a value that has no JSON form leaves none.
    #[must_use]
    pub fn with_details(mut self, details: &impl Serialize) -> Self {
        self.0.details = serde_json::to_string(details).ok();
        self
    }

    /// Returns what sort of error this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the message without its causes.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Tells whether another attempt can help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Returns the least delay before the next attempt that [`Error::retry_after`] asked for.
    #[must_use]
    pub fn retry_delay(&self) -> Option<Duration> {
        self.0.retry_after_ms.map(Duration::from_millis)
    }

    /// Returns the causes, the nearest first.
    pub fn causes(&self) -> impl Iterator<Item = &str> {
        self.0.causes.iter().map(String::as_str)
    }

    /// Returns the details as JSON text.
    #[must_use]
    pub fn details(&self) -> Option<&str> {
        self.0.details.as_deref()
    }

    /// Gives back the serde type that [`Error::typed`] kept.
    ///
    /// # Errors
    /// Returns the error itself when it holds another type.
    pub fn downcast<E: DeserializeOwned>(self) -> std::result::Result<E, Self> {
        if self.0.type_name.as_deref() != Some(std::any::type_name::<E>()) {
            return Err(self);
        }
        let found = self
            .0
            .details
            .as_deref()
            .and_then(|details| serde_json::from_str(details).ok());
        found.ok_or(self)
    }

    fn from_std(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut made = Self::new(ErrorKind::Failed, error);
        let mut source = error.source();
        while let Some(cause) = source {
            made.0.causes.push(cause.to_string());
            source = cause.source();
        }
        made
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self::from_std(&error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if f.alternate() {
            for cause in &self.0.causes {
                write!(f, ": {cause}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self:#}", self.0.kind)
    }
}

/// Makes an [`Error`] for a failure that no retry can help, from a format string.
///
/// Use it to end a workflow, or a task whose input is wrong. For a failure that a retry may cure, return any other
/// error or [`Error::failed`].
#[macro_export]
macro_rules! failure {
    ($($argument:tt)+) => {
        $crate::Error::permanent($crate::Error::failed(::std::format!($($argument)+)))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
    #[error("card {card} was declined")]
    struct Declined {
        card: u8,
    }

    fn stored(error: &Error) -> Error {
        rmp_serde::from_slice(&rmp_serde::to_vec(error).unwrap()).unwrap()
    }

    #[test]
    fn typed_error_comes_back_from_storage() {
        let error = stored(&Error::typed(&Declined { card: 7 }));
        assert_eq!(error.to_string(), "card 7 was declined");
        assert_eq!(error.downcast::<Declined>().unwrap(), Declined { card: 7 });
    }

    #[test]
    fn downcast_to_another_type_returns_the_error() {
        let error = Error::failed("no");
        assert_eq!(error.clone().downcast::<Declined>().unwrap_err(), error);
    }

    #[test]
    fn permanent_and_retry_after_survive_storage() {
        let delayed = stored(&Error::retry_after(
            Error::failed("busy"),
            Duration::from_secs(3),
        ));
        assert_eq!(delayed.retry_delay(), Some(Duration::from_secs(3)));
        assert!(!stored(&Error::permanent(delayed)).is_retryable());
    }

    #[test]
    fn unknown_kind_of_a_newer_version_stays_readable() {
        let kind: ErrorKind = serde_json::from_str("\"Evaporated\"").unwrap();
        assert_eq!(kind, ErrorKind::Other);
    }
}
