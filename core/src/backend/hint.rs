//! Hints that something in the store changed, and streams of them.
//!
//! Invariants: a hint may be lost, late, merged with others or doubled; nothing depends on it but how soon something is
//! noticed.

use async_trait::async_trait;
use tokio::sync::watch;

use crate::backend::{RunUpdate, TurnCommit};

/// Says that something changed that a worker or a waiting client may care about.
///
/// What is greater says more; of several the greatest may stand for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Hint {
    /// Runs ended, were paused, or answered updates, and nothing else happened: of interest to who waits for that, not to
    /// workers.
    Ended,
    /// Something changed, anything.
    Changed,
}

impl Hint {
    /// Returns what others are to be told of turns that were committed; none when they concern nobody but their owner.
    #[must_use]
    pub fn of(turns: &[TurnCommit]) -> Option<Self> {
        turns.iter().filter_map(Self::of_turn).max()
    }

    fn of_turn(turn: &TurnCommit) -> Option<Self> {
        let concerns_others =
            !turn.subworkflows.is_empty() || !turn.enqueue.is_empty() || !turn.outbox.is_empty();
        match turn.update {
            _ if concerns_others => Some(Self::Changed),
            RunUpdate::Release { .. }
            | RunUpdate::Block { .. }
            | RunUpdate::Park {
                wake_at: Some(_), ..
            } => Some(Self::Changed),
            RunUpdate::End { .. } | RunUpdate::Pause { .. } => Some(Self::Ended),
            RunUpdate::Append | RunUpdate::Drain { .. } | RunUpdate::Park { .. } => {
                turn.answers().then_some(Self::Ended)
            }
        }
    }
}

/// Yields hints that something in the store changed, from this process or another. Hints may be merged, late or lost.
#[async_trait]
pub trait HintStream: Send + Sync {
    /// Waits for the next hint; for ever, when there can be none any more.
    ///
    /// # Cancel safety
    /// A dropped call loses at most a hint.
    async fn next(&mut self) -> Hint;
}

/// Counts hints, so that whoever looks from time to time misses none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HintCount {
    ended: u64,
    changed: u64,
}

impl HintCount {
    /// Counts one.
    pub const fn add(&mut self, hint: Hint) {
        match hint {
            Hint::Ended => self.ended += 1,
            Hint::Changed => self.changed += 1,
        }
    }

    /// Returns the greatest hint that was counted since `seen`, and sees it.
    pub fn news_since(self, seen: &mut Self) -> Option<Hint> {
        let seen = std::mem::replace(seen, self);
        if seen.changed != self.changed {
            return Some(Hint::Changed);
        }
        (seen.ended != self.ended).then_some(Hint::Ended)
    }
}

/// Tells hints to the streams of one handle. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Hints(watch::Sender<HintCount>);

impl Hints {
    /// Tells whoever waits.
    pub fn tell(&self, hint: Hint) {
        self.0.send_modify(|count| count.add(hint));
    }

    /// Opens a stream of what is told from now on.
    #[must_use]
    pub fn subscribe(&self) -> Box<dyn HintStream> {
        let count = self.0.subscribe();
        let seen = *count.borrow();
        Box::new(Told { count, seen })
    }

    /// Tells whether there is a stream.
    #[must_use]
    pub fn are_heard(&self) -> bool {
        self.0.receiver_count() > 0
    }
}

struct Told {
    count: watch::Receiver<HintCount>,
    seen: HintCount,
}

#[async_trait]
impl HintStream for Told {
    async fn next(&mut self) -> Hint {
        loop {
            if self.count.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            let count = *self.count.borrow_and_update();
            if let Some(hint) = count.news_since(&mut self.seen) {
                return hint;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn stream_tells_the_greatest_hint_that_it_missed_and_tells_it_once() {
        let hints = Hints::default();
        hints.tell(Hint::Changed);
        let mut stream = hints.subscribe();
        assert_eq!(stream.next().now_or_never(), None);
        hints.tell(Hint::Changed);
        hints.tell(Hint::Ended);
        assert_eq!(stream.next().now_or_never(), Some(Hint::Changed));
        assert_eq!(stream.next().now_or_never(), None);
        hints.tell(Hint::Ended);
        assert_eq!(stream.next().now_or_never(), Some(Hint::Ended));
    }
}
