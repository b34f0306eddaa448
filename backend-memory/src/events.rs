//! What reaches a run from elsewhere.

use async_trait::async_trait;
use longhaul_core::backend::{
    Arrival, ArrivalBody, ArriveRequest, Arrived, Events, Hint, HintStream, Result,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::{ArrivalNumber, WorkerId, WorkflowId, WriteId};
use tokio::sync::watch;

use crate::MemoryBackend;
use crate::store::Store;

#[async_trait]
impl Events for MemoryBackend {
    async fn arrive(&self, arrivals: Vec<ArriveRequest>) -> Result<Vec<Arrived>> {
        let now = self.now();
        let mut store = self.store();
        let arrived = arrivals
            .iter()
            .map(|one| {
                let door = Door::Outside(one.inbox_max);
                store.accept(&one.run, one.write, &one.body, door, now)
            })
            .collect();
        drop(store);
        self.tell();
        Ok(arrived)
    }

    async fn inbox(
        &self,
        worker: WorkerId,
        runs: Vec<(WorkflowId, ArrivalNumber)>,
    ) -> Result<Vec<(WorkflowId, Vec<Arrival>)>> {
        let store = self.store();
        let read = |(id, after): (WorkflowId, ArrivalNumber)| {
            let run = store.run(&id)?;
            let unread = run
                .inbox
                .iter()
                .filter(|(_, arrival)| arrival.number > after)
                .map(|(_, arrival)| arrival.clone())
                .collect();
            (run.record.owner == Some(worker)).then_some((id, unread))
        };
        Ok(runs.into_iter().filter_map(read).collect())
    }

    async fn deliver(&self, limit: usize) -> Result<usize> {
        let now = self.now();
        let mut store = self.store();
        let mut moved = 0;
        while moved < limit
            && let Some(message) = store.outbox.pop_front()
        {
            store.accept(&message.to, message.write, &message.body, Door::Inside, now);
            moved += 1;
        }
        drop(store);
        if moved > 0 {
            self.tell();
        }
        Ok(moved)
    }

    fn hints(&self) -> Box<dyn HintStream> {
        Box::new(MemoryHints(self.0.changes.subscribe()))
    }
}

struct MemoryHints(watch::Receiver<u64>);

#[async_trait]
impl HintStream for MemoryHints {
    async fn next(&mut self) -> Hint {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        Hint::Changed
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

impl Store {
    /// Puts an arrival into the inbox of a run.
    pub(crate) fn accept(
        &mut self,
        id: &WorkflowId,
        write: WriteId,
        body: &ArrivalBody,
        door: Door,
        now: Timestamp,
    ) -> Arrived {
        let Some(run) = self.run(id) else {
            return Arrived::Unknown;
        };
        let record = &run.record;
        if record.status.is_terminal() {
            return Arrived::Finished(record.status);
        }
        if let Some((_, before)) = run.inbox.iter().find(|(known, _)| *known == write) {
            return Arrived::Accepted {
                number: before.number,
                owner: record.owner,
                accepted_at: before.accepted_at,
            };
        }
        if let Door::Outside(inbox_max) = door {
            if run.is_sealed {
                return Arrived::Sealed;
            }
            if record.arrivals.0.saturating_sub(record.read.0) >= inbox_max {
                return Arrived::Full;
            }
        }
        let (number, owner) = (record.arrivals.next(), record.owner);
        let arrival = Arrival {
            number,
            accepted_at: now,
            body: body.clone(),
        };
        self.change(id, |run| {
            run.record.arrivals = number;
            run.record.wake_at = Some(run.record.wake_at.map_or(now, |due| due.min(now)));
            run.record.updated_at = now;
            run.inbox.push((write, arrival));
        });
        Arrived::Accepted {
            number,
            owner,
            accepted_at: now,
        }
    }
}
