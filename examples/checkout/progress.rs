//! Showing how far the orders are: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

use crate::workflow::Outcome;

/// Shows each order as it ends.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    total: usize,
    completed: usize,
    failed: usize,
}

impl Progress {
    pub(crate) fn of(total: usize) -> Self {
        let bar = std::io::stdout().is_terminal().then(|| {
            let bar = ProgressBar::new(total as u64);
            let style = "{bar:30} {pos}/{len} {msg}";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar
        });
        Self {
            bar,
            total,
            completed: 0,
            failed: 0,
        }
    }

    pub(crate) fn ended(&mut self, order: &str, outcome: &longhaul::Result<Outcome>) {
        let text = match outcome {
            Ok(Outcome::Shipped) => "shipped".to_owned(),
            Ok(Outcome::Refunded) => "refunded".to_owned(),
            Err(error) => format!("failed: {error:#}"),
        };
        match outcome {
            Ok(_) => self.completed += 1,
            Err(_) => self.failed += 1,
        }
        let line = format!("{order} {text}");
        match &self.bar {
            Some(bar) => {
                bar.inc(1);
                bar.set_message(line);
            }
            None => println!("{line}"),
        }
    }

    /// Shows a line that stays.
    pub(crate) fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => println!("{line}"),
        }
    }

    /// Prints the last line and tells whether all went well.
    pub(crate) fn finish(self) -> bool {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        println!(
            "{} orders: {} completed, {} failed",
            self.total, self.completed, self.failed
        );
        self.failed == 0
    }
}
