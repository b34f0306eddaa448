//! Looking again at what somebody else does.
//!
//! Invariant: a look follows each hint, and none is later than the longest pause, as hints may be lost.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::HintStream;
use crate::client::Client;
use crate::clock::Environment;

/// Is how soon something is looked at again, at first; twice as long each time.
const LOOK_FIRST: Duration = Duration::from_millis(20);

const LOOK_MAX: Duration = Duration::from_secs(1);

/// Is the shortest time between two looks that hints ask for.
const HINTS_COALESCED: Duration = Duration::from_millis(2);

/// Says when to look again.
pub(super) struct Looks {
    hints: Box<dyn HintStream>,
    environment: Arc<dyn Environment>,
    pause: Duration,
}

impl fmt::Debug for Looks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Looks").finish_non_exhaustive()
    }
}

impl Looks {
    pub(super) fn new(client: &Client) -> Self {
        Self {
            hints: client.backend().hints(),
            environment: client.environment(),
            pause: LOOK_FIRST,
        }
    }

    /// Looks again soon, as something has just happened.
    pub(super) const fn be_quick(&mut self) {
        self.pause = LOOK_FIRST;
    }

    /// Waits until the next look.
    ///
    /// # Cancel safety
    /// A dropped call loses nothing but a hint.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            biased;
            _ = self.hints.next() => self.environment.sleep(HINTS_COALESCED).await,
            () = self.environment.sleep(self.pause) => self.pause = (self.pause * 2).min(LOOK_MAX),
        }
    }
}
