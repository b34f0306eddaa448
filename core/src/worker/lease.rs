//! How long a worker may trust that it owns its runs.
//!
//! Invariants: trust is counted on the worker's own monotonic clock from when an extension was *requested*, so it ends
//! before any other worker can take over. Without trust no effect is started.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Tells whether the worker may start effects.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    trusted_until_us: AtomicU64,
    renewed: Notify,
}

impl Lease {
    /// Takes note of an extension by `lease` that was requested at `requested` and granted.
    pub(crate) fn renew(&self, requested: Duration, lease: Duration) {
        let until = u64::try_from((requested + lease).as_micros()).unwrap_or(u64::MAX);
        self.trusted_until_us.fetch_max(until, Ordering::SeqCst);
        self.renewed.notify_waiters();
    }

    /// Ends all trust, as the worker was declared dead.
    pub(crate) fn revoke(&self) {
        self.trusted_until_us.store(0, Ordering::SeqCst);
    }

    pub(crate) fn is_trusted(&self, elapsed: Duration) -> bool {
        let until = Duration::from_micros(self.trusted_until_us.load(Ordering::SeqCst));
        elapsed < until
    }

    /// Waits for the next extension after this call.
    pub(crate) fn renewed(&self) -> Notified<'_> {
        self.renewed.notified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_ends_a_lease_after_the_request_not_after_the_answer() {
        let lease = Lease::default();
        let second = Duration::from_secs(1);
        assert!(!lease.is_trusted(Duration::ZERO));
        lease.renew(second, 5 * second);
        assert!(lease.is_trusted(second * 59 / 10));
        assert!(!lease.is_trusted(6 * second));
    }

    #[test]
    fn late_answer_to_an_early_request_takes_no_trust_away() {
        let lease = Lease::default();
        let second = Duration::from_secs(1);
        lease.renew(3 * second, 5 * second);
        lease.renew(second, 5 * second);
        assert!(lease.is_trusted(7 * second));
        lease.revoke();
        assert!(!lease.is_trusted(second));
    }
}
