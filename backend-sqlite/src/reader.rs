//! A few threads that only read, each with a connection of its own that stays open.
//!
//! Invariants: a request sees one committed state of the store, and no request opens a connection, save the first of a
//! thread.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;

use crate::error::{Failure, Result};
use crate::{Shared, schema, spawn};

const READERS: usize = 3;

/// Is a request: gets a connection, or why there is none.
pub(crate) type Request = Box<dyn FnOnce(Result<&Connection>) + Send>;

/// Holds the threads.
pub(crate) struct Readers {
    requests: Option<Sender<Request>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    pub(crate) fn start(path: &Path, shared: &Arc<Shared>) -> Result<Self> {
        let (requests, receiver) = mpsc::channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let threads = (0..READERS)
            .map(|_| {
                let (path, shared) = (path.to_owned(), Arc::clone(shared));
                let receiver = Arc::clone(&receiver);
                spawn("longhaul-sqlite-reader", move || {
                    read(&path, &receiver, &shared)
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            requests: Some(requests),
            threads,
        })
    }

    pub(crate) fn give(&self, request: Request) -> Result<()> {
        let requests = self.requests.as_ref().ok_or(Failure::Stopped)?;
        requests.send(request).map_err(|_| Failure::Stopped)
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.requests = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that reads the database has panicked");
            }
        }
    }
}

fn read(path: &Path, requests: &Mutex<Receiver<Request>>, shared: &Shared) {
    let mut connection: Option<Connection> = None;
    while let Some(request) = next(requests) {
        shared.statistics.reads.fetch_add(1, Ordering::Relaxed);
        let opened = match connection.take() {
            Some(open) => Ok(open),
            None => schema::open_reader(path),
        };
        match opened {
            Ok(open) => request(Ok(connection.insert(open))),
            Err(failure) => request(Err(failure)),
        }
    }
}

fn next(requests: &Mutex<Receiver<Request>>) -> Option<Request> {
    let requests = requests.lock().unwrap_or_else(PoisonError::into_inner);
    requests.recv().ok()
}

/// Runs `work` inside a transaction that only reads.
pub(crate) fn snapshot<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T>,
) -> Result<T> {
    connection.prepare_cached("begin deferred")?.execute([])?;
    let done = work(connection);
    connection.prepare_cached("commit")?.execute([])?;
    done
}
