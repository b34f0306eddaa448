//! Arrivals, the outbox, and hints.
//!
//! Invariants: arrivals of a run are numbered by the counter on its row. What the backend or another run sends is not
//! turned away by a seal or a full inbox, as nobody would send it again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use longhaul_core::backend::{
    Arrival, ArrivalBody, ArriveRequest, Arrived, Events, Hint, HintCount, HintStream, Result,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::{ArrivalNumber, WorkerId, WorkflowId, WriteId};
use longhaul_core::status::Status;
use tokio::sync::Notify;

use crate::MemoryBackend;
use crate::store::{RunRow, Store};

#[async_trait]
impl Events for MemoryBackend {
    async fn arrive(&self, arrivals: Vec<ArriveRequest>) -> Result<Vec<Arrived>> {
        Ok(self.apply(|store, now| {
            let accept_one = |one: ArriveRequest| {
                let door = Door::Outside(one.inbox_max);
                accept(store, &one.run, one.write, one.body, door, now)
            };
            arrivals.into_iter().map(accept_one).collect()
        }))
    }

    async fn inbox(
        &self,
        worker: WorkerId,
        runs: Vec<(WorkflowId, ArrivalNumber)>,
    ) -> Result<Vec<(WorkflowId, Vec<Arrival>)>> {
        Ok(self.apply(|store, _| {
            let read_one = |(run, after): (WorkflowId, ArrivalNumber)| {
                let row = store.find(&run)?;
                let is_owned = row.record.owner == Some(worker);
                is_owned.then(|| (run, row.inbox_after(after)))
            };
            runs.into_iter().filter_map(read_one).collect()
        }))
    }

    async fn deliver(&self, limit: usize) -> Result<usize> {
        Ok(self.apply(|store, now| {
            let count = store.outbox.len().min(limit);
            let messages: Vec<_> = store.outbox.drain(..count).collect();
            for one in messages {
                accept(store, &one.to, one.write, one.body, Door::Inside, now);
            }
            count
        }))
    }

    fn hints(&self) -> Box<dyn HintStream> {
        Box::new(MemoryHints {
            seen: self.shared.changes.count(),
            changes: Arc::clone(&self.shared.changes),
        })
    }
}

/// Counts what others may care about, and wakes those who wait for it in the order in which they began to.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    count: Mutex<HintCount>,
    news: Notify,
}

impl Changes {
    pub(crate) fn tell(&self, hint: Hint) {
        self.locked().add(hint);
        self.news.notify_waiters();
    }

    fn count(&self) -> HintCount {
        *self.locked()
    }

    fn locked(&self) -> MutexGuard<'_, HintCount> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct MemoryHints {
    changes: Arc<Changes>,
    seen: HintCount,
}

#[async_trait]
impl HintStream for MemoryHints {
    async fn next(&mut self) -> Hint {
        loop {
            let news = self.changes.news.notified();
            if let Some(hint) = self.changes.count().news_since(&mut self.seen) {
                return hint;
            }
            news.await;
        }
    }
}

/// Says who sends an arrival.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Door {
    /// Someone who can be told to ask again; the most unread arrivals that the run may have.
    Outside(u64),
    /// The backend or another run.
    Inside,
}

/// Puts an arrival into the inbox of a run.
pub(crate) fn accept(
    store: &mut Store,
    run: &WorkflowId,
    write: WriteId,
    body: ArrivalBody,
    door: Door,
    now: Timestamp,
) -> Arrived {
    let Some(number) = store.number(run) else {
        return Arrived::Unknown;
    };
    let judged = store.row(number).and_then(|row| judge(row, write, door));
    if let Some(answer) = judged {
        return answer;
    }
    store.tell(Hint::Changed);
    let put = store.change(number, |row| put(row, write, body, now));
    put.unwrap_or(Arrived::Unknown)
}

/// Answers an arrival that changes nothing; none when it is to be put in.
fn judge(row: &RunRow, write: WriteId, door: Door) -> Option<Arrived> {
    let run = &row.record;
    if run.status.is_terminal() {
        return Some(Arrived::Finished(run.status));
    }
    if let Some((number, accepted_at)) = row.inbox_writes.get(&write) {
        return Some(Arrived::Accepted {
            number: *number,
            owner: run.owner,
            accepted_at: *accepted_at,
        });
    }
    match door {
        Door::Outside(_) if row.is_sealed => Some(Arrived::Sealed),
        Door::Outside(inbox_max) if run.arrivals.0.saturating_sub(run.read.0) >= inbox_max => {
            Some(Arrived::Full)
        }
        Door::Outside(_) | Door::Inside => None,
    }
}

fn put(row: &mut RunRow, write: WriteId, body: ArrivalBody, now: Timestamp) -> Arrived {
    let run = &mut row.record;
    let number = run.arrivals.next();
    run.arrivals = number;
    if run.status != Status::Paused {
        run.wake_at = Some(run.wake_at.map_or(now, |wake_at| wake_at.min(now)));
    }
    run.updated_at = now;
    row.inbox_writes.insert(write, (number, now));
    row.inbox.push(Arrival {
        number,
        accepted_at: now,
        body,
    });
    Arrived::Accepted {
        number,
        owner: run.owner,
        accepted_at: now,
    }
}

/// Tells who owns a run whose inbox has an arrival of this write.
pub(crate) fn accepted_before(
    store: &Store,
    run: &WorkflowId,
    write: WriteId,
) -> Option<Option<WorkerId>> {
    let row = store.find(run)?;
    let was_accepted = row.inbox_writes.contains_key(&write);
    was_accepted.then_some(row.record.owner)
}
