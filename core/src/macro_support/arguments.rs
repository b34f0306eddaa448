//! Arguments: written one by one into a JSON array, read one by one from it.
//!
//! Invariants: there is one item per parameter, however many there are; what cannot be read is an error that no retry
//! can help and that names the parameters which the function takes.

use std::any::Any;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::AnyConnection;
use crate::call::{Call, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::payload::Payload;
use crate::registry::{Dep, Dependencies, TaskDefinition, WorkflowDefinition};

/// Holds for every type that can be an argument.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument: task arguments must implement serde::Serialize and DeserializeOwned",
    label = "this cannot be stored and read back",
    note = "put `#[derive(serde::Serialize, serde::Deserialize)]` on `{Self}`",
    note = "a task that needs a connection or a service takes it as `Dep<{Self}>`, which the worker provides"
)]
pub trait Argument: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> Argument for T {}

/// Names what a function takes, for messages.
#[derive(Debug)]
pub struct Parameters {
    /// The task or workflow, such as ``task `charge` ``.
    pub target: &'static str,
    /// Its parameters, such as `order: Order`.
    pub names: &'static [&'static str],
}

impl Parameters {
    fn name(&self, position: usize) -> &'static str {
        self.names.get(position).copied().unwrap_or("?")
    }

    fn wrong(&self, what: &str) -> Error {
        let Self { target, names } = self;
        Error::new(
            ErrorKind::InvalidInput,
            format!("{target} takes ({}), but {what}", names.join(", ")),
        )
    }
}

/// Writes and reads an argument; made in one place, so that a type which cannot be one is reported once.
pub struct Shape<T> {
    write: fn(&T, &mut Vec<u8>) -> serde_json::Result<()>,
    read: fn(&mut ArgumentReader<'_>) -> Result<T>,
}

impl<T: Argument> Shape<T> {
    /// Makes the shape of `T`.
    #[must_use]
    pub const fn of() -> Self {
        Self {
            write: |argument, text| serde_json::to_writer(text, argument),
            read: |arguments| arguments.read_next(),
        }
    }
}

impl<T> fmt::Debug for Shape<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shape<{}>", std::any::type_name::<T>())
    }
}

/// Encodes arguments one by one.
#[derive(Debug)]
pub struct ArgumentWriter {
    parameters: &'static Parameters,
    position: usize,
    text: Result<Vec<u8>>,
}

impl ArgumentWriter {
    /// Begins with no arguments.
    #[must_use]
    pub fn new(parameters: &'static Parameters) -> Self {
        Self {
            parameters,
            position: 0,
            text: Ok(vec![b'[']),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn push<T>(mut self, shape: &Shape<T>, argument: &T) -> Self {
        if let Ok(text) = &mut self.text {
            if self.position > 0 {
                text.push(b',');
            }
            if let Err(cause) = (shape.write)(argument, text) {
                let name = self.parameters.name(self.position);
                let what = format!("argument `{name}` cannot be stored as JSON");
                self.text = Err(self.parameters.wrong(&what).caused_by(cause));
            }
        }
        self.position += 1;
        self
    }

    /// Makes the call of a task.
    pub fn call_task<R>(self, definition: &'static TaskDefinition) -> Call<R> {
        Call::of_encoded(Target::Task(definition), self.finish())
    }

    /// Makes the call of a workflow.
    pub fn call_workflow<R>(self, definition: &'static WorkflowDefinition) -> Call<R> {
        Call::of_encoded(Target::Workflow(definition), self.finish())
    }

    fn finish(self) -> Result<Payload> {
        let mut text = self.text?;
        text.push(b']');
        Ok(Payload::from_bytes(text))
    }
}

/// Decodes arguments one by one.
#[derive(Debug)]
pub struct ArgumentReader<'a> {
    parameters: &'static Parameters,
    position: usize,
    rest: &'a [u8],
}

impl<'a> ArgumentReader<'a> {
    /// Begins with the first argument.
    ///
    /// # Errors
    /// `InvalidInput` when the payload is not an array.
    pub fn open(parameters: &'static Parameters, arguments: &'a Payload) -> Result<Self> {
        match arguments.as_bytes().trim_ascii().strip_prefix(b"[") {
            Some(rest) => Ok(Self {
                parameters,
                position: 0,
                rest,
            }),
            None => Err(parameters.wrong("what was stored is not a list of arguments")),
        }
    }

    /// Takes the next argument.
    ///
    /// # Errors
    /// `InvalidInput` when there is none, or it is not the JSON form of a `T`.
    pub fn read<T>(&mut self, shape: &Shape<T>) -> Result<T> {
        (shape.read)(self)
    }

    fn read_next<T: DeserializeOwned>(&mut self) -> Result<T> {
        let item = self.next_item()?;
        let mut values = serde_json::Deserializer::from_slice(item).into_iter::<T>();
        let value = values
            .next()
            .ok_or_else(|| self.damaged())?
            .map_err(|cause| {
                let name = self.parameters.name(self.position);
                let what = format!("what was given for `{name}` cannot be read");
                self.parameters.wrong(&what).caused_by(cause)
            })?;
        self.rest = item.get(values.byte_offset()..).unwrap_or_default();
        self.position += 1;
        Ok(value)
    }

    fn next_item(&self) -> Result<&'a [u8]> {
        let rest = self.rest.trim_ascii_start();
        let count = self.position;
        if rest.starts_with(b"]") {
            return Err(self.parameters.wrong(&format!("only {count} were given")));
        }
        if count == 0 {
            return Ok(rest);
        }
        rest.strip_prefix(b",").ok_or_else(|| self.damaged())
    }

    fn damaged(&self) -> Error {
        self.parameters.wrong("the stored list is damaged")
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// `InvalidInput` when there are more arguments.
    pub fn close(self) -> Result<()> {
        if self.rest.trim_ascii() == b"]" {
            return Ok(());
        }
        let count = self.position;
        Err(self
            .parameters
            .wrong(&format!("more than {count} were given")))
    }
}

/// Finds the value for a `Dep<T>` parameter.
///
/// # Errors
/// `NotRegistered` when the worker provides none.
pub fn dependency<T: ?Sized + Send + Sync + 'static>(
    parameters: &Parameters,
    provided: &Dependencies,
) -> Result<Dep<T>> {
    provided.get::<T>().ok_or_else(|| {
        Error::new(
            ErrorKind::NotRegistered,
            format!(
                "{} needs a `{}`; add it with `.provide(...)`",
                parameters.target,
                std::any::type_name::<T>()
            ),
        )
    })
}

/// Takes the connection of a transactional task.
///
/// # Errors
/// `InvalidInput` when it is of another type.
pub fn connection<'a, T: Any + Send>(
    parameters: &Parameters,
    given: &'a mut AnyConnection,
) -> Result<&'a mut T> {
    given.downcast_mut().ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidInput,
            format!(
                "{} runs on a `{}`, and was given another connection",
                parameters.target,
                std::any::type_name::<T>()
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMETERS: Parameters = Parameters {
        target: "task `charge`",
        names: &["order: String", "count: u32"],
    };
    static SHARED: Parameters = PARAMETERS;

    fn read(stored: &'static str) -> Result<(String, u32)> {
        let stored = Payload::from_bytes(stored.as_bytes());
        let mut arguments = ArgumentReader::open(&SHARED, &stored)?;
        let read = (arguments.read(&Shape::of())?, arguments.read(&Shape::of())?);
        arguments.close()?;
        Ok(read)
    }

    #[test]
    fn arguments_are_read_as_they_were_written() {
        let written = ArgumentWriter::new(&SHARED)
            .push(&Shape::of(), &"a,]".to_owned())
            .push(&Shape::of(), &7_u32);
        let written = written.finish().unwrap();
        assert_eq!(written.as_bytes(), br#"["a,]",7]"#);
        assert_eq!(read(r#"["a,]",7]"#).unwrap(), ("a,]".to_owned(), 7));
        assert_eq!(read(r#" [ "x" , 7 ] "#).unwrap(), ("x".to_owned(), 7));
    }

    proptest::proptest! {
        #[test]
        fn any_arguments_are_read_as_they_were_written(
            text: String,
            numbers: Vec<Option<i64>>,
            pair: (bool, char),
        ) {
            let written = ArgumentWriter::new(&SHARED)
                .push(&Shape::of(), &text)
                .push(&Shape::of(), &numbers)
                .push(&Shape::of(), &pair);
            let stored = written.finish().unwrap();
            let expected = serde_json::to_vec(&(&text, &numbers, &pair)).unwrap();
            assert_eq!(stored.as_bytes(), expected);

            let mut arguments = ArgumentReader::open(&SHARED, &stored).unwrap();
            assert_eq!(arguments.read::<String>(&Shape::of()).unwrap(), text);
            assert_eq!(arguments.read::<Vec<Option<i64>>>(&Shape::of()).unwrap(), numbers);
            assert_eq!(arguments.read::<(bool, char)>(&Shape::of()).unwrap(), pair);
            arguments.close().unwrap();
        }
    }

    #[test]
    fn no_arguments_are_an_empty_array() {
        let written = ArgumentWriter::new(&SHARED).finish().unwrap();
        assert_eq!(written.as_bytes(), b"[]");
        ArgumentReader::open(&SHARED, &written)
            .unwrap()
            .close()
            .unwrap();
    }

    #[test]
    fn wrong_arguments_are_permanent_and_name_what_is_expected() {
        for (stored, what) in [
            (r#"["x"]"#, "only 1 were given"),
            (r#"["x",1,2]"#, "more than 2 were given"),
            (
                r#"["x","y"]"#,
                "what was given for `count: u32` cannot be read",
            ),
            (r#"{"order":"x"}"#, "not a list"),
            (r#"["x""#, "damaged"),
            (r#"["x" 1]"#, "damaged"),
            (r#"["x",]"#, "cannot be read"),
            (r#"["x",1,]"#, "more than 2"),
            ("", "not a list"),
        ] {
            let error = read(stored).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(!error.is_retryable());
            assert!(
                error
                    .message()
                    .starts_with("task `charge` takes (order: String, count: u32), but")
            );
            assert!(error.message().contains(what), "{stored}: {error}");
        }
    }

    #[test]
    fn connection_of_another_type_is_refused_with_the_type_that_is_taken() {
        let mut given = 7_u32;
        *connection::<u32>(&SHARED, &mut given).unwrap() += 1;
        assert_eq!(given, 8);
        let error = connection::<String>(&SHARED, &mut given).unwrap_err();
        assert_eq!(
            error.message(),
            "task `charge` runs on a `alloc::string::String`, and was given another connection"
        );
    }

    #[test]
    fn argument_without_a_json_form_is_named() {
        let keys = std::collections::BTreeMap::from([((1, 2), 3)]);
        let error = ArgumentWriter::new(&SHARED)
            .push(&Shape::of(), &keys)
            .push(&Shape::of(), &1)
            .finish()
            .unwrap_err();
        assert!(
            error.message().contains("`order: String` cannot be stored"),
            "{error}"
        );
    }
}
