//! The environment of production with chance that is the same each time, as random ids take different ways.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use longhaul::clock::{Abort, BoxFuture, Environment, TokioEnvironment};

/// Is tokio, with random bytes that are counted through.
#[derive(Debug)]
pub(crate) struct FixedChance {
    tokio: TokioEnvironment,
    drawn: AtomicU64,
}

impl FixedChance {
    pub(crate) fn new() -> Self {
        Self {
            tokio: TokioEnvironment::new(),
            drawn: AtomicU64::new(0),
        }
    }
}

impl Environment for FixedChance {
    fn elapsed(&self) -> Duration {
        self.tokio.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.tokio.sleep(duration)
    }

    fn spawn(&self, future: BoxFuture<'static, ()>) -> Box<dyn Abort> {
        self.tokio.spawn(future)
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        self.tokio.spawn_blocking(work);
    }

    /// Mixes a counter as SplitMix64 does.
    fn random_bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_mut(8) {
            let counted = self.drawn.fetch_add(1, Ordering::Relaxed) + 1;
            let mut mixed = counted.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
        }
        bytes
    }
}
