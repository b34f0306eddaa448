//! Which store to open: the URL, its options, and their defaults.
//!
//! Pure: no store is made or found here.

use longhaul_core::clock::BackendClock;
use longhaul_core::{Error, ErrorKind, Result};

/// Is the namespace of whoever names none.
const NAMESPACE_DEFAULT: &str = "default";

const OPTIONS: [&str; 1] = ["namespace"];

/// Says which store to open, and what time it is there.
#[derive(Debug, Clone)]
pub struct MemoryConfig {
    name: Option<String>,
    namespace: String,
    clock: BackendClock,
}

impl MemoryConfig {
    /// Asks for a store without a name, which only clones of its handle reach.
    ///
    /// Namespace `default` and this machine's clock are the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            name: None,
            namespace: NAMESPACE_DEFAULT.to_owned(),
            clock: BackendClock::machine(),
        }
    }

    /// Reads a URL: `memory:` for a store without a name, `memory://NAME` for one that the whole process shares.
    ///
    /// `?namespace=NAME` keeps the records in another store of the same name. `%20` and the like stand for bytes of the
    /// name.
    ///
    /// # Errors
    /// `InvalidInput` when it is no such URL, or an option is not known, given twice, or has a wrong value.
    pub fn from_url(url: &str) -> Result<Self> {
        let Some(rest) = url.strip_prefix("memory:") else {
            return Err(wrong(format!(
                "`{url}` does not begin with `memory:`; write memory: or memory://orders"
            )));
        };
        let (name, options) = rest.split_once('?').unwrap_or((rest, ""));
        let name = decode_percent(name.strip_prefix("//").unwrap_or(name))?;
        let mut config = Self::new();
        if !name.is_empty() {
            config = config.name(name);
        }
        let mut seen = Vec::new();
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            if seen.contains(&name) {
                return Err(wrong(format!("option `{name}` is given twice")));
            }
            seen.push(name);
            config = match name {
                "namespace" => config.namespace(decode_percent(value)?)?,
                _ => return Err(unknown_option(name)),
            };
        }
        Ok(config)
    }

    /// Names the store: all handles of the process that give this name share it, as long as one of them is alive.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Keeps the records in a store of their own under the same name.
    ///
    /// # Errors
    /// `InvalidInput` when the namespace has other characters than letters, digits, `-` and `_`, or none, or over 64.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Result<Self> {
        let namespace = namespace.into();
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(1..=64).contains(&namespace.len()) || !namespace.bytes().all(is_allowed) {
            return Err(wrong(format!(
                "option `namespace` is `{namespace}`; it takes 1 to 64 letters, digits, `-` and `_`"
            )));
        }
        self.namespace = namespace;
        Ok(self)
    }

    /// Sets the clock that due times and leases are compared with; this machine's by default.
    ///
    /// A store that another handle holds already keeps its clock.
    #[must_use]
    pub fn clock(mut self, clock: BackendClock) -> Self {
        self.clock = clock;
        self
    }

    /// Returns what the process knows the store by, if it has a name.
    pub(crate) fn key(&self) -> Option<(String, String)> {
        let name = self.name.clone()?;
        Some((name, self.namespace.clone()))
    }

    pub(crate) fn into_clock(self) -> BackendClock {
        self.clock
    }
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self::new()
    }
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

fn unknown_option(name: &str) -> Error {
    let nearest = OPTIONS
        .into_iter()
        .min_by_key(|known| distance(name, known))
        .unwrap_or_default();
    wrong(format!(
        "option `{name}` is not known; did you mean `{nearest}`? There are {}",
        OPTIONS.join(", ")
    ))
}

fn decode_percent(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let decoded = digit().and_then(|high| digit().map(|low| high * 16 + low));
        match decoded.and_then(|value| u8::try_from(value).ok()) {
            Some(decoded) => bytes.push(decoded),
            None => return Err(wrong(format!("`{text}` has a `%` without two digits"))),
        }
    }
    String::from_utf8(bytes).map_err(|_| wrong(format!("`{text}` is not UTF-8 when decoded")))
}

/// Counts the letters to insert, remove or change to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut next = vec![above + 1];
        for ((pair, left), wanted) in row.windows(2).zip(0..).zip(&other) {
            let (diagonal, up) = match pair {
                [diagonal, up] => (*diagonal, *up),
                _ => continue,
            };
            let beside = next.get(left).copied().unwrap_or(usize::MAX - 1);
            let changed = diagonal + usize::from(letter != *wanted);
            next.push(changed.min(up + 1).min(beside + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(url: &str) -> Option<(String, String)> {
        MemoryConfig::from_url(url).unwrap().key()
    }

    fn named(name: &str, namespace: &str) -> Option<(String, String)> {
        Some((name.to_owned(), namespace.to_owned()))
    }

    #[test]
    fn url_without_a_name_is_a_store_of_its_own() {
        assert_eq!(key_of("memory:"), None);
        assert_eq!(key_of("memory://"), None);
        assert_eq!(key_of("memory:?namespace=eu"), None);
    }

    #[test]
    fn url_names_a_store_and_a_namespace() {
        assert_eq!(key_of("memory://orders"), named("orders", "default"));
        assert_eq!(key_of("memory:my%20orders"), named("my orders", "default"));
        assert_eq!(
            key_of("memory://orders?namespace=eu"),
            named("orders", "eu")
        );
    }

    #[test]
    fn wrong_url_is_refused_and_told_why() {
        for (url, why) in [
            ("sqlite://x", "does not begin with"),
            ("memory", "does not begin with"),
            ("memory:x?namespce=eu", "did you mean `namespace`"),
            ("memory:x?namespace", "letters, digits"),
            ("memory:x?namespace=a/b", "letters, digits"),
            ("memory:x?namespace=a&namespace=b", "twice"),
            ("memory:x%2", "two digits"),
            ("memory:%ff", "UTF-8"),
        ] {
            let error = MemoryConfig::from_url(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
            assert!(error.message().contains(why), "{url}: {error}");
        }
    }
}
