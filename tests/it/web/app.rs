//! A process of the web example, and plain HTTP to it.

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::example::example;
use crate::kill::PATIENCE;
use crate::kill::shop::Process;

pub(crate) struct App {
    pub(crate) process: Process,
    address: String,
    printed: Lines<BufReader<ChildStdout>>,
}

impl App {
    /// Starts a process on a free port, which serves for half a second after SIGTERM.
    pub(crate) fn start(url: &str) -> Self {
        let mut command = Command::new(example("web"));
        command
            .args(["--listen=127.0.0.1:0", "--grace=500ms", "--url", url])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut process = Process::spawn(&mut command);
        let mut printed = BufReader::new(process.output()).lines();
        let first = printed.next().unwrap().unwrap();
        let address = first.strip_prefix("listening on ").unwrap().to_owned();
        Self {
            process,
            address,
            printed,
        }
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path, "")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, String) {
        self.ask("POST", path, body)
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    /// Asks until the answer has that status and contains that text.
    pub(crate) fn until(&self, path: &str, status: u16, text: &str) {
        let begun = Instant::now();
        loop {
            let answer = self.get(path);
            if answer.0 == status && answer.1.contains(text) {
                return;
            }
            assert!(begun.elapsed() < 2 * PATIENCE, "{path} answers {answer:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for a good end and returns the lines that were printed since the first.
    pub(crate) fn printed_until_its_end(mut self) -> Vec<String> {
        let printed = self.printed.map(Result::unwrap).collect();
        assert!(self.process.wait().success());
        printed
    }
}
