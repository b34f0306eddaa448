//! Records as they are stored, and as the contract calls them.
//!
//! Invariants: what is written here is read here; a stored text that is not known is an error.

use longhaul_core::backend::{
    Arrival, ArrivalBody, ArrivalKind, JoinRequest, QueuedAttempt, RunRecord, Serves, StartRun,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::history::{OperationKey, StoredTurn};
use longhaul_core::id::{
    ArrivalNumber, BuildId, Epoch, EventNumber, QueueName, Route, Segment, TaskName, TurnNumber,
    Uuid, WorkerId, WorkflowId, WorkflowType, WriteId,
};
use longhaul_core::identity::{RunKind, WorkflowIdentity};
use longhaul_core::status::Status;

use crate::error::{Result, unreadable};
use crate::pack::{self, Packed, Unpacked};
use crate::reply::Fields;

/// Is how many bytes of a stored turn come before its record: the write, and the number of its first event.
const TURN_HEAD: usize = 24;

/// Returns what of a run never changes.
pub(crate) fn fixed(start: &StartRun) -> Vec<u8> {
    let identity = &start.identity;
    let parent = identity.parent.as_ref().map_or("", WorkflowId::as_str);
    let operation = start.parent_operation.as_ref().map(ToString::to_string);
    let tags = start.tags.iter();
    Packed::default()
        .put(start.kind.as_str())
        .put(identity.workflow_type.as_str())
        .put(parent)
        .put(identity.root.as_str())
        .put(start.partition.to_string())
        .put(start.fingerprint)
        .put(operation.unwrap_or_default())
        .put_all(tags.flat_map(|(name, value)| [name, value]))
        .into_bytes()
}

/// Returns what two starts have in common that are the same subworkflow.
pub(crate) fn same(start: &StartRun) -> Vec<u8> {
    let identity = &start.identity;
    let parent = identity.parent.as_ref().map_or("", WorkflowId::as_str);
    let operation = start.parent_operation.as_ref().map(ToString::to_string);
    Packed::default()
        .put(parent)
        .put(operation.unwrap_or_default())
        .put(identity.workflow_type.as_str())
        .put(start.fingerprint)
        .into_bytes()
}

/// Returns a turn as it is stored.
pub(crate) fn turn_item(write: Option<WriteId>, turn: &StoredTurn) -> Vec<u8> {
    let mut item = Vec::with_capacity(TURN_HEAD + turn.record.len());
    item.extend_from_slice(&write.map_or([0; 16], |write| *write.0.as_bytes()));
    item.extend_from_slice(&turn.first_event.0.to_be_bytes());
    item.extend_from_slice(&turn.record);
    item
}

/// Returns turn 0 of a start as it is stored.
pub(crate) fn first_turn(start: &StartRun) -> Vec<u8> {
    let turn = StoredTurn {
        turn: TurnNumber(0),
        first_event: EventNumber(0),
        record: start.record.clone(),
    };
    turn_item(None, &turn)
}

/// Reads a stored turn.
pub(crate) fn stored_turn(number: u64, item: &[u8]) -> Result<StoredTurn> {
    let broken = || unreadable("turn", "it is too short");
    let (head, record) = item.split_at_checked(TURN_HEAD).ok_or_else(broken)?;
    let (_, first_event) = head.split_last_chunk::<8>().ok_or_else(broken)?;
    Ok(StoredTurn {
        turn: TurnNumber(number),
        first_event: EventNumber(u64::from_be_bytes(*first_event)),
        record: record.to_vec(),
    })
}

/// Returns the body of an arrival as it is stored.
pub(crate) fn body_item(body: &ArrivalBody) -> Vec<u8> {
    Packed::default()
        .put(body.kind.as_str())
        .put(&body.name)
        .put(&body.content)
        .into_bytes()
}

/// Reads a stored arrival.
fn arrival(number: u64, item: &[u8]) -> Result<Arrival> {
    let colon = item.iter().position(|byte| *byte == b':');
    let (time, rest) = colon
        .and_then(|colon| item.split_at_checked(colon))
        .ok_or_else(|| unreadable("arrival", "it has no time"))?;
    let mut rest = Unpacked(rest.strip_prefix(b":").unwrap_or(rest));
    let kind = rest.next_text()?;
    Ok(Arrival {
        number: ArrivalNumber(number),
        accepted_at: timestamp(time)?,
        body: ArrivalBody {
            kind: ArrivalKind::from_stored(kind)
                .ok_or_else(|| unreadable("kind of arrival", kind))?,
            name: rest.next_text()?.to_owned(),
            content: rest.next()?.to_vec(),
        },
    })
}

/// Reads stored arrivals, which have the numbers after `read`.
pub(crate) fn arrivals_after(read: u64, items: Vec<Vec<u8>>) -> Result<Vec<Arrival>> {
    let numbered = (1..).zip(items);
    let arrival = |(place, item): (u64, Vec<u8>)| arrival(read.saturating_add(place), &item);
    numbered.map(arrival).collect()
}

/// Reads stored turns, the first of which has that number.
pub(crate) fn turns_from(first: u64, items: Vec<Vec<u8>>) -> Result<Vec<StoredTurn>> {
    let numbered = (0..).zip(items);
    let turn = |(place, item): (u64, Vec<u8>)| stored_turn(first.saturating_add(place), &item);
    numbered.map(turn).collect()
}

/// Reads the fields of a run.
pub(crate) fn run_record(id: &str, fields: &Fields) -> Result<RunRecord> {
    let mut fixed = Unpacked(fields.bytes("fixed")?);
    let kind = fixed.next_text()?;
    let kind = RunKind::from_stored(kind).ok_or_else(|| unreadable("kind of run", kind))?;
    let mut identity = WorkflowIdentity::root(
        WorkflowId::from_stored(id),
        WorkflowType::from_stored(fixed.next_text()?),
    );
    let parent = Some(fixed.next_text()?).filter(|parent| !parent.is_empty());
    identity.parent = parent.map(WorkflowId::from_stored);
    identity.root = WorkflowId::from_stored(fixed.next_text()?);
    let partition = pack::number(fixed.next()?, "partition")?;
    let fingerprint = fixed.next()?;
    let parent_operation = Some(fixed.next_text()?).filter(|operation| !operation.is_empty());
    let reason = fields.text("reason")?.to_owned();
    let build = fields.optional("build")?.map(BuildId::from_stored);
    Ok(RunRecord {
        identity,
        kind,
        segment: Segment(fields.number("segment")?),
        route: Route::from_stored(fields.text("route")?),
        partition,
        status: status(fields.text("status")?)?,
        owner: fields.optional("owner")?.map(worker).transpose()?,
        epoch: Epoch(fields.number("epoch")?),
        arrivals: ArrivalNumber(fields.number("arrivals")?),
        read: ArrivalNumber(fields.number("read")?),
        wake_at: fields
            .optional("wake")?
            .map(|at| timestamp(at.as_bytes()))
            .transpose()?,
        lost: fields.number("lost")?,
        blocked: build.map(|build| (reason, build)),
        fingerprint: fingerprint
            .try_into()
            .map_err(|_| unreadable("fingerprint", fingerprint.len()))?,
        tags: tags(fixed)?,
        parent_operation: parent_operation.map(operation).transpose()?,
        created_at: timestamp(fields.bytes("created")?)?,
        updated_at: timestamp(fields.bytes("updated")?)?,
    })
}

fn tags(rest: Unpacked<'_>) -> Result<Vec<(String, String)>> {
    let rest = rest.rest()?;
    let pair = |pair: &[&[u8]]| match pair {
        [name, value] => Ok((pack::text(name)?.to_owned(), pack::text(value)?.to_owned())),
        _ => Err(unreadable("tags", "one has no value")),
    };
    rest.chunks(2).map(pair).collect()
}

/// Returns what the attempts of an operation are known by in their run.
pub(crate) fn attempt_key(segment: Segment, operation: &OperationKey) -> String {
    format!("{segment}:{operation}")
}

/// Reads the fields of an attempt.
pub(crate) fn queued_attempt(fields: &Fields) -> Result<QueuedAttempt> {
    let key = fields.text("key")?;
    let (segment, of) = key
        .split_once(':')
        .ok_or_else(|| unreadable("operation", key))?;
    let due = fields.optional("due")?;
    Ok(QueuedAttempt {
        run: WorkflowId::from_stored(fields.text("run")?),
        segment: Segment(pack::number(segment.as_bytes(), "segment")?),
        operation: operation(of)?,
        attempt: fields.number("attempt")?,
        queue: QueueName::from_stored(fields.text("queue")?),
        task: TaskName::from_stored(fields.text("task")?),
        priority: fields.number("priority")?,
        due: due.map(|at| timestamp(at.as_bytes())).transpose()?,
        content: fields.bytes("content")?.to_vec(),
    })
}

/// Returns what a worker says of itself, as it is stored.
pub(crate) fn worker_item(joined: &JoinRequest) -> Vec<u8> {
    let serves = &joined.serves;
    Packed::default()
        .put(&joined.label)
        .put(serves.build.as_str())
        .put(packed(serves.routes.iter().map(Route::as_str)))
        .put(packed(serves.tasks.iter().map(TaskName::as_str)))
        .put(packed(serves.queues.iter().map(QueueName::as_str)))
        .into_bytes()
}

fn packed<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<u8> {
    Packed::default().put_all(texts).into_bytes()
}

/// Reads what a worker said of itself: its name for people and what it serves.
pub(crate) fn worker_info(item: &[u8]) -> Result<(String, Serves)> {
    let mut item = Unpacked(item);
    let label = item.next_text()?.to_owned();
    let build = BuildId::from_stored(item.next_text()?);
    let routes = texts(item.next()?)?;
    let tasks = texts(item.next()?)?;
    let queues = texts(item.next()?)?;
    let serves = Serves {
        routes: routes.into_iter().map(Route::from_stored).collect(),
        tasks: tasks.into_iter().map(TaskName::from_stored).collect(),
        queues: queues.into_iter().map(QueueName::from_stored).collect(),
        build,
    };
    Ok((label, serves))
}

fn texts(item: &[u8]) -> Result<Vec<&str>> {
    Unpacked(item).rest()?.into_iter().map(pack::text).collect()
}

/// Reads a time in microseconds.
pub(crate) fn timestamp(digits: &[u8]) -> Result<Timestamp> {
    pack::number(digits, "time").map(Timestamp::from_micros)
}

/// Reads a worker's id.
pub(crate) fn worker(text: &str) -> Result<WorkerId> {
    let parsed: Result<Uuid, _> = text.parse();
    parsed.map(WorkerId).map_err(|_| unreadable("worker", text))
}

/// Reads a status.
pub(crate) fn status(name: &str) -> Result<Status> {
    name.parse().map_err(|_| unreadable("status", name))
}

fn operation(text: &str) -> Result<OperationKey> {
    OperationKey::from_stored(text).ok_or_else(|| unreadable("operation", text))
}
