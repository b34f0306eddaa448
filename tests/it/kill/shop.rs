//! The example's program, and a folder with orders for it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use crate::example::example;

/// Is a process that does not outlive a test that fails.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    /// Kills it with signal 9.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Ends it as a service manager does.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        self.signal("TERM");
        self.0.wait().unwrap()
    }

    /// Sends a signal of that name.
    pub(crate) fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        let sent = kill.args(["-s", name, &self.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Takes what it prints.
    pub(crate) fn output(&mut self) -> ChildStdout {
        self.0.stdout.take().unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.0.wait().unwrap()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Is one order of the file.
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) skus: Vec<String>,
    pub(crate) is_big: bool,
}

impl Order {
    /// Returns its line in the file.
    pub(crate) fn json(&self) -> String {
        let price = if self.is_big { 100_001 } else { 1_990 };
        let item = |sku| format!(r#"{{"sku":"{sku}","quantity":1,"price_cents":{price}}}"#);
        let items: Vec<_> = self.skus.iter().map(item).collect();
        format!(
            r#"{{"id":"{}","customer":"a@example.com","items":[{}]}}"#,
            self.id,
            items.join(",")
        )
    }

    /// Returns what is to be done for it.
    pub(crate) fn effects(&self, is_shipped: bool) -> Vec<String> {
        let each = |task: &str| {
            let of_sku = |sku| format!("{} {task} {sku}", self.id);
            self.skus.iter().map(of_sku).collect::<Vec<_>>()
        };
        let once = |task: &str| vec![format!("{} {task} -", self.id)];
        let rest = if is_shipped {
            [once("ship"), once("mail")]
        } else {
            [once("refund"), each("release")]
        };
        [each("reserve"), once("charge"), rest.concat()].concat()
    }
}

/// Is a folder of its own with orders, records and effects.
pub(crate) struct Shop {
    folder: tempfile::TempDir,
    orders: Vec<Order>,
    url: Option<String>,
}

impl Shop {
    /// Makes `count` orders of 1 to 5 items, each fifth over the limit.
    pub(crate) fn new(count: usize) -> Self {
        Self::of_orders(count, |number| number % 5 == 3)
    }

    /// Makes `count` orders of 1 to 5 items; `is_big` says which are over the limit.
    pub(crate) fn of_orders(count: usize, is_big: impl Fn(usize) -> bool) -> Self {
        let orders: Vec<_> = (0..count)
            .map(|number| Order {
                id: format!("order-{}", 2_001 + number),
                skus: (0..=number * 7 % 5)
                    .map(|sku| format!("sku-{sku}"))
                    .collect(),
                is_big: is_big(number),
            })
            .collect();
        let mut text = String::new();
        for order in &orders {
            let _ = writeln!(text, "{}", order.json());
        }
        Self {
            orders,
            ..Self::of(&text)
        }
    }

    /// Takes the text of an orders file.
    pub(crate) fn of(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("orders.jsonl"), text).unwrap();
        Self {
            folder,
            orders: Vec::new(),
            url: None,
        }
    }

    /// Keeps its records in that store instead of a file of its own.
    pub(crate) fn at(self, url: &str) -> Self {
        let url = Some(url.to_owned());
        Self { url, ..self }
    }

    pub(crate) fn orders(&self) -> &[Order] {
        &self.orders
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn effects(&self) -> PathBuf {
        self.data().join("effects.log")
    }

    /// Makes a command in the folder, with its data.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(example("checkout"));
        command
            .args(arguments)
            .arg("--data=data")
            .current_dir(self.folder.path())
            .env_remove("LONGHAUL_LOG");
        command.args(self.url.iter().map(|url| format!("--url={url}")));
        command
    }

    /// Starts a process whose output goes to files of that name.
    pub(crate) fn spawn(&self, name: &str, arguments: &[&str]) -> Process {
        let file = |suffix: &str| {
            let path = self.folder.path().join(format!("{name}.{suffix}"));
            Stdio::from(std::fs::File::create(path).unwrap())
        };
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).stdout(file("out"));
        Process::spawn(command.stderr(file("err")))
    }

    /// Starts a process that runs the orders.
    pub(crate) fn run(&self, options: &[&str]) -> Process {
        self.spawn("run", &[&["--orders=orders.jsonl"], options].concat())
    }

    /// Runs the orders to their end and returns what was printed.
    pub(crate) fn finish(&self, options: &[&str]) -> String {
        self.output_of(self.run(options))
    }

    /// Waits for a process that [`Shop::run`] has started and returns what it printed.
    pub(crate) fn output_of(&self, mut child: Process) -> String {
        let status = child.wait();
        assert!(status.success(), "{status}: {}", self.error_output());
        assert_eq!(self.error_output(), "");
        self.read("run.out")
    }

    pub(crate) fn error_output(&self) -> String {
        self.read("run.err")
    }

    pub(crate) fn status(&self) -> String {
        let output = self.command(&["status"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Reads a file of the folder, such as what a process of that name has printed.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }
}
