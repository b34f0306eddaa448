//! How busy a worker is, which decides whether it gives tasks away and how many it takes.
//!
//! Invariants: a worker without peers gives nothing away. Counts are for such decisions alone: no promise rests on them.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::engine::live::Room;

/// Is how many times its slots a worker keeps of its own tasks before it gives tasks away.
const KEPT_PER_SLOT: usize = 3;

/// Is the share of its slots that a busy worker still gives to spilled tasks: one in so many.
const SHARE_OF_SPILLED: usize = 8;

/// Counts what a worker has to do.
#[derive(Debug, Default)]
pub(crate) struct Load {
    local: AtomicUsize,
    claimed: AtomicUsize,
    peers: AtomicUsize,
    claims_ended: Notify,
}

impl Load {
    /// Takes note that the attempts of a run here, waiting ones included, were so many and are so many now.
    pub(crate) fn change_local(&self, before: usize, now: usize) {
        self.local.fetch_add(now, Ordering::SeqCst);
        self.local.fetch_sub(before, Ordering::SeqCst);
    }

    /// Takes note of how many attempts from queues are here.
    pub(crate) fn set_claimed(&self, claimed: usize) {
        self.claimed.store(claimed, Ordering::SeqCst);
        if claimed == 0 {
            self.claims_ended.notify_waiters();
        }
    }

    /// Waits until no attempt from a queue is here.
    pub(crate) async fn claims_ended(&self) {
        loop {
            let ended = self.claims_ended.notified();
            if self.claimed.load(Ordering::SeqCst) == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Takes note of how many other workers could help.
    pub(crate) fn set_peers(&self, peers: usize) {
        self.peers.store(peers, Ordering::SeqCst);
    }

    /// Says how many more tasks a worker with so many slots keeps.
    pub(crate) fn room(&self, slots: usize) -> Room {
        if self.peers.load(Ordering::SeqCst) == 0 {
            return Room::UNBOUNDED;
        }
        let kept = slots.saturating_mul(KEPT_PER_SLOT);
        Room::of(kept.saturating_sub(self.all()))
    }

    /// Says how many spilled attempts a worker with so many slots takes that has `spilled` of them: as many as it has
    /// free slots, and always a share, so that they run although every worker is busy with its own.
    pub(crate) fn free_for_spilled(&self, slots: usize, spilled: usize) -> usize {
        let share = slots.div_ceil(SHARE_OF_SPILLED);
        let free = slots.saturating_sub(self.all());
        free.max(share.saturating_sub(spilled))
    }

    fn all(&self) -> usize {
        let local = self.local.load(Ordering::SeqCst);
        local.saturating_add(self.claimed.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(mut room: Room) -> usize {
        (0..1_000).take_while(|_| room.take()).count()
    }

    #[test]
    fn lone_worker_keeps_everything() {
        let load = Load::default();
        load.change_local(0, 500);
        assert_eq!(load.room(2), Room::UNBOUNDED);
    }

    #[test]
    fn worker_with_peers_keeps_three_times_its_slots() {
        let load = Load::default();
        load.set_peers(1);
        assert_eq!(places(load.room(4)), 12);
        load.change_local(0, 9);
        load.set_claimed(2);
        assert_eq!(places(load.room(4)), 1);
        load.change_local(9, 40);
        assert_eq!(places(load.room(4)), 0);
        load.change_local(40, 0);
        assert_eq!(places(load.room(4)), 10);
    }

    #[test]
    fn busy_worker_still_takes_a_share_of_spilled_tasks() {
        let load = Load::default();
        assert_eq!(load.free_for_spilled(16, 0), 16);
        load.change_local(0, 10);
        load.set_claimed(3);
        assert_eq!(load.free_for_spilled(16, 3), 3);
        load.change_local(10, 48);
        assert_eq!(load.free_for_spilled(16, 0), 2);
        assert_eq!(load.free_for_spilled(16, 2), 0);
        assert_eq!(load.free_for_spilled(1, 0), 1);
    }
}
