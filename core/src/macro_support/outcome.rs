//! Results: how what a function returned becomes an outcome.
//!
//! Invariants: an error that serde can store keeps its type; a [`Error`] passes as it is. The choices between conversions
//! rest on method look-up: the receiver with the most references wins.

use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::history::Outcome;
use crate::payload::Payload;

/// Holds for every type that can be a result.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a result: task and workflow results must implement serde::Serialize and DeserializeOwned",
    label = "this cannot be stored and read back",
    note = "put `#[derive(serde::Serialize, serde::Deserialize)]` on `{Self}`"
)]
pub trait Output: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> Output for T {}

/// Encodes what a function returned.
///
/// # Errors
/// `InvalidInput` when it has no JSON form.
pub fn encode_output<T: Output>(value: &T) -> Outcome {
    Payload::encode(value)
}

/// Boxes the future of a task or workflow.
pub fn boxed<'a, F>(future: F) -> BoxFuture<'a, Outcome>
where
    F: Future<Output = Outcome> + Send + 'a,
{
    Box::pin(future)
}

/// Sees through names of `Result`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `Result`",
    label = "the option `result` says that this is a name for a `Result`",
    note = "remove `result` from the attribute, or return a `Result`"
)]
pub trait ResultType {
    /// The type of the value.
    type Ok;
}

impl<T, E> ResultType for std::result::Result<T, E> {
    type Ok = T;
}

/// Finds out whether a return type is a `Result` under another name.
#[derive(Debug)]
pub struct ReturnProbe<T>(PhantomData<T>);

/// Is found for a value.
#[derive(Debug)]
pub struct IsValue;

/// Is found for a `Result`.
#[derive(Debug)]
pub struct IsResult;

impl<T> ReturnProbe<T> {
    /// Makes a probe of `T`.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "only generated code makes one")]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T, E> ReturnProbe<std::result::Result<T, E>> {
    /// Wins over the trait's method, as it belongs to the type.
    #[must_use]
    pub const fn longhaul_found(&self) -> IsResult {
        IsResult
    }
}

/// Answers for all other types.
pub trait FoundValue {
    /// Says that the type is no `Result`.
    fn longhaul_found(&self) -> IsValue {
        IsValue
    }
}

impl<T> FoundValue for ReturnProbe<T> {}

/// Holds for what [`ReturnProbe`] may find.
#[diagnostic::on_unimplemented(
    message = "this return type is a `Result` under another name",
    label = "the attribute takes this for a plain value",
    note = "write `#[task(result)]` or `#[workflow(result)]`, or name the type `Result<...>`"
)]
pub trait Plain {}

impl Plain for IsValue {}

/// Refuses a `Result` under another name.
pub const fn require_plain<P: Plain>(_found: &P) {}

/// Finds the best conversion of an error into [`Error`].
#[derive(Debug)]
pub struct ErrorProbe<E>(PhantomData<E>);

impl<E> ErrorProbe<E> {
    /// Makes a probe of the type of `error`.
    #[must_use]
    pub const fn of(_error: &E) -> Self {
        Self(PhantomData)
    }
}

/// Keeps the error itself.
#[derive(Debug)]
pub struct KeepTyped;

/// Converts with `Into`.
#[derive(Debug)]
pub struct Convert;

/// Takes the message and the causes.
#[derive(Debug)]
pub struct Describe;

/// Is the first choice: errors that serde can store.
pub trait ChooseTyped {
    /// Chooses.
    fn longhaul_choose(&self) -> KeepTyped {
        KeepTyped
    }
}

/// Is the second choice: errors that [`Error`] is made from.
pub trait ChooseConvert {
    /// Chooses.
    fn longhaul_choose(&self) -> Convert {
        Convert
    }
}

/// Is the last choice: what a boxed error is made from, such as `anyhow::Error` or a message.
pub trait ChooseDescribe {
    /// Chooses.
    fn longhaul_choose(&self) -> Describe {
        Describe
    }
}

impl<E: std::error::Error + Serialize + 'static> ChooseTyped for &&ErrorProbe<E> {}
impl<E: Into<Error>> ChooseConvert for &ErrorProbe<E> {}
impl<E> ChooseDescribe for ErrorProbe<E> {}

impl KeepTyped {
    /// Converts `error`.
    pub fn convert<E: std::error::Error + Serialize + 'static>(self, error: E) -> Error {
        Error::typed(&error)
    }
}

impl Convert {
    /// Converts `error`.
    pub fn convert<E: Into<Error>>(self, error: E) -> Error {
        error.into()
    }
}

impl Describe {
    /// Converts `error`.
    pub fn convert<E: Failure>(self, error: E) -> Error {
        let error: Box<dyn std::error::Error + Send + Sync> = error.into();
        let mut made = Error::failed(&error);
        let mut source = error.source();
        while let Some(cause) = source {
            made = made.caused_by(cause);
            source = cause.source();
        }
        made
    }
}

/// Holds for every type that can be the error of a task or workflow.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a task or workflow",
    label = "this does not convert into `longhaul::Error`",
    note = "implement `std::error::Error` for `{Self}`, or return `longhaul::Error` or a boxed error that is `Send + Sync`"
)]
pub trait Failure: Into<Box<dyn std::error::Error + Send + Sync>> {}

#[diagnostic::do_not_recommend]
impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> Failure for E {}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
    #[error("card {card} was declined")]
    struct Declined {
        card: u8,
    }

    macro_rules! converted {
        ($error:expr) => {{
            let error = $error;
            (&&&ErrorProbe::of(&error)).longhaul_choose().convert(error)
        }};
    }

    #[test]
    fn error_that_serde_can_store_keeps_its_type() {
        let error = converted!(Declined { card: 7 });
        assert_eq!(error.downcast::<Declined>().unwrap(), Declined { card: 7 });
    }

    #[test]
    fn longhaul_error_passes_as_it_is() {
        let error = Error::permanent(Error::typed(&Declined { card: 7 }));
        assert_eq!(converted!(error.clone()), error);
    }

    #[test]
    fn other_errors_keep_message_and_causes() {
        let parsing = "x".parse::<u8>().unwrap_err();
        assert_eq!(converted!(parsing.clone()).message(), parsing.to_string());
        assert_eq!(converted!("no stock").message(), "no stock");
        let boxed: Box<dyn std::error::Error + Send + Sync> = std::io::Error::other(parsing).into();
        assert!(converted!(boxed).is_retryable());
    }
}
