//! Commits: plans of turns made concrete by the rows of their runs.
//!
//! Invariants: a run occurs once in a commit. Messages of one run alone are in the outbox at a time, as the contract
//! orders those of one sender and leaves open how those of several mix.

use longhaul_core::backend::{
    HistoryRequest, Kind, Message, PAGE_MAX, QueuedAttempt, RunFilter, RunRecord, RunUpdate,
    TurnCommit, Verdict,
};
use longhaul_core::history::{OperationKey, OperationKind, StoredTurn};
use longhaul_core::id::{
    BuildId, DataKey, Epoch, EventNumber, Segment, TurnNumber, WorkerId, WorkflowId,
};
use longhaul_core::payload::Payload;
use longhaul_core::status::Status;

use super::action::{Fate, TurnPlan, Wrong};
use super::branch::Branch;
use super::names::{BUILDS, KEYS, OPERATIONS, QUEUES, RUNS, TASKS};
use super::pair::{Difference, Pair, Write};
use super::perform::row;
use super::send::deliver;
use crate::world::{
    SECOND, body_of, lane, list_of, operation_of, queue, run_of, task, workflow_id,
};

type Done = Result<(), Difference>;

/// Commits what is planned through a lane of the first run's owner.
pub(super) async fn commit(pair: &mut Pair, number: u16, other: usize, plans: &[TurnPlan]) -> Done {
    let other = pair.workers[other];
    let mut worker = None;
    let mut turns: Vec<TurnCommit> = Vec::new();
    let mut wrongs = Vec::new();
    for plan in plans {
        let run = run_of_plan(pair, plan, worker).await?;
        if turns.iter().any(|turn| turn.run == run) {
            continue;
        }
        let row = row(pair, &run).await?;
        let owner = row.as_ref().and_then(|row| row.owner);
        let of_first = match (plan.wrong, owner) {
            (Wrong::Worker, _) | (_, None) => other,
            (_, Some(owner)) => owner,
        };
        let worker = *worker.get_or_insert(of_first);
        let turn = turn(pair, plan, &run, row.as_ref(), turns.is_empty()).await?;
        wrongs.push((plan.wrong, owner == Some(worker)));
        turns.push(turn);
    }
    let mut lane = lane(worker.unwrap_or(other));
    lane.number = number;
    let verdicts = ask(pair, Some(lane), &turns).await?;
    note(pair, &turns, &wrongs, &verdicts);
    pair.writes.push(Write::Commit(Some(lane), turns, verdicts));
    Ok(())
}

/// Edits what is planned: of runs that nobody owns, where a plan says `is_owned`, of any other else.
pub(super) async fn edit(pair: &mut Pair, plans: &[TurnPlan]) -> Done {
    let mut turns: Vec<TurnCommit> = Vec::new();
    let mut befores = Vec::new();
    for plan in plans {
        let run = run_to_edit(pair, plan).await?;
        if turns.iter().any(|turn| turn.run == run) {
            continue;
        }
        let row = row(pair, &run).await?;
        let turn = turn(pair, plan, &run, row.as_ref(), turns.is_empty()).await?;
        turns.push(turn);
        befores.push(row.map(|row| row.status));
    }
    let verdicts = ask(pair, None, &turns).await?;
    for ((turn, before), verdict) in turns.iter().zip(befores).zip(&verdicts) {
        let was_paused = before == Some(Status::Paused);
        let is_paused = matches!(turn.update, RunUpdate::Pause { .. });
        let is_done = *verdict == Verdict::Committed;
        pair.note_if(is_done, Branch::Edited);
        pair.note_if(is_done && is_paused, Branch::PausedByEdit);
        pair.note_if(is_done && was_paused && !is_paused, Branch::PauseLifted);
        pair.note_if(*verdict == Verdict::Lost, Branch::EditLost);
        pair.note_if(*verdict == Verdict::Unread, Branch::EditUnread);
    }
    pair.writes.push(Write::Commit(None, turns, verdicts));
    Ok(())
}

async fn run_to_edit(pair: &mut Pair, plan: &TurnPlan) -> Result<WorkflowId, Difference> {
    let all = pair
        .get(async |it| it.list(list_of(RunFilter::default())).await)
        .await?;
    let is_free = |run: &&RunRecord| run.owner.is_none() && !run.status.is_terminal();
    let free: Vec<_> = all.iter().filter(is_free).collect();
    let paused = free.iter().find(|run| run.status == Status::Paused);
    let chosen = match free.get(plan.run % free.len().max(1)) {
        Some(run) if plan.is_owned => Some(if plan.reads_all {
            paused.unwrap_or(run)
        } else {
            run
        }),
        _ => None,
    };
    let id = chosen.map(|run| run.identity.workflow_id.clone());
    Ok(id.unwrap_or_else(|| workflow_id(RUNS[plan.run])))
}

async fn run_of_plan(
    pair: &mut Pair,
    plan: &TurnPlan,
    worker: Option<WorkerId>,
) -> Result<WorkflowId, Difference> {
    let all = pair
        .get(async |it| it.list(list_of(RunFilter::default())).await)
        .await?;
    let is_owned =
        |run: &RunRecord| run.owner.is_some() && (worker.is_none() || run.owner == worker);
    let owned = all.into_iter().filter(is_owned);
    let owned: Vec<_> = owned.map(|run| run.identity.workflow_id).collect();
    Ok(if plan.is_owned && !owned.is_empty() {
        owned[plan.run % owned.len()].clone()
    } else {
        workflow_id(RUNS[plan.run])
    })
}

async fn ask(
    pair: &mut Pair,
    lane: Option<longhaul_core::backend::Lane>,
    turns: &[TurnCommit],
) -> Result<Vec<Verdict>, Difference> {
    let sends = |turn: &&TurnCommit| !turn.outbox.is_empty() || !turn.subworkflows.is_empty();
    if let Some(turn) = turns.iter().find(sends) {
        if pair
            .sender
            .as_ref()
            .is_some_and(|sender| *sender != turn.run)
        {
            deliver(pair, PAGE_MAX).await?;
        }
        pair.sender = Some(turn.run.clone());
    }
    // Why a turn is refused is said in the backend's own words.
    let forget_why = |verdicts: &mut Vec<Verdict>| {
        for verdict in verdicts {
            if let Verdict::Refused(why) = verdict {
                why.clear();
            }
        }
    };
    let write = async |it: &dyn longhaul_core::backend::Backend| match lane {
        Some(lane) => it.commit(lane, turns.to_vec()).await,
        None => it.edit(turns.to_vec()).await,
    };
    let answer = pair.ask_evened(write, forget_why).await?;
    pair.note_if(answer == Err(Kind::WorkerDead), Branch::CommittedByTheDead);
    Ok(answer.unwrap_or_default())
}

/// Asks a commit or an edit again.
pub(super) async fn repeat(
    pair: &mut Pair,
    lane: Option<longhaul_core::backend::Lane>,
    turns: &[TurnCommit],
    before: &[Verdict],
) -> Done {
    let verdicts = ask(pair, lane, turns).await?;
    for ((turn, before), verdict) in turns.iter().zip(before).zip(&verdicts) {
        let is_again = *before == Verdict::Committed && *verdict == Verdict::Committed;
        let owner = row(pair, &turn.run).await?.and_then(|row| row.owner);
        pair.note_if(is_again, Branch::CommittedAgain);
        let is_unowned = owner != lane.map(|lane| lane.worker);
        pair.note_if(is_again && is_unowned, Branch::CommittedAgainUnowned);
    }
    Ok(())
}

async fn turn(
    pair: &mut Pair,
    plan: &TurnPlan,
    run: &WorkflowId,
    row: Option<&RunRecord>,
    is_first: bool,
) -> Result<TurnCommit, Difference> {
    let (segment, epoch) = fence(plan, row);
    let turn = if plan.has_turn {
        Some(stored(pair, plan, run).await?)
    } else {
        None
    };
    let value = |value: u8| Payload::from_bytes(vec![value; usize::from(value % 4)]);
    let data = plan.data.iter();
    let data = data.map(|(key, one)| (DataKey::new(KEYS[*key]).unwrap(), one.map(value)));
    let data = data.collect();
    let enqueue = attempts(pair, plan, run, segment);
    let withdraw = plan.withdraw.map(|name| operation_of(OPERATIONS[name]));
    let child = plan.child.filter(|_| is_first);
    let send: &[usize] = if is_first { &plan.send } else { &[] };
    Ok(TurnCommit {
        run: run.clone(),
        segment,
        epoch,
        write: pair.new_write(),
        turn,
        update: update(pair, plan, row),
        data,
        subworkflows: child
            .map(|child| start_of(run, row, child))
            .into_iter()
            .collect(),
        enqueue,
        withdraw: withdraw.into_iter().collect(),
        outbox: send.iter().map(|to| message(pair, *to)).collect(),
    })
}

fn fence(plan: &TurnPlan, row: Option<&RunRecord>) -> (Segment, Epoch) {
    let epoch = row.map_or(Epoch(1), |row| row.epoch);
    let epoch = match plan.wrong {
        Wrong::EpochBefore => Epoch(epoch.0.saturating_sub(1)),
        Wrong::EpochAfter => epoch.next(),
        _ => epoch,
    };
    let segment = match plan.wrong {
        Wrong::Segment => Segment::FIRST.next(),
        _ => Segment::FIRST,
    };
    (segment, epoch)
}

async fn stored(
    pair: &mut Pair,
    plan: &TurnPlan,
    run: &WorkflowId,
) -> Result<StoredTurn, Difference> {
    let request = HistoryRequest {
        run: run.clone(),
        segment: None,
        from: TurnNumber(0),
        limit: PAGE_MAX,
    };
    let found = pair
        .ask(async |it| it.history(request.clone()).await)
        .await?;
    let turns = u64::try_from(found.map_or(0, |turns| turns.len())).unwrap();
    let number = match plan.wrong {
        Wrong::Gap => turns + 1,
        Wrong::Taken => turns.saturating_sub(1),
        _ => turns,
    };
    Ok(StoredTurn {
        turn: TurnNumber(number),
        first_event: EventNumber(number * 3),
        record: format!("turn {number} of {run}").into_bytes(),
    })
}

fn update(pair: &Pair, plan: &TurnPlan, row: Option<&RunRecord>) -> RunUpdate {
    let (arrivals, read) = row.map_or_else(Default::default, |row| (row.arrivals, row.read));
    let read = if plan.reads_all { arrivals } else { read };
    let seconds = |seconds: i64| {
        let micros = i64::try_from(SECOND.as_micros()).unwrap() * seconds;
        longhaul_core::clock::Timestamp::from_micros(pair.now().as_micros() + micros)
    };
    match plan.fate {
        Fate::Append => RunUpdate::Append,
        Fate::Drain(seal) => RunUpdate::Drain { read, seal },
        Fate::Park(wake) => RunUpdate::Park {
            read,
            wake_at: wake.map(seconds),
        },
        Fate::Release => RunUpdate::Release { read },
        Fate::Block(build) => RunUpdate::Block {
            read,
            reason: "other code".to_owned(),
            build: BuildId::new(BUILDS[build]).unwrap(),
        },
        Fate::Pause => RunUpdate::Pause { read },
        Fate::End(status) => RunUpdate::End { read, status },
    }
}

fn attempts(
    pair: &Pair,
    plan: &TurnPlan,
    run: &WorkflowId,
    segment: Segment,
) -> Vec<QueuedAttempt> {
    let attempt = |(name, attempt, on, of, priority, seconds): &(_, _, _, _, _, Option<u64>)| {
        let name: usize = *name;
        let due = seconds.map(|seconds| {
            let seconds = u32::try_from(seconds).unwrap();
            pair.now().after(SECOND * seconds)
        });
        QueuedAttempt {
            run: run.clone(),
            segment,
            operation: operation_of(OPERATIONS[name]),
            attempt: *attempt,
            queue: queue(QUEUES[*on]),
            task: task(TASKS[*of]),
            priority: *priority,
            due,
            content: vec![u8::try_from(name).unwrap(), 0, 255],
        }
    };
    plan.enqueue.iter().map(attempt).collect()
}

fn start_of(
    run: &WorkflowId,
    row: Option<&RunRecord>,
    child: usize,
) -> longhaul_core::backend::StartRun {
    let mut start = run_of(RUNS[child]);
    let parent = row.map_or_else(|| run_of(run.as_str()).identity, |row| row.identity.clone());
    let own = start.identity;
    start.identity = parent.child(own.workflow_id, own.workflow_type);
    start.parent_operation = Some(OperationKey::new(OperationKind::Subworkflow, "order", 1));
    start
}

fn message(pair: &mut Pair, to: usize) -> Message {
    Message {
        to: workflow_id(RUNS[to]),
        write: pair.new_write(),
        body: body_of("message"),
    }
}

fn note(pair: &mut Pair, turns: &[TurnCommit], wrongs: &[(Wrong, bool)], verdicts: &[Verdict]) {
    let committed = verdicts
        .iter()
        .filter(|verdict| **verdict == Verdict::Committed);
    let is_mixed = (1..verdicts.len()).contains(&committed.count());
    pair.note_if(is_mixed, Branch::BatchMixed);
    for ((turn, (wrong, is_owned)), verdict) in turns.iter().zip(wrongs).zip(verdicts) {
        match verdict {
            Verdict::Committed => note_committed(pair, turn),
            Verdict::Unread => pair.note(Branch::Unread),
            Verdict::Lost => pair.note(lost(*wrong, *is_owned)),
            Verdict::Refused(_) => {}
        }
    }
}

const fn lost(wrong: Wrong, is_owned: bool) -> Branch {
    match wrong {
        Wrong::Worker => Branch::LostToWorker,
        _ if !is_owned => Branch::LostUnowned,
        Wrong::EpochBefore | Wrong::EpochAfter => Branch::LostToEpoch,
        Wrong::Segment => Branch::LostToSegment,
        Wrong::Gap => Branch::LostToGap,
        Wrong::Taken | Wrong::Nothing => Branch::LostToTurn,
    }
}

fn note_committed(pair: &mut Pair, turn: &TurnCommit) {
    pair.note(match &turn.update {
        RunUpdate::Append => Branch::Appended,
        RunUpdate::Drain { seal: true, .. } => Branch::Sealed,
        RunUpdate::Drain { .. } => Branch::Drained,
        RunUpdate::Park { .. } => Branch::Parked,
        RunUpdate::Release { .. } => Branch::Released,
        RunUpdate::Block { .. } => Branch::Blocked,
        RunUpdate::Pause { .. } => Branch::Paused,
        RunUpdate::End { .. } => Branch::Ended,
    });
    pair.note_if(turn.turn.is_none(), Branch::WrittenWithoutTurn);
    pair.note_if(!turn.enqueue.is_empty(), Branch::Enqueued);
    pair.note_if(!turn.withdraw.is_empty(), Branch::Withdrawn);
    let (set, removed): (Vec<_>, Vec<_>) = turn.data.iter().partition(|(_, one)| one.is_some());
    pair.note_if(!set.is_empty(), Branch::DataSet);
    pair.note_if(!removed.is_empty(), Branch::DataRemoved);
}

/// Is what the branches of subworkflows are read from when a list is done.
pub(super) fn note_children(pair: &mut Pair, runs: &[RunRecord], refused: usize) {
    let children = runs.iter().filter(|run| {
        let operation = run.parent_operation.as_ref();
        operation.is_some_and(|one| one.kind == OperationKind::Subworkflow)
    });
    for _ in children {
        pair.note(Branch::ChildStarted);
    }
    for _ in 0..refused {
        pair.note(Branch::ChildRefused);
    }
}

/// Names the workers that own something.
pub(super) fn owners(runs: &[RunRecord]) -> Vec<WorkerId> {
    let mut owners: Vec<_> = runs.iter().filter_map(|run| run.owner).collect();
    owners.sort_unstable();
    owners.dedup();
    owners
}
