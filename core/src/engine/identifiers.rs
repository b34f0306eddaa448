//! Names and hashes that are derived, so that asking again gives the same.

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher24};

use crate::history::OperationKey;
use crate::id::{Epoch, NAME_CHARACTERS_MAX, Route, Segment, Uuid, WorkflowId, WriteId};
use crate::identity::RunKind;
use crate::payload::{Payload, canonical_json};

/// Returns who can execute a run of this kind and type.
pub(crate) fn route_of(kind: RunKind, workflow_type: &str) -> Route {
    match kind {
        RunKind::Workflow => Route::from_stored(workflow_type),
        RunKind::Task => Route::from_stored(format!("task:{workflow_type}")),
    }
}

/// Hashes arguments, so that a repeated start can be told from another one without showing them.
///
/// Source: SipHash-2-4 with 128 bits, J.-P. Aumasson and D. J. Bernstein, 2012, over canonical JSON.
pub(crate) fn fingerprint(key: &[u8; 16], arguments: &Payload) -> [u8; 16] {
    let mut hasher = SipHasher24::new_with_key(key);
    match canonical_json(arguments) {
        Ok(canonical) => hasher.write(&canonical),
        Err(_) => hasher.write(arguments.as_bytes()),
    }
    hasher.finish128().as_bytes()
}

/// Makes the id of a subworkflow that the user did not name; one that would be too long ends in a hash.
pub(crate) fn subworkflow_id(
    parent: &WorkflowId,
    segment: Segment,
    operation: &OperationKey,
) -> WorkflowId {
    let id = format!("{parent}/{segment}/{}#{}", operation.name, operation.nth);
    if id.chars().count() <= NAME_CHARACTERS_MAX {
        return WorkflowId::from_stored(id);
    }
    let mut hasher = SipHasher24::new();
    hasher.write(id.as_bytes());
    let hash = Uuid::from_random_bytes(hasher.finish128().as_bytes());
    let kept: String = id.chars().take(200).collect();
    WorkflowId::from_stored(format!("{kept}~{hash}"))
}

/// Names a write of a run: the same for the same purpose, segment, ownership and number, and for no other.
pub(crate) fn write_id(
    key: &[u8; 16],
    run: &WorkflowId,
    segment: Segment,
    epoch: Epoch,
    purpose: &[u8],
    number: u64,
) -> WriteId {
    let mut hasher = SipHasher24::new_with_key(key);
    hasher.write(purpose);
    hasher.write_u8(u8::MAX);
    hasher.write(run.as_str().as_bytes());
    hasher.write_u32(segment.0);
    hasher.write_u64(epoch.0);
    hasher.write_u64(number);
    WriteId(Uuid::from_random_bytes(hasher.finish128().as_bytes()))
}
