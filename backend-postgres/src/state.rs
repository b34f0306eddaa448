//! Who owns which run: starting, acquiring, the register of workers, and the beat.
//!
//! Invariants: what asserts ownership goes through a lane. What a statement cannot know, as another may have committed
//! since its snapshot, is read by a statement of its own after it.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use longhaul_core::backend::{
    AcquireRequest, AcquiredRun, Arrival, Beat, BeatRequest, Due, Hint, JoinRequest, Lane,
    PAGE_MAX, Result as Answered, Serves, StartRun, Started, State, TakeOverRequest, TakenOver,
    TurnCommit, Verdict,
};
use longhaul_core::history::StoredTurn;
use longhaul_core::id::{Epoch, WorkerId, WorkflowId};
use sqlx::Row;

use crate::columns::{add_run, add_runs, add_tags};
use crate::error::{Failure, Result};
use crate::lanes::Fence;
use crate::row::{self, RunNumber, run_record, select_run, stored, stored_turn, uuid};
use crate::session::{arguments, insist};
use crate::{PostgresBackend, Store, commit, takeover};

pub(crate) const START_ONE: &str = concat!(
    include_str!("sql/fence.sql"),
    include_str!("sql/start_one.sql")
);
pub(crate) const START: &str = concat!(
    include_str!("sql/fence.sql"),
    include_str!("sql/start.sql"),
    include_str!("sql/started.sql")
);
pub(crate) const START_AGAIN: &str = concat!(
    include_str!("sql/fence.sql"),
    include_str!("sql/start.sql"),
    include_str!("sql/unless_taken.sql"),
    include_str!("sql/started.sql")
);
pub(crate) const START_UNOWNED: &str = concat!(
    include_str!("sql/unfenced.sql"),
    include_str!("sql/start.sql"),
    include_str!("sql/started.sql")
);
pub(crate) const START_UNOWNED_AGAIN: &str = concat!(
    include_str!("sql/unfenced.sql"),
    include_str!("sql/start.sql"),
    include_str!("sql/unless_taken.sql"),
    include_str!("sql/started.sql")
);
pub(crate) const ACQUIRE: &str = concat!(
    include_str!("sql/fence.sql"),
    include_str!("sql/acquire.sql")
);
pub(crate) const BEAT: &str = include_str!("sql/beat.sql");
pub(crate) const OWNED: &str = "
    select r.id, s.epoch from longhaul.standing s
    cross join lateral (select run.id from longhaul.run where run.number = s.run offset 0) r
    where s.owner = $1 order by r.id";
pub(crate) const EXISTING: &str = select_run!("where r.id = any($1::text[])");
pub(crate) const LOAD: &str = select_run!("where s.run = any($1::bigint[]) and s.owner = $2");
pub(crate) const LOAD_ONE: &str = select_run!("where r.id = $1 and s.owner = $2 and s.epoch = $3");
pub(crate) const TURNS: &str = "
    select r.run, t.turn, t.first_event, t.record
    from unnest($1::bigint[], $2::bigint[]) as r (run, segment) cross join lateral (
        select turn.turn, turn.first_event, turn.record from longhaul.turn
        where turn.run = r.run and turn.segment = r.segment offset 0) t
    order by r.run, t.turn";
pub(crate) const UNREAD: &str = "
    select r.run, i.number, i.accepted_at, i.kind, i.name, i.content
    from unnest($1::bigint[], $2::bigint[]) as r (run, after) cross join lateral (
        select inbox.* from longhaul.inbox
        where inbox.run = r.run and inbox.number > r.after offset 0) i
    order by r.run, i.number";

#[async_trait]
impl State for PostgresBackend {
    async fn join(&self, request: JoinRequest) -> Answered<()> {
        self.call(|store| async move { takeover::join(&store, &request).await })
            .await
    }

    async fn beat(&self, request: BeatRequest) -> Answered<Beat> {
        self.call(|store| async move { beat(&store, &request).await })
            .await
    }

    async fn leave(&self, worker: WorkerId) -> Answered<()> {
        self.call(|store| async move { takeover::leave(&store, worker).await })
            .await
    }

    async fn take_over(&self, request: TakeOverRequest) -> Answered<TakenOver> {
        self.call(|store| async move { takeover::take_over(&store, &request.force).await })
            .await
    }

    async fn start(&self, lane: Option<Lane>, runs: Vec<StartRun>) -> Answered<Vec<Started>> {
        self.call(|store| async move { start(&store, lane, &runs).await })
            .await
    }

    async fn acquire(&self, request: AcquireRequest) -> Answered<Vec<AcquiredRun>> {
        self.call(|store| async move { acquire(&store, &request).await })
            .await
    }

    async fn reload(
        &self,
        worker: WorkerId,
        run: &WorkflowId,
        epoch: Epoch,
    ) -> Answered<Option<AcquiredRun>> {
        let run = run.clone();
        self.call(|store| async move {
            let arguments = arguments!(run.as_str(), uuid(worker.0), stored(epoch.0));
            let found = store.session.ask(LOAD_ONE, arguments).await?;
            let runs = found.iter().map(run_record).collect::<Result<_>>()?;
            Ok(with_history(&store, runs).await?.pop())
        })
        .await
    }

    async fn owned(&self, worker: WorkerId) -> Answered<Vec<(WorkflowId, Epoch)>> {
        self.call(|store| async move {
            let owned = store.session.ask(OWNED, arguments!(uuid(worker.0))).await?;
            let read = |row| {
                let id = WorkflowId::from_stored(row::text(row, "id")?);
                Ok((id, Epoch(row::unsigned(row, "epoch")?)))
            };
            owned.iter().map(read).collect()
        })
        .await
    }

    async fn commit(&self, lane: Lane, turns: Vec<TurnCommit>) -> Answered<Vec<Verdict>> {
        self.call(|store| async move {
            if turns.is_empty() {
                return store.require(Fence::of(lane)).await.map(|()| Vec::new());
            }
            let verdicts = commit::commit(&store, Some(lane), &turns).await?;
            store.tell_of(&turns, &verdicts);
            Ok(verdicts)
        })
        .await
    }

    async fn edit(&self, turns: Vec<TurnCommit>) -> Answered<Vec<Verdict>> {
        self.call(|store| async move {
            let verdicts = commit::commit(&store, None, &turns).await?;
            store.tell_of(&turns, &verdicts);
            Ok(verdicts)
        })
        .await
    }
}

impl Store {
    /// Tells others of turns that were committed.
    fn tell_of(&self, turns: &[TurnCommit], verdicts: &[Verdict]) {
        if let Some(hint) = Hint::of(turns)
            && verdicts.contains(&Verdict::Committed)
        {
            self.tell(hint);
        }
    }

    /// Refuses a worker that is not registered.
    async fn require(&self, fence: Fence) -> Result<()> {
        self.lanes.set(fence, None);
        self.lane_number(fence).await.map(|_| ())
    }
}

/// Returns names as an argument, each once.
pub(crate) fn names<'a, T: AsRef<str> + 'a>(
    names: impl IntoIterator<Item = &'a T>,
) -> Vec<&'a str> {
    let each_once: BTreeSet<&str> = names.into_iter().map(AsRef::as_ref).collect();
    each_once.into_iter().collect()
}

async fn beat(store: &Store, request: &BeatRequest) -> Result<Beat> {
    let worker = request.worker;
    let serves = &request.serves;
    let arguments = arguments!(
        store.clock.given(),
        uuid(worker.0),
        request.extend.map(takeover::lease_micros),
        names(&serves.routes),
        serves.build.as_str(),
        names(&serves.queues),
        names(&serves.tasks),
        row::limit(PAGE_MAX),
    );
    let rows = store.session.ask(BEAT, arguments).await?;
    let row = rows.first().ok_or(Failure::WorkerDead(worker))?;
    if row::count(row, "alive")? == 0 {
        return Err(Failure::WorkerDead(worker));
    }
    store.clock.note(row::time(row, "now")?);
    let arrivals: Vec<String> = row.try_get("arrivals")?;
    let dead: Vec<sqlx::types::Uuid> = row.try_get("dead")?;
    Ok(Beat {
        arrivals: arrivals.iter().map(WorkflowId::from_stored).collect(),
        due: Due {
            now: row::count(row, "due")?.min(PAGE_MAX),
            next: row::optional_time(row, "next_due")?,
        },
        claimable: row::count(row, "claimable")?.min(PAGE_MAX),
        next_claimable: row::optional_time(row, "next_claimable")?,
        dead: dead
            .into_iter()
            .map(|id| WorkerId(row::from_uuid(id)))
            .collect(),
        outbox: row.try_get("outbox")?,
        owned: row::count(row, "owned")?,
        claimed: row::count(row, "claimed")?,
        peers: row::count(row, "peers")?,
    })
}

/// Tells what is due for a worker that serves this.
pub(crate) async fn due(store: &Store, serves: &Serves) -> Result<Due> {
    let arguments = arguments!(
        store.clock.given(),
        None::<sqlx::types::Uuid>,
        None::<i64>,
        names(&serves.routes),
        serves.build.as_str(),
        Vec::<&str>::new(),
        Vec::<&str>::new(),
        row::limit(PAGE_MAX),
    );
    let rows = store.session.ask(BEAT, arguments).await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    Ok(Due {
        now: row::count(row, "due")?.min(PAGE_MAX),
        next: row::optional_time(row, "next_due")?,
    })
}

async fn start(store: &Store, lane: Option<Lane>, runs: &[StartRun]) -> Result<Vec<Started>> {
    let mut firsts: BTreeMap<&str, &StartRun> = BTreeMap::new();
    for run in runs {
        firsts
            .entry(run.identity.workflow_id.as_str())
            .or_insert(run);
    }
    let asked: Vec<&StartRun> = firsts.into_values().collect();
    let mut new = insist(|| insert(store, lane, &asked)).await?;
    if lane.is_none() && !new.is_empty() {
        store.tell(Hint::Changed);
    }
    let mut existing = BTreeMap::new();
    let is_new =
        |run: &StartRun, new: &mut BTreeSet<String>| new.remove(run.identity.workflow_id.as_str());
    let answers: Vec<bool> = runs.iter().map(|run| is_new(run, &mut new)).collect();
    if answers.contains(&false) {
        existing = read_existing(store, runs).await?;
    }
    let answer = |(run, is_new): (&StartRun, bool)| {
        if is_new {
            return Ok(Started::New);
        }
        let id = &run.identity.workflow_id;
        let record: Option<&longhaul_core::backend::RunRecord> = existing.get(id.as_str());
        let record = record.ok_or_else(|| Failure::UnknownRun(id.clone()))?;
        Ok(Started::Exists(Box::new(record.clone())))
    };
    runs.iter().zip(answers).map(answer).collect()
}

/// Inserts the runs whose ids are free; returns these ids. Most are, so it is tried as if all were.
async fn insert(store: &Store, lane: Option<Lane>, runs: &[&StartRun]) -> Result<BTreeSet<String>> {
    let [first, again] = match (lane, runs) {
        (Some(_), [run]) if run.tags.is_empty() => [START_ONE, START_AGAIN],
        (Some(_), _) => [START, START_AGAIN],
        (None, _) => [START_UNOWNED, START_UNOWNED_AGAIN],
    };
    match insert_by(store, lane, runs, first).await {
        Err(failure) if failure.is_duplicate() => insert_by(store, lane, runs, again).await,
        answer => answer,
    }
}

async fn insert_by(
    store: &Store,
    lane: Option<Lane>,
    runs: &[&StartRun],
    text: &'static str,
) -> Result<BTreeSet<String>> {
    let fence = lane.map(Fence::of);
    let n = match fence {
        Some(fence) => Some(store.lane_number(fence).await?),
        None => None,
    };
    let owner = lane.map(|lane| uuid(lane.worker.0));
    let mut arguments = arguments!(store.clock.given(), owner, fence.map(|fence| fence.lane), n,);
    let added = match runs {
        [run] if text == START_ONE => add_run(&mut arguments, run),
        _ => add_runs(&mut arguments, runs).and_then(|()| add_tags(&mut arguments, runs)),
    };
    added
        .and_then(|()| sqlx::Arguments::add(&mut arguments, owner))
        .map_err(sqlx::Error::Encode)?;
    let mut answer = store.session.ask(text, arguments).await;
    if let Some(fence) = fence {
        answer = store.noted(fence, answer);
    }
    let rows = answer?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    store.require_fenced(fence, row).await?;
    let places: Vec<i64> = row.try_get("new")?;
    let id_at = |place: i64| {
        let run = usize::try_from(place - 1)
            .ok()
            .and_then(|at| runs.get(at))?;
        Some(run.identity.workflow_id.to_string())
    };
    Ok(places.into_iter().filter_map(id_at).collect())
}

impl Store {
    /// Refuses an answer that came without its lane: the worker is dead, or another handle raised the lane's number.
    pub(crate) async fn require_fenced(
        &self,
        fence: Option<Fence>,
        row: &sqlx::postgres::PgRow,
    ) -> Result<()> {
        let Some(fence) = fence else { return Ok(()) };
        if row::count(row, "fenced")? > 0 {
            return Ok(());
        }
        self.require(fence).await?;
        Err(Failure::LaneMoved)
    }
}

async fn read_existing(
    store: &Store,
    runs: &[StartRun],
) -> Result<BTreeMap<String, longhaul_core::backend::RunRecord>> {
    let ids = names(runs.iter().map(|run| &run.identity.workflow_id));
    let rows = store.session.ask(EXISTING, arguments!(ids)).await?;
    let read = |row| {
        let (_, record) = run_record(row)?;
        Ok((record.identity.workflow_id.to_string(), record))
    };
    rows.iter().map(read).collect()
}

async fn acquire(store: &Store, request: &AcquireRequest) -> Result<Vec<AcquiredRun>> {
    let taken = insist(|| take(store, request)).await?;
    if taken.is_empty() {
        return Ok(Vec::new());
    }
    let numbers: Vec<RunNumber> = taken.iter().map(|(number, _)| *number).collect();
    let arguments = arguments!(numbers, uuid(request.lane.worker.0));
    let rows = store.session.ask(LOAD, arguments).await?;
    let runs = rows.iter().map(run_record).collect::<Result<Vec<_>>>()?;
    let mut found: BTreeMap<_, _> = runs.into_iter().collect();
    let in_order = |(number, epoch): (RunNumber, Epoch)| {
        let record = found.remove(&number).filter(|run| run.epoch == epoch)?;
        Some((number, record))
    };
    let runs = taken.into_iter().filter_map(in_order).collect();
    with_history(store, runs).await
}

async fn take(store: &Store, request: &AcquireRequest) -> Result<Vec<(RunNumber, Epoch)>> {
    let fence = Fence::of(request.lane);
    let n = store.lane_number(fence).await?;
    let arguments = arguments!(
        store.clock.given(),
        uuid(fence.worker.0),
        fence.lane,
        n,
        names(&request.serves.routes),
        request.serves.build.as_str(),
        row::limit(request.limit),
    );
    let rows = store.noted(fence, store.session.ask(ACQUIRE, arguments).await)?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    store.require_fenced(Some(fence), row).await?;
    let numbers: Vec<i64> = row.try_get("runs")?;
    let epochs: Vec<i64> = row.try_get("epochs")?;
    let epoch = |epoch| Epoch(u64::try_from(epoch).unwrap_or_default());
    Ok(numbers
        .into_iter()
        .zip(epochs.into_iter().map(epoch))
        .collect())
}

/// Adds what an owner needs besides the row: history and unread arrivals.
async fn with_history(
    store: &Store,
    runs: Vec<(RunNumber, longhaul_core::backend::RunRecord)>,
) -> Result<Vec<AcquiredRun>> {
    if runs.is_empty() {
        return Ok(Vec::new());
    }
    let numbers: Vec<RunNumber> = runs.iter().map(|(number, _)| *number).collect();
    let segments: Vec<i64> = runs
        .iter()
        .map(|(_, run)| i64::from(run.segment.0))
        .collect();
    let read: Vec<i64> = runs.iter().map(|(_, run)| stored(run.read.0)).collect();
    let mut histories: BTreeMap<RunNumber, Vec<StoredTurn>> = BTreeMap::new();
    for row in store
        .session
        .ask(TURNS, arguments!(&numbers, segments))
        .await?
    {
        let turns = histories.entry(row.try_get("run")?).or_default();
        turns.push(stored_turn(&row)?);
    }
    let mut inboxes: BTreeMap<RunNumber, Vec<Arrival>> = BTreeMap::new();
    for row in store
        .session
        .ask(UNREAD, arguments!(&numbers, read))
        .await?
    {
        let arrivals = inboxes.entry(row.try_get("run")?).or_default();
        arrivals.push(row::arrival(&row)?);
    }
    let complete = |(number, run)| AcquiredRun {
        run,
        turns: histories.remove(&number).unwrap_or_default(),
        inbox: inboxes.remove(&number).unwrap_or_default(),
    };
    Ok(runs.into_iter().map(complete).collect())
}
