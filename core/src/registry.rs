//! What this process can execute: tasks and workflows by name.
//!
//! Invariants: a name stands for one definition, task or workflow; the registry does not change once a worker has it.
//! `#[task]` and `#[workflow]` put their definitions in the inventory; nothing here runs them.

use std::collections::BTreeMap;

use crate::backend::ConnectionType;
use crate::error::{Error, ErrorKind, Result};
use crate::id::Route;

mod definition;
mod dependencies;

pub use definition::{
    Invocation, Location, Registration, TaskBody, TaskDefinition, TransactionalBody,
    WorkflowDefinition,
};
pub use dependencies::{Dep, Dependencies, DependencyKey};

/// Holds what a worker can execute, by name.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    by_name: BTreeMap<&'static str, Registration>,
}

impl Registry {
    /// Makes an empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Collects every task and workflow that is linked into this program.
    ///
    /// # Errors
    /// `AlreadyExists` when two of them have the same name.
    pub fn linked() -> Result<Self> {
        Self::of(inventory::iter::<Registration>().copied())
    }

    /// Collects the given tasks and workflows.
    ///
    /// # Errors
    /// `AlreadyExists` when two of them have the same name.
    pub fn of(registrations: impl IntoIterator<Item = Registration>) -> Result<Self> {
        let mut registry = Self::new();
        for registration in registrations {
            registry.register(registration)?;
        }
        Ok(registry)
    }

    /// Adds a task or workflow; adding the same one again changes nothing.
    ///
    /// # Errors
    /// `AlreadyExists` when another one has its name.
    pub fn register(&mut self, registration: Registration) -> Result<()> {
        let name = registration.name();
        let Some(present) = self.by_name.insert(name, registration) else {
            return Ok(());
        };
        if present.is(&registration) {
            return Ok(());
        }
        self.by_name.insert(name, present);
        Err(Error::new(
            ErrorKind::AlreadyExists,
            format!(
                "{present} and {registration} have the same name; give one of them another with `name = \"...\"`"
            ),
        ))
    }

    /// Keeps only the tasks and workflows of these names.
    ///
    /// # Errors
    /// `NotRegistered` when a name stands for nothing.
    pub fn only(self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self> {
        let mut kept = Self::new();
        for name in names {
            kept.register(self.get(name.as_ref())?)?;
        }
        Ok(kept)
    }

    /// Returns the task or workflow of a name.
    ///
    /// # Errors
    /// `NotRegistered` when there is none.
    pub fn get(&self, name: &str) -> Result<Registration> {
        let found = self.by_name.get(name).copied();
        found.ok_or_else(|| self.not_registered("task or workflow", name))
    }

    /// Returns the task of a name.
    #[must_use]
    pub fn task(&self, name: &str) -> Option<&'static TaskDefinition> {
        match self.by_name.get(name)? {
            Registration::Task(definition) => Some(definition),
            Registration::Workflow(_) => None,
        }
    }

    /// Returns the workflow of a name.
    #[must_use]
    pub fn workflow(&self, name: &str) -> Option<&'static WorkflowDefinition> {
        match self.by_name.get(name)? {
            Registration::Workflow(definition) => Some(definition),
            Registration::Task(_) => None,
        }
    }

    /// Returns everything, by name.
    pub fn iter(&self) -> impl Iterator<Item = Registration> + '_ {
        self.by_name.values().copied()
    }

    /// Tells whether there is nothing to execute.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Returns the routes of the runs that can be executed.
    #[must_use]
    pub fn routes(&self) -> Vec<Route> {
        self.iter()
            .map(|registration| registration.route())
            .collect()
    }

    /// Checks that every task finds its dependencies.
    ///
    /// # Errors
    /// `NotRegistered`, naming each task that lacks one and the type that it lacks.
    pub fn check_dependencies(&self, provided: &Dependencies) -> Result<()> {
        let missing: Vec<String> = self
            .iter()
            .flat_map(|registration| missing_of(&registration, provided))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::NotRegistered,
            format!(
                "{}; add it with `.provide(...)` when building the worker",
                missing.join(", ")
            ),
        ))
    }

    /// Checks that every transactional task takes a connection such as the store gives.
    ///
    /// # Errors
    /// `NotRegistered`, naming each task that takes another, its connection's type, and what the store has.
    pub fn check_connections(&self, store: &str, given: Option<ConnectionType>) -> Result<()> {
        let unfit: Vec<String> = self
            .iter()
            .filter_map(|registration| connection_of(&registration))
            .filter(|(_, wanted)| given.is_none_or(|given| given.id != (wanted.type_id)()))
            .map(|(task, wanted)| {
                format!(
                    "task `{task}` runs in a transaction on a `{}`",
                    (wanted.type_name)()
                )
            })
            .collect();
        if unfit.is_empty() {
            return Ok(());
        }
        let given = given.map_or_else(
            || "shares no transactions (a store of SQLite or Postgres does, with the feature `sqlx`)".to_owned(),
            |given| format!("gives a `{}`", given.name),
        );
        Err(Error::new(
            ErrorKind::NotRegistered,
            format!(
                "{}, and the store `{store}` {given}; use another store, or leave the task out with `.only(...)`",
                unfit.join(", ")
            ),
        ))
    }

    /// Makes the error for a name that stands for nothing here.
    #[must_use]
    pub fn not_registered(&self, what: &str, name: &str) -> Error {
        let known: Vec<_> = self.by_name.keys().take(20).copied().collect();
        let known = match known.as_slice() {
            [] => "nothing is registered in this process".to_owned(),
            names => format!("registered in this process: {}", names.join(", ")),
        };
        Error::new(
            ErrorKind::NotRegistered,
            format!("no {what} is named `{name}`; {known}"),
        )
    }
}

fn connection_of(registration: &Registration) -> Option<(&'static str, DependencyKey)> {
    match registration {
        Registration::Task(task) => match task.body {
            TaskBody::Transactional(body) => Some((task.name, body.connection)),
            TaskBody::Async(_) | TaskBody::Blocking(_) => None,
        },
        Registration::Workflow(_) => None,
    }
}

fn missing_of(registration: &Registration, provided: &Dependencies) -> Vec<String> {
    let Registration::Task(task) = registration else {
        return Vec::new();
    };
    let missing = task
        .dependencies
        .iter()
        .filter(|key| !provided.contains(key));
    missing
        .map(|key| format!("task `{}` needs a `{}`", task.name, (key.type_name)()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::TaskOptions;

    struct Gateway;

    const fn task(
        name: &'static str,
        dependencies: &'static [DependencyKey],
        line: u32,
    ) -> TaskDefinition {
        TaskDefinition {
            name,
            options: TaskOptions::default,
            dependencies,
            body: TaskBody::Blocking(|invocation| Ok(invocation.arguments)),
            location: ("shop.rs", line),
        }
    }

    static CHARGE: TaskDefinition = task("charge", &[DependencyKey::of::<Gateway>()], 3);
    static OTHER_CHARGE: TaskDefinition = task("charge", &[], 9);
    static SHIP: TaskDefinition = task("ship", &[], 12);
    static CHECKOUT: WorkflowDefinition = WorkflowDefinition {
        name: "checkout",
        version: 2,
        run: |_, arguments| Box::pin(async { Ok(arguments) }),
        location: ("shop.rs", 20),
    };

    fn registry() -> Registry {
        Registry::of([
            Registration::Task(&CHARGE),
            Registration::Task(&SHIP),
            Registration::Workflow(&CHECKOUT),
        ])
        .unwrap()
    }

    #[test]
    fn duplicate_name_is_an_error_that_names_both_places() {
        let error = registry()
            .register(Registration::Task(&OTHER_CHARGE))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        for place in ["shop.rs:3", "shop.rs:9"] {
            assert!(error.message().contains(place), "{error}");
        }
    }

    #[test]
    fn same_definition_may_be_registered_again() {
        let mut registry = registry();
        registry.register(Registration::Task(&CHARGE)).unwrap();
        assert_eq!(registry.task("charge").unwrap().location, CHARGE.location);
    }

    #[test]
    fn only_keeps_the_named_ones() {
        let narrowed = registry().only(["checkout", "ship"]).unwrap();
        assert!(narrowed.task("charge").is_none());
        assert_eq!(
            narrowed.routes(),
            ["checkout", "task:ship"].map(Route::from_stored)
        );
    }

    #[test]
    fn only_refuses_a_name_that_stands_for_nothing() {
        let error = registry().only(["shipp"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotRegistered);
        assert!(error.message().contains("`shipp`"), "{error}");
        assert!(
            error.message().contains("charge, checkout, ship"),
            "{error}"
        );
    }

    #[test]
    fn task_and_workflow_are_looked_up_by_kind() {
        let registry = registry();
        assert!(registry.task("checkout").is_none());
        assert!(registry.workflow("charge").is_none());
        assert_eq!(registry.workflow("checkout").unwrap().version, 2);
    }

    #[test]
    fn missing_dependency_names_the_task_and_the_type() {
        let error = registry()
            .check_dependencies(&Dependencies::new())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotRegistered);
        assert!(error.message().contains("task `charge`"), "{error}");
        assert!(error.message().contains("Gateway"), "{error}");

        let mut provided = Dependencies::new();
        provided.insert(Gateway);
        registry().check_dependencies(&provided).unwrap();
    }

    static BOOK: TaskDefinition = TaskDefinition {
        body: TaskBody::Transactional(TransactionalBody {
            connection: DependencyKey::of::<Gateway>(),
            run: |invocation, _| Box::pin(async { Ok(invocation.arguments) }),
        }),
        ..task("book", &[], 30)
    };

    #[test]
    fn unfit_store_names_the_task_the_connection_and_itself() {
        let mut registry = registry();
        registry.check_connections("memory", None).unwrap();
        registry.register(Registration::Task(&BOOK)).unwrap();
        let error = registry.check_connections("memory", None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotRegistered);
        for part in ["task `book`", "Gateway`", "`memory` shares no transactions"] {
            assert!(error.message().contains(part), "{error}");
        }
        let other = Some(ConnectionType::of::<u32>());
        let error = registry.check_connections("sqlite", other).unwrap_err();
        assert!(
            error.message().contains("`sqlite` gives a `u32`"),
            "{error}"
        );
        let given = Some(ConnectionType::of::<Gateway>());
        registry.check_connections("sqlite", given).unwrap();
    }
}
