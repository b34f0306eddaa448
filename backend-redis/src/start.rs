//! Starting runs, from outside and by a parent.

use longhaul_core::backend::{ArrivalBody, ArrivalKind, Lane, StartRun, Started};
use longhaul_core::id::WorkflowId;

use crate::Store;
use crate::error::Result;
use crate::pack::Packed;
use crate::record;
use crate::reply::{Fields, Items};
use crate::script::START;

/// Lists what a script takes of a start.
pub(crate) fn arguments(start: &StartRun) -> [Vec<u8>; 7] {
    let identity = &start.identity;
    let parent = identity.parent.as_ref().map_or("", WorkflowId::as_str);
    [
        identity.workflow_id.as_str().into(),
        record::fixed(start),
        start.route.as_str().into(),
        record::same(start),
        parent.into(),
        identity.root.as_str().into(),
        record::first_turn(start),
    ]
}

/// Returns what a parent is told whose subworkflow's id is taken.
pub(crate) fn refusal(start: &StartRun) -> Vec<u8> {
    let operation = start.parent_operation.as_ref();
    record::body_item(&ArrivalBody {
        kind: ArrivalKind::SubworkflowClosed,
        name: operation.map(ToString::to_string).unwrap_or_default(),
        content: Vec::new(),
    })
}

/// Returns a start as it is sent to another partition.
pub(crate) fn packed(start: &StartRun) -> Vec<u8> {
    let packed = Packed::default().put(refusal(start));
    packed.put_all(arguments(start)).into_bytes()
}

/// Starts runs, those of each partition together.
pub(crate) async fn start(
    store: &Store,
    lane: Option<Lane>,
    runs: &[StartRun],
) -> Result<Vec<Started>> {
    let owner = lane.map(|lane| lane.worker.to_string()).unwrap_or_default();
    let mut positions = store.layout.spread(runs, |run| &run.identity.workflow_id);
    if runs.is_empty() && lane.is_some() {
        positions.entry(0).or_default();
    }
    let mut calls = Vec::new();
    for (partition, positions) in &positions {
        let call = store
            .on(&START, *partition)
            .arg(&owner)
            .number(positions.len());
        let of_partition = positions.iter().filter_map(|position| runs.get(*position));
        calls.push((*partition, call.args(of_partition.flat_map(arguments))));
    }
    let mut answers: Vec<Option<Started>> = runs.iter().map(|_| None).collect();
    for (partition, mut items) in store.ask_each(calls).await? {
        let mut items = items.optional().map(Items::of).transpose()?;
        for position in positions.get(&partition).into_iter().flatten() {
            let fields = match &mut items {
                Some(items) => Fields::of(items.value()?)?,
                None => Fields::default(),
            };
            if let (Some(run), Some(answer)) = (runs.get(*position), answers.get_mut(*position)) {
                *answer = Some(started(run, &fields)?);
            }
        }
    }
    Ok(answers.into_iter().flatten().collect())
}

fn started(run: &StartRun, existing: &Fields) -> Result<Started> {
    if existing.is_empty() {
        return Ok(Started::New);
    }
    let id = run.identity.workflow_id.as_str();
    let existing = record::run_record(id, existing)?;
    Ok(Started::Exists(Box::new(existing)))
}
