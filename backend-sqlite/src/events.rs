//! Arrivals, the outbox, and hints.
//!
//! Invariants: arrivals of a run are numbered by the counter on its row, in the transaction that accepts them. What the
//! backend or another run sends is not turned away by a seal or a full inbox, as nobody would send it again.

use async_trait::async_trait;
use longhaul_core::backend::{
    Arrival, ArrivalBody, ArriveRequest, Arrived, Events, HintStream, Result as Answered,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::{ArrivalNumber, WorkerId, WorkflowId, WriteId};
use longhaul_core::status::Status;
use rusqlite::{Connection, OptionalExtension, params};

use crate::SqliteBackend;
use crate::error::Result;
use crate::row::{self, RunNumber, optional_worker, time};
use crate::writer::Order;

#[async_trait]
impl Events for SqliteBackend {
    async fn arrive(&self, arrivals: Vec<ArriveRequest>) -> Answered<Vec<Arrived>> {
        let clock = self.shared.clock.clone();
        self.write(move |connection| {
            let now = clock.now();
            let accept_one = |request: ArriveRequest| {
                let door = Door::Outside(request.inbox_max);
                accept(
                    connection,
                    &request.run,
                    request.write,
                    &request.body,
                    door,
                    now,
                )
            };
            arrivals.into_iter().map(accept_one).collect()
        })
        .await
    }

    async fn inbox(
        &self,
        worker: WorkerId,
        runs: Vec<(WorkflowId, ArrivalNumber)>,
    ) -> Answered<Vec<(WorkflowId, Vec<Arrival>)>> {
        self.read(move |connection| {
            let mut found = Vec::with_capacity(runs.len());
            for (run, after) in runs {
                if let Some(number) = owned_number(connection, worker, &run)? {
                    found.push((run, row::inbox(connection, number, after)?));
                }
            }
            Ok(found)
        })
        .await
    }

    async fn deliver(&self, limit: usize) -> Answered<usize> {
        if !self.read(has_outbox).await? {
            return Ok(0);
        }
        let clock = self.shared.clock.clone();
        self.write(move |connection| deliver(connection, limit, clock.now()))
            .await
    }

    fn hints(&self) -> Box<dyn HintStream> {
        let stream = self.shared.hints.subscribe();
        // A writer that has ended gives no hints, and says so to whoever asks it for something.
        let _ = self.order(Order::Watch);
        stream
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

struct Recipient {
    number: RunNumber,
    status: Status,
    owner: Option<WorkerId>,
    arrivals: u64,
    read: u64,
    is_sealed: bool,
}

/// Puts an arrival into the inbox of a run.
pub(crate) fn accept(
    connection: &Connection,
    run: &WorkflowId,
    write: WriteId,
    body: &ArrivalBody,
    door: Door,
    now: Timestamp,
) -> Result<Arrived> {
    let Some(recipient) = recipient(connection, run)? else {
        return Ok(Arrived::Unknown);
    };
    if recipient.status.is_terminal() {
        return Ok(Arrived::Finished(recipient.status));
    }
    if let Some(before) = repeated(connection, &recipient, write)? {
        return Ok(before);
    }
    if let Door::Outside(inbox_max) = door {
        if recipient.is_sealed {
            return Ok(Arrived::Sealed);
        }
        if recipient.arrivals.saturating_sub(recipient.read) >= inbox_max {
            return Ok(Arrived::Full);
        }
    }
    let number = ArrivalNumber(recipient.arrivals).next();
    connection
        .prepare_cached(
            "insert into inbox (run, number, write_id, kind, name, content, accepted_at)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            recipient.number,
            number.0,
            write.0.as_bytes(),
            body.kind.as_str(),
            body.name,
            body.content,
            now.as_micros()
        ])?;
    connection
        .prepare_cached(
            "update run set arrivals = ?2, updated_at = ?3,
                 wake_at = case when status <> 'Paused' then coalesce(min(wake_at, ?3), ?3) end
             where number = ?1",
        )?
        .execute(params![recipient.number, number.0, now.as_micros()])?;
    Ok(Arrived::Accepted {
        number,
        owner: recipient.owner,
        accepted_at: now,
    })
}

fn recipient(connection: &Connection, run: &WorkflowId) -> Result<Option<Recipient>> {
    let found = connection
        .prepare_cached(
            "select number, status, owner, arrivals, read_to, sealed from run where id = ?1",
        )?
        .query_row([run.as_str()], |row| {
            Ok(Recipient {
                number: row.get(0)?,
                status: row::status(row, 1)?,
                owner: optional_worker(row, 2)?,
                arrivals: row.get(3)?,
                read: row.get(4)?,
                is_sealed: row.get(5)?,
            })
        })
        .optional()?;
    Ok(found)
}

fn repeated(
    connection: &Connection,
    recipient: &Recipient,
    write: WriteId,
) -> Result<Option<Arrived>> {
    let found = connection
        .prepare_cached("select number, accepted_at from inbox where run = ?1 and write_id = ?2")?
        .query_row(params![recipient.number, write.0.as_bytes()], |row| {
            Ok(Arrived::Accepted {
                number: ArrivalNumber(row.get(0)?),
                owner: recipient.owner,
                accepted_at: time(row, 1)?,
            })
        })
        .optional()?;
    Ok(found)
}

/// Tells who owns a run whose inbox has an arrival of this write.
pub(crate) fn accepted_before(
    connection: &Connection,
    run: &WorkflowId,
    write: WriteId,
) -> Result<Option<Option<WorkerId>>> {
    let found = connection
        .prepare_cached(
            "select run.owner from run join inbox on inbox.run = run.number
             where run.id = ?1 and inbox.write_id = ?2",
        )?
        .query_row(params![run.as_str(), write.0.as_bytes()], |row| {
            optional_worker(row, 0)
        })
        .optional()?;
    Ok(found)
}

fn owned_number(
    connection: &Connection,
    worker: WorkerId,
    run: &WorkflowId,
) -> Result<Option<RunNumber>> {
    let found = connection
        .prepare_cached("select number from run where id = ?1 and owner = ?2")?
        .query_row(params![run.as_str(), worker.0.as_bytes()], |row| row.get(0))
        .optional()?;
    Ok(found)
}

/// Tells whether messages to other runs wait.
pub(crate) fn has_outbox(connection: &Connection) -> Result<bool> {
    let found = connection
        .prepare_cached("select exists (select 1 from outbox)")?
        .query_row([], |row| row.get(0))?;
    Ok(found)
}

fn deliver(connection: &Connection, limit: usize, now: Timestamp) -> Result<usize> {
    let messages = connection
        .prepare_cached(
            "select number, recipient, write_id, kind, name, content from outbox order by number limit ?1",
        )?
        .query_map([row::limit(limit)], |row| {
            let number: i64 = row.get(0)?;
            let recipient = WorkflowId::from_stored(row::text(row, 1)?);
            let write: [u8; 16] = row.get(2)?;
            Ok((number, recipient, WriteId(longhaul_core::id::Uuid::from_bytes(write)), row::body(row, 3)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for (number, recipient, write, body) in &messages {
        accept(connection, recipient, *write, body, Door::Inside, now)?;
        connection
            .prepare_cached("delete from outbox where number = ?1")?
            .execute([number])?;
    }
    Ok(messages.len())
}

/// Puts a message to another run into the outbox.
pub(crate) fn send(
    connection: &Connection,
    to: &WorkflowId,
    write: WriteId,
    body: &ArrivalBody,
) -> Result<()> {
    connection
        .prepare_cached(
            "insert into outbox (recipient, write_id, kind, name, content) values (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            to.as_str(),
            write.0.as_bytes(),
            body.kind.as_str(),
            body.name,
            body.content
        ])?;
    Ok(())
}
