//! What may be said on the command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use longhaul::retry::parse_duration;

/// Is the name of the records' file in the data folder.
const FILE: &str = "longhaul.db";

/// Takes orders to their end, whatever happens to this process.
#[derive(Debug, Parser)]
#[command(name = "checkout")]
pub(crate) struct Arguments {
    /// JSON lines to read the orders from; twenty orders are built in
    #[arg(long, value_name = "FILE")]
    pub(crate) orders: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) settings: Settings,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What all commands take.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Folder of the records and of effects.log
    #[arg(
        long,
        global = true,
        value_name = "FOLDER",
        default_value = "checkout-data"
    )]
    pub(crate) data: PathBuf,

    /// Store of the records; the file longhaul.db in the data folder by default
    #[arg(long, global = true)]
    url: Option<String>,

    /// How long a worker owns its runs after its last sign of life
    #[arg(long, global = true, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) lease: Duration,

    /// How many tasks run at once
    #[arg(long, global = true, value_name = "N", default_value_t = 64)]
    pub(crate) slots: usize,

    /// How many milliseconds each task takes
    #[arg(long, global = true, value_name = "MS", default_value_t = 0)]
    pub(crate) pace: u64,

    /// How long an order over 1,000.00 waits for its approval
    #[arg(long, global = true, value_name = "TIME", default_value = "3s", value_parser = duration)]
    pub(crate) approval_timeout: Duration,
}

impl Settings {
    pub(crate) fn url(&self) -> String {
        self.url
            .clone()
            .unwrap_or_else(|| sqlite_url(&self.data.join(FILE)))
    }

    /// Returns the file of the records, unless a store is named.
    pub(crate) fn default_file(&self) -> Option<PathBuf> {
        self.url.is_none().then(|| self.data.join(FILE))
    }
}

/// What to do instead of running the orders.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Approve an order over 1,000.00, or refuse it
    Approve {
        /// The order's id
        order: String,
        /// Refuse it
        #[arg(long)]
        refuse: bool,
    },
    /// Show where each order stands
    Status,
    /// Run a worker only, until Ctrl-C or SIGTERM; any number of them share a store
    Worker,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

fn sqlite_url(path: &Path) -> String {
    let escaped: String = path
        .to_string_lossy()
        .chars()
        .map(|letter| match letter {
            '%' => "%25".to_owned(),
            '?' => "%3F".to_owned(),
            other => other.to_string(),
        })
        .collect();
    format!("sqlite:{escaped}")
}
