//! Another process of this program, which is told what to do and answers line by line.
//!
//! Invariants: it is killed when it is dropped; it ends by itself when its input does.

use std::process::Stdio;

use longhaul::{Error, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};

/// Is a process of this program.
pub(super) struct Child {
    process: tokio::process::Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts this program with other arguments.
    pub(super) fn start(arguments: &[&str]) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pipes = process.stdin.take().zip(process.stdout.take());
        let (input, output) = pipes.ok_or_else(|| Error::failed("the child has no pipes"))?;
        Ok(Self {
            process,
            input,
            lines: BufReader::new(output).lines(),
        })
    }

    /// Waits for what it says next.
    pub(super) async fn line(&mut self) -> Result<String> {
        let line = self.lines.next_line().await?;
        line.ok_or_else(|| Error::failed("the child ended before it said anything"))
    }

    /// Sends it a line.
    pub(super) async fn tell(&mut self, word: &str) -> Result<()> {
        self.input.write_all(format!("{word}\n").as_bytes()).await?;
        Ok(self.input.flush().await?)
    }

    /// Lets it end.
    pub(super) async fn end(mut self) -> Result<()> {
        drop(self.input);
        let status = self.process.wait().await?;
        match status.success() {
            true => Ok(()),
            false => Err(Error::failed(format!("the child failed: {status}"))),
        }
    }

    /// Kills it, as `kill -9` does.
    pub(super) async fn kill(mut self) -> Result<()> {
        Ok(self.process.kill().await?)
    }
}

/// Tells the parent something.
#[expect(clippy::print_stdout, reason = "its parent reads it")]
pub(super) fn say(word: &str) {
    println!("{word}");
}

/// Returns the lines that the parent sends.
pub(super) fn orders() -> Lines<BufReader<tokio::io::Stdin>> {
    BufReader::new(tokio::io::stdin()).lines()
}
