//! Which store to open.

use longhaul_core::clock::BackendClock;
use longhaul_core::{Error, ErrorKind, Result};

/// Says which store in memory to open.
#[derive(Debug, Clone, Default)]
pub struct MemoryConfig {
    name: Option<String>,
    namespace: Option<String>,
    clock: BackendClock,
}

impl MemoryConfig {
    /// Names a new store without a name, on this machine's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a URL: `memory:` is a new store, `memory://NAME` the one of that name in this process.
    ///
    /// `?namespace=NAME` is a store of its own under the same name.
    ///
    /// # Errors
    /// `InvalidInput` when it is no such URL, or an option is not known.
    pub fn from_url(url: &str) -> Result<Self> {
        let rest = url.strip_prefix("memory:").ok_or_else(|| {
            wrong(format!(
                "`{url}` does not begin with `memory:`; write memory: or memory://NAME"
            ))
        })?;
        let (name, options) = rest.split_once('?').unwrap_or((rest, ""));
        let name = name.strip_prefix("//").unwrap_or(name);
        let mut config = Self::new();
        if !name.is_empty() {
            config = config.name(name);
        }
        for option in options.split('&').filter(|option| !option.is_empty()) {
            config = match option.split_once('=') {
                Some(("namespace", "")) => {
                    return Err(wrong("option `namespace` needs a name".to_owned()));
                }
                Some(("namespace", namespace)) => config.namespace(namespace),
                _ => {
                    let known = option.split('=').next().unwrap_or(option);
                    return Err(wrong(format!(
                        "the memory backend has no option `{known}`; it has `namespace=NAME`"
                    )));
                }
            };
        }
        Ok(config)
    }

    /// Names the store, so that others in this process can open it too.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Opens a store of its own under the same name; `default` by default.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Sets the clock that due times and leases are compared with; this machine's by default.
    #[must_use]
    pub fn clock(mut self, clock: BackendClock) -> Self {
        self.clock = clock;
        self
    }

    pub(crate) fn full_name(&self) -> Option<String> {
        let namespace = self.namespace.as_deref().unwrap_or("default");
        self.name
            .as_ref()
            .map(|name| format!("{namespace}\n{name}"))
    }

    pub(crate) fn into_clock(self) -> BackendClock {
        self.clock
    }
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(url: &str) -> Option<String> {
        MemoryConfig::from_url(url).unwrap().full_name()
    }

    #[test]
    fn url_names_a_store_and_a_namespace() {
        assert_eq!(name_of("memory:"), None);
        assert_eq!(name_of("memory://"), None);
        assert_eq!(name_of("memory://orders").unwrap(), "default\norders");
        assert_eq!(
            name_of("memory://orders?namespace=eu").unwrap(),
            "eu\norders"
        );
    }

    #[test]
    fn wrong_url_is_refused_and_told_why() {
        for (url, why) in [
            ("sqlite:x", "does not begin with `memory:`"),
            ("memory://x?namspace=eu", "it has `namespace=NAME`"),
            ("memory://x?namespace=", "needs a name"),
        ] {
            let error = MemoryConfig::from_url(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.message().contains(why), "{error}");
        }
    }
}
