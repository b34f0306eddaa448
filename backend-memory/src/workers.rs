//! The register of workers: joining, leases, death, and what becomes of what a dead worker had.
//!
//! Invariants: a worker is declared dead and loses everything in one request, so that nothing it asks for later is
//! accepted. An id that was declared dead never comes back.

use std::time::Duration;

use longhaul_core::backend::{
    ArrivalBody, ArrivalKind, Hint, JoinRequest, Result, TakeOverRequest, TakenOver,
};
use longhaul_core::clock::{Timestamp, random_bytes_of_the_system};
use longhaul_core::id::{Uuid, WorkerId, WriteId};

use crate::error::worker_dead;
use crate::events::{self, Door};
use crate::store::{RunRow, Store, WorkerRow};

pub(crate) fn join(store: &mut Store, request: JoinRequest, now: Timestamp) -> Result<()> {
    let worker = request.worker;
    if store.dead_workers.contains(&worker) {
        return Err(worker_dead(worker));
    }
    let lease_until = now.after(request.lease);
    let row = store.workers.entry(worker).or_insert(WorkerRow {
        joined: request,
        lease_until,
    });
    row.lease_until = lease_until;
    Ok(())
}

/// Starts a worker's lease anew.
pub(crate) fn extend(
    store: &mut Store,
    worker: WorkerId,
    lease: Duration,
    now: Timestamp,
) -> Result<()> {
    let row = store.workers.get_mut(&worker);
    let row = row.ok_or_else(|| worker_dead(worker))?;
    row.lease_until = now.after(lease);
    Ok(())
}

/// Refuses a worker that is not registered.
///
/// Extends a lease that is not over and of which half is used: its beat is late then, and what it asks for shows that
/// it is alive.
pub(crate) fn require(store: &mut Store, worker: WorkerId, now: Timestamp) -> Result<()> {
    let row = store.workers.get_mut(&worker);
    let row = row.ok_or_else(|| worker_dead(worker))?;
    let lease = row.joined.lease;
    if row.lease_until >= now && row.lease_until.since(now) < lease / 2 {
        row.lease_until = now.after(lease);
    }
    Ok(())
}

/// Returns the workers whose lease is over.
pub(crate) fn dead(store: &Store, now: Timestamp) -> Vec<WorkerId> {
    let is_over = |row: &WorkerRow| row.lease_until < now;
    let over = store.workers.iter().filter(|(_, row)| is_over(row));
    over.map(|(worker, _)| *worker).collect()
}

/// Counts the other workers that live and can run tasks.
pub(crate) fn peers(store: &Store, worker: WorkerId, now: Timestamp) -> usize {
    let is_peer = |(id, row): &(&WorkerId, &WorkerRow)| {
        **id != worker && row.lease_until >= now && !row.joined.serves.tasks.is_empty()
    };
    store.workers.iter().filter(is_peer).count()
}

/// Declares workers dead and frees what they had.
pub(crate) fn take_over(store: &mut Store, request: &TakeOverRequest, now: Timestamp) -> TakenOver {
    let mut workers = dead(store, now);
    let is_registered = |worker: &&WorkerId| store.workers.contains_key(worker);
    workers.extend(request.force.iter().filter(is_registered));
    workers.sort_unstable();
    workers.dedup();
    let mut taken = TakenOver::default();
    for worker in &workers {
        store.dead_workers.insert(*worker);
        let (runs, attempts) = remove(store, *worker, now);
        taken.runs += runs;
        taken.attempts += attempts;
    }
    if !workers.is_empty() {
        store.tell(Hint::Changed);
    }
    taken.workers = workers;
    taken
}

/// Takes a worker off the register and frees its runs and attempts; returns how many there were.
pub(crate) fn remove(store: &mut Store, worker: WorkerId, now: Timestamp) -> (usize, usize) {
    store.workers.remove(&worker);
    let owned = store.owned(worker);
    let runs = owned.map_or_else(Vec::new, |owned| owned.all.iter().copied().collect());
    for run in &runs {
        store.change(*run, |row| free(row, now));
    }
    let attempts = store.queues.give_up(worker);
    for attempt in &attempts {
        let body = ArrivalBody {
            kind: ArrivalKind::AttemptLost,
            name: attempt.operation.to_string(),
            content: attempt.attempt.to_be_bytes().to_vec(),
        };
        events::accept(store, &attempt.run, new_write(), body, Door::Inside, now);
    }
    if !runs.is_empty() {
        store.tell(Hint::Changed);
    }
    (runs.len(), attempts.len())
}

fn free(row: &mut RunRow, now: Timestamp) {
    let turns = row.turns.len();
    let run = &mut row.record;
    run.owner = None;
    run.wake_at = Some(now);
    run.updated_at = now;
    run.lost = if turns > row.lost_turns {
        1
    } else {
        run.lost.saturating_add(1)
    };
    row.lost_turns = turns;
    row.is_sealed = false;
}

/// Draws the name of a write that the backend makes itself.
pub(crate) fn new_write() -> WriteId {
    let mut bytes = [0; 16];
    for (byte, random) in bytes.iter_mut().zip(random_bytes_of_the_system()) {
        *byte = random;
    }
    WriteId(Uuid::from_random_bytes(bytes))
}
