//! Where the database is and how it is opened: the URL, its options, and their defaults.
//!
//! Invariants: a schema's name is checked before it becomes part of a statement. `Debug` and errors show no password.

use std::fmt;
use std::time::Duration;

use longhaul_core::Result;
use longhaul_core::backend::url::{self, NAMESPACE_DEFAULT, wrong, wrong_value};
use longhaul_core::clock::BackendClock;
use sqlx::postgres::PgConnectOptions;

/// Is the schema of the namespace `default`.
const SCHEMA_DEFAULT: &str = "longhaul";

/// Is the longest identifier that Postgres keeps whole.
const IDENTIFIER_BYTES_MAX: usize = 63;

/// Lists our own options.
const OPTIONS: [&str; 7] = [
    "schema",
    "namespace",
    "pool",
    "timeout",
    "connect_timeout",
    "pooler",
    "checks",
];

/// Lists the options that are the driver's.
const OPTIONS_OF_THE_DRIVER: [&str; 10] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];

/// Says what stands between us and the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pooler {
    /// Look when the store is opened.
    #[default]
    Detect,
    /// Nothing, or a pooler that gives each client a session of its own.
    None,
    /// A pooler that gives each transaction whatever session is free, such as pgbouncer in transaction mode.
    Transaction,
}

/// Says whether the settings of the server are looked at when the store is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Checks {
    /// A server that may lose what it acknowledged is refused.
    #[default]
    On,
    /// Any settings will do: for throw-away servers of tests.
    Off,
}

/// Says which database to open and how.
#[derive(Clone)]
pub struct PostgresConfig {
    pub(crate) connect: PgConnectOptions,
    schema: String,
    namespace: String,
    pub(crate) pool: u32,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) pooler: Pooler,
    pub(crate) checks: Checks,
    pub(crate) clock: Option<BackendClock>,
}

impl PostgresConfig {
    /// Takes the driver's options, and the defaults of all others: schema `longhaul`, 10 connections, 10 s for a
    /// statement and 5 s for a connection, checks on, the server's clock.
    #[must_use]
    pub fn new(connect: PgConnectOptions) -> Self {
        Self {
            connect,
            schema: SCHEMA_DEFAULT.to_owned(),
            namespace: NAMESPACE_DEFAULT.to_owned(),
            pool: 10,
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            pooler: Pooler::default(),
            checks: Checks::default(),
            clock: None,
        }
    }

    /// Reads a URL: `postgres://user:password@host:port/database`, with options after `?`.
    ///
    /// Options are `schema`, `namespace`, `pool`, `timeout`, `connect_timeout`, `pooler`, `checks`, and those of the
    /// driver: `sslmode`, `sslrootcert`, `sslcert`, `sslkey`, `host`, `port`, `dbname`, `user`, `password`,
    /// `application_name`. What the URL leaves out is taken from the variables of libpq, such as `PGPASSWORD`.
    ///
    /// # Errors
    /// `InvalidInput` when it is no such URL, or an option is not known, given twice, or has a wrong value. The text
    /// does not show the URL, as it may hold a password.
    pub fn from_url(url: &str) -> Result<Self> {
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(wrong(
                "the URL does not begin with `postgres://`; write postgres://user:password@host/database"
                    .to_owned(),
            ));
        }
        let known = [&OPTIONS[..], &OPTIONS_OF_THE_DRIVER].concat();
        let (address, options) = url::parse_options(url, &known)?;
        let is_own = |(name, _): &(&str, &str)| OPTIONS.contains(name);
        let (own, drivers): (Vec<_>, Vec<_>) = options.into_iter().partition(is_own);
        let drivers = drivers
            .iter()
            .map(|(name, value)| [name, "=", value].concat());
        let address = [address, "?", &drivers.collect::<Vec<_>>().join("&")].concat();
        let connect: PgConnectOptions = address
            .parse()
            .map_err(|cause: sqlx::Error| wrong(format!("the URL cannot be read: {cause}")))?;
        let config = Self::new(connect);
        own.into_iter().try_fold(config, |config, (name, value)| {
            config.with_option(name, &url::decode_percent(name, value)?)
        })
    }

    fn with_option(mut self, name: &str, value: &str) -> Result<Self> {
        match (name, value) {
            ("schema", _) => return self.schema(value),
            ("namespace", _) => return self.namespace(value),
            ("pool", _) => {
                self.pool = value
                    .parse()
                    .ok()
                    .filter(|size| *size >= 2)
                    .ok_or_else(|| wrong_value(name, value, "a number of connections from 2"))?;
            }
            ("timeout", _) => self.timeout = url::parse_duration(name, value)?,
            ("connect_timeout", _) => self.connect_timeout = url::parse_duration(name, value)?,
            ("pooler", "detect") => self.pooler = Pooler::Detect,
            ("pooler", "none") => self.pooler = Pooler::None,
            ("pooler", "transaction") => self.pooler = Pooler::Transaction,
            ("pooler", _) => {
                return Err(wrong_value(
                    name,
                    value,
                    "`detect`, `none` or `transaction`",
                ));
            }
            _ if url::parse_switch(name, value)? => self.checks = Checks::On,
            _ => self.checks = Checks::Off,
        }
        Ok(self)
    }

    /// Keeps the records in this schema; `longhaul` by default.
    ///
    /// # Errors
    /// `InvalidInput` when it is no identifier of 1 to 63 lower-case letters, digits and `_` that begins with a letter
    /// or `_`, or begins with `pg_`, which Postgres keeps for itself.
    pub fn schema(mut self, schema: impl Into<String>) -> Result<Self> {
        let schema = schema.into();
        check_identifier("schema", &schema)?;
        self.schema = schema;
        Ok(self)
    }

    /// Keeps the records in a schema of their own beside: `longhaul` becomes `longhaul_NAME`.
    ///
    /// # Errors
    /// `InvalidInput` when that is no name of a schema.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Result<Self> {
        let namespace = namespace.into();
        check_identifier("namespace", &format!("_{namespace}"))?;
        self.namespace = namespace;
        Ok(self)
    }

    /// Sets how many connections there are at most; 10 by default. One more listens for hints.
    #[must_use]
    pub const fn pool(mut self, connections: u32) -> Self {
        self.pool = connections;
        self
    }

    /// Sets how long the server works on a statement at most; 10 s by default.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Says what stands between us and the server; [`Pooler::Detect`] by default.
    #[must_use]
    pub const fn pooler(mut self, pooler: Pooler) -> Self {
        self.pooler = pooler;
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

    /// Returns the schema of the namespace.
    ///
    /// # Errors
    /// `InvalidInput` when schema and namespace together are longer than an identifier may be.
    pub fn schema_name(&self) -> Result<String> {
        if self.namespace == NAMESPACE_DEFAULT {
            return Ok(self.schema.clone());
        }
        let name = [self.schema.as_str(), "_", self.namespace.as_str()].concat();
        check_identifier("schema", &name)?;
        Ok(name)
    }

    /// Returns where the server is, as shown to people.
    pub(crate) fn place(&self) -> String {
        match self.connect.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", self.connect.get_host(), self.connect.get_port()),
        }
    }
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("place", &self.place())
            .field("schema", &self.schema)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

fn check_identifier(option: &str, name: &str) -> Result<()> {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let is_identifier = (1..=IDENTIFIER_BYTES_MAX).contains(&name.len())
        && name.bytes().all(is_allowed)
        && !name.starts_with(|first: char| first.is_ascii_digit());
    if is_identifier && !name.starts_with("pg_") {
        return Ok(());
    }
    let needs = "1 to 63 lower-case letters, digits and `_`, not beginning with a digit or `pg_`";
    Err(wrong_value(
        option,
        name.strip_prefix('_').unwrap_or(name),
        needs,
    ))
}

#[cfg(test)]
mod tests {
    use longhaul_core::ErrorKind;

    use super::*;

    #[test]
    fn url_names_server_database_and_schema() {
        let url = "postgresql://ann:s3cret@db.example:6432/shop?schema=orders&sslmode=require&pool=4&timeout=2s";
        let config = PostgresConfig::from_url(url).unwrap();
        assert_eq!(config.place(), "db.example:6432");
        assert_eq!(config.connect.get_database(), Some("shop"));
        assert_eq!(config.schema_name().unwrap(), "orders");
        assert_eq!(config.pool, 4);
        assert_eq!(config.timeout, Duration::from_secs(2));
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn namespace_is_a_schema_beside() {
        let schema_of = |url| PostgresConfig::from_url(url).unwrap().schema_name();
        assert_eq!(schema_of("postgres://x/y").unwrap(), "longhaul");
        assert_eq!(
            schema_of("postgres://x/y?namespace=eu").unwrap(),
            "longhaul_eu"
        );
        assert_eq!(
            schema_of("postgres://x/y?schema=a&namespace=7").unwrap(),
            "a_7"
        );
        let long = "x".repeat(60);
        let url = format!("postgres://x/y?namespace={long}");
        let error = PostgresConfig::from_url(&url).unwrap().schema_name();
        assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn wrong_url_is_refused_and_told_why_without_the_password() {
        for (url, why) in [
            ("mysql://x", "does not begin with"),
            ("postgres://ann:s3cret@x:port/y", "cannot be read"),
            ("postgres://ann:s3cret@x/y?shema=a", "did you mean `schema`"),
            ("postgres://x/y?ssl_mode=a", "did you mean `sslmode`"),
            ("postgres://x/y?schema=Orders", "lower-case"),
            ("postgres://x/y?schema=a;drop", "lower-case"),
            ("postgres://x/y?schema=pg_orders", "`pg_`"),
            ("postgres://x/y?schema=", "1 to 63"),
            ("postgres://x/y?namespace=a-b", "lower-case"),
            ("postgres://x/y?pool=1", "from 2"),
            ("postgres://x/y?timeout=10", "such as `10s`"),
            ("postgres://x/y?connect_timeout=2h", "such as `10s`"),
            ("postgres://x/y?pooler=session", "`transaction`"),
            ("postgres://x/y?checks=no", "`on` or `off`"),
            ("postgres://x/y?pool=3&pool=4", "twice"),
        ] {
            let error = PostgresConfig::from_url(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
            assert!(error.message().contains(why), "{url}: {error}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
