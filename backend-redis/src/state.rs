//! Who owns which run: joining, the beat, starting, acquiring.

use std::collections::BTreeSet;

use async_trait::async_trait;
use longhaul_core::backend::{
    AcquireRequest, AcquiredRun, Beat, BeatRequest, Due, JoinRequest, Lane, PAGE_MAX,
    Result as Answered, Serves, StartRun, Started, State, TakeOverRequest, TakenOver, TurnCommit,
    Verdict,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::{Epoch, QueueName, Route, TaskName, WorkerId, WorkflowId};
use redis::{Cmd, Value};

use crate::call::Call;
use crate::error::{Failure, Result, unreadable};
use crate::layout::Slot;
use crate::reply::{Fields, Items};
use crate::script::{ACQUIRE, BEAT, DUE, JOIN, LEASE, OWNED, REGISTER, RELOAD};
use crate::{RedisBackend, Store, commit, record, reply, start, takeover};

/// Is the most runs or attempts that a script takes, whatever is asked for.
pub(crate) const LIMIT_MAX: usize = 1 << 20;

/// Is the longest history that comes with a run; a longer one is read in pages of that many turns.
const TURNS_MAX: usize = 256;

#[async_trait]
impl State for RedisBackend {
    async fn join(&self, request: JoinRequest) -> Answered<()> {
        self.call(|store| async move { join(&store, &request).await })
            .await
    }

    async fn beat(&self, request: BeatRequest) -> Answered<Beat> {
        self.call(|store| async move {
            let answer = beat(&store, &request).await;
            store.as_worker(request.worker, answer).await
        })
        .await
    }

    async fn leave(&self, worker: WorkerId) -> Answered<()> {
        self.call(|store| async move {
            takeover::declare_dead(&store, &[worker]).await?;
            Ok(())
        })
        .await
    }

    async fn take_over(&self, request: TakeOverRequest) -> Answered<TakenOver> {
        self.call(|store| async move { takeover::take_over(&store, &request.force).await })
            .await
    }

    async fn start(&self, lane: Option<Lane>, runs: Vec<StartRun>) -> Answered<Vec<Started>> {
        self.call(|store| async move {
            let answer = start::start(&store, lane, &runs).await;
            match lane {
                Some(lane) => store.as_worker(lane.worker, answer).await,
                None => answer,
            }
        })
        .await
    }

    async fn acquire(&self, request: AcquireRequest) -> Answered<Vec<AcquiredRun>> {
        self.call(|store| async move {
            let answer = acquire(&store, &request).await;
            store.as_worker(request.lane.worker, answer).await
        })
        .await
    }

    async fn reload(
        &self,
        worker: WorkerId,
        run: &WorkflowId,
        epoch: Epoch,
    ) -> Answered<Option<AcquiredRun>> {
        let run = run.clone();
        self.call(|store| async move { reload(&store, worker, &run, epoch).await })
            .await
    }

    async fn owned(&self, worker: WorkerId) -> Answered<Vec<(WorkflowId, Epoch)>> {
        self.call(|store| async move { owned(&store, worker).await })
            .await
    }

    async fn commit(&self, lane: Lane, turns: Vec<TurnCommit>) -> Answered<Vec<Verdict>> {
        self.call(|store| async move {
            let answer = commit::commit(&store, Some(lane.worker), &turns).await;
            store.as_worker(lane.worker, answer).await
        })
        .await
    }

    async fn edit(&self, turns: Vec<TurnCommit>) -> Answered<Vec<Verdict>> {
        self.call(|store| async move { commit::commit(&store, None, &turns).await })
            .await
    }
}

/// Puts a worker on the register, and then makes it a member of each partition.
async fn join(store: &Store, request: &JoinRequest) -> Result<()> {
    let worker = request.worker.to_string();
    let runs_tasks = if request.serves.tasks.is_empty() {
        ""
    } else {
        "1"
    };
    let register = store
        .script(&REGISTER, Slot::Leases)
        .arg(&worker)
        .number(request.lease.as_micros())
        .arg(runs_tasks)
        .arg(record::worker_item(request));
    store.ask(Slot::Leases, register).await?;
    store
        .ask_all(|partition| store.on(&JOIN, partition).arg(&worker))
        .await?;
    Ok(())
}

/// Is what the register says to a beat.
struct Register {
    dead: Vec<WorkerId>,
    peers: usize,
    all: Vec<String>,
}

async fn beat(store: &Store, request: &BeatRequest) -> Result<Beat> {
    let worker = request.worker.to_string();
    let (register, partitions) = tokio::join!(
        register(store, &worker, request),
        store.ask_ready(|partition| ask_beat(store, partition, &worker, &request.serves))
    );
    let register = register?;
    let mut beat = Beat {
        dead: register.dead,
        peers: register.peers,
        ..Beat::default()
    };
    for (_, items) in partitions? {
        let (members, generation) = add_partition(&mut beat, items)?;
        let own = members.iter().find(|(member, _)| *member == worker);
        if own.is_none_or(|(_, joined)| *joined != generation) {
            return Err(Failure::OtherGeneration);
        }
        for (member, _) in members {
            if !register.all.contains(&member) {
                beat.dead.push(record::worker(&member)?);
            }
        }
    }
    beat.due.now = beat.due.now.min(PAGE_MAX);
    beat.claimable = beat.claimable.min(PAGE_MAX);
    beat.arrivals.sort_unstable();
    beat.dead.sort_unstable();
    beat.dead.dedup();
    Ok(beat)
}

async fn register(store: &Store, worker: &str, request: &BeatRequest) -> Result<Register> {
    let call = store.script(&LEASE, Slot::Leases).arg(worker);
    let call = match request.extend {
        Some(lease) => call.number(lease.as_micros()),
        None => call.arg(""),
    };
    let mut items = store.ask(Slot::Leases, call).await?;
    Ok(Register {
        dead: items
            .list()?
            .each(|one| record::worker(&reply::text(one)?))?,
        peers: items.number("count of peers")?,
        all: items.list()?.each(reply::text)?,
    })
}

fn ask_beat(store: &Store, partition: u16, worker: &str, serves: &Serves) -> Call {
    let routes: Vec<&str> = distinct(serves.routes.iter().map(Route::as_str));
    let tasks: Vec<&str> = distinct(serves.tasks.iter().map(TaskName::as_str));
    let queues: Vec<&str> = distinct(serves.queues.iter().map(QueueName::as_str));
    let call = store
        .on(&BEAT, partition)
        .arg(worker)
        .arg(serves.build.as_str())
        .number(PAGE_MAX)
        .counted(&routes)
        .number(queues.len() * tasks.len());
    let pairs = queues
        .iter()
        .flat_map(|queue| tasks.iter().map(move |task| [queue, task]));
    pairs.flatten().fold(call, Call::arg)
}

/// Lists each text once.
pub(crate) fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut texts: Vec<&str> = texts.collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}

/// Adds what a partition says; returns its members with their generations, and its own.
fn add_partition(beat: &mut Beat, mut items: Items) -> Result<(Vec<(String, String)>, String)> {
    let unread = items.list()?.each(reply::text)?;
    beat.arrivals
        .extend(unread.iter().map(WorkflowId::from_stored));
    beat.due.now += items.number::<usize>("count of due runs")?;
    beat.due.next = earlier(beat.due.next, &items.bytes()?)?;
    beat.claimable += items.number::<usize>("count of attempts")?;
    beat.next_claimable = earlier(beat.next_claimable, &items.bytes()?)?;
    beat.outbox |= items.number::<usize>("count of lists")? > 0;
    beat.owned += items.number::<usize>("count of runs")?;
    beat.claimed += items.number::<usize>("count of attempts")?;
    let members = Fields::of(items.value()?)?.into_pairs();
    let text = |bytes| String::from_utf8(bytes).map_err(|_| unreadable("worker", "is not UTF-8"));
    let members = members
        .into_iter()
        .map(|(member, joined)| Ok((text(member)?, text(joined)?)));
    Ok((members.collect::<Result<_>>()?, items.text()?))
}

fn earlier(known: Option<Timestamp>, found: &[u8]) -> Result<Option<Timestamp>> {
    if found.is_empty() {
        return Ok(known);
    }
    let found = record::timestamp(found)?;
    Ok(Some(known.map_or(found, |known| known.min(found))))
}

/// Is a due run as a partition lists it; sorts by the time it is due, then by when it was started.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct DueRun {
    due: i64,
    number: String,
    id: String,
    partition: u16,
}

/// Looks for the oldest due runs of all partitions, and then takes them where they are.
/// Takes the runs that are due first; where others were faster, goes on with those that are left, as a claim does. It
/// ends, as no run is tried twice.
async fn acquire(store: &Store, request: &AcquireRequest) -> Result<Vec<AcquiredRun>> {
    let mut tried = BTreeSet::new();
    let mut acquired = Vec::new();
    loop {
        let left = request.limit - acquired.len();
        let mut due = due_runs(store, &request.serves, left).await?;
        due.retain(|one| !tried.contains(&one.id));
        due.truncate(left);
        if due.is_empty() && !tried.is_empty() {
            return Ok(acquired);
        }
        let taken = take(store, &due, request).await?;
        let is_beaten = taken.len() < due.len();
        acquired.extend(taken);
        if !is_beaten {
            return Ok(acquired);
        }
        tried.extend(due.into_iter().map(|one| one.id));
    }
}

/// Takes those of the runs that are still due, and returns them in their order.
async fn take(store: &Store, due: &[DueRun], request: &AcquireRequest) -> Result<Vec<AcquiredRun>> {
    let worker = request.lane.worker.to_string();
    let ask = |partition: u16| {
        let ids = due
            .iter()
            .filter(|one| one.partition == partition)
            .map(|one| one.id.as_str());
        let ids: Vec<&str> = ids.collect();
        // Without a run to take, one partition is asked all the same whether the worker is a member.
        let is_asked = !ids.is_empty() || (due.is_empty() && partition == 0);
        is_asked.then(|| {
            let call = store
                .on(&ACQUIRE, partition)
                .arg(&worker)
                .arg(request.serves.build.as_str())
                .number(TURNS_MAX)
                .counted(&ids);
            (partition, call)
        })
    };
    let calls = store.layout.all().filter_map(ask).collect();
    let mut taken = Vec::new();
    for (partition, mut items) in store.ask_each(calls).await? {
        for run in items.list()?.each(Items::of)? {
            taken.push(loaded(store, partition, run).await?);
        }
    }
    let place = |run: &AcquiredRun| {
        let id = run.run.identity.workflow_id.as_str();
        due.iter().position(|one| one.id == id)
    };
    taken.sort_by_cached_key(place);
    Ok(taken)
}

async fn due_runs(store: &Store, serves: &Serves, limit: usize) -> Result<Vec<DueRun>> {
    let routes: Vec<&str> = distinct(serves.routes.iter().map(Route::as_str));
    let limit = limit.min(LIMIT_MAX);
    let ask = |partition| {
        store
            .on(&DUE, partition)
            .arg(serves.build.as_str())
            .number(limit)
            .counted(&routes)
    };
    let mut due = Vec::new();
    for (partition, mut items) in store.ask_ready(ask).await? {
        let mut items = items.list()?;
        while items.len() > 0 {
            let score: f64 = items.number("time")?;
            let member = items.text()?;
            let (number, id) = member
                .split_at_checked(16)
                .ok_or_else(|| unreadable("due run", &member))?;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a score holds microseconds, and larger ones saturate"
            )]
            due.push(DueRun {
                due: score as i64,
                number: number.to_owned(),
                id: id.to_owned(),
                partition,
            });
        }
    }
    due.sort_unstable();
    Ok(due)
}

/// Reads what an owner needs of a run, and what of its history was too long to come along.
async fn loaded(store: &Store, partition: u16, mut items: Items) -> Result<AcquiredRun> {
    let id = items.text()?;
    let run = record::run_record(&id, &Fields::of(items.value()?)?)?;
    let mut turns = items.list()?.each(reply::bytes)?;
    if turns.is_empty() {
        turns = all_turns(store, partition, &id, run.segment.0).await?;
    }
    let arrivals = items.list()?.each(reply::bytes)?;
    Ok(AcquiredRun {
        turns: record::turns_from(0, turns)?,
        inbox: record::arrivals_after(run.read.0, arrivals)?,
        run,
    })
}

async fn all_turns(store: &Store, partition: u16, id: &str, segment: u32) -> Result<Vec<Vec<u8>>> {
    let mut turns = Vec::new();
    loop {
        let page = turns_from(store, partition, id, segment, turns.len(), TURNS_MAX).await?;
        let is_last = page.len() < TURNS_MAX;
        turns.extend(page);
        if is_last {
            return Ok(turns);
        }
    }
}

/// Reads a page of the turns of a run.
pub(crate) async fn turns_from(
    store: &Store,
    partition: u16,
    id: &str,
    segment: u32,
    from: usize,
    limit: usize,
) -> Result<Vec<Vec<u8>>> {
    let tag = store.layout.tag(Slot::Partition(partition));
    let mut command = Cmd::new();
    command
        .arg("LRANGE")
        .arg(format!("{tag}turns:{segment}:{id}"));
    command.arg(from).arg(from.saturating_add(limit) - 1);
    let value: Value = store.link.read(&command).await?;
    Items::of(value)?.each(reply::bytes)
}

async fn reload(
    store: &Store,
    worker: WorkerId,
    run: &WorkflowId,
    epoch: Epoch,
) -> Result<Option<AcquiredRun>> {
    let partition = store.layout.partition_of(run);
    let call = store
        .on(&RELOAD, partition)
        .arg(worker.to_string())
        .number(epoch)
        .number(TURNS_MAX)
        .arg(run.as_str());
    let mut items = store.ask(Slot::Partition(partition), call).await?;
    match items.optional() {
        Some(found) => Ok(Some(loaded(store, partition, Items::of(found)?).await?)),
        None => Ok(None),
    }
}

async fn owned(store: &Store, worker: WorkerId) -> Result<Vec<(WorkflowId, Epoch)>> {
    let ask = |partition| store.on(&OWNED, partition).arg(worker.to_string());
    let mut found = Vec::new();
    for (_, mut items) in store.ask_all(ask).await? {
        let runs = items.list()?.each(|run| {
            let mut run = Items::of(run)?;
            Ok((
                WorkflowId::from_stored(run.text()?),
                Epoch(run.number("epoch")?),
            ))
        })?;
        found.extend(runs);
    }
    found.sort_unstable();
    Ok(found)
}

/// Counts due runs, as a beat does for a worker that is nobody.
pub(crate) async fn due(store: &Store, serves: &Serves) -> Result<Due> {
    let serves = Serves {
        tasks: Vec::new(),
        queues: Vec::new(),
        ..serves.clone()
    };
    let mut beat = Beat::default();
    for (_, items) in store
        .ask_all(|partition| ask_beat(store, partition, "", &serves))
        .await?
    {
        add_partition(&mut beat, items)?;
    }
    beat.due.now = beat.due.now.min(PAGE_MAX);
    Ok(beat.due)
}
