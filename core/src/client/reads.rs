//! Reading what the store has of a run.

use crate::backend::{HistoryRequest, PAGE_MAX, RunRecord};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::history::StoredTurn;
use crate::id::{DataKey, Segment, TurnNumber, WorkflowId};
use crate::payload::{Binding, Payload};

impl Client {
    /// Reads the row of a run.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub(super) async fn row(&self, run: &WorkflowId) -> Result<RunRecord> {
        let row = self.backend().run(run).await?;
        row.ok_or_else(|| unknown(run))
    }

    /// Reads a value of a run's workflow data, decoded by the codecs.
    pub(super) async fn value(&self, run: &WorkflowId, key: &DataKey) -> Result<Option<Payload>> {
        let Some(value) = self.backend().data(run, key).await? else {
            return Ok(None);
        };
        let binding = Binding {
            run,
            kind: "data",
            key: key.as_str(),
        };
        self.settings().codecs.decode(value, &binding).map(Some)
    }

    /// Reads all turns of a segment, of the newest when none is given.
    pub(crate) async fn turns(
        &self,
        run: &WorkflowId,
        segment: Option<Segment>,
    ) -> Result<Vec<StoredTurn>> {
        let mut turns = Vec::new();
        loop {
            let request = HistoryRequest {
                run: run.clone(),
                segment,
                from: TurnNumber(turns.len() as u64),
                limit: PAGE_MAX,
            };
            let page = self.backend().history(request).await?;
            let is_last = page.len() < PAGE_MAX;
            turns.extend(page);
            if is_last {
                return Ok(turns);
            }
        }
    }
}

pub(super) fn unknown(run: &WorkflowId) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("there is no run `{run}` in this store"),
    )
}
