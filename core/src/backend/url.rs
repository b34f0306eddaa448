//! What the URLs of all backends have in common: options after `?`, and the words that refuse a wrong one.
//!
//! Invariants: no error shows more of a URL than an option's name and value, as the rest may hold a password.
//! For authors of backends, so that every backend reads `10s` and refuses `timout` in the same way.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// Is the namespace of whoever names none.
pub const NAMESPACE_DEFAULT: &str = "default";

const DURATIONS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);

/// Parts a URL into what is before `?` and its options, each a name and its value as it is written.
///
/// # Errors
/// `InvalidInput` when an option is given twice, or is none of `known`; the text names the nearest one.
pub fn parse_options<'a>(
    url: &'a str,
    known: &[&str],
) -> Result<(&'a str, Vec<(&'a str, &'a str)>)> {
    let (address, options) = url.split_once('?').unwrap_or((url, ""));
    let mut parsed: Vec<(&str, &str)> = Vec::new();
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        if !known.contains(&name) {
            return Err(unknown(name, known));
        }
        if parsed.iter().any(|(before, _)| *before == name) {
            return Err(wrong(format!("option `{name}` is given twice")));
        }
        parsed.push((name, value));
    }
    Ok((address, parsed))
}

fn unknown(name: &str, known: &[&str]) -> Error {
    let distance = |known: &&&str| strsim::levenshtein(name, known);
    let nearest = known.iter().min_by_key(distance).unwrap_or(&"");
    wrong(format!(
        "option `{name}` is not known; did you mean `{nearest}`? There are {}",
        known.join(", ")
    ))
}

/// Reads a time such as `500ms`, `10s` or `2m`, from 100 ms to an hour.
///
/// # Errors
/// `InvalidInput` when the option's value is no such time.
pub fn parse_duration(name: &str, value: &str) -> Result<Duration> {
    let digits = value.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match value.strip_prefix(digits) {
        Some("ms") => Some(1),
        Some("s") => Some(1_000),
        Some("m") => Some(60_000),
        _ => None,
    };
    let read = digits.parse::<u64>().ok().zip(unit);
    read.map(|(number, unit)| Duration::from_millis(number.saturating_mul(unit)))
        .filter(|read| DURATIONS.contains(read))
        .ok_or_else(|| wrong_value(name, value, "a time from 100ms to 60m, such as `10s`"))
}

/// Reads `on` or `off`.
///
/// # Errors
/// `InvalidInput` when the option's value is neither.
pub fn parse_switch(name: &str, value: &str) -> Result<bool> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(wrong_value(name, value, "`on` or `off`")),
    }
}

/// Checks that a namespace has 1 to `length` letters, digits, `-` and `_`, and no other characters.
///
/// # Errors
/// `InvalidInput` when it has not.
pub fn check_namespace(namespace: &str, length: usize) -> Result<()> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if (1..=length).contains(&namespace.len()) && namespace.bytes().all(is_allowed) {
        return Ok(());
    }
    let needs = format!("1 to {length} letters, digits, `-` and `_`");
    Err(wrong_value("namespace", namespace, &needs))
}

/// Puts bytes in the place of `%20` and the like; `what` names the text in errors, which do not show it.
///
/// # Errors
/// `InvalidInput` when a `%` is not followed by two hexadecimal digits, or the bytes are not UTF-8.
pub fn decode_percent(what: &str, text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let decoded = digit().and_then(|high| digit().map(|low| high * 16 + low));
        let decoded = decoded.and_then(|value| u8::try_from(value).ok());
        let broken = || wrong(format!("{what} has a `%` without two digits"));
        bytes.push(decoded.ok_or_else(broken)?);
    }
    String::from_utf8(bytes).map_err(|_| wrong(format!("{what} is not UTF-8 when decoded")))
}

/// Makes the error of a URL that cannot be read.
#[must_use]
pub fn wrong(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

/// Makes the error of an option whose value cannot be read; `needs` says what it takes.
#[must_use]
pub fn wrong_value(name: &str, value: &str, needs: &str) -> Error {
    wrong(format!("option `{name}` is `{value}`; it takes {needs}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<T: std::fmt::Debug>(result: Result<T>) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        error.message().to_owned()
    }

    #[test]
    fn url_is_parted_into_address_and_options() {
        let parsed = parse_options("x://a:b@c/d?one=1&&two=a=b&three", &["one", "two", "three"]);
        let options = vec![("one", "1"), ("two", "a=b"), ("three", "")];
        assert_eq!(parsed.unwrap(), ("x://a:b@c/d", options));
        assert_eq!(parse_options("x:", &[]).unwrap(), ("x:", Vec::new()));
    }

    #[test]
    fn unknown_and_repeated_options_are_refused_without_the_address() {
        let known = ["timeout", "pool"];
        let unknown = refusal(parse_options("x://a:s3cret@b?timout=1", &known));
        assert_eq!(
            unknown,
            "option `timout` is not known; did you mean `timeout`? There are timeout, pool"
        );
        let twice = refusal(parse_options("x://a:s3cret@b?pool=1&pool=2", &known));
        assert_eq!(twice, "option `pool` is given twice");
    }

    #[test]
    fn times_have_a_unit_and_bounds() {
        for (value, millis) in [
            ("100ms", 100),
            ("2s", 2_000),
            ("3m", 180_000),
            ("60m", 3_600_000),
        ] {
            let read = parse_duration("timeout", value).unwrap();
            assert_eq!(read, Duration::from_millis(millis), "{value}");
        }
        for value in [
            "",
            "10",
            "s",
            "99ms",
            "61m",
            "1h",
            "-1s",
            "1.5s",
            "18446744073709551615m",
        ] {
            assert!(refusal(parse_duration("timeout", value)).contains("such as `10s`"));
        }
    }

    #[test]
    fn namespace_has_letters_digits_and_two_signs_alone() {
        for good in ["a", "EU-1", "x_y"] {
            check_namespace(good, 4).unwrap();
        }
        for bad in ["", "é", "a/b", "a b", "a:b", "abcde"] {
            let why = refusal(check_namespace(bad, 4));
            assert!(why.contains("1 to 4 letters"), "{bad}: {why}");
        }
    }

    #[test]
    fn percent_stands_for_a_byte() {
        assert_eq!(decode_percent("name", "a%20%c3%A9").unwrap(), "a é");
        for bad in ["s3cret%", "s3cret%2", "s3cret%zz"] {
            let why = refusal(decode_percent("password", bad));
            assert_eq!(why, "password has a `%` without two digits");
        }
        let why = refusal(decode_percent("password", "%ff"));
        assert_eq!(why, "password is not UTF-8 when decoded");
    }
}
