//! The one place where an owned run changes.
//!
//! Invariants: the turns of a partition are judged and written by one script, each whole or not at all. Subworkflows that
//! live elsewhere leave by the outbox, and are brought there before the answer if nothing goes wrong.

use std::collections::BTreeSet;

use longhaul_core::backend::{RunUpdate, TurnCommit, Verdict};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::{ArrivalNumber, WorkerId};
use longhaul_core::status::Status;

use crate::error::{Result, unreadable};
use crate::layout::Layout;
use crate::pack::Packed;
use crate::script::COMMIT;
use crate::{Store, outbox, record, start};

/// Commits turns, those of each partition together.
pub(crate) async fn commit(
    store: &Store,
    worker: WorkerId,
    turns: &[TurnCommit],
) -> Result<Vec<Verdict>> {
    let worker = worker.to_string();
    let mut positions = store.layout.spread(turns, |turn| &turn.run);
    if turns.is_empty() {
        positions.entry(0).or_default();
    }
    let mut calls = Vec::new();
    for (partition, positions) in &positions {
        let call = store
            .on(&COMMIT, *partition)
            .arg(&worker)
            .number(positions.len());
        let of_partition = positions.iter().filter_map(|position| turns.get(*position));
        let call = of_partition.fold(call, |call, turn| {
            call.counted(&arguments(&store.layout, *partition, turn))
        });
        calls.push((*partition, call));
    }
    let mut verdicts: Vec<Verdict> = turns.iter().map(|_| Verdict::Lost).collect();
    for (partition, mut items) in store.ask_each(calls).await? {
        let mut answers = items.list()?;
        for position in positions.get(&partition).into_iter().flatten() {
            if let Some(verdict) = verdicts.get_mut(*position) {
                *verdict = verdict_of(&answers.text()?)?;
            }
        }
    }
    outbox::bring_starts(store, &senders(&store.layout, turns)).await;
    Ok(verdicts)
}

/// Lists the partitions whose turns start subworkflows that live elsewhere.
fn senders(layout: &Layout, turns: &[TurnCommit]) -> Vec<u16> {
    let sender = |turn: &TurnCommit| {
        let partition = layout.partition_of(&turn.run);
        let mut children = turn.subworkflows.iter();
        let sends =
            children.any(|child| layout.partition_of(&child.identity.workflow_id) != partition);
        sends.then_some(partition)
    };
    let senders: BTreeSet<u16> = turns.iter().filter_map(sender).collect();
    senders.into_iter().collect()
}

fn verdict_of(name: &str) -> Result<Verdict> {
    match name {
        "committed" => Ok(Verdict::Committed),
        "unread" => Ok(Verdict::Unread),
        "lost" => Ok(Verdict::Lost),
        other => Err(unreadable("verdict", other)),
    }
}

/// Lists what the script takes of a turn.
fn arguments(layout: &Layout, partition: u16, turn: &TurnCommit) -> Vec<Vec<u8>> {
    let stored = turn.turn.as_ref();
    let mut all: Vec<Vec<u8>> = vec![
        turn.run.as_str().into(),
        digits(turn.segment),
        digits(turn.epoch),
        turn.write.0.as_bytes().to_vec(),
        stored.map(|stored| digits(stored.turn)).unwrap_or_default(),
        stored
            .map(|stored| record::turn_item(Some(turn.write), stored))
            .unwrap_or_default(),
    ];
    all.extend(update_arguments(&turn.update));
    let is_own = |run| layout.partition_of(run) == partition;
    let (own, others): (Vec<_>, Vec<_>) = turn
        .subworkflows
        .iter()
        .partition(|child| is_own(&child.identity.workflow_id));
    let counts = [
        turn.data.len(),
        turn.withdraw.len(),
        turn.enqueue.len(),
        own.len(),
        others.len(),
        turn.outbox.len(),
    ];
    all.extend(counts.map(digits));
    for (key, value) in &turn.data {
        let mark = if value.is_some() { "1" } else { "" };
        let value = value.as_ref().map(|value| value.as_bytes().to_vec());
        all.extend([key.as_str().into(), mark.into(), value.unwrap_or_default()]);
    }
    let withdrawn = turn.withdraw.iter();
    all.extend(withdrawn.map(|one| record::attempt_key(turn.segment, one).into_bytes()));
    for one in &turn.enqueue {
        all.extend([
            record::attempt_key(one.segment, &one.operation).into_bytes(),
            digits(one.attempt),
            one.queue.as_str().into(),
            one.task.as_str().into(),
            digits(one.priority),
            one.due.map(micros).unwrap_or_default(),
            one.content.clone(),
        ]);
    }
    for child in own {
        all.extend([digits(partition), start::refusal(child)]);
        all.extend(start::arguments(child));
    }
    for child in others {
        let target = layout.partition_of(&child.identity.workflow_id);
        all.extend([digits(target), start::packed(child)]);
    }
    for message in &turn.outbox {
        let packed = Packed::default()
            .put(message.to.as_str())
            .put(message.write.0.as_bytes())
            .put(record::body_item(&message.body));
        all.extend([
            digits(layout.partition_of(&message.to)),
            packed.into_bytes(),
        ]);
    }
    all
}

/// Lists what becomes of the run: what, read, when due, status, reason, build, sealed.
fn update_arguments(update: &RunUpdate) -> [Vec<u8>; 7] {
    let text = |text: &str| text.as_bytes().to_vec();
    let none = Vec::new;
    let read = digits(update.read().unwrap_or(ArrivalNumber(0)));
    match update {
        RunUpdate::Append => [text("append"), read, none(), none(), none(), none(), none()],
        RunUpdate::Drain { seal, .. } => {
            let seal = if *seal { text("1") } else { none() };
            [text("drain"), read, none(), none(), none(), none(), seal]
        }
        RunUpdate::Park { wake_at, .. } => {
            let (wake_at, status) = (wake_at.map(micros).unwrap_or_default(), Status::Waiting);
            let status = text(status.as_str());
            [text("park"), read, wake_at, status, none(), none(), none()]
        }
        RunUpdate::Release { .. } => {
            let status = text(Status::Waiting.as_str());
            [
                text("release"),
                read,
                text("now"),
                status,
                none(),
                none(),
                none(),
            ]
        }
        RunUpdate::Block { reason, build, .. } => {
            let status = text(Status::Blocked.as_str());
            let (reason, build) = (text(reason), text(build.as_str()));
            [
                text("block"),
                read,
                text("now"),
                status,
                reason,
                build,
                none(),
            ]
        }
        RunUpdate::End { status, .. } => {
            let status = text(status.as_str());
            [text("end"), read, none(), status, none(), none(), none()]
        }
    }
}

fn digits(number: impl std::fmt::Display) -> Vec<u8> {
    number.to_string().into_bytes()
}

fn micros(time: Timestamp) -> Vec<u8> {
    digits(time.as_micros())
}
