//! From registered code to the future of a run.
//!
//! Invariants: the same registration, history and arguments give the same future, live and at replay.

use std::sync::Arc;

use crate::context::{Context, run_task_alone};
use crate::engine::execution::{Execution, Program};
use crate::engine::live::Settings;
use crate::engine::machine::Machine;
use crate::engine::replay::replay;
use crate::error::{Error, ErrorKind, Result};
use crate::history::{Event, EventKind};
use crate::id::{Segment, TaskName};
use crate::registry::{Registration, TaskDefinition, WorkflowDefinition};

/// Returns how to make the future of a run of this workflow, or of this task started alone.
pub(crate) fn program_of(registration: Registration) -> Program {
    match registration {
        Registration::Workflow(definition) => workflow(definition),
        Registration::Task(definition) => task(definition),
    }
}

fn workflow(definition: &'static WorkflowDefinition) -> Program {
    Arc::new(move |machine, arguments| {
        let sealing = Arc::clone(machine);
        let opened = machine.unseal(arguments, "arguments", definition.name);
        let context = Context::new(machine);
        Box::pin(async move {
            let result = (definition.run)(context, opened?).await?;
            sealing.seal(result, "result", definition.name)
        })
    })
}

fn task(definition: &'static TaskDefinition) -> Program {
    Arc::new(move |machine, arguments| {
        let options = machine
            .task_options
            .clone()
            .unwrap_or_else(definition.options);
        let name = TaskName::from_stored(definition.name);
        Box::pin(run_task_alone(
            Arc::clone(machine),
            name,
            arguments,
            options,
        ))
    })
}

/// Replays a whole history against code, and nothing else.
pub(crate) fn check_replay(
    settings: &Settings,
    registration: Registration,
    history: &[Event],
) -> Result<()> {
    let Some(EventKind::RunStarted(started)) = history.first().map(|event| &event.kind) else {
        return Err(Error::new(
            ErrorKind::Corrupt,
            "the history does not begin with a start",
        ));
    };
    let machine = Machine::new(started, Segment::FIRST, settings);
    let program = program_of(registration);
    let arguments = started.arguments.clone();
    let mut execution = Execution::new(machine, &program, arguments, Arc::new(|| {}));
    let new = replay(&mut execution, history).map_err(|stuck| stuck.0)?;
    // Whoever terminates a run does not wait for its code.
    let has_ended = history.last().is_some_and(|last| {
        last.kind.is_terminal() && !matches!(last.kind, EventKind::RunTerminated { .. })
    });
    match new.first() {
        Some(command) if has_ended => Err(Error::new(
            ErrorKind::Nondeterminism,
            format!("the history has ended; the code asked for {command} then"),
        )),
        _ => Ok(()),
    }
}
