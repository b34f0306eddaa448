//! The URL of a database, taken apart for a pooler before it.

use anyhow::{Context as _, Result, ensure};

/// Is where a database is, and who asks for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) database: String,
}

impl Target {
    /// Takes a plain URL apart.
    pub(crate) fn of(url: &str) -> Result<Self> {
        let target = Self::parse(url).context(
            "no pgbouncer can be put before a URL that is not postgres://USER:PASSWORD@HOST:PORT/DATABASE; \
             set LONGHAUL_TEST_PGBOUNCER",
        )?;
        let parts = [
            &target.user,
            &target.password,
            &target.host,
            &target.database,
        ];
        let is_plain = |part: &str| !part.is_empty() && !part.contains(['%', '?', '"', '\'', ' ']);
        ensure!(
            parts.iter().all(|part| is_plain(part)),
            "no pgbouncer can be put before a URL with escapes or options; set LONGHAUL_TEST_PGBOUNCER"
        );
        Ok(target)
    }

    fn parse(url: &str) -> Option<Self> {
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))?;
        let (who, place) = rest.rsplit_once('@')?;
        let (user, password) = who.split_once(':')?;
        let (address, database) = place.split_once('/')?;
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "5432"));
        Some(Self {
            user: user.to_owned(),
            password: password.to_owned(),
            host: host.to_owned(),
            port: port.parse().ok()?,
            database: database.to_owned(),
        })
    }

    /// Returns the URL of the same database at another port of the loopback.
    pub(crate) fn url_at(&self, port: u16) -> String {
        let Self {
            user,
            password,
            database,
            ..
        } = self;
        format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_url_is_taken_apart() -> Result<()> {
        let target = Target::of("postgres://me:secret@db:5433/shop")?;
        assert_eq!((target.host.as_str(), target.port), ("db", 5_433));
        assert_eq!(target.url_at(7), "postgres://me:secret@127.0.0.1:7/shop");
        assert_eq!(Target::of("postgresql://me:secret@db/shop")?.port, 5_432);
        Ok(())
    }

    #[test]
    fn url_that_a_pooler_cannot_stand_before_is_refused_without_its_password() {
        for url in [
            "sqlite:secret",
            "postgres://db/shop",
            "postgres://me:secret@db:port/shop",
            "postgres://me:sec%20ret@db/shop",
            "postgres://me:secret@db/shop?schema=x",
        ] {
            let message = Target::of(url)
                .err()
                .map(|error| format!("{error:#}"))
                .unwrap_or_default();
            assert!(message.contains("LONGHAUL_TEST_PGBOUNCER"), "{url}");
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
