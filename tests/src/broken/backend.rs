//! A backend that passes everything on to a right one, except for its one fault.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use longhaul_core::backend::{
    AcquiredRun, Arrived, Backend, QueuedAttempt, RunRecord, Serves, StartRun, StoreInfo,
};
use longhaul_core::clock::Timestamp;
use longhaul_core::history::OperationKey;
use longhaul_core::id::{ArrivalNumber, BuildId, DataKey, WorkerId, WorkflowId, WriteId};
use longhaul_core::payload::Payload;

use super::Fault;
use crate::world::{SECOND, route};

/// Wraps a right backend.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) inner: Arc<dyn Backend>,
    pub(super) fault: Fault,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) claimed: Vec<QueuedAttempt>,
    pub(super) acquired: Vec<AcquiredRun>,
    pub(super) arrived: HashMap<WriteId, Arrived>,
    pub(super) sealed: HashSet<WorkflowId>,
    pub(super) data: HashMap<DataKey, Payload>,
    pub(super) lost: u32,
    pub(super) drained: HashSet<WorkflowId>,
    pub(super) noisy: Vec<WorkflowId>,
    pub(super) joined: HashSet<WorkerId>,
    pub(super) read: HashMap<WorkflowId, ArrivalNumber>,
    pub(super) kept_losses: HashMap<WorkflowId, u32>,
    pub(super) queued: HashSet<(WorkflowId, OperationKey)>,
    pub(super) withdrawn: HashSet<OperationKey>,
    pub(super) is_woken_by_message: bool,
    pub(super) has_lost_an_owner: bool,
    pub(super) is_locked: bool,
}

impl Broken {
    pub(super) fn new(inner: Arc<dyn Backend>, fault: Fault) -> Self {
        Self {
            inner,
            fault,
            memory: Mutex::default(),
        }
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    pub(super) fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap()
    }

    pub(super) fn reversed<T>(&self, fault: Fault, mut all: Vec<T>) -> Vec<T> {
        if self.has(fault) {
            all.reverse();
        }
        all
    }

    pub(super) fn spoil_id(&self, id: &WorkflowId) -> WorkflowId {
        let spoiled: String = match self.fault {
            Fault::FoldsCase => id.as_str().to_lowercase(),
            Fault::CutsIds => id.as_str().chars().take(254).collect(),
            Fault::DropsOddCharacters => plain(id.as_str()),
            _ => return id.clone(),
        };
        WorkflowId::from_stored(spoiled)
    }

    pub(super) fn spoil_record(&self, record: &mut Vec<u8>) {
        match self.fault {
            Fault::StopsAtNul => {
                let end = record.iter().position(|byte| *byte == 0);
                record.truncate(end.unwrap_or(record.len()));
            }
            Fault::CutsLargeRecords => record.truncate(65_535),
            _ => {}
        }
    }

    pub(super) fn spoil_run(&self, run: &mut StartRun) {
        run.identity.workflow_id = self.spoil_id(&run.identity.workflow_id);
        self.spoil_record(&mut run.record);
        match self.fault {
            Fault::LosesTags => run.tags.clear(),
            Fault::SortsTags => run.tags.sort(),
            Fault::KeepsOneTagOfEachName => run.tags.dedup_by(|one, other| one.0 == other.0),
            Fault::DropsOddCharacters => {
                for (_, value) in &mut run.tags {
                    *value = plain(value);
                }
            }
            _ => {}
        }
    }

    pub(super) fn spoil_row(&self, row: &mut RunRecord) {
        match self.fault {
            Fault::CountsNoLosses => row.lost = 0,
            Fault::NeverForgetsLosses => {
                let mut memory = self.memory();
                memory.lost = memory.lost.max(row.lost);
                row.lost = memory.lost;
            }
            Fault::ForgetsLossesInDrains
                if self.memory().drained.contains(&row.identity.workflow_id) =>
            {
                row.lost = 0
            }
            Fault::ReadsGoBack => {
                let read = self.memory().read.get(&row.identity.workflow_id).copied();
                row.read = read.unwrap_or(row.read);
            }
            Fault::KeepsLossesOfReleasedRuns => {
                let kept = self
                    .memory()
                    .kept_losses
                    .get(&row.identity.workflow_id)
                    .copied();
                row.lost = row.lost.max(kept.unwrap_or(0));
            }
            _ => {}
        }
    }

    pub(super) fn spoil_serves(&self, serves: &Serves) -> Serves {
        let mut serves = serves.clone();
        match self.fault {
            Fault::IgnoresRoutes => {
                for name in ["order", "task:charge"].map(route) {
                    if !serves.routes.contains(&name) {
                        serves.routes.push(name);
                    }
                }
            }
            Fault::IgnoresTheBuild => serves.build = BuildId::from_stored("any"),
            Fault::BlocksForEveryBuild => serves.build = BuildId::from_stored("build-1"),
            _ => {}
        }
        serves
    }
}

pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|c| !"'\"%".contains(*c)).collect()
}

pub(super) fn is_unique<T: Ord>(names: &[T]) -> bool {
    names.iter().collect::<BTreeSet<_>>().len() == names.len()
}
impl Backend for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn store(&self) -> StoreInfo {
        self.inner.store()
    }

    fn clock(&self) -> Timestamp {
        if self.has(Fault::RunsAhead) {
            return self.inner.clock().after(SECOND);
        }
        self.inner.clock()
    }
}
