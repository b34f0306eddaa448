//! A Redis, and a cluster of six, whose data need not outlive them.
//!
//! Invariants: what is acknowledged is on the disk (`appendfsync always`), as the default of the backend asks for, but
//! for a server that is started to be measured with `everysec`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::account::Account;
use super::{free_port, new_password, on_a_free_port, output, running};

/// Is how many masters a cluster has; each has a replica.
const MASTERS: usize = 3;

/// Is how long the nodes of a cluster may take to find each other.
const PATIENCE: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(100);

/// Lists what differs from a server's defaults.
const SETTINGS: [&str; 5] = [
    "bind 127.0.0.1",
    "appendonly yes",
    "save \"\"",
    "maxmemory-policy noeviction",
    "daemonize no",
];

/// Makes the server keep what it acknowledges.
const ALWAYS: &str = "appendfsync always";

/// Makes the server keep what it acknowledged a second ago.
const EVERY_SECOND: &str = "appendfsync everysec";

/// Lists what a node of a cluster has besides.
const SETTINGS_OF_A_NODE: [&str; 5] = [
    ALWAYS,
    "cluster-enabled yes",
    "cluster-config-file nodes.conf",
    "cluster-node-timeout 2000",
    "cluster-announce-ip 127.0.0.1",
];

/// Starts a server and returns its URL.
pub(crate) fn start(bin: &str, account: &Account) -> Result<String> {
    start_with(bin, account, ALWAYS)
}

/// Starts a server that may lose the last second, and returns its URL.
pub(crate) fn start_fast(bin: &str, account: &Account) -> Result<String> {
    start_with(bin, account, EVERY_SECOND)
}

fn start_with(bin: &str, account: &Account, setting: &str) -> Result<String> {
    let servers = Servers::new(bin, account);
    let port = on_a_free_port(|port| {
        servers.start(port, &[setting])?;
        Ok(port)
    })?;
    Ok(servers.url(&[port]))
}

/// Starts a cluster of masters with a replica each and returns the URL of the masters.
pub(crate) fn start_cluster(bin: &str, account: &Account) -> Result<String> {
    let servers = Servers::new(bin, account);
    let start_one = |_| {
        on_a_free_port(|port| {
            let bus = format!("cluster-port {}", free_port()?);
            let settings: Vec<&str> = SETTINGS_OF_A_NODE
                .into_iter()
                .chain([bus.as_str()])
                .collect();
            servers.start(port, &settings)?;
            Ok(port)
        })
    };
    let ports: Vec<u16> = (0..2 * MASTERS).map(start_one).collect::<Result<_>>()?;
    servers.join(&ports)?;
    servers.wait_for_cluster(&ports)?;
    let masters = ports.get(..MASTERS).unwrap_or_default();
    Ok(servers.url(masters))
}

struct Servers<'a> {
    bin: PathBuf,
    account: &'a Account,
    password: String,
}

impl<'a> Servers<'a> {
    fn new(bin: &str, account: &'a Account) -> Self {
        Self {
            bin: bin.into(),
            account,
            password: new_password(),
        }
    }

    fn url(&self, ports: &[u16]) -> String {
        let places: Vec<_> = ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        format!("redis://:{}@{}", self.password, places.join(","))
    }

    fn start(&self, port: u16, settings: &[&str]) -> Result<()> {
        let folder = tempfile::Builder::new()
            .prefix("longhaul-redis-")
            .tempdir()?;
        self.account.own(folder.path())?;
        let file = folder.path().join("redis.conf");
        std::fs::write(&file, configuration(port, &self.password, settings))?;
        self.account.own(&file)?;
        let mut server = self.account.server(&self.bin.join("redis-server"), "TERM");
        server.arg(&file).current_dir(folder.path());
        let is_ready = || self.ask(port, &["PING"]).map(drop);
        running::start("redis-server", &mut server, None, folder, is_ready)
    }

    /// Makes a cluster of nodes, the first of which are the masters.
    fn join(&self, ports: &[u16]) -> Result<()> {
        let mut create = self.client();
        create.args(["--cluster", "create"]);
        create.args(ports.iter().map(|port| format!("127.0.0.1:{port}")));
        create.args(["--cluster-replicas", "1", "--cluster-yes"]);
        output(&mut create).map(drop)
    }

    /// Waits until every node serves the whole cluster and every master has its replica.
    fn wait_for_cluster(&self, ports: &[u16]) -> Result<()> {
        let begun = Instant::now();
        let is_ready = |(place, port): (usize, &u16)| {
            let is_ok = self
                .ask(*port, &["CLUSTER", "INFO"])?
                .contains("cluster_state:ok");
            let replication = self.ask(*port, &["INFO", "replication"])?;
            let wanted = if place < MASTERS {
                "state=online"
            } else {
                "master_link_status:up"
            };
            Ok(is_ok && replication.contains(wanted))
        };
        loop {
            let ready: Result<Vec<bool>> = ports.iter().enumerate().map(is_ready).collect();
            if ready?.into_iter().all(|is_ready| is_ready) {
                return Ok(());
            }
            ensure!(
                begun.elapsed() < PATIENCE,
                "the nodes of the cluster do not find each other"
            );
            std::thread::sleep(POLL);
        }
    }

    fn ask(&self, port: u16, words: &[&str]) -> Result<String> {
        let mut client = self.client();
        client
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-e"])
            .args(words);
        output(&mut client)
    }

    fn client(&self) -> Command {
        let mut client = Command::new(self.bin.join("redis-cli"));
        client
            .env("REDISCLI_AUTH", &self.password)
            .arg("--no-auth-warning");
        client
    }
}

fn configuration(port: u16, password: &str, settings: &[&str]) -> String {
    let mut text = String::new();
    let own = [
        format!("port {port}"),
        format!("requirepass {password}"),
        format!("masterauth {password}"),
    ];
    let all = SETTINGS
        .iter()
        .chain(settings)
        .map(|line| (*line).to_owned());
    for line in all.chain(own) {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// Tells whether a folder has the programs.
pub(crate) fn is_whole(folder: &Path) -> bool {
    ["redis-server", "redis-cli"]
        .iter()
        .all(|program| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_is_reached_from_this_machine_alone_and_writes_all_to_its_disk() {
        let text = configuration(7_000, "secret", &SETTINGS_OF_A_NODE);
        for line in [
            "bind 127.0.0.1",
            "port 7000",
            "requirepass secret",
            "masterauth secret",
            "appendonly yes",
            "appendfsync always",
            "cluster-enabled yes",
        ] {
            assert!(text.lines().any(|found| found == line), "{text}");
        }
        assert!(!configuration(1, "x", &[]).contains("cluster-enabled"));
    }

    #[test]
    fn url_names_every_master_and_the_password_once() -> Result<()> {
        let account = Account::of("")?;
        let mut servers = Servers::new("/bin", &account);
        servers.password = "pw".to_owned();
        assert_eq!(servers.url(&[1, 2]), "redis://:pw@127.0.0.1:1,127.0.0.1:2");
        Ok(())
    }
}
