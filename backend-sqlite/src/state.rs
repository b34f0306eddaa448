//! Who owns which run: starting, acquiring, the register of workers, and the beat.
//!
//! Invariants: each method is one transaction, or a read; what must not be told before it is committed is read after
//! it. A lane needs no fence here, as the transaction that checks an owner is the only one that writes.

use async_trait::async_trait;
use longhaul_core::backend::{
    AcquireRequest, AcquiredRun, Beat, BeatRequest, Hint, JoinRequest, Kind, Lane,
    Result as Answered, Serves, StartRun, Started, State, TakeOverRequest, TakenOver, TurnCommit,
    Verdict,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::{Epoch, WorkerId, WorkflowId};
use longhaul_core::status::Status;
use rusqlite::{Connection, OptionalExtension, params};
use std::sync::Arc;

use crate::error::{Failure, Result};
use crate::row::{self, RunNumber, run_record, select_run, stored_turn, with_tags};
use crate::{Shared, SqliteBackend, commit, events, takeover, tasks, timers};

pub(crate) const UNREAD: &str = "
    select id from run indexed by run_unread
    where owner is not null and arrivals > read_to and owner = ?1 order by id";

pub(crate) const OWNED_COUNT: &str =
    "select count(*) from run indexed by run_owned where owner is not null and owner = ?1";

pub(crate) const OWNED: &str = "
    select id, epoch from run indexed by run_owned where owner is not null and owner = ?1 order by id";

pub(crate) const INSERT_RUN: &str = "
    insert into run (id, kind, type, route, partition, segment, status, owner, epoch, turns, wake_at,
        fingerprint, parent, root, parent_operation, created_at, updated_at)
    values (?1, ?2, ?3, ?4, ?5, 1, ?6, ?7, ?8, 1, ?9, ?10, ?11, ?12, ?13, ?14, ?14)
    on conflict (id) do nothing";

pub(crate) const INSERT_TURN: &str =
    "insert into turn (run, segment, turn, first_event, record) values (?1, 1, 0, 0, ?2)";

pub(crate) const INSERT_TAG: &str =
    "insert into tag (run, position, name, value) values (?1, ?2, ?3, ?4)";

#[async_trait]
impl State for SqliteBackend {
    async fn join(&self, request: JoinRequest) -> Answered<()> {
        let worker = request.worker;
        let clock = self.shared.clock.clone();
        let is_new = self.shared.locks.hold(worker)?;
        let joined = self
            .write(move |connection| takeover::join(connection, &request, clock.now()))
            .await;
        let is_dead = matches!(&joined, Err(error) if error.kind() == Kind::WorkerDead);
        if is_new && is_dead {
            self.shared.locks.release(worker);
        }
        joined
    }

    async fn beat(&self, request: BeatRequest) -> Answered<Beat> {
        let worker = request.worker;
        if let Some(lease) = request.extend {
            let clock = self.shared.clock.clone();
            self.write_and_tell(None, move |connection| {
                takeover::extend(connection, worker, clock.now().after(lease))
            })
            .await?;
        }
        let shared = Arc::clone(&self.shared);
        self.read(move |connection| beat(connection, worker, &request.serves, &shared))
            .await
    }

    async fn leave(&self, worker: WorkerId) -> Answered<()> {
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            takeover::remove(connection, worker, shared.clock.now())?;
            Ok(())
        })
        .await?;
        self.shared.locks.release(worker);
        Ok(())
    }

    async fn take_over(&self, request: TakeOverRequest) -> Answered<TakenOver> {
        let shared = Arc::clone(&self.shared);
        let taken = self
            .write(move |connection| {
                takeover::take_over(connection, &request, &shared.locks, shared.clock.now())
            })
            .await?;
        for worker in &taken.workers {
            self.shared.locks.release(*worker);
        }
        Ok(taken)
    }

    async fn start(&self, lane: Option<Lane>, runs: Vec<StartRun>) -> Answered<Vec<Started>> {
        let clock = self.shared.clock.clone();
        self.write(move |connection| {
            let now = clock.now();
            let owner = lane.map(|lane| lane.worker);
            if let Some(worker) = owner {
                takeover::require_worker(connection, worker, now)?;
            }
            let start_one = |run| match start(connection, owner, run, now)? {
                Some(_) => Ok(Started::New),
                None => existing(connection, run),
            };
            runs.iter().map(start_one).collect()
        })
        .await
    }

    async fn acquire(&self, request: AcquireRequest) -> Answered<Vec<AcquiredRun>> {
        let worker = request.lane.worker;
        let clock = self.shared.clock.clone();
        let taken = self
            .write(move |connection| {
                let now = clock.now();
                takeover::require_worker(connection, worker, now)?;
                let due = timers::due_runs(connection, &request.serves, now, request.limit)?;
                let take_one = |number| Ok((number, take(connection, worker, number, now)?));
                due.into_iter().map(take_one).collect::<Result<Vec<_>>>()
            })
            .await?;
        if taken.is_empty() {
            return Ok(Vec::new());
        }
        self.read(move |connection| {
            let load_one = |(number, epoch)| load(connection, worker, number, epoch).transpose();
            taken.into_iter().filter_map(load_one).collect()
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
        self.read(move |connection| match row::run_number(connection, &run)? {
            Some(number) => load(connection, worker, number, epoch),
            None => Ok(None),
        })
        .await
    }

    async fn owned(&self, worker: WorkerId) -> Answered<Vec<(WorkflowId, Epoch)>> {
        self.read(move |connection| {
            let owned = connection
                .prepare_cached(OWNED)?
                .query_map([worker.0.as_bytes()], |found| {
                    let id = WorkflowId::from_stored(row::text(found, 0)?);
                    Ok((id, Epoch(found.get(1)?)))
                })?
                .collect::<rusqlite::Result<_>>()?;
            Ok(owned)
        })
        .await
    }

    async fn commit(&self, lane: Lane, turns: Vec<TurnCommit>) -> Answered<Vec<Verdict>> {
        let clock = self.shared.clock.clone();
        let news = Hint::of(&turns);
        self.write_and_tell(news, move |connection| {
            commit::commit(connection, Some(lane.worker), &turns, clock.now())
        })
        .await
    }

    async fn edit(&self, turns: Vec<TurnCommit>) -> Answered<Vec<Verdict>> {
        let clock = self.shared.clock.clone();
        let news = Hint::of(&turns);
        self.write_and_tell(news, move |connection| {
            commit::commit(connection, None, &turns, clock.now())
        })
        .await
    }
}

fn beat(
    connection: &Connection,
    worker: WorkerId,
    serves: &Serves,
    shared: &Shared,
) -> Result<Beat> {
    let now = shared.clock.now();
    if !takeover::is_registered(connection, worker)? {
        return Err(Failure::WorkerDead(worker));
    }
    let arrivals = connection
        .prepare_cached(UNREAD)?
        .query_map([worker.0.as_bytes()], |found| {
            row::text(found, 0).map(WorkflowId::from_stored)
        })?
        .collect::<rusqlite::Result<_>>()?;
    let (claimable, next_claimable) = tasks::claimable(connection, serves, now)?;
    let dead = takeover::dead(connection, &shared.locks, now)?;
    Ok(Beat {
        arrivals,
        due: timers::due(connection, serves, now)?,
        claimable,
        next_claimable,
        peers: takeover::peers(connection, worker, &dead)?,
        dead,
        outbox: events::has_outbox(connection)?,
        owned: connection
            .prepare_cached(OWNED_COUNT)?
            .query_row([worker.0.as_bytes()], |found| found.get(0))?,
        claimed: connection
            .prepare_cached(tasks::CLAIMED_COUNT)?
            .query_row([worker.0.as_bytes()], |found| found.get(0))?,
    })
}

/// Inserts a run with its turn 0; none when the id is taken.
pub(crate) fn start(
    connection: &Connection,
    owner: Option<WorkerId>,
    run: &StartRun,
    now: Timestamp,
) -> Result<Option<RunNumber>> {
    let (status, epoch, wake_at) = match owner {
        Some(_) => (Status::Running, 1, None),
        None => (Status::Pending, 0, Some(now.as_micros())),
    };
    let inserted = connection.prepare_cached(INSERT_RUN)?.execute(params![
        run.identity.workflow_id.as_str(),
        run.kind.as_str(),
        run.identity.workflow_type.as_str(),
        run.route.as_str(),
        run.partition,
        status.as_str(),
        owner.as_ref().map(|worker| worker.0.as_bytes()),
        epoch,
        wake_at,
        run.fingerprint,
        run.identity.parent.as_ref().map(WorkflowId::as_str),
        run.identity.root.as_str(),
        run.parent_operation.as_ref().map(ToString::to_string),
        now.as_micros()
    ])?;
    if inserted == 0 {
        return Ok(None);
    }
    let number = connection.last_insert_rowid();
    connection
        .prepare_cached(INSERT_TURN)?
        .execute(params![number, run.record])?;
    for (position, (name, value)) in (0_i64..).zip(&run.tags) {
        connection
            .prepare_cached(INSERT_TAG)?
            .execute(params![number, position, name, value])?;
    }
    Ok(Some(number))
}

fn existing(connection: &Connection, run: &StartRun) -> Result<Started> {
    let id = &run.identity.workflow_id;
    let (_, record) =
        row::find_run(connection, id)?.ok_or_else(|| Failure::UnknownRun(id.clone()))?;
    Ok(Started::Exists(Box::new(record)))
}

fn take(
    connection: &Connection,
    worker: WorkerId,
    number: RunNumber,
    now: Timestamp,
) -> Result<Epoch> {
    let epoch = connection
        .prepare_cached(
            "update run set owner = ?2, epoch = epoch + 1, status = 'Running', wake_at = null, sealed = 0,
                 blocked_reason = null, blocked_build = null, updated_at = ?3
             where number = ?1 returning epoch",
        )?
        .query_row(params![number, worker.0.as_bytes(), now.as_micros()], |row| row.get(0))?;
    Ok(Epoch(epoch))
}

/// Reads all that an owner needs; none when the worker does not own the run in that epoch.
fn load(
    connection: &Connection,
    worker: WorkerId,
    number: RunNumber,
    epoch: Epoch,
) -> Result<Option<AcquiredRun>> {
    let found = connection
        .prepare_cached(select_run!(
            "where number = ?1 and owner = ?2 and epoch = ?3"
        ))?
        .query_row(
            params![number, worker.0.as_bytes(), row::sought(epoch.0)],
            run_record,
        )
        .optional()?;
    let Some(found) = found else {
        return Ok(None);
    };
    let (number, run) = with_tags(connection, found)?;
    let turns = connection
        .prepare_cached(
            "select turn, first_event, record from turn where run = ?1 and segment = ?2 order by turn",
        )?
        .query_map(params![number, run.segment.0], stored_turn)?
        .collect::<rusqlite::Result<_>>()?;
    let inbox = row::inbox(connection, number, run.read)?;
    Ok(Some(AcquiredRun { run, turns, inbox }))
}
