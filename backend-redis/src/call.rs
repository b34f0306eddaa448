//! A script with its keys and arguments, ready to be sent.
//!
//! Invariants: the arguments lie one behind the other in one buffer, so that adding one rarely allocates.

use redis::{Cmd, RedisWrite as _};

use crate::script::Script;

/// Is how many arguments there is room for from the beginning.
const ARGUMENTS: usize = 32;

/// Is how many bytes of arguments there is room for from the beginning.
const ARGUMENT_BYTES: usize = 1_024;

/// Is a script with its keys and arguments, ready to be sent.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) script: &'static Script,
    pub(crate) command: Cmd,
}

impl Call {
    pub(crate) fn new(script: &'static Script, tag: &str, given_time: Option<i64>) -> Self {
        let mut command = Cmd::with_capacity(ARGUMENTS, ARGUMENT_BYTES);
        command.arg("EVALSHA").arg(script.hash()).arg(2);
        command.write_arg_fmt(format_args!("{tag}members"));
        command.write_arg_fmt(format_args!("{tag}absent"));
        command.arg(tag);
        match given_time {
            Some(time) => command.arg(time),
            None => command.arg(""),
        };
        Self { script, command }
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, argument: impl AsRef<[u8]>) -> Self {
        self.command.arg(argument.as_ref());
        self
    }

    /// Adds a number.
    pub(crate) fn number(mut self, number: impl std::fmt::Display) -> Self {
        self.command.write_arg_fmt(number);
        self
    }

    /// Adds arguments.
    pub(crate) fn args<T: AsRef<[u8]>>(self, arguments: impl IntoIterator<Item = T>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// Adds how many there are, and then each.
    pub(crate) fn counted<T: AsRef<[u8]>>(self, arguments: &[T]) -> Self {
        self.number(arguments.len()).args(arguments)
    }
}
