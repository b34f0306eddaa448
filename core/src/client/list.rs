//! Listing runs with filters and pages.

use std::future::IntoFuture;

use crate::backend::{ListRequest, PAGE_MAX, RunFilter};
use crate::client::{Client, RunInfo};
use crate::clock::BoxFuture;
use crate::error::Result;
use crate::id::{WorkflowId, WorkflowType};
use crate::identity::RunKind;
use crate::status::Status;

/// Lists runs in the order of their ids; made by [`Client::list`] and awaited.
#[derive(Debug)]
#[must_use = "nothing is read until it is awaited"]
pub struct List {
    pub(super) client: Client,
    pub(super) filter: RunFilter,
    pub(super) after: Option<WorkflowId>,
    limit: usize,
}

impl List {
    pub(crate) fn new(client: Client) -> Self {
        let filter = RunFilter {
            kind: Some(RunKind::Workflow),
            ..RunFilter::default()
        };
        Self {
            client,
            filter,
            after: None,
            limit: 100,
        }
    }

    /// Lists tasks that were started alone too.
    pub fn all(mut self) -> Self {
        self.filter.kind = None;
        self
    }

    /// Lists only runs of this status, or of any one given so.
    pub fn status(mut self, status: Status) -> Self {
        self.filter.statuses.push(status);
        self
    }

    /// Lists only runs of this type.
    pub fn workflow_type(mut self, name: impl AsRef<str>) -> Self {
        self.filter.workflow_type = Some(WorkflowType::from_stored(name));
        self
    }

    /// Lists only runs with this tag.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.filter.tags.push((key.into(), value.into()));
        self
    }

    /// Lists only runs that this run started.
    pub fn children_of(mut self, parent: &WorkflowId) -> Self {
        self.filter.parent = Some(parent.clone());
        self
    }

    /// Lists only runs in the tree of this run, itself included.
    pub fn tree_of(mut self, root: &WorkflowId) -> Self {
        self.filter.root = Some(root.clone());
        self
    }

    /// Lists only ids that begin so.
    pub fn id_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.filter.id_prefix = Some(prefix.into());
        self
    }

    /// Goes on behind the last id of the page before.
    pub fn after(mut self, id: &WorkflowId) -> Self {
        self.after = Some(id.clone());
        self
    }

    /// Sets the most runs to return; 100 by default, at most 1,000.
    pub fn limit(mut self, runs: usize) -> Self {
        self.limit = runs;
        self
    }

    /// Counts the runs instead, over all pages.
    ///
    /// # Errors
    /// `Unavailable` when the backend cannot be reached.
    pub async fn count(self) -> Result<u64> {
        Ok(self.client.backend().count(&self.filter).await?)
    }

    async fn read(self) -> Result<Vec<RunInfo>> {
        let request = ListRequest {
            filter: self.filter,
            after: self.after,
            limit: self.limit.clamp(1, PAGE_MAX),
        };
        let runs = self.client.backend().list(request).await?;
        Ok(runs.into_iter().map(RunInfo::new).collect())
    }
}

impl IntoFuture for List {
    type Output = Result<Vec<RunInfo>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.read())
    }
}
