//! Sending something to the inbox of a run.

use std::time::Duration;

use crate::backend::{Arrival, ArriveRequest, Arrived};
use crate::client::Client;
use crate::client::reads::unknown;
use crate::error::{Error, ErrorKind, Result};
use crate::id::WorkflowId;
use crate::status::Status;

/// Is how long a run that is about to end or park is given to do so.
const UNTIL_UNSEALED: Duration = Duration::from_millis(2);

impl Client {
    /// Puts something into an inbox, and tells the owner if it is in this process.
    pub(crate) async fn arrive(&self, request: ArriveRequest) -> Result<()> {
        let backend = self.backend();
        loop {
            let answers = self.ask(|| backend.arrive(vec![request.clone()])).await?;
            match answers.into_iter().next() {
                Some(Arrived::Accepted {
                    number,
                    owner,
                    accepted_at,
                }) => {
                    let arrival = Arrival {
                        number,
                        accepted_at,
                        body: request.body,
                    };
                    self.hub().arrived(&request.run, owner, Some(arrival));
                    return Ok(());
                }
                Some(Arrived::Sealed) => self.environment().sleep(UNTIL_UNSEALED).await,
                Some(Arrived::Full) => return Err(full(&request.run, request.inbox_max)),
                Some(Arrived::Finished(status)) => return Err(finished(&request.run, status)),
                Some(Arrived::Unknown) | None => return Err(unknown(&request.run)),
            }
        }
    }
}

pub(super) fn finished(run: &WorkflowId, status: Status) -> Error {
    Error::new(
        ErrorKind::Finished,
        format!("run `{run}` is {status} and takes nothing more"),
    )
}

fn full(run: &WorkflowId, limit: u64) -> Error {
    Error::new(
        ErrorKind::LimitExceeded,
        format!("run `{run}` has {limit} unread arrivals, which is the limit"),
    )
}
