//! Where the database is and how it is opened: the URL, its options, and their defaults.
//!
//! Pure: touches the file system only to see whether the path names a folder.

use std::path::{Path, PathBuf};

use longhaul_core::Result;
use longhaul_core::backend::url::{self, NAMESPACE_DEFAULT, wrong_value};
use longhaul_core::clock::BackendClock;

/// Is the file's name where the user names a folder.
const FILE_DEFAULT: &str = "longhaul.db";

const OPTIONS: [&str; 3] = ["durability", "namespace", "locks"];

/// Says what an acknowledged commit survives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// The loss of power: each commit is written through to the disk (`synchronous=FULL`).
    #[default]
    Full,
    /// The death of the process; the loss of power may undo the last commits (`synchronous=NORMAL`).
    Fast,
}

/// Says which file to open and how.
#[derive(Debug, Clone)]
pub struct SqliteConfig {
    path: PathBuf,
    durability: Durability,
    namespace: String,
    locks: bool,
    clock: BackendClock,
}

impl SqliteConfig {
    /// Names a file, or a folder (one that exists, or a path that ends in `/`) that gets a `longhaul.db`.
    ///
    /// File and folders are made when they are missing. Full durability, namespace `default`, file locks and this
    /// machine's clock are the defaults.
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let names_folder = path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.is_dir();
        Self {
            path: if names_folder {
                path.join(FILE_DEFAULT)
            } else {
                path.to_owned()
            },
            durability: Durability::default(),
            namespace: NAMESPACE_DEFAULT.to_owned(),
            locks: true,
            clock: BackendClock::machine(),
        }
    }

    /// Reads a URL: `sqlite:path`, `sqlite://path` or `sqlite:///absolute/path`, with options after `?`.
    ///
    /// `durability=full|fast` is what a commit survives, `namespace=NAME` keeps the records in another file beside,
    /// `locks=off` does without file locks, as a network file system needs. `%20` and the like stand for bytes of the
    /// path.
    ///
    /// # Errors
    /// `InvalidInput` when it is no such URL, or an option is not known, given twice, or has a wrong value.
    pub fn from_url(url: &str) -> Result<Self> {
        let (address, options) = url::parse_options(url, &OPTIONS)?;
        let Some(path) = address.strip_prefix("sqlite:") else {
            return Err(url::wrong(format!(
                "`{address}` does not begin with `sqlite:`; write sqlite://orders.db"
            )));
        };
        let path = url::decode_percent("the path", path.strip_prefix("//").unwrap_or(path))?;
        match path.as_str() {
            "" => return Err(url::wrong(format!("`{url}` names no file"))),
            ":memory:" => {
                return Err(url::wrong(format!(
                    "`{url}` keeps nothing between processes; use memory:// for a store in memory"
                )));
            }
            _ => {}
        }
        let mut config = Self::new(&path);
        for (name, value) in options {
            config = config.with_option(name, &url::decode_percent(name, value)?)?;
        }
        Ok(config)
    }

    fn with_option(self, name: &str, value: &str) -> Result<Self> {
        match (name, value) {
            ("durability", "full") => Ok(self.durability(Durability::Full)),
            ("durability", "fast") => Ok(self.durability(Durability::Fast)),
            ("durability", _) => Err(wrong_value(name, value, "`full` or `fast`")),
            ("locks", _) if url::parse_switch(name, value)? => Ok(self),
            ("locks", _) => Ok(self.without_locks()),
            _ => self.namespace(value),
        }
    }

    /// Sets what a commit survives; [`Durability::Full`] by default.
    #[must_use]
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Keeps the records in a file of their own beside the named one: `orders.db` becomes `orders.NAME.db`.
    ///
    /// # Errors
    /// `InvalidInput` when the name has other characters than letters, digits, `-` and `_`, or none, or over 64.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Result<Self> {
        let namespace = namespace.into();
        url::check_namespace(&namespace, 64)?;
        self.namespace = namespace;
        Ok(self)
    }

    /// Does without file locks: a dead worker is then known by its lease alone.
    #[must_use]
    pub const fn without_locks(mut self) -> Self {
        self.locks = false;
        self
    }

    /// Sets the clock that due times and leases are compared with; this machine's by default.
    #[must_use]
    pub fn clock(mut self, clock: BackendClock) -> Self {
        self.clock = clock;
        self
    }

    /// Returns the file that holds the namespace's records.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        if self.namespace == NAMESPACE_DEFAULT {
            return self.path.clone();
        }
        let mut extension = std::ffi::OsString::from(&self.namespace);
        if let Some(own) = self.path.extension() {
            extension.push(".");
            extension.push(own);
        }
        self.path.with_extension(extension)
    }

    pub(crate) const fn chosen_durability(&self) -> Durability {
        self.durability
    }

    pub(crate) const fn uses_locks(&self) -> bool {
        self.locks
    }

    pub(crate) const fn chosen_clock(&self) -> &BackendClock {
        &self.clock
    }
}

#[cfg(test)]
mod tests {
    use longhaul_core::ErrorKind;

    use super::*;

    fn path_of(url: &str) -> PathBuf {
        SqliteConfig::from_url(url).unwrap().path()
    }

    #[test]
    fn url_names_a_file_in_three_ways() {
        assert_eq!(path_of("sqlite:orders.db"), Path::new("orders.db"));
        assert_eq!(path_of("sqlite://orders.db"), Path::new("orders.db"));
        assert_eq!(
            path_of("sqlite:///data/my%20orders.db"),
            Path::new("/data/my orders.db")
        );
    }

    #[test]
    fn folder_gets_a_file_of_the_default_name() {
        assert_eq!(path_of("sqlite:data/"), Path::new("data/longhaul.db"));
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            SqliteConfig::new(folder.path()).path(),
            folder.path().join("longhaul.db")
        );
    }

    #[test]
    fn namespace_is_a_file_beside() {
        assert_eq!(
            path_of("sqlite:orders.db?namespace=eu"),
            Path::new("orders.eu.db")
        );
        assert_eq!(
            path_of("sqlite:orders?namespace=eu"),
            Path::new("orders.eu")
        );
        assert_eq!(
            path_of("sqlite:orders.db?namespace=default"),
            Path::new("orders.db")
        );
    }

    #[test]
    fn wrong_url_is_refused_and_told_why() {
        for (url, why) in [
            ("postgres://x", "does not begin with"),
            ("sqlite:", "names no file"),
            ("sqlite://:memory:", "memory://"),
            ("sqlite:x?durabilty=full", "did you mean `durability`"),
            ("sqlite:x?lock=off", "did you mean `locks`"),
            ("sqlite:x?durability=some", "`full` or `fast`"),
            ("sqlite:x?locks", "`on` or `off`"),
            ("sqlite:x?locks=on&locks=off", "twice"),
            ("sqlite:x?namespace=a/b", "letters, digits"),
            ("sqlite:x%2", "two digits"),
        ] {
            let error = SqliteConfig::from_url(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
            assert!(error.message().contains(why), "{url}: {error}");
        }
    }
}
