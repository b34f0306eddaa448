//! What reaches a run from elsewhere: arrivals, the outbox, and hints.
//!
//! Invariants: an arrival that a run has already is recognised before the inbox can refuse it. What nobody would send
//! again is never refused by a seal or a full inbox.

use async_trait::async_trait;
use longhaul_core::backend::{
    Arrival, ArriveRequest, Arrived, Events, Hint, HintStream, Message, Result,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::{ArrivalNumber, WorkerId, WorkflowId};
use tokio::sync::watch;

use crate::ToyBackend;
use crate::store::Store;

#[async_trait]
impl Events for ToyBackend {
    async fn arrive(&self, arrivals: Vec<ArriveRequest>) -> Result<Vec<Arrived>> {
        Ok(self.write(|store, now| {
            let arrive = |request| store.arrive(request, now);
            arrivals.into_iter().map(arrive).collect()
        }))
    }

    async fn inbox(
        &self,
        worker: WorkerId,
        runs: Vec<(WorkflowId, ArrivalNumber)>,
    ) -> Result<Vec<(WorkflowId, Vec<Arrival>)>> {
        Ok(self.read(|store, _| {
            let unread = |(id, read): (WorkflowId, ArrivalNumber)| {
                let run = store.runs.get(&id).filter(|run| run.is_owned_by(worker))?;
                Some((id, run.arrivals_after(read)))
            };
            runs.into_iter().filter_map(unread).collect()
        }))
    }

    async fn deliver(&self, limit: usize) -> Result<usize> {
        Ok(self.write(|store, now| {
            let moved = limit.min(store.outbox.len());
            let messages: Vec<_> = store.outbox.drain(..moved).collect();
            for message in messages {
                store.put_message(message, now);
            }
            moved
        }))
    }

    fn hints(&self) -> Box<dyn HintStream> {
        Box::new(Changes(self.shared.changes.subscribe()))
    }
}

impl Store {
    fn arrive(&mut self, request: ArriveRequest, now: Timestamp) -> Arrived {
        let Some(run) = self.runs.get_mut(&request.run) else {
            return Arrived::Unknown;
        };
        if run.record.status.is_terminal() {
            return Arrived::Finished(run.record.status);
        }
        if run.arrived(request.write).is_none() {
            if run.is_sealed {
                return Arrived::Sealed;
            }
            if run.record.arrivals.0 - run.record.read.0 >= request.inbox_max {
                return Arrived::Full;
            }
            run.put(Some(request.write), request.body, now);
        }
        match run.arrived(request.write) {
            Some(arrival) => Arrived::Accepted {
                number: arrival.number,
                owner: run.record.owner,
                accepted_at: arrival.accepted_at,
            },
            None => Arrived::Unknown,
        }
    }

    /// Puts a message into the inbox of its run, unless that is finished, unknown, or has it.
    fn put_message(&mut self, message: Message, now: Timestamp) {
        if let Some(run) = self.runs.get_mut(&message.to)
            && !run.record.status.is_terminal()
            && run.arrived(message.write).is_none()
        {
            run.put(Some(message.write), message.body, now);
        }
    }
}

/// Yields a hint for each change, or one for several.
struct Changes(watch::Receiver<()>);

#[async_trait]
impl HintStream for Changes {
    async fn next(&mut self) -> Hint {
        if self.0.changed().await.is_err() {
            // The last handle is gone, and with it the store: nothing changes any more.
            std::future::pending::<()>().await;
        }
        Hint::Changed
    }
}
