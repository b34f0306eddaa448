//! The options between the parentheses of `#[task(...)]` and `#[workflow(...)]`.
//!
//! Invariants: everything that can be wrong with a value is found here, at compile time; all wrong options are reported
//! at once; durations have the grammar of `longhaul_core::retry::parse_duration`.

use std::time::Duration;

use proc_macro2::Span;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Ident, Lit, Result, Token};

use crate::function::Kind;
use crate::nearest::nearest;

const TASK_OPTIONS: &[(&str, &str)] = &[
    ("retries", "retries = 5"),
    ("backoff", "backoff = \"200ms..30s\""),
    ("timeout", "timeout = \"10s\""),
    ("queue", "queue = \"mail\""),
    ("priority", "priority = 3"),
    ("name", "name = \"charge\""),
    ("force_new_workflow", "force_new_workflow"),
    ("transactional", "transactional"),
    ("result", "result"),
    ("crate", "crate = \"longhaul\""),
];

const WORKFLOW_OPTIONS: &[(&str, &str)] = &[
    ("version", "version = 2"),
    ("name", "name = \"checkout\""),
    ("result", "result"),
    ("crate", "crate = \"longhaul\""),
];

const CALL_OPTIONS: &[&str] = &["delay", "idempotency_key", "id", "tag", "close_policy"];

const NAME_CHARACTERS_MAX: usize = 250;

/// Is what both attributes may say.
#[derive(Debug, Default)]
pub(crate) struct CommonOptions {
    pub(crate) name: Option<String>,
    pub(crate) result: bool,
    pub(crate) library: Option<syn::Path>,
}

/// Is what `#[task(...)]` says.
#[derive(Debug, Default)]
pub(crate) struct TaskAttributes {
    pub(crate) common: CommonOptions,
    pub(crate) retries: Option<u32>,
    pub(crate) backoff: Option<(Duration, Duration)>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) queue: Option<String>,
    pub(crate) priority: Option<i16>,
    pub(crate) force_new_workflow: bool,
    pub(crate) transactional: bool,
}

/// Is what `#[workflow(...)]` says.
#[derive(Debug, Default)]
pub(crate) struct WorkflowAttributes {
    pub(crate) common: CommonOptions,
    pub(crate) version: u32,
}

impl TaskAttributes {
    /// Reads the options.
    pub(crate) fn parse(tokens: proc_macro2::TokenStream) -> Result<Self> {
        let mut read = Self::default();
        let mut backoff_at = None;
        for_each_option(Kind::Task, tokens, |option| {
            match option.key.to_string().as_str() {
                "retries" => read.retries = Some(option.number()?),
                "backoff" => {
                    read.backoff = Some(option.backoff()?);
                    backoff_at = Some(option.key.span());
                }
                "timeout" => read.timeout = Some(option.duration()?),
                "queue" => read.queue = Some(option.queue_name()?),
                "priority" => read.priority = Some(option.number()?),
                "force_new_workflow" => read.force_new_workflow = option.flag()?,
                "transactional" => read.transactional = option.flag()?,
                _ => read.common.read(option)?,
            }
            Ok(())
        })?;
        match backoff_at {
            Some(at) if read.retries.is_none() => Err(Error::new(
                at,
                "`backoff` does nothing without retries; add `retries = 5`",
            )),
            _ => Ok(read),
        }
    }
}

impl WorkflowAttributes {
    /// Reads the options.
    pub(crate) fn parse(tokens: proc_macro2::TokenStream) -> Result<Self> {
        let mut read = Self::default();
        for_each_option(Kind::Workflow, tokens, |option| {
            match option.key.to_string().as_str() {
                "version" => {
                    read.version = option.number()?;
                    if read.version == 0 {
                        return Err(option.wrong("versions count from 1"));
                    }
                }
                _ => read.common.read(option)?,
            }
            Ok(())
        })?;
        Ok(read)
    }
}

impl CommonOptions {
    fn read(&mut self, option: &AttributeOption) -> Result<()> {
        match option.key.to_string().as_str() {
            "name" => self.name = Some(option.stored_name()?),
            "result" => self.result = option.flag()?,
            _ => {
                let path = option.text()?;
                let parsed = syn::parse_str(&path);
                let parsed =
                    parsed.map_err(|_| option.wrong(&format!("`{path}` is not a path")))?;
                self.library = Some(parsed);
            }
        }
        Ok(())
    }
}

fn for_each_option(
    kind: Kind,
    tokens: proc_macro2::TokenStream,
    mut read: impl FnMut(&AttributeOption) -> Result<()>,
) -> Result<()> {
    use syn::parse::Parser as _;
    let parser = Punctuated::<AttributeOption, Token![,]>::parse_terminated;
    let mut seen: Vec<String> = Vec::new();
    let mut errors: Option<Error> = None;
    for option in parser.parse2(tokens)? {
        let key = option.key.to_string();
        let outcome = if seen.contains(&key) {
            Err(Error::new(
                option.key.span(),
                format!("`{key}` is given twice; keep one of them"),
            ))
        } else if known(kind).iter().any(|(known, _)| *known == key) {
            read(&option)
        } else {
            Err(unknown(kind, &option.key))
        };
        seen.push(key);
        match (outcome, &mut errors) {
            (Ok(()), _) => {}
            (Err(error), Some(errors)) => errors.combine(error),
            (Err(error), None) => errors = Some(error),
        }
    }
    errors.map_or(Ok(()), Err)
}

fn known(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::Task => TASK_OPTIONS,
        Kind::Workflow => WORKFLOW_OPTIONS,
    }
}

fn unknown(kind: Kind, key: &Ident) -> Error {
    let written = key.to_string();
    let names = known(kind).iter().map(|(name, _)| *name);
    let hint = if CALL_OPTIONS.contains(&written.as_str()) {
        format!(", but it can be given to a call: `function(...).{written}(...)`")
    } else if known(kind.other()).iter().any(|(name, _)| *name == written) {
        format!(", but `#[{}]` has", kind.other())
    } else if let Some(nearest) = nearest(&written, names) {
        format!("; did you mean `{nearest}`?")
    } else {
        String::new()
    };
    let all: Vec<_> = known(kind).iter().map(|(_, usage)| *usage).collect();
    Error::new(
        key.span(),
        format!(
            "`#[{kind}]` has no option `{written}`{hint}\nthe options are: {}",
            all.join(", ")
        ),
    )
}

/// Is one option: a word, or a word and a value.
struct AttributeOption {
    key: Ident,
    value: Option<Value>,
}

struct Value {
    literal: Lit,
    is_negative: bool,
}

impl Parse for AttributeOption {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let key = Ident::parse_any(input).map_err(|error| {
            Error::new(error.span(), "expected an option, such as `name = ...`")
        })?;
        if input.peek(syn::token::Paren) || input.peek(Token![:]) {
            let message = format!("write the value after an equals sign: `{key} = ...`");
            return Err(Error::new(input.span(), message));
        }
        if !input.peek(Token![=]) {
            return Ok(Self { key, value: None });
        }
        input.parse::<Token![=]>()?;
        let is_negative = input.parse::<Option<Token![-]>>()?.is_some();
        let literal = input.parse().map_err(|error: Error| {
            let message = format!(
                "the value of `{key}` must be a literal; values known at run time are given to the call"
            );
            Error::new(error.span(), message)
        })?;
        let value = Some(Value {
            literal,
            is_negative,
        });
        Ok(Self { key, value })
    }
}

impl AttributeOption {
    fn span(&self) -> Span {
        match &self.value {
            Some(value) => value.literal.span(),
            None => self.key.span(),
        }
    }

    fn wrong(&self, what: &str) -> Error {
        Error::new(self.span(), format!("`{}`: {what}", self.key))
    }

    fn wrong_type(&self, wanted: &str) -> Error {
        let usages = TASK_OPTIONS.iter().chain(WORKFLOW_OPTIONS);
        let usage = usages
            .filter(|(name, _)| self.key == name)
            .map(|(_, usage)| *usage)
            .next();
        let usage = usage.unwrap_or_default();
        self.wrong(&format!("expected {wanted}; write `{usage}`"))
    }

    fn flag(&self) -> Result<bool> {
        match self.value {
            None => Ok(true),
            Some(_) => Err(self.wrong_type("no value")),
        }
    }

    fn text(&self) -> Result<String> {
        match &self.value {
            Some(Value {
                literal: Lit::Str(text),
                is_negative: false,
            }) => Ok(text.value()),
            _ => Err(self.wrong_type("text in quotes")),
        }
    }

    fn number<N: std::str::FromStr>(&self) -> Result<N> {
        let Some(Value {
            literal: Lit::Int(number),
            is_negative,
        }) = &self.value
        else {
            return Err(self.wrong_type("a whole number"));
        };
        let sign = if *is_negative { "-" } else { "" };
        let number = format!("{sign}{}", number.base10_digits());
        let ty = std::any::type_name::<N>();
        let outside = |_| self.wrong(&format!("{number} is outside of the range of `{ty}`"));
        number.parse().map_err(outside)
    }

    fn stored_name(&self) -> Result<String> {
        let text = self.text()?;
        let problem = if text.is_empty() {
            "a name has at least one character"
        } else if text.chars().count() > NAME_CHARACTERS_MAX {
            "a name has at most 250 characters"
        } else if text.chars().any(char::is_control) {
            "a name has no control characters"
        } else if text.starts_with("task:") {
            "a name does not start with `task:`"
        } else {
            return Ok(text);
        };
        Err(self.wrong(problem))
    }

    fn queue_name(&self) -> Result<String> {
        let text = self.stored_name()?;
        if text.starts_with("longhaul:") {
            return Err(self.wrong("`longhaul:` begins the names of Longhaul's own queues"));
        }
        Ok(text)
    }

    fn duration(&self) -> Result<Duration> {
        match parse_duration(&self.text()?) {
            Ok(Duration::ZERO) => Err(self.wrong("zero leaves no time at all")),
            Ok(duration) => Ok(duration),
            Err(message) => Err(self.wrong(&message)),
        }
    }

    fn backoff(&self) -> Result<(Duration, Duration)> {
        let text = self.text()?;
        let Some((min, max)) = text.split_once("..") else {
            return Err(self.wrong(&format!(
                "`{text}` is not a range; write the shortest and the longest delay: \"200ms..30s\""
            )));
        };
        let parsed = |text: &str| parse_duration(text).map_err(|message| self.wrong(&message));
        let (delay_min, delay_max) = (parsed(min)?, parsed(max)?);
        if delay_min > delay_max {
            return Err(self.wrong(&format!(
                "the shortest delay comes first; write \"{max}..{min}\""
            )));
        }
        Ok((delay_min, delay_max))
    }
}

fn parse_duration(text: &str) -> std::result::Result<Duration, String> {
    let wrong = || {
        format!(
            "`{text}` is not a duration; write a number and ms, s, m, h or d, such as 500ms or 10s"
        )
    };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let millis_per_unit = match text.trim_start_matches(digits) {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(millis_per_unit)
        .map(Duration::from_millis)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    #[test]
    fn durations_are_read_as_at_run_time() {
        for text in [
            "500ms",
            "10s",
            "5m",
            "24h",
            "30d",
            "0s",
            "",
            "5",
            "s",
            "5 s",
            "-1s",
            "1.5s",
            "1w",
            "1S",
            "18446744073709551615ms",
            "99999999999999999999d",
            "213503982335d",
        ] {
            let at_run_time = longhaul_core::retry::parse_duration(text);
            assert_eq!(parse_duration(text).ok(), at_run_time.ok(), "{text}");
        }
    }

    #[test]
    fn defaults_are_what_nobody_said() {
        let read = TaskAttributes::parse(quote!()).unwrap();
        assert!(read.retries.is_none() && read.timeout.is_none() && !read.common.result);
        assert_eq!(WorkflowAttributes::parse(quote!()).unwrap().version, 0);
    }

    #[test]
    fn all_wrong_options_are_reported_at_once() {
        let wrong = quote!(retires = 1, timeout = "x", priority = 1, priority = 2);
        let error = TaskAttributes::parse(wrong).unwrap_err();
        assert_eq!(error.into_iter().count(), 3);
    }
}
