//! Throw-away servers for tests: a Postgres with a pgbouncer before it, a Redis, and a cluster of Redis.
//!
//! Invariants: what runs here was started here, listens on the loopback alone, and is stopped by whoever drops
//! [`Servers`], by a signal, and by the death of this process. A variable that is set already is used as it is.

mod account;
mod find;
mod pgbouncer;
mod postgres;
mod redis;
mod running;
mod target;

use std::net::TcpListener;
use std::process::Command;

use anyhow::{Context as _, Result};
use longhaul_core::clock::random_bytes_of_the_system;

use self::account::Account;
pub(crate) use self::find::valgrind;
use self::running::Guard;
pub(crate) use self::running::stop_on_signal;

/// Names the URL of a Postgres.
pub(crate) const POSTGRES: &str = "LONGHAUL_TEST_POSTGRES";

/// Names the URL of a pgbouncer in transaction mode before it.
const PGBOUNCER: &str = "LONGHAUL_TEST_PGBOUNCER";

/// Names the folder of Postgres' programs, for a test that starts a server of its own.
const BIN: &str = "LONGHAUL_TEST_POSTGRES_BIN";

/// Names the URL of a Redis.
const REDIS: &str = "LONGHAUL_TEST_REDIS";

/// Names the URL of a cluster of Redis: its masters.
const REDIS_CLUSTER: &str = "LONGHAUL_TEST_REDIS_CLUSTER";

/// Names the folder of Redis' programs, for a test that starts a server of its own.
const REDIS_BIN: &str = "LONGHAUL_TEST_REDIS_BIN";

/// Names whom such a server must run as; empty when it is the user of the test.
const USER: &str = "LONGHAUL_TEST_SERVER_USER";

/// Is how often a server is tried on another port.
const PORTS_TRIED: usize = 3;

const BY_HAND: &str = "\
start the servers yourself and name them, as a user who is not root:
  apt-get install postgresql pgbouncer redis-server
  initdb -D data --auth=scram-sha-256 --username=longhaul --pwprompt
  postgres -D data -p 5433 -k /tmp -c max_connections=400 -c shared_preload_libraries=pg_stat_statements
  createdb -h 127.0.0.1 -p 5433 -U longhaul longhaul
  psql -h 127.0.0.1 -p 5433 -U longhaul longhaul -c 'create extension pg_stat_statements'
  pgbouncer pgbouncer.ini   (pool_mode = transaction, listen_port = 6433)
  export LONGHAUL_TEST_POSTGRES=postgres://longhaul:PASSWORD@127.0.0.1:5433/longhaul
  export LONGHAUL_TEST_PGBOUNCER=postgres://longhaul:PASSWORD@127.0.0.1:6433/longhaul
  export LONGHAUL_TEST_POSTGRES_BIN=/usr/lib/postgresql/15/bin
  redis-server --port 6399 --appendonly yes --appendfsync always --save ''
  redis-server --port 7001 --appendonly yes --appendfsync always --save '' --cluster-enabled yes --dir node1   (six of them)
  redis-cli --cluster create 127.0.0.1:7001 ... 127.0.0.1:7006 --cluster-replicas 1 --cluster-yes
  export LONGHAUL_TEST_REDIS=redis://127.0.0.1:6399
  export LONGHAUL_TEST_REDIS_CLUSTER=redis://127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003
  export LONGHAUL_TEST_REDIS_BIN=/usr/bin
  export LONGHAUL_TEST_SERVER_USER=";

/// Holds the servers, and the variables that tell tests of them.
#[derive(Debug)]
pub(crate) struct Servers {
    variables: Vec<(&'static str, String)>,
    _guard: Guard,
}

impl Servers {
    /// Starts what backends need and the environment does not name; `url` names a server before the environment does.
    pub(crate) fn start(backends: &[&str], url: Option<&str>) -> Result<Self> {
        let mut servers = Self {
            variables: Vec::new(),
            _guard: Guard,
        };
        servers.fill(backends, url).context(BY_HAND)?;
        Ok(servers)
    }

    /// Starts servers that keep what they acknowledge, to measure them: none that the environment names, as others may
    /// use them.
    pub(crate) fn start_to_measure() -> Result<Self> {
        let mut servers = Self {
            variables: Vec::new(),
            _guard: Guard,
        };
        let account = Account::of(&Account::for_servers()?.name)?;
        let (postgres_bin, redis_bin) = (find::postgres()?, find::redis()?);
        let postgres = postgres::start_durable(&postgres_bin, &account)?;
        let local = redis::start(&redis_bin, &account)?;
        let fast = redis::start_fast(&redis_bin, &account)?;
        let versions = [(&postgres_bin, "postgres"), (&redis_bin, "redis-server")];
        let versions = versions.map(|(bin, program)| version(bin, program));
        servers.tell("LONGHAUL_BENCH_POSTGRES", postgres);
        servers.tell("LONGHAUL_BENCH_REDIS_LOCAL", local);
        servers.tell("LONGHAUL_BENCH_REDIS_FAST", fast);
        servers.tell("LONGHAUL_BENCH_POSTGRES_BIN", postgres_bin);
        servers.tell("LONGHAUL_BENCH_REDIS_BIN", redis_bin);
        servers.tell("LONGHAUL_BENCH_VERSIONS", versions.join(", "));
        Ok(servers)
    }

    /// Lists what tests find in their environment.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
    }

    fn fill(&mut self, backends: &[&str], url: Option<&str>) -> Result<()> {
        let account = self.given_or(USER, || Ok(Account::for_servers()?.name))?;
        let account = Account::of(&account)?;
        if backends.contains(&"postgres") {
            self.fill_postgres(&account, url.filter(|url| url.starts_with("postgres")))?;
        }
        if backends.contains(&"redis") {
            self.fill_redis(&account, url.filter(|url| url.starts_with("redis")))?;
        }
        Ok(())
    }

    fn fill_redis(&mut self, account: &Account, url: Option<&str>) -> Result<()> {
        let bin = self.given_or(REDIS_BIN, find::redis)?;
        match url {
            Some(url) => self.tell(REDIS, url.to_owned()),
            None => self.given_or(REDIS, || redis::start(&bin, account))?,
        };
        self.given_or(REDIS_CLUSTER, || redis::start_cluster(&bin, account))?;
        Ok(())
    }

    fn fill_postgres(&mut self, account: &Account, url: Option<&str>) -> Result<()> {
        let bin = self.given_or(BIN, find::postgres)?;
        let postgres = match url {
            Some(url) => self.tell(POSTGRES, url.to_owned()),
            None => self.given_or(POSTGRES, || postgres::start(&bin, account))?,
        };
        self.given_or(PGBOUNCER, || {
            pgbouncer::start(&find::pgbouncer()?, &bin, account, &postgres)
        })?;
        Ok(())
    }

    /// Takes a variable from the environment, or makes its value.
    fn given_or(
        &mut self,
        name: &'static str,
        make: impl FnOnce() -> Result<String>,
    ) -> Result<String> {
        let value = match std::env::var(name) {
            Ok(value) => value,
            Err(_) => make()?,
        };
        Ok(self.tell(name, value))
    }

    fn tell(&mut self, name: &'static str, value: String) -> String {
        self.variables.push((name, value.clone()));
        value
    }
}

/// Starts the servers, says how to reach them, and keeps them until Ctrl-C.
pub(crate) fn run() -> Result<()> {
    stop_on_signal(0)?;
    let servers = Servers::start(&["postgres", "redis"], None)?;
    for (name, value) in servers.variables() {
        println!("export {name}={value}");
    }
    eprintln!("servers run until Ctrl-C");
    loop {
        std::thread::park();
    }
}

/// Returns a port of the loopback that nobody has.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

/// Tries `start` on some ports, as another program may take one between the look and the start.
fn on_a_free_port<T>(start: impl Fn(u16) -> Result<T>) -> Result<T> {
    let mut last = start(free_port()?);
    for _ in 1..PORTS_TRIED {
        if last.is_ok() {
            break;
        }
        last = start(free_port()?);
    }
    last
}

/// Returns what a program says of its version.
fn version(bin: &str, program: &str) -> String {
    let mut command = Command::new(std::path::Path::new(bin).join(program));
    output(command.arg("--version")).unwrap_or_else(|_| program.to_owned())
}

fn new_password() -> String {
    let random = random_bytes_of_the_system();
    random
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Runs a command and returns what it printed; what it complained about is in the error.
fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .with_context(|| format!("{} cannot be started", program(command)))?;
    anyhow::ensure!(
        output.status.success(),
        "{} failed: {}",
        program(command),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn program(command: &Command) -> String {
    let words = command.get_args().chain([command.get_program()]);
    let mut names = words.filter_map(|word| word.to_str());
    let server = names.find(|word| word.starts_with('/'));
    server
        .map(str::to_owned)
        .unwrap_or_else(|| command.get_program().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_new_each_time_and_fits_into_a_url() {
        let (one, other) = (new_password(), new_password());
        assert_ne!(one, other);
        assert!(one.len() == 32 && one.chars().all(|letter| letter.is_ascii_hexdigit()));
    }

    #[test]
    fn another_port_is_tried_when_one_was_taken_meanwhile() {
        let ports = std::cell::RefCell::new(Vec::new());
        let second = on_a_free_port(|port| {
            ports.borrow_mut().push(port);
            anyhow::ensure!(ports.borrow().len() == 2, "taken");
            Ok(port)
        });
        assert_eq!(second.ok(), ports.borrow().last().copied());
        let never: Result<()> = on_a_free_port(|_| anyhow::bail!("taken"));
        assert!(never.is_err());
    }

    #[test]
    fn failed_program_is_named_with_its_complaint_and_without_whom_it_ran_as() {
        let mut command = Command::new("sh");
        let failed = output(command.args(["-c", "echo no room >&2; exit 1"]));
        assert_eq!(
            failed.err().map(|error| error.to_string()).as_deref(),
            Some("sh failed: no room")
        );
        let mut wrapped = Command::new("setpriv");
        wrapped.args(["--reuid=nobody", "--", "/usr/bin/initdb", "-D", "/tmp/x"]);
        assert_eq!(program(&wrapped), "/usr/bin/initdb");
    }
}
