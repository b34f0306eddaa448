//! Arrivals, the outbox, and hints.

use std::collections::BTreeMap;

use async_trait::async_trait;
use longhaul_core::backend::{
    Arrival, ArriveRequest, Arrived, Events, HintStream, Result as Answered,
};
use longhaul_core::id::{ArrivalNumber, WorkerId, WorkflowId};

use crate::error::{Result, unreadable};
use crate::reply::{self, Items};
use crate::script::{ARRIVE, INBOX_OF};
use crate::{RedisBackend, Store, outbox, record};

#[async_trait]
impl Events for RedisBackend {
    async fn arrive(&self, arrivals: Vec<ArriveRequest>) -> Answered<Vec<Arrived>> {
        self.call(|store| async move { arrive(&store, &arrivals).await })
            .await
    }

    async fn inbox(
        &self,
        worker: WorkerId,
        runs: Vec<(WorkflowId, ArrivalNumber)>,
    ) -> Answered<Vec<(WorkflowId, Vec<Arrival>)>> {
        self.call(|store| async move { inbox(&store, worker, &runs).await })
            .await
    }

    async fn deliver(&self, limit: usize) -> Answered<usize> {
        self.call(|store| async move { outbox::deliver(&store, limit).await })
            .await
    }

    fn hints(&self) -> Box<dyn HintStream> {
        self.store.hints.subscribe()
    }
}

async fn arrive(store: &Store, arrivals: &[ArriveRequest]) -> Result<Vec<Arrived>> {
    let positions = store.layout.spread(arrivals, |one| &one.run);
    let ask = |(partition, positions): (&u16, &Vec<usize>)| {
        let call = store.on(&ARRIVE, *partition).number(positions.len());
        let of_partition = positions
            .iter()
            .filter_map(|position| arrivals.get(*position));
        let call = of_partition.fold(call, |call, one| {
            call.arg(one.run.as_str())
                .arg(one.write.0.as_bytes())
                .arg(record::body_item(&one.body))
                .number(one.inbox_max)
        });
        (*partition, call)
    };
    let calls = positions.iter().map(ask).collect();
    let mut answers: Vec<Arrived> = arrivals.iter().map(|_| Arrived::Unknown).collect();
    for (partition, mut items) in store.ask_each(calls).await? {
        let mut items = items.list()?;
        for position in positions.get(&partition).into_iter().flatten() {
            if let Some(answer) = answers.get_mut(*position) {
                *answer = arrived(items.list()?)?;
            }
        }
    }
    Ok(answers)
}

fn arrived(mut items: Items) -> Result<Arrived> {
    match items.text()?.as_str() {
        "accepted" => {
            let number = ArrivalNumber(items.number("number of an arrival")?);
            let owner = Some(items.text()?).filter(|owner| !owner.is_empty());
            Ok(Arrived::Accepted {
                number,
                owner: owner.as_deref().map(record::worker).transpose()?,
                accepted_at: record::timestamp(&items.bytes()?)?,
            })
        }
        "sealed" => Ok(Arrived::Sealed),
        "full" => Ok(Arrived::Full),
        "finished" => Ok(Arrived::Finished(record::status(&items.text()?)?)),
        "unknown" => Ok(Arrived::Unknown),
        other => Err(unreadable("answer to an arrival", other)),
    }
}

async fn inbox(
    store: &Store,
    worker: WorkerId,
    runs: &[(WorkflowId, ArrivalNumber)],
) -> Result<Vec<(WorkflowId, Vec<Arrival>)>> {
    let mut of_partition: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for (run, after) in runs {
        let asked = of_partition
            .entry(store.layout.partition_of(run))
            .or_default();
        asked.extend([run.to_string(), after.to_string()]);
    }
    let ask = |(partition, asked): (u16, Vec<String>)| {
        let call = store.on(&INBOX_OF, partition).arg(worker.to_string());
        let call = call.number(asked.len() / 2);
        (partition, call.args(asked))
    };
    let calls = of_partition.into_iter().map(ask).collect();
    let mut found = Vec::new();
    for (_, mut items) in store.ask_each(calls).await? {
        found.extend(items.list()?.each(|one| arrivals(Items::of(one)?))?);
    }
    let place = |(run, _): &(WorkflowId, _)| runs.iter().position(|(asked, _)| asked == run);
    found.sort_by_cached_key(place);
    Ok(found)
}

fn arrivals(mut items: Items) -> Result<(WorkflowId, Vec<Arrival>)> {
    let run = WorkflowId::from_stored(items.text()?);
    let after: u64 = items.number("number of an arrival")?;
    let arrivals = items.list()?.each(reply::bytes)?;
    Ok((run, record::arrivals_after(after, arrivals)?))
}
