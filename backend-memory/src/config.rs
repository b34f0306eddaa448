//! Which store to open: the URL, its options, and their defaults.
//!
//! Pure: no store is made or found here.

use longhaul_core::Result;
use longhaul_core::backend::url::{self, NAMESPACE_DEFAULT};
use longhaul_core::clock::BackendClock;

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
        let (address, options) = url::parse_options(url, &OPTIONS)?;
        let Some(name) = address.strip_prefix("memory:") else {
            return Err(url::wrong(format!(
                "`{address}` does not begin with `memory:`; write memory: or memory://orders"
            )));
        };
        let name =
            url::decode_percent("the store's name", name.strip_prefix("//").unwrap_or(name))?;
        let mut config = Self::new();
        if !name.is_empty() {
            config = config.name(name);
        }
        for (name, value) in options {
            config = config.namespace(url::decode_percent(name, value)?)?;
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
        url::check_namespace(&namespace, 64)?;
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

#[cfg(test)]
mod tests {
    use longhaul_core::ErrorKind;

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
