//! Where the server is and how it is opened: the URL, its options, and their defaults.
//!
//! Invariants: a namespace is checked before it becomes part of a key. `Debug` and errors show no password.

use std::fmt;
use std::time::Duration;

use longhaul_core::Result;
use longhaul_core::backend::url::{self, NAMESPACE_DEFAULT, wrong, wrong_value};
use longhaul_core::clock::BackendClock;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo};

/// Is the port of whoever names none.
const PORT_DEFAULT: u16 = 6379;

/// Is the most partitions that a store may have.
const PARTITIONS_MAX: u16 = 1_024;

/// Is the most replicas that a write may wait for.
const REPLICAS_MAX: u16 = 16;

/// Is the longest namespace.
const NAMESPACE_BYTES_MAX: usize = 48;

const OPTIONS: [&str; 6] = [
    "namespace",
    "partitions",
    "durability",
    "timeout",
    "connect_timeout",
    "checks",
];

/// Says what an acknowledged write survives. The server is checked for it when the store is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// A crash of the server: `appendonly yes`, `appendfsync always`.
    #[default]
    Local,
    /// A crash of the server's process; a power cut may take the last second: `appendonly yes`, `appendfsync everysec`.
    Fast,
    /// A crash of the server's process, and the loss of fewer nodes than have the write: it waits for so many replicas.
    Replicated(u16),
    /// Nothing: the store is in memory alone.
    None,
}

impl Durability {
    fn parse(value: &str) -> Option<Self> {
        match value {
            "local" => Some(Self::Local),
            "fast" => Some(Self::Fast),
            "none" => Some(Self::None),
            _ => {
                let replicas = value.strip_prefix("replicated:")?.parse().ok();
                let replicas = replicas.filter(|count| (1..=REPLICAS_MAX).contains(count));
                replicas.map(Self::Replicated)
            }
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Fast => f.write_str("fast"),
            Self::Replicated(replicas) => write!(f, "replicated:{replicas}"),
            Self::None => f.write_str("none"),
        }
    }
}

/// Says whether the settings of the server are looked at when the store is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Checks {
    /// A server that may lose what it acknowledged, or evict keys, is refused.
    #[default]
    On,
    /// Any settings will do: for throw-away servers of tests.
    Off,
}

/// Says which server or cluster to open and how.
#[derive(Clone)]
pub struct RedisConfig {
    nodes: Vec<ConnectionInfo>,
    pub(crate) namespace: String,
    pub(crate) partitions: Option<u16>,
    pub(crate) durability: Durability,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) checks: Checks,
    pub(crate) clock: Option<BackendClock>,
}

impl RedisConfig {
    /// Reads a URL: `redis://user:password@host:port/database`, with options after `?`; `rediss://` for TLS.
    ///
    /// Several hosts with commas between them are nodes of a cluster; one is enough, as a node tells of the others.
    ///
    /// Options are `namespace` (`default`), `partitions` (16, when the store is made), `durability` (`local`), `timeout`
    /// (`5s`), `connect_timeout` (`5s`), `checks` (`on`).
    ///
    /// # Errors
    /// `InvalidInput` when it is no such URL, or an option is not known, given twice, or has a wrong value. The text
    /// does not show the URL, as it may hold a password.
    pub fn from_url(url: &str) -> Result<Self> {
        let (address, options) = url::parse_options(url, &OPTIONS)?;
        let mut config = Self {
            nodes: nodes(address)?,
            namespace: NAMESPACE_DEFAULT.to_owned(),
            partitions: None,
            durability: Durability::default(),
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            checks: Checks::default(),
            clock: None,
        };
        for (name, value) in options {
            config = config.with_option(name, &url::decode_percent(name, value)?)?;
        }
        Ok(config)
    }

    fn with_option(mut self, name: &str, value: &str) -> Result<Self> {
        match (name, value) {
            ("namespace", _) => return self.namespace(value),
            ("partitions", _) => {
                let needs = "a number from 1 to 1024";
                let number = value.parse().map_err(|_| wrong_value(name, value, needs))?;
                return self.partitions(number);
            }
            ("durability", _) => {
                let needs = "`local`, `fast`, `replicated:N` with N from 1 to 16, or `none`";
                let parsed = Durability::parse(value);
                self.durability = parsed.ok_or_else(|| wrong_value(name, value, needs))?;
            }
            ("timeout", _) => self.timeout = url::parse_duration(name, value)?,
            ("connect_timeout", _) => self.connect_timeout = url::parse_duration(name, value)?,
            _ if url::parse_switch(name, value)? => self.checks = Checks::On,
            _ => self.checks = Checks::Off,
        }
        Ok(self)
    }

    /// Keeps the records under keys of their own; `default` by default.
    ///
    /// # Errors
    /// `InvalidInput` when the namespace has other characters than letters, digits, `-` and `_`, or none, or over 48.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Result<Self> {
        let namespace = namespace.into();
        url::check_namespace(&namespace, NAMESPACE_BYTES_MAX)?;
        self.namespace = namespace;
        Ok(self)
    }

    /// Sets how many partitions a store has that is made now; 16 by default. One that exists keeps its number, and is
    /// refused when another is asked for.
    ///
    /// # Errors
    /// `InvalidInput` when it is 0 or above 1,024.
    pub fn partitions(mut self, partitions: u16) -> Result<Self> {
        if !(1..=PARTITIONS_MAX).contains(&partitions) {
            let needs = "a number from 1 to 1024";
            return Err(wrong_value("partitions", &partitions.to_string(), needs));
        }
        self.partitions = Some(partitions);
        Ok(self)
    }

    /// Sets what an acknowledged write survives; [`Durability::Local`] by default.
    #[must_use]
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets how long a request waits for its answer at most; 5 s by default.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Says whether the server's settings are looked at; [`Checks::On`] by default.
    #[must_use]
    pub const fn checks(mut self, checks: Checks) -> Self {
        self.checks = checks;
        self
    }

    /// Sets the clock that due times and leases are compared with, for tests; the server's by default.
    #[must_use]
    pub fn clock(mut self, clock: BackendClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Returns how each node that the URL names is reached.
    pub(crate) fn nodes(&self) -> Vec<ConnectionInfo> {
        self.nodes.clone()
    }

    /// Returns where the server is, as shown to people.
    pub(crate) fn place(&self) -> String {
        let places = self.nodes.iter().map(|node| node.addr().to_string());
        places.collect::<Vec<_>>().join(", ")
    }

    /// Returns who we are to the server.
    pub(crate) fn user(&self) -> &str {
        let node = self.nodes.first();
        node.and_then(|node| node.redis_settings().username())
            .unwrap_or("default")
    }

    /// Returns the number of the database.
    pub(crate) fn database(&self) -> i64 {
        self.nodes
            .first()
            .map_or(0, |node| node.redis_settings().db())
    }

    /// Tells whether the connection is encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        let is_encrypted =
            |node: &ConnectionInfo| matches!(node.addr(), ConnectionAddr::TcpTls { .. });
        self.nodes.iter().any(is_encrypted)
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("place", &self.place())
            .field("namespace", &self.namespace)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

/// Reads all of a URL that is before its options.
fn nodes(address: &str) -> Result<Vec<ConnectionInfo>> {
    let (is_encrypted, rest) = if let Some(rest) = address.strip_prefix("redis://") {
        (false, rest)
    } else if let Some(rest) = address.strip_prefix("rediss://") {
        (true, rest)
    } else {
        return Err(wrong(
            "the URL does not begin with `redis://` or `rediss://`; write redis://user:password@host:6379"
                .to_owned(),
        ));
    };
    let (credentials, rest) = match rest.rsplit_once('@') {
        Some((credentials, rest)) => (Some(credentials), rest),
        None => (None, rest),
    };
    let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
    let settings = settings(credentials, database)?;
    let hosts: Vec<&str> = hosts.split(',').collect();
    if settings.db() != 0 && hosts.len() > 1 {
        return Err(wrong("a cluster has database 0 alone".to_owned()));
    }
    let node = |host: &&str| node(host, is_encrypted, settings.clone());
    hosts.iter().map(node).collect()
}

fn settings(credentials: Option<&str>, database: &str) -> Result<RedisConnectionInfo> {
    let mut settings = RedisConnectionInfo::default();
    if let Some(credentials) = credentials {
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let user = url::decode_percent("the user", user)?;
        let password = url::decode_percent("the password", password)?;
        if !user.is_empty() {
            settings = settings.set_username(user);
        }
        if !password.is_empty() {
            settings = settings.set_password(password);
        }
    }
    if database.is_empty() {
        return Ok(settings);
    }
    let number = database.parse::<u16>();
    let number = number.map_err(|_| wrong(format!("database `{database}` is no number")))?;
    Ok(settings.set_db(i64::from(number)))
}

fn node(host: &str, is_encrypted: bool, settings: RedisConnectionInfo) -> Result<ConnectionInfo> {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, port)) => (name, port.strip_prefix(':')),
        None => match host.rsplit_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    if name.is_empty() {
        return Err(wrong("the URL names no host".to_owned()));
    }
    let port = port.map_or(Ok(PORT_DEFAULT), str::parse);
    let port = port.map_err(|_| wrong(format!("the port of `{name}` is no number up to 65535")))?;
    let address = if is_encrypted {
        ConnectionAddr::TcpTls {
            host: name.to_owned(),
            port,
            insecure: false,
            tls_params: None,
        }
    } else {
        ConnectionAddr::Tcp(name.to_owned(), port)
    };
    let info = address.into_connection_info();
    let info = info.map_err(|cause| wrong(format!("`{name}` cannot be reached so: {cause}")))?;
    Ok(info.set_redis_settings(settings))
}

#[cfg(test)]
mod tests {
    use longhaul_core::ErrorKind;

    use super::*;

    #[test]
    fn url_names_server_user_and_options() {
        let url = "redis://ann:s3%40cret@cache.example:7000/3?namespace=eu&partitions=4&durability=replicated:2\
                   &timeout=2s&connect_timeout=500ms&checks=off";
        let config = RedisConfig::from_url(url).unwrap();
        assert_eq!(
            (config.place().as_str(), config.user()),
            ("cache.example:7000", "ann")
        );
        assert_eq!(
            config.nodes()[0].redis_settings().password(),
            Some("s3@cret")
        );
        assert_eq!((config.database(), config.namespace.as_str()), (3, "eu"));
        assert_eq!(config.partitions, Some(4));
        assert_eq!(config.durability, Durability::Replicated(2));
        assert_eq!(config.timeout, Duration::from_secs(2));
        assert_eq!(config.connect_timeout, Duration::from_millis(500));
        assert_eq!(config.checks, Checks::Off);
        assert!(!config.is_encrypted());
        assert!(!format!("{config:?}").contains("s3"));
    }

    #[test]
    fn url_names_nodes_of_a_cluster() {
        let config = RedisConfig::from_url("rediss://:pw@one,two:7001,[::1]:7002").unwrap();
        let places: Vec<_> = config
            .nodes()
            .iter()
            .map(|node| node.addr().to_string())
            .collect();
        assert_eq!(places, ["one:6379", "two:7001", "::1:7002"]);
        assert!(config.is_encrypted());
        assert_eq!(config.user(), "default");
        assert!(
            config
                .nodes()
                .iter()
                .all(|node| node.redis_settings().password() == Some("pw"))
        );
    }

    #[test]
    fn wrong_url_is_refused_and_told_why_without_the_password() {
        for (url, why) in [
            ("http://x", "does not begin with"),
            ("redis://ann:s3cret@", "names no host"),
            ("redis://ann:s3cret@x:port", "no number up to 65535"),
            ("redis://ann:s3cret%4@x", "two digits"),
            ("redis://ann:s3cret%ff@x", "UTF-8"),
            ("redis://x/one", "`one` is no number"),
            ("redis://x,y/1", "database 0"),
            (
                "redis://ann:s3cret@x?durabilty=fast",
                "did you mean `durability`",
            ),
            ("redis://x?durability=always", "`replicated:N`"),
            ("redis://x?durability=replicated:0", "from 1 to 16"),
            ("redis://x?namespace=a:b", "letters, digits"),
            ("redis://x?namespace=", "1 to 48"),
            ("redis://x?partitions=0", "from 1 to 1024"),
            ("redis://x?partitions=many", "from 1 to 1024"),
            ("redis://x?timeout=10", "such as `10s`"),
            ("redis://x?connect_timeout=2h", "such as `10s`"),
            ("redis://x?checks=no", "`on` or `off`"),
            ("redis://x?checks=on&checks=on", "twice"),
        ] {
            let error = RedisConfig::from_url(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
            assert!(error.message().contains(why), "{url}: {error}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn durability_is_read_as_it_is_shown() {
        for value in ["local", "fast", "replicated:16", "none"] {
            let read = Durability::parse(value).map(|durability| durability.to_string());
            assert_eq!(read.as_deref(), Some(value));
        }
    }
}
