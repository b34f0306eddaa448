//! A Postgres whose data need not outlive it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::account::Account;
use super::{new_password, on_a_free_port, output, running};

/// Is the name of the superuser and of the database.
const NAME: &str = "longhaul";

/// Lists what differs from a server's defaults.
const SETTINGS: [&str; 2] = [
    "listen_addresses=127.0.0.1",
    "shared_preload_libraries=pg_stat_statements",
];

/// Lists what differs besides for tests: many at once, and no care for a crash.
const SETTINGS_FOR_TESTS: [&str; 7] = [
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=400",
    "pg_stat_statements.max=100000",
    "max_locks_per_transaction=256",
    "autovacuum=on",
];

/// Starts a server for tests and returns its URL.
pub(crate) fn start(bin: &str, account: &Account) -> Result<String> {
    start_with(bin, account, &SETTINGS_FOR_TESTS)
}

/// Starts a server that keeps what it acknowledges, as installed, and returns its URL.
pub(crate) fn start_durable(bin: &str, account: &Account) -> Result<String> {
    start_with(bin, account, &[])
}

fn start_with(bin: &str, account: &Account, settings: &[&str]) -> Result<String> {
    let password = new_password();
    let port = on_a_free_port(|port| {
        let server = Server {
            bin: bin.into(),
            account,
            password: &password,
            port,
            settings,
        };
        server.start()?;
        Ok(port)
    })?;
    Ok(format!(
        "postgres://{NAME}:{password}@127.0.0.1:{port}/{NAME}"
    ))
}

struct Server<'a> {
    bin: PathBuf,
    account: &'a Account,
    password: &'a str,
    port: u16,
    settings: &'a [&'a str],
}

impl Server<'_> {
    fn start(&self) -> Result<()> {
        let folder = tempfile::Builder::new()
            .prefix("longhaul-postgres-")
            .tempdir()?;
        self.account.own(folder.path())?;
        let data = folder.path().join("data");
        self.make(&folder, &data)?;
        let mut server = self.account.server(&self.bin.join("postgres"), "QUIT");
        server
            .arg("-D")
            .arg(&data)
            .arg("-p")
            .arg(self.port.to_string());
        server
            .arg("-k")
            .arg(folder.path())
            .current_dir(folder.path());
        for setting in SETTINGS.iter().chain(self.settings) {
            server.args(["-c", setting]);
        }
        let mut stop = self.account.command(&self.bin.join("pg_ctl"));
        stop.args(["stop", "-m", "immediate", "-D"])
            .arg(&data)
            .current_dir(folder.path());
        let is_ready = || self.query("postgres", "select 1");
        running::start("postgres", &mut server, Some(stop), folder, is_ready)?;
        self.query("postgres", &format!("create database {NAME}"))?;
        self.query(NAME, "create extension pg_stat_statements")
    }

    fn make(&self, folder: &TempDir, data: &Path) -> Result<()> {
        let secret = folder.path().join("password");
        std::fs::write(&secret, self.password)?;
        self.account.own(&secret)?;
        let mut make = self.account.command(&self.bin.join("initdb"));
        make.arg("-D").arg(data).arg("--pwfile").arg(&secret);
        make.args([
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
        ]);
        make.arg(format!("--username={NAME}"))
            .current_dir(folder.path());
        output(&mut make)?;
        std::fs::remove_file(&secret).context("the file of the password cannot be removed")
    }

    fn query(&self, database: &str, text: &str) -> Result<()> {
        query(&self.bin, NAME, self.password, self.port, database, text)
    }
}

/// Runs one statement.
pub(crate) fn query(
    bin: &Path,
    user: &str,
    password: &str,
    port: u16,
    database: &str,
    text: &str,
) -> Result<()> {
    let mut psql = Command::new(bin.join("psql"));
    psql.args([
        "--no-psqlrc",
        "--quiet",
        "--no-password",
        "--host=127.0.0.1",
    ])
    .arg(format!("--port={port}"))
    .arg(format!("--username={user}"))
    .arg(format!("--dbname={database}"))
    .args(["--command", text])
    .env("PGPASSWORD", password)
    .env("PGCONNECT_TIMEOUT", "5");
    output(&mut psql).map(drop)
}
