//! Namespaces of the Redis that tests use, each emptied with its test.

use redis::{Commands as _, RedisResult};

/// Is a namespace that nobody else uses.
pub(crate) struct Namespace {
    server: String,
    name: String,
}

impl Namespace {
    /// Draws a name on the server or cluster that the variable names.
    pub(crate) fn new(variable: &str) -> Self {
        let server = std::env::var(variable).unwrap_or_else(|_| {
            panic!("{variable} names no server; run `cargo xtask test`, or `cargo xtask servers` beside")
        });
        let random = longhaul_core::clock::random_bytes_of_the_system();
        let name = random.iter().take(8).map(|byte| format!("{byte:02x}"));
        Self {
            server,
            name: format!("it_{}", name.collect::<String>()),
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
