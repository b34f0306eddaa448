//! The lines of `effects.log`, each with when it was seen and in whose life it was written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::shop::Process;

const POLL: Duration = Duration::from_micros(500);

/// Is one line.
#[derive(Debug)]
pub(crate) struct Line {
    /// Order, task and detail.
    pub(crate) key: String,
    pub(crate) attempt: u32,
    pub(crate) life: usize,
    pub(crate) seen: Instant,
}

/// Is the life of one process, from 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Life {
    pub(crate) ended: Option<Instant>,
}

/// Follows the file.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    read: u64,
    lines: Vec<Line>,
    lives: Vec<Life>,
}

impl Ledger {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            read: 0,
            lines: Vec::new(),
            lives: Vec::new(),
        }
    }

    /// Counts what comes from now on to another life, and returns its number.
    pub(crate) fn begin_life(&mut self) -> usize {
        self.lives.push(Life { ended: None });
        self.lives.len() - 1
    }

    pub(crate) fn end_life(&mut self) {
        let ended = Some(Instant::now());
        self.read();
        self.lives.last_mut().unwrap().ended = ended;
    }

    /// Reads what was added.
    pub(crate) fn read(&mut self) {
        let Some(added) = self.added() else {
            return;
        };
        let whole = added.rfind('\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        let (seen, life) = (Instant::now(), self.lives.len() - 1);
        for line in added[..whole].lines() {
            let (key, attempt) = line.rsplit_once(' ').unwrap();
            assert_eq!(key.split(' ').count(), 3, "{line:?} is torn");
            self.lines.push(Line {
                key: key.to_owned(),
                attempt: attempt.parse().unwrap(),
                life,
                seen,
            });
        }
    }

    fn added(&self) -> Option<String> {
        let mut file = File::open(&self.path).ok()?;
        file.seek(SeekFrom::Start(self.read)).ok()?;
        let mut added = String::new();
        file.read_to_string(&mut added).ok()?;
        Some(added)
    }

    /// Waits for the first line of this life and returns how long that took; none when the process ended by itself.
    pub(crate) fn wait_for_effect(
        &mut self,
        child: &mut Process,
        patience: Duration,
    ) -> Option<Duration> {
        let (begun, before) = (Instant::now(), self.lines.len());
        loop {
            self.read();
            if self.lines.len() > before {
                return Some(begun.elapsed());
            }
            if child.has_ended() {
                return None;
            }
            assert!(begun.elapsed() < patience, "there is no new effect");
            std::thread::sleep(POLL);
        }
    }

    /// Notes what is added during `time`.
    pub(crate) fn watch(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            std::thread::sleep(POLL.min(until.saturating_duration_since(Instant::now())));
            self.read();
        }
    }

    /// Counts the orders that have been told their mail or got their refund.
    pub(crate) fn done(&self) -> usize {
        let is_last = |key: &&String| key.contains(" mail ") || key.contains(" refund ");
        self.by_key().keys().filter(is_last).count()
    }

    pub(crate) fn lines_in(&self, life: usize) -> Vec<&Line> {
        self.lines.iter().filter(|line| line.life == life).collect()
    }

    pub(crate) fn lives(&self) -> &[Life] {
        &self.lives
    }

    pub(crate) fn by_key(&self) -> BTreeMap<String, Vec<&Line>> {
        let mut keys = BTreeMap::<_, Vec<_>>::new();
        for line in &self.lines {
            keys.entry(line.key.clone()).or_default().push(line);
        }
        keys
    }
}
