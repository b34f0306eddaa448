//! The workflow that executes random programs, and its tasks.
//!
//! Invariants: what a run saw, step by step, is its result. Each execution of a task body writes down that it began and
//! how it ended, in a ledger that no crash of a node touches.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use longhaul_core::clock::{BackendClock, Timestamp};
use longhaul_core::context::{Context, Data, Signal, TaskContext};
use longhaul_core::registry::Dep;
use longhaul_core::retry::RetryPolicy;
use longhaul_core::{Error, ErrorKind, Result, failure};
use longhaul_macros::{task, workflow};
use serde_json::{Value, json};

use super::program::{Act, Ends, NAMES, Program, Step};

/// Is one execution of a task body.
#[derive(Debug, Clone)]
pub(crate) struct Effect {
    /// Run, segment and operation.
    pub(crate) operation: String,
    pub(crate) attempt: u32,
    pub(crate) nonce: u64,
    pub(crate) began: Timestamp,
    pub(crate) ended: Option<Ended>,
}

/// Is how an execution ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Well,
    Badly,
}

/// Holds what task bodies did.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    effects: Arc<Mutex<Vec<Effect>>>,
    clock: BackendClock,
}

impl Ledger {
    pub(crate) fn new(clock: BackendClock) -> Self {
        Self {
            effects: Arc::default(),
            clock,
        }
    }

    pub(crate) fn effects(&self) -> MutexGuard<'_, Vec<Effect>> {
        self.effects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, operation: &str, attempt: u32) -> (u64, u32) {
        let mut effects = self.effects();
        let failed = effects
            .iter()
            .filter(|effect| effect.operation == operation && effect.ended == Some(Ended::Badly))
            .count();
        let nonce = effects.len() as u64;
        effects.push(Effect {
            operation: operation.to_owned(),
            attempt,
            nonce,
            began: self.clock.now(),
            ended: None,
        });
        (nonce, u32::try_from(failed).unwrap_or(u32::MAX))
    }

    fn end(&self, nonce: u64, how: Ended) {
        let at = usize::try_from(nonce).unwrap_or(usize::MAX);
        if let Some(effect) = self.effects().get_mut(at) {
            effect.ended = Some(how);
        }
    }
}

/// Is the limit of one attempt whose task ends too late.
pub(crate) const TASK_LIMIT: Duration = Duration::from_millis(700);

#[task(crate = "longhaul_core", name = "simulated.act")]
async fn act(context: TaskContext, act: Act, ledger: Dep<Ledger>) -> Result<u64> {
    let (nonce, failed) = ledger.begin(context.idempotency_key(), context.attempt());
    let time = match act.ends {
        Ends::TooLate => Duration::from_secs(3_600),
        _ => Duration::from_millis(act.takes_ms),
    };
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
    let fails = match act.ends {
        Ends::After(failures) => failed < failures,
        Ends::AfterPanic => failed == 0,
        Ends::Never | Ends::AtOnce | Ends::TooLate => true,
    };
    if !fails {
        ledger.end(nonce, Ended::Well);
        return Ok(nonce);
    }
    ledger.end(nonce, Ended::Badly);
    match act.ends {
        Ends::AtOnce => Err(failure!("as the program says")),
        Ends::AfterPanic => std::panic::resume_unwind(Box::new("as the program says")),
        _ => Err(Error::failed("as the program says")),
    }
}

#[workflow(crate = "longhaul_core", name = "simulated")]
async fn simulated(ctx: Context, program: Program) -> Result<Vec<Value>> {
    let seen = block(ctx, program.steps).await?;
    if program.fails {
        return Err(failure!("as the program says"));
    }
    Ok(seen)
}

/// Makes the call of a program.
pub(crate) fn call(program: Program) -> longhaul_core::call::Call<Vec<Value>> {
    simulated(program)
}

fn block(ctx: Context, steps: Vec<Step>) -> BoxFuture<'static, Result<Vec<Value>>> {
    async move {
        let mut seen = Vec::new();
        for step in steps {
            seen.push(execute(&ctx, step).await?);
        }
        Ok(seen)
    }
    .boxed()
}

async fn execute(ctx: &Context, step: Step) -> Result<Value> {
    match step {
        Step::Act(spec) => shown("act", ctx.run(invocation(spec)).await),
        Step::Inline(takes_ms) => {
            let waits = async move {
                tokio::time::sleep(Duration::from_millis(takes_ms)).await;
                Ok(takes_ms)
            };
            shown("inline", ctx.step("inline", waits).await)
        }
        Step::Each(acts) => {
            let all = join_all(acts.into_iter().map(|spec| ctx.run(invocation(spec)))).await;
            let all: Result<Vec<_>> = all.into_iter().map(|one| shown("act", one)).collect();
            Ok(json!({ "each": all? }))
        }
        Step::Parallel(branches) => {
            let branches = branches.into_iter().map(|steps| block(ctx.clone(), steps));
            let all: Result<Vec<_>> = join_all(branches).await.into_iter().collect();
            Ok(json!({ "parallel": all? }))
        }
        Step::Race(left, right) => {
            let (left, right) = (block(ctx.clone(), left), block(ctx.clone(), right));
            longhaul_core::select! {
                seen = left => Ok(json!({ "left": seen? })),
                seen = right => Ok(json!({ "right": seen? })),
            }
        }
        Step::Sleep(time) => {
            let before = ctx.now();
            ctx.sleep(Duration::from_millis(time)).await?;
            Ok(json!({ "slept": ctx.now().since(before).as_micros() as u64 }))
        }
        Step::Receive(name, limit) => receive(ctx, name, limit).await,
        Step::Child(id, program) => {
            let id = format!("{}.{id}", ctx.identity().workflow_id);
            shown("child", ctx.run(simulated(program).id(id)).await)
        }
        Step::Put(key, value) => {
            let value = format!("{} {value}", ctx.identity().workflow_id);
            ctx.set(Data::new(name_of(key)), value.clone());
            Ok(json!({ "put": value }))
        }
        Step::Get(key) => {
            let value: Option<String> = ctx.get(Data::new(name_of(key)))?;
            Ok(json!({ "got": value }))
        }
        Step::Draw => {
            let drawn = (
                ctx.random::<u32>(),
                ctx.uuid().to_string(),
                ctx.now().as_micros(),
            );
            Ok(json!({ "drawn": drawn }))
        }
        Step::Record => {
            let value = ctx.record("noted", || 7)?;
            Ok(json!({ "recorded": value }))
        }
    }
}

async fn receive(ctx: &Context, name: usize, limit: Option<u64>) -> Result<Value> {
    let waits = ctx.receive(Signal::<u64>::new(name_of(name)));
    let number = match limit {
        Some(limit) => waits.within(Duration::from_millis(limit)).await?,
        None => Some(waits.await?),
    };
    Ok(json!({ "received": number }))
}

fn invocation(spec: Act) -> longhaul_core::call::Call<u64> {
    let policy = RetryPolicy::exponential(spec.retries)
        .backoff(Duration::from_millis(50), Duration::from_millis(400));
    let (queued, ends) = (spec.queued, spec.ends);
    let call = act(spec).retry(policy);
    let call = match ends {
        Ends::TooLate => call.timeout(TASK_LIMIT),
        _ => call,
    };
    if queued { call.queue("shared") } else { call }
}

/// Shows how an operation ended; a cancel is passed on.
fn shown<T: serde::Serialize>(what: &str, outcome: Result<T>) -> Result<Value> {
    match outcome {
        Ok(value) => Ok(json!({ what: value })),
        Err(error) if error.kind() == ErrorKind::Cancelled => Err(error),
        Err(error) => Ok(json!({ what: { "failed": format!("{:?}", error.kind()) } })),
    }
}

fn name_of(number: usize) -> &'static str {
    NAMES.get(number).copied().unwrap_or("z")
}
