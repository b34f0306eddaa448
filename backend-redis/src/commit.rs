//! The one place where an owned run changes.
//!
//! Invariants: the turns of a partition are judged and written by one script, the smallest that can write them, each
//! whole or not at all. Subworkflows that live elsewhere leave by the outbox, and are brought there before the answer if
//! nothing goes wrong. What there is to tell is told once for a commit, by the last script that is executed.

use std::collections::BTreeSet;

use longhaul_core::backend::{RunUpdate, TurnCommit, Verdict};
use longhaul_core::clock::Timestamp;
use longhaul_core::id::{ArrivalNumber, WorkerId};
use longhaul_core::status::Status;

use crate::call::Call;
use crate::error::{Result, unreadable};
use crate::layout::Layout;
use crate::pack::Packed;
use crate::reply::Items;
use crate::script::{APPEND, COMMIT, SETTLE, Script};
use crate::{Store, outbox, record, start};

/// Says how much a turn does, and so which script it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    /// It is appended.
    Appends,
    /// It also changes the row of its run.
    Settles,
    /// It also changes something beside its run.
    Causes,
}

impl Extent {
    fn of(turn: &TurnCommit) -> Self {
        let causes = !(turn.data.is_empty()
            && turn.subworkflows.is_empty()
            && turn.enqueue.is_empty()
            && turn.withdraw.is_empty()
            && turn.outbox.is_empty());
        match turn.update {
            _ if causes => Self::Causes,
            RunUpdate::Append if turn.turn.is_some() => Self::Appends,
            RunUpdate::Append => Self::Causes,
            _ => Self::Settles,
        }
    }

    const fn script(self) -> &'static Script {
        match self {
            Self::Appends => &APPEND,
            Self::Settles => &SETTLE,
            Self::Causes => &COMMIT,
        }
    }
}

/// Says what is told to those who wait for hints once turns are committed; the larger tells the smaller as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum News {
    None,
    Ended,
    Changed,
}

impl News {
    fn of(turn: &TurnCommit) -> Self {
        let sends =
            !(turn.subworkflows.is_empty() && turn.enqueue.is_empty() && turn.outbox.is_empty());
        match turn.update {
            _ if sends => Self::Changed,
            RunUpdate::Append | RunUpdate::Drain { .. } | RunUpdate::Park { wake_at: None, .. }
                if turn.answers() =>
            {
                Self::Ended
            }
            RunUpdate::Append | RunUpdate::Drain { .. } | RunUpdate::Park { wake_at: None, .. } => {
                Self::None
            }
            RunUpdate::Park { .. } | RunUpdate::Release { .. } | RunUpdate::Block { .. } => {
                Self::Changed
            }
            RunUpdate::End { .. } | RunUpdate::Pause { .. } => Self::Ended,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Ended => "ended",
            Self::Changed => "changed",
        }
    }
}

/// Is what a commit does in one partition.
struct Part<'a> {
    partition: u16,
    /// Where the turns are in the commit.
    positions: &'a [usize],
    extent: Extent,
    news: News,
}

impl<'a> Part<'a> {
    fn of(partition: u16, positions: &'a [usize], turns: &[TurnCommit]) -> Self {
        let mut part = Self {
            partition,
            positions,
            extent: Extent::Appends,
            news: News::None,
        };
        for turn in part.turns(turns) {
            part.extent = part.extent.max(Extent::of(turn));
            part.news = part.news.max(News::of(turn));
        }
        part
    }

    fn turns<'t>(
        &self,
        turns: &'t [TurnCommit],
    ) -> impl Iterator<Item = &'t TurnCommit> + use<'a, 't> {
        let positions = self.positions.iter();
        positions.filter_map(|position| turns.get(*position))
    }

    fn call(&self, store: &Store, worker: &str, turns: &[TurnCommit]) -> (u16, Call) {
        let call = store.on(self.extent.script(), self.partition);
        let call = call.arg(worker).number(self.positions.len());
        let call = match self.extent {
            Extent::Appends => call,
            Extent::Settles | Extent::Causes => call.arg(self.news.name()),
        };
        let call = self
            .turns(turns)
            .fold(call, |call, turn| match self.extent {
                Extent::Appends => append(call, turn),
                Extent::Settles => settle(call, turn),
                Extent::Causes => {
                    let effects = effects(&store.layout, self.partition, turn);
                    settle(call.number(effects.len()), turn).args(effects)
                }
            });
        (self.partition, call)
    }
}

/// Commits turns of runs that `owner` owns, or without one of runs that nobody owns, those of each partition together.
pub(crate) async fn commit(
    store: &Store,
    owner: Option<WorkerId>,
    turns: &[TurnCommit],
) -> Result<Vec<Verdict>> {
    let worker = owner.map(|worker| worker.to_string()).unwrap_or_default();
    let mut positions = store.layout.spread(turns, |turn| &turn.run);
    if turns.is_empty() {
        positions.entry(0).or_default();
    }
    let mut parts: Vec<Part<'_>> = positions
        .iter()
        .map(|(partition, positions)| Part::of(*partition, positions, turns))
        .collect();
    if store.link.keeps_order() {
        tell_once(&mut parts);
    }
    let calls = parts.iter().map(|part| part.call(store, &worker, turns));
    let answers = store.ask_each(calls.collect()).await?;
    let mut verdicts = vec![Verdict::Committed; turns.len()];
    for (part, (_, items)) in parts.iter().zip(answers) {
        note_verdicts(&mut verdicts, part.positions, items)?;
    }
    outbox::bring_starts(store, &senders(&store.layout, turns)).await;
    Ok(verdicts)
}

/// Leaves what all parts tell to the last of those that tell something.
fn tell_once(parts: &mut [Part<'_>]) {
    let all = parts.iter().map(|part| part.news).max();
    let mut telling = parts.iter_mut().rev().filter(|part| part.news > News::None);
    if let (Some(last), Some(all)) = (telling.next(), all) {
        last.news = all;
        telling.for_each(|part| part.news = News::None);
    }
}

/// Takes over the verdicts of a script, which names none when all turns are committed.
fn note_verdicts(verdicts: &mut [Verdict], positions: &[usize], mut items: Items) -> Result<()> {
    let Some(answers) = items.optional() else {
        return Ok(());
    };
    let mut answers = Items::of(answers)?;
    for position in positions {
        if let Some(verdict) = verdicts.get_mut(*position) {
            *verdict = verdict_of(&answers.text()?)?;
        }
    }
    Ok(())
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
    let starting = turns.iter().filter(|turn| !turn.subworkflows.is_empty());
    let senders: BTreeSet<u16> = starting.filter_map(sender).collect();
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

/// Adds what `append` takes.
fn append(call: Call, turn: &TurnCommit) -> Call {
    let call = call
        .arg(turn.run.as_str())
        .number(turn.segment)
        .number(turn.epoch);
    match &turn.turn {
        Some(stored) => call
            .number(stored.turn)
            .arg(record::turn_item(Some(turn.write), stored)),
        None => call.arg("").arg(turn.write.0.as_bytes()),
    }
}

/// Adds what `take_turn` takes: what becomes of the run, the turn; unless that is only appended, the last arrival read,
/// when the run is due, its status, why it is blocked, by which build, whether it is sealed.
fn settle(call: Call, turn: &TurnCommit) -> Call {
    let read = turn.update.read().unwrap_or(ArrivalNumber(0));
    let adds = |call: Call, what: &str| append(call.arg(what), turn);
    let gives_up = |call: Call, what: &str| adds(call, what).number(read);
    let waiting = Status::Waiting.as_str();
    match &turn.update {
        RunUpdate::Append => adds(call, "append"),
        RunUpdate::Drain { seal, .. } => {
            let seal = if *seal { "1" } else { "" };
            gives_up(call, "drain").args(["", "", "", "", seal])
        }
        RunUpdate::Park { wake_at, .. } => {
            let wake_at = wake_at.map(micros).unwrap_or_default();
            let call = gives_up(call, "park").arg(wake_at);
            call.args([waiting, "", "", ""])
        }
        RunUpdate::Release { .. } => gives_up(call, "release").args(["now", waiting, "", "", ""]),
        RunUpdate::Block { reason, build, .. } => {
            let status = Status::Blocked.as_str();
            gives_up(call, "block").args(["now", status, reason, build.as_str(), ""])
        }
        RunUpdate::Pause { .. } => {
            gives_up(call, "pause").args(["", Status::Paused.as_str(), "", "", ""])
        }
        RunUpdate::End { status, .. } => {
            gives_up(call, "end").args(["", status.as_str(), "", "", ""])
        }
    }
}

/// Lists what a turn causes beside its run: how many of each, and then each; nothing when it causes nothing.
fn effects(layout: &Layout, partition: u16, turn: &TurnCommit) -> Vec<Vec<u8>> {
    if Extent::of(turn) < Extent::Causes {
        return Vec::new();
    }
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
    let mut all: Vec<Vec<u8>> = counts.map(digits).to_vec();
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

fn digits(number: impl std::fmt::Display) -> Vec<u8> {
    number.to_string().into_bytes()
}

fn micros(time: Timestamp) -> Vec<u8> {
    digits(time.as_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(news: &[News]) -> Vec<News> {
        let part = |news: &News| Part {
            partition: 0,
            positions: &[],
            extent: Extent::Settles,
            news: *news,
        };
        let mut parts: Vec<Part<'_>> = news.iter().map(part).collect();
        tell_once(&mut parts);
        parts.into_iter().map(|part| part.news).collect()
    }

    #[test]
    fn last_script_that_tells_something_tells_the_most_for_all() {
        use News::{Changed, Ended, None};
        assert_eq!(told(&[]), []);
        assert_eq!(told(&[None, None]), [None, None]);
        assert_eq!(told(&[Ended, Ended, None]), [None, Ended, None]);
        assert_eq!(told(&[Changed, Ended]), [None, Changed]);
        assert_eq!(told(&[Ended, Changed]), [None, Changed]);
    }
}
