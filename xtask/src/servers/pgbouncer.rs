//! A pgbouncer in transaction mode, with nothing allowed that a plain one would refuse.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::account::Account;
use super::target::Target;
use super::{on_a_free_port, postgres, running};

/// Starts a pooler before a database and returns its URL.
pub(crate) fn start(program: &Path, bin: &str, account: &Account, url: &str) -> Result<String> {
    let target = Target::of(url)?;
    let port = on_a_free_port(|port| {
        start_at(port, program, bin, account, &target)?;
        Ok(port)
    })?;
    Ok(target.url_at(port))
}

fn start_at(
    port: u16,
    program: &Path,
    bin: &str,
    account: &Account,
    target: &Target,
) -> Result<()> {
    let folder = tempfile::Builder::new()
        .prefix("longhaul-pgbouncer-")
        .tempdir()?;
    account.own(folder.path())?;
    let users = folder.path().join("users");
    std::fs::write(
        &users,
        format!("\"{}\" \"{}\"\n", target.user, target.password),
    )?;
    account.own(&users)?;
    let settings = folder.path().join("pgbouncer.ini");
    std::fs::write(&settings, configuration(target, port, &users))?;
    account.own(&settings)?;
    let mut pooler = account.server(program, "TERM");
    pooler.arg(&settings).current_dir(folder.path());
    running::start("pgbouncer", &mut pooler, None, folder, || {
        let Target {
            user,
            password,
            database,
            ..
        } = target;
        postgres::query(Path::new(bin), user, password, port, database, "select 1")
    })
}

fn configuration(target: &Target, port: u16, users: &Path) -> String {
    let mut text = String::new();
    let Target {
        host,
        port: behind,
        database,
        ..
    } = target;
    let lines = [
        "[databases]".to_owned(),
        format!("{database} = host={host} port={behind}"),
        "[pgbouncer]".to_owned(),
        "listen_addr = 127.0.0.1".to_owned(),
        format!("listen_port = {port}"),
        "unix_socket_dir =".to_owned(),
        "auth_type = scram-sha-256".to_owned(),
        format!("auth_file = {}", users.display()),
        "pool_mode = transaction".to_owned(),
        "default_pool_size = 20".to_owned(),
        "max_client_conn = 500".to_owned(),
    ];
    for line in lines {
        let _ = writeln!(text, "{line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooler_is_in_transaction_mode_and_ignores_no_startup_parameter() -> Result<()> {
        let target = Target::of("postgres://me:secret@127.0.0.1:5433/shop")?;
        let text = configuration(&target, 6_433, Path::new("/x/users"));
        for line in [
            "shop = host=127.0.0.1 port=5433",
            "listen_port = 6433",
            "pool_mode = transaction",
        ] {
            assert!(text.lines().any(|found| found == line), "{text}");
        }
        assert!(!text.contains("ignore_startup_parameters") && !text.contains("secret"));
        Ok(())
    }
}
