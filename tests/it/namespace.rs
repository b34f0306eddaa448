//! Namespaces of the Redis that tests use, each emptied with its test.

use longhaul_tests::server;
use redis::{Commands as _, RedisResult};

/// Is a namespace that nobody else uses.
pub(crate) struct Namespace {
    server: String,
    name: String,
}

impl Namespace {
    /// Draws a name on the server or cluster that the variable names.
    pub(crate) fn new(variable: &str) -> Self {
        Self {
            server: server::named(variable),
            name: server::unused_name("it"),
        }
    }

    /// Returns the URL of the store.
    pub(crate) fn url(&self) -> String {
        format!("{}?namespace={}", self.server, self.name)
    }

    fn remove(&self) -> RedisResult<()> {
        let (scheme, rest) = self.server.split_once("://").unwrap();
        let (who, hosts) = rest
            .rsplit_once('@')
            .map_or(("", rest), |(who, hosts)| (who, hosts));
        for host in hosts.split(',') {
            let at = if who.is_empty() { "" } else { "@" };
            let client = redis::Client::open(format!("{scheme}://{who}{at}{host}"))?;
            let mut connection = client.get_connection()?;
            let keys: Vec<Vec<u8>> = connection
                .scan_match(format!("{{lh:{}:*", self.name))?
                .collect::<RedisResult<_>>()?;
            for key in keys {
                let () = connection.unlink(key)?;
            }
        }
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A test may have stopped its server.
        if let Err(cause) = self.remove() {
            println!("namespace {} is left behind: {cause}", self.name);
        }
    }
}
