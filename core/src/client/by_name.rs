//! Starting runs whose type is a text.

use std::fmt;
use std::future::IntoFuture;

use serde::{Deserialize, Serialize};

use crate::client::{Client, Handle, NewRun};
use crate::clock::BoxFuture;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{WorkflowId, WorkflowType};
use crate::identity::RunKind;
use crate::payload::Payload;
use crate::registry::{Registration, Registry};

/// Holds any JSON value as text.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    /// Returns the JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(Self(value.to_string()))
    }
}

impl Serialize for Json {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value: serde_json::Value =
            serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        value.serialize(serializer)
    }
}

/// Starts a run by the name of its type; made by [`Client::start_by_name`] and awaited.
#[derive(Debug)]
#[must_use = "nothing is started until it is awaited"]
pub struct StartByName {
    client: Client,
    name: String,
    arguments: String,
    id: Option<String>,
    tags: Vec<(String, String)>,
}

impl StartByName {
    pub(crate) fn new(client: Client, name: &str, arguments: &str) -> Self {
        Self {
            client,
            name: name.to_owned(),
            arguments: arguments.to_owned(),
            id: None,
            tags: Vec::new(),
        }
    }

    /// Names the run.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Adds a tag for listing and searching.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.push((key.into(), value.into()));
        self
    }

    async fn start(self) -> Result<Handle<Json>> {
        let registered = Registry::linked()?.get(&self.name).ok();
        let (kind, version, task) = match registered {
            Some(Registration::Task(task)) => (RunKind::Task, 0, Some((task.options)())),
            Some(Registration::Workflow(workflow)) => (RunKind::Workflow, workflow.version, None),
            None => (RunKind::Workflow, 0, None),
        };
        let new = NewRun {
            id: self.id.map(WorkflowId::new).transpose()?,
            kind,
            workflow_type: WorkflowType::new(&self.name)?,
            version,
            task,
            tags: self.tags,
            arguments: arguments(&self.name, &self.arguments)?,
        };
        self.client.start_run(new).await
    }
}

impl IntoFuture for StartByName {
    type Output = Result<Handle<Json>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}

fn arguments(name: &str, text: &str) -> Result<Payload> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|cause| {
        Error::new(
            ErrorKind::InvalidInput,
            format!("arguments of `{name}` are not JSON"),
        )
        .caused_by(cause)
    })?;
    match value {
        serde_json::Value::Array(_) => Payload::encode(&value),
        single => Payload::encode(&[single]),
    }
}
