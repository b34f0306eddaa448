//! File locks that prove a worker's death to other processes on the host at once.
//!
//! Invariants: each worker has a lock file of its own beside the database, never the database itself, as closing any
//! descriptor of that would drop SQLite's own locks. The file is locked before the worker is registered. A probe takes
//! the lock shared, so that two probes do not take each other for the owner. A missing file proves nothing.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use longhaul_core::id::WorkerId;

use crate::error::{Failure, Result};

/// Holds the locks of the workers that one handle of the database registered.
#[derive(Debug)]
pub(crate) struct WorkerLocks {
    /// The path of the database; none when locks are off.
    database: Option<PathBuf>,
    held: Mutex<HashMap<WorkerId, Option<File>>>,
}

impl WorkerLocks {
    pub(crate) fn new(database: Option<&Path>) -> Self {
        Self {
            database: database.map(Path::to_owned),
            held: Mutex::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<WorkerId, Option<File>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, worker: WorkerId) -> Option<PathBuf> {
        self.database.as_deref().map(|database| {
            let mut path = OsString::from(database);
            path.push(format!("-worker-{worker}"));
            PathBuf::from(path)
        })
    }

    /// Makes and locks the worker's file; tells whether it was not held before.
    pub(crate) fn hold(&self, worker: WorkerId) -> Result<bool> {
        let mut held = self.held();
        if held.contains_key(&worker) {
            return Ok(false);
        }
        let file = match self.path(worker) {
            Some(path) => Some(lock(&path).map_err(|cause| Failure::Lock { path, cause })?),
            None => None,
        };
        held.insert(worker, file);
        Ok(true)
    }

    /// Lets go of the worker's file and removes it.
    pub(crate) fn release(&self, worker: WorkerId) {
        self.held().remove(&worker);
        self.remove(worker);
    }

    /// Removes the file of a worker that is dead.
    pub(crate) fn remove(&self, worker: WorkerId) {
        if let Some(path) = self.path(worker) {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Tells whether the worker is another handle's, and that handle is gone.
    pub(crate) fn is_free(&self, worker: WorkerId) -> bool {
        if self.is_held(worker) {
            return false;
        }
        let file = self.path(worker).and_then(|path| File::open(path).ok());
        file.is_some_and(|file| file.try_lock_shared().is_ok())
    }

    /// Tells whether this handle registered the worker.
    pub(crate) fn is_held(&self, worker: WorkerId) -> bool {
        self.held().contains_key(&worker)
    }
}

fn lock(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(cause)) => Err(cause),
        Err(TryLockError::WouldBlock) => Err(std::io::ErrorKind::WouldBlock.into()),
    }
}
