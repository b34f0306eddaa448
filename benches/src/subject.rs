//! What is measured: a backend at a durability, on servers that were started for it.
//!
//! Invariants: each measurement has a store of its own, empty at first and removed afterwards.

use std::path::PathBuf;
use std::process::Command;

use longhaul::clock::random_bytes_of_the_system;
use longhaul::prelude::Client;
use longhaul::{Error, Result};
use tempfile::TempDir;

/// Is a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Engine {
    Memory,
    Sqlite,
    Postgres,
    Redis,
}

impl Engine {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
        }
    }
}

/// Is a backend at a durability.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) engine: Engine,
    pub(crate) durability: &'static str,
    pub(crate) server: String,
}

impl Subject {
    /// Lists the subjects of a backend; those on servers are named by the environment.
    pub(crate) fn all_of(engine: Engine) -> Result<Vec<Self>> {
        let of = |durability, server| Self {
            engine,
            durability,
            server,
        };
        Ok(match engine {
            Engine::Memory => vec![of("none", String::new())],
            Engine::Sqlite => vec![of("full", String::new())],
            Engine::Postgres => vec![of("full", named("LONGHAUL_BENCH_POSTGRES")?)],
            Engine::Redis => vec![
                of("local", named("LONGHAUL_BENCH_REDIS_LOCAL")?),
                of("fast", named("LONGHAUL_BENCH_REDIS_FAST")?),
            ],
        })
    }

    /// Makes the place of an empty store.
    pub(crate) fn store(&self) -> Result<Store> {
        let random = random_bytes_of_the_system();
        let digits = random.iter().take(8).map(|byte| format!("{byte:02x}"));
        let name = format!("bench_{}", digits.collect::<String>());
        let folder = match self.engine {
            Engine::Sqlite => Some(
                tempfile::Builder::new()
                    .prefix("longhaul-bench-")
                    .tempdir()?,
            ),
            _ => None,
        };
        let url = match self.engine {
            Engine::Memory => format!("memory://{name}"),
            Engine::Sqlite => {
                let folder = folder
                    .as_ref()
                    .ok_or_else(|| Error::failed("SQLite has a folder"))?;
                format!("sqlite://{}/bench.db", folder.path().display())
            }
            Engine::Postgres => format!("{}?schema={name}", self.server),
            Engine::Redis => format!(
                "{}?namespace={name}&durability={}",
                self.server, self.durability
            ),
        };
        Ok(Store {
            url,
            name,
            subject: self.clone(),
            _folder: folder,
        })
    }

    /// Asks the Postgres server one question and returns its answer, columns parted by `|`.
    pub(crate) fn psql(&self, text: &str) -> Result<String> {
        output(
            Command::new(program("LONGHAUL_BENCH_POSTGRES_BIN", "psql")?)
                .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
                .args(["--dbname", &self.server, "--command", text]),
        )
    }

    /// Returns a connection to the Redis server.
    pub(crate) fn redis(&self) -> Result<redis::Connection> {
        Ok(redis::Client::open(self.server.as_str())?.get_connection()?)
    }
}

/// Is the place of a store, which is removed with this.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) url: String,
    pub(crate) name: String,
    pub(crate) subject: Subject,
    _folder: Option<TempDir>,
}

impl Store {
    pub(crate) async fn client(&self) -> Result<Client> {
        Client::connect(&self.url).await
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let removed = match self.subject.engine {
            Engine::Postgres => {
                let text = format!("drop schema if exists \"{}\" cascade", self.name);
                self.subject.psql(&text).map(drop)
            }
            Engine::Redis => (self.subject.redis())
                .and_then(|mut server| Ok(redis::cmd("FLUSHALL").query::<()>(&mut server)?)),
            Engine::Memory | Engine::Sqlite => Ok(()),
        };
        if let Err(cause) = removed {
            eprintln!("{} is left behind: {cause:#}", self.name);
        }
    }
}

/// Returns a program of a server's package.
pub(crate) fn program(variable: &str, name: &str) -> Result<PathBuf> {
    Ok(PathBuf::from(named(variable)?).join(name))
}

/// Runs a program and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(Error::failed(format!(
        "{} failed: {}",
        command.get_program().display(),
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}

fn named(variable: &str) -> Result<String> {
    std::env::var(variable).map_err(|_| {
        Error::failed(format!(
            "{variable} is not set; run `cargo xtask bench`, which starts the servers"
        ))
    })
}
