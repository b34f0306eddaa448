//! Whom servers run as: oneself, or an unprivileged account when oneself is root, as servers refuse root.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::output;
use crate::process::is_there;

/// Lists the accounts for servers of a root, the best first.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// Is whom servers run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// Is empty when it is oneself.
    pub(crate) name: String,
    ids: Option<(u32, u32)>,
}

impl Account {
    /// Chooses.
    pub(crate) fn for_servers() -> Result<Self> {
        if output(Command::new("id").arg("-u"))? != "0" {
            return Self::of("");
        }
        let known = |name: &&&str| is_there(Command::new("id").arg(name));
        let name = UNPRIVILEGED.iter().find(known);
        Self::of(name.context("servers refuse to run as root, and there is no user `nobody`")?)
    }

    /// Takes the account of that name; none is oneself.
    pub(crate) fn of(name: &str) -> Result<Self> {
        let id = |which: &str| -> Result<u32> {
            let text = output(Command::new("id").args([which, name]))?;
            text.parse()
                .with_context(|| format!("`id {which} {name}` gave `{text}`"))
        };
        let ids = match name {
            "" => None,
            _ => Some((id("-u")?, id("-g")?)),
        };
        if ids.is_some() {
            let setpriv = is_there(Command::new("setpriv").arg("--version"));
            ensure!(
                setpriv,
                "servers refuse to run as root, and `setpriv` is not installed"
            );
        }
        Ok(Self {
            name: name.to_owned(),
            ids,
        })
    }

    /// Makes a command that runs as this account.
    pub(crate) fn command(&self, program: &Path) -> Command {
        match self.ids {
            None => Command::new(program),
            Some(_) => self.privileged(&[], program),
        }
    }

    /// Makes a command as [`Account::command`] does, whose process gets a signal when this one dies, where that can be.
    pub(crate) fn server(&self, program: &Path, at_our_death: &str) -> Command {
        if is_there(Command::new("setpriv").arg("--version")) {
            self.privileged(&["--pdeathsig", at_our_death], program)
        } else {
            self.command(program)
        }
    }

    fn privileged(&self, options: &[&str], program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        if let Some((user, group)) = self.ids {
            command
                .arg(format!("--reuid={user}"))
                .arg(format!("--regid={group}"));
            command.arg("--clear-groups");
        }
        command.args(options).arg("--").arg(program);
        command
    }

    /// Gives a file or folder to this account.
    pub(crate) fn own(&self, path: &Path) -> Result<()> {
        if let Some((user, group)) = self.ids {
            std::os::unix::fs::chown(path, Some(user), Some(group)).with_context(|| {
                format!("{} cannot be given to `{}`", path.display(), self.name)
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_of_a_root_runs_as_another_and_dies_with_us() {
        let account = Account {
            name: "postgres".to_owned(),
            ids: Some((101, 104)),
        };
        let command = account.server(Path::new("/bin/postgres"), "QUIT");
        let words: Vec<_> = command
            .get_args()
            .filter_map(|word| word.to_str())
            .collect();
        let expected = [
            "--reuid=101",
            "--regid=104",
            "--clear-groups",
            "--pdeathsig",
            "QUIT",
            "--",
            "/bin/postgres",
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn program_of_oneself_runs_as_it_is() {
        let account = Account {
            name: String::new(),
            ids: None,
        };
        assert_eq!(
            account.command(Path::new("/bin/initdb")).get_program(),
            "/bin/initdb"
        );
        assert_eq!(Account::of("").ok(), Some(account));
    }
}
