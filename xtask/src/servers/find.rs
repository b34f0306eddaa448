//! Finding programs of servers and tools, and installing Debian's when root may.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::output;

/// Is where Debian puts each version's programs.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Lists what a folder of Postgres' programs must have.
const PROGRAMS: [&str; 4] = ["initdb", "postgres", "pg_ctl", "psql"];

/// Asks whether a package may start its services.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Returns the folder of Postgres' programs.
pub(crate) fn postgres() -> Result<String> {
    let found = found_or_installed("postgresql", || {
        folders().into_iter().find(|folder| is_whole(folder))
    })?;
    Ok(found
        .to_str()
        .context("a folder whose name is not UTF-8")?
        .to_owned())
}

/// Returns the program.
pub(crate) fn pgbouncer() -> Result<PathBuf> {
    program("pgbouncer", "/usr/sbin")
}

/// Returns the program, which counts instructions.
pub(crate) fn valgrind() -> Result<PathBuf> {
    program("valgrind", "/usr/bin")
}

/// Returns the folder of Redis' programs.
pub(crate) fn redis() -> Result<String> {
    let places = || path().into_iter().chain(["/usr/bin".into()]);
    let found = found_or_installed("redis-server", || {
        places().find(|folder: &PathBuf| super::redis::is_whole(folder))
    })?;
    Ok(found
        .to_str()
        .context("a folder whose name is not UTF-8")?
        .to_owned())
}

/// Returns the program that bears the name of its package; Debian puts it into `folder`.
fn program(name: &str, folder: &str) -> Result<PathBuf> {
    let places = || path().into_iter().chain([folder.into()]);
    found_or_installed(name, || {
        places()
            .map(|folder: PathBuf| folder.join(name))
            .find(|program| program.is_file())
    })
}

fn found_or_installed(package: &str, find: impl Fn() -> Option<PathBuf>) -> Result<PathBuf> {
    if let Some(found) = find() {
        return Ok(found);
    }
    install(package)?;
    find().with_context(|| format!("package `{package}` brought no program that can be found"))
}

fn path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect()
}

/// Lists where programs may be: where the path leads, where `pg_config` says, and Debian's, the newest first.
fn folders() -> Vec<PathBuf> {
    let of_path = path().into_iter().map(|folder| folder.join("initdb"));
    let of_path =
        of_path.filter_map(|program| Some(fs::canonicalize(program).ok()?.parent()?.to_owned()));
    let said = output(Command::new("pg_config").arg("--bindir"))
        .ok()
        .map(PathBuf::from);
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let versions = newest_first(versions.map(|entry| entry.path()).collect());
    of_path
        .chain(said)
        .chain(versions.into_iter().map(|version| version.join("bin")))
        .collect()
}

fn newest_first(mut versions: Vec<PathBuf>) -> Vec<PathBuf> {
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    versions.sort_by_key(|path| std::cmp::Reverse(number(path)));
    versions
}

fn is_whole(folder: &Path) -> bool {
    PROGRAMS
        .iter()
        .all(|program| folder.join(program).is_file())
}

/// Installs a Debian package, and starts nothing.
fn install(package: &str) -> Result<()> {
    ensure!(
        output(Command::new("id").arg("-u"))? == "0",
        "`{package}` is not installed, and only root can install it"
    );
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("`{package}` is not installed, and there is no apt-get to install it with");
    }
    eprintln!("--- installing the package `{package}`");
    let _policy = NothingStarts::new()?;
    let wanted = ["install", "--yes", "--no-install-recommends", package];
    if apt(&wanted).is_ok() {
        return Ok(());
    }
    apt(&["update"])?;
    apt(&wanted)
}

fn apt(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command
        .args(["--quiet", "--option=DPkg::Lock::Timeout=120"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    output(&mut command).map(drop)
}

/// Forbids packages to start services for as long as it lives; a policy that is there already stays.
struct NothingStarts {
    is_ours: bool,
}

impl NothingStarts {
    fn new() -> Result<Self> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o755);
        match options.open(POLICY) {
            Ok(mut file) => file.write_all(b"#!/bin/sh\nexit 101\n")?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Ok(Self { is_ours: false });
            }
            Err(error) => return Err(error).context(POLICY),
        }
        Ok(Self { is_ours: true })
    }
}

impl Drop for NothingStarts {
    fn drop(&mut self) {
        if self.is_ours {
            drop(fs::remove_file(POLICY));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_version_is_taken_by_number() {
        let versions = ["9", "15", "common", "17"].map(PathBuf::from).to_vec();
        let expected = ["17", "15", "9", "common"].map(PathBuf::from);
        assert_eq!(newest_first(versions), expected);
    }

    #[test]
    fn folder_that_lacks_a_program_is_passed_over() -> Result<()> {
        let folder = tempfile::tempdir()?;
        for program in PROGRAMS {
            assert!(!is_whole(folder.path()));
            fs::write(folder.path().join(program), b"")?;
        }
        assert!(is_whole(folder.path()));
        Ok(())
    }
}
