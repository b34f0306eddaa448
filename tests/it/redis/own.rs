//! Servers and clusters that one test starts, kills and starts again.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Lists the settings that lose nothing.
pub(crate) const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

fn program(name: &str) -> PathBuf {
    let bin = std::env::var("LONGHAUL_TEST_REDIS_BIN").expect(
        "LONGHAUL_TEST_REDIS_BIN names no folder; run `cargo xtask test`, or `cargo xtask servers` beside",
    );
    PathBuf::from(bin).join(name)
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(
            begun.elapsed() < PATIENCE,
            "it does not come to hold: {what}"
        );
        std::thread::sleep(POLL);
    }
}

/// Is a server with a folder of its own.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    settings: Vec<String>,
    port: u16,
    process: Child,
}

impl Server {
    pub(crate) fn start(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut settings: Vec<String> = settings.iter().map(|one| (*one).to_owned()).collect();
        settings.extend(["--cluster-port".to_owned(), free_port().to_string()]);
        let process = Self::spawn(&folder, port, &settings);
        let server = Self {
            folder,
            settings,
            port,
            process,
        };
        server.wait();
        server
    }

    fn spawn(folder: &tempfile::TempDir, port: u16, settings: &[String]) -> Child {
        Command::new(program("redis-server"))
            .args([
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--port",
                &port.to_string(),
            ])
            .args(settings)
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn wait(&self) {
        // One with a password answers so too.
        until("the server answers", || {
            let answer = self.ask(&["PING"]);
            answer.contains("PONG") || answer.contains("NOAUTH")
        });
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self, options: &str) -> String {
        format!("redis://127.0.0.1:{}?{options}", self.port)
    }

    /// Ends the process at once.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again on what it left.
    pub(crate) fn resume(&mut self) {
        self.process = Self::spawn(&self.folder, self.port, &self.settings);
        self.wait();
    }

    /// Sends a command and returns the answer.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        self.ask_as("", words)
    }

    /// Sends a command with the server's password and returns the answer.
    pub(crate) fn ask_as(&self, password: &str, words: &[&str]) -> String {
        let output = Command::new(program("redis-cli"))
            .env("REDISCLI_AUTH", password)
            .args(["-p", &self.port.to_string()])
            .args(words)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Is a cluster of three masters with a replica each.
pub(crate) struct Cluster {
    nodes: Vec<Server>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let settings = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
        let settings: Vec<&str> = DURABLE.into_iter().chain(settings).collect();
        let nodes: Vec<_> = (0..6).map(|_| Server::start(&settings)).collect();
        let places = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port));
        let made = Command::new(program("redis-cli"))
            .args(["--cluster", "create"])
            .args(places)
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stdout)
        );
        let cluster = Self { nodes };
        until("every master has its replica", || cluster.is_whole());
        cluster
    }

    fn is_whole(&self) -> bool {
        let is_ok = |node: &Server| node.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
        self.nodes.iter().all(is_ok)
            && self.masters().len() == 3
            && self.masters().iter().all(|master| {
                let master = &self.nodes[*master];
                master
                    .ask(&["INFO", "replication"])
                    .contains("state=online")
            })
    }

    fn masters(&self) -> Vec<usize> {
        let is_master = |node: &Server| node.ask(&["ROLE"]).starts_with("master");
        (0..)
            .zip(&self.nodes)
            .filter(|(_, node)| is_master(node))
            .map(|(at, _)| at)
            .collect()
    }

    pub(crate) fn url(&self, options: &str) -> String {
        let places = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port));
        format!("redis://{}?{options}", places.collect::<Vec<_>>().join(","))
    }

    /// Kills a master, and waits until a replica has taken its place.
    pub(crate) fn kill_a_master(&mut self) -> usize {
        let victim = self.masters()[0];
        self.nodes[victim].kill();
        until("a replica takes over", || {
            let alive = self
                .nodes
                .iter()
                .enumerate()
                .filter(|(at, _)| *at != victim);
            let is_ok = |node: &Server| node.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
            self.masters().len() == 3 && alive.map(|(_, node)| node).all(is_ok)
        });
        victim
    }

    /// Starts a node again, which follows the one that took its place.
    pub(crate) fn resume(&mut self, node: usize) {
        self.nodes[node].resume();
        until("every master has its replica", || self.is_whole());
    }

    /// Moves the slots of all partitions of a namespace to the next master; returns how many.
    pub(crate) fn move_slots_of(&self, namespace: &str) -> usize {
        let masters = self.masters();
        let ids: Vec<String> = masters
            .iter()
            .map(|at| self.nodes[*at].ask(&["CLUSTER", "MYID"]).trim().to_owned())
            .collect();
        let mut moved = 0;
        for partition in 0..16 {
            let key = format!("{{lh:{namespace}:{partition}}}:members");
            let slot = self.nodes[masters[0]].ask(&["CLUSTER", "KEYSLOT", &key]);
            let slot = slot.trim();
            let serves = |at: &usize| {
                let counted = self.nodes[*at].ask(&["CLUSTER", "COUNTKEYSINSLOT", slot]);
                counted.trim() != "0"
            };
            let from = masters.iter().position(serves).unwrap();
            let to = (from + 1) % masters.len();
            self.move_slot(slot, (masters[from], &ids[from]), (masters[to], &ids[to]));
            moved += 1;
        }
        moved
    }

    fn move_slot(&self, slot: &str, from: (usize, &str), to: (usize, &str)) {
        let (source, target) = (&self.nodes[from.0], &self.nodes[to.0]);
        target.ask(&["CLUSTER", "SETSLOT", slot, "IMPORTING", from.1]);
        source.ask(&["CLUSTER", "SETSLOT", slot, "MIGRATING", to.1]);
        loop {
            let keys = source.ask(&["CLUSTER", "GETKEYSINSLOT", slot, "10"]);
            let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
            if keys.is_empty() {
                break;
            }
            let port = target.port.to_string();
            let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            words.extend(keys);
            let answer = source.ask(&words);
            assert!(
                answer.contains("OK") || answer.contains("NOKEY"),
                "{answer}"
            );
        }
        for at in self.masters() {
            self.nodes[at].ask(&["CLUSTER", "SETSLOT", slot, "NODE", to.1]);
        }
    }
}
