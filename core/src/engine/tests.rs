//! The engine alone: events in, events out, and the same again at replay.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;

use crate::backend::{AcquiredRun, Arrival, ArrivalBody, ArrivalKind, RunRecord};
use crate::call::Call;
use crate::clock::Timestamp;
use crate::command::Shown;
use crate::context::{Context, Data, Signal, join_all};
use crate::engine::execution::Program;
use crate::engine::live::{Approach, Input, Live, Refusal, Room, Settings, TakeUp, approach};
use crate::engine::messages::{self, ControlContent};
use crate::engine::outside::{self, Act, Grounds};
use crate::error::{Error, Result};
use crate::history::{
    Event, EventKind, OperationKey, OperationKind, PausedTimers, RunStarted, StoredTurn,
    encode_record,
};
use crate::id::{
    ArrivalNumber, Epoch, EventNumber, Route, Segment, TurnNumber, WorkflowId, WorkflowType,
};
use crate::identity::{RunKind, WorkflowIdentity};
use crate::options::{Limits, TaskOptions};
use crate::payload::{CodecChain, Payload};
use crate::registry::{TaskBody, TaskDefinition};
use crate::status::Status;

const WORD: Signal<String> = Signal::new("word");
const COUNT: Data<u32> = Data::new("count");

macro_rules! task_definition {
    ($name:ident, $text:literal) => {
        static $name: TaskDefinition = TaskDefinition {
            name: $text,
            options: TaskOptions::new,
            dependencies: &[],
            body: TaskBody::Blocking(|_| Payload::encode(&())),
            location: ("", 0),
        };
    };
}

task_definition!(A, "a");
task_definition!(B, "b");

fn a() -> Call<u32> {
    Call::task(&A, &())
}

fn b() -> Call<u32> {
    Call::task(&B, &())
}

/// A run whose turns are kept as a store would, so that it can be taken up again.
struct Script {
    program: Program,
    record: RunRecord,
    turns: Vec<StoredTurn>,
    live: Option<Live>,
    clock: Timestamp,
    arrivals: u64,
}

impl Script {
    fn new<F, R>(code: impl Fn(Context) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<R>> + Send + 'static,
        R: serde::Serialize,
    {
        let program: Program = Arc::new(move |machine, _| {
            let body = code(Context::new(machine));
            Box::pin(async move { Payload::encode(&body.await?) })
        });
        let mut script = Self {
            program,
            record: record(),
            turns: Vec::new(),
            live: None,
            clock: Timestamp::from_micros(1_000_000),
            arrivals: 0,
        };
        let started = RunStarted::new(
            script.record.identity.clone(),
            RunKind::Workflow,
            Payload::encode(&()).unwrap(),
            [3; 32],
        );
        let first = Event {
            at: script.clock,
            kind: EventKind::RunStarted(Box::new(started)),
        };
        script.keep(std::slice::from_ref(&first));
        let program = Arc::clone(&script.program);
        let live = Live::begin(&script.record, &first, &how(&program));
        script.live = Some(live.unwrap());
        script
    }

    fn keep(&mut self, events: &[Event]) {
        let first_event = self.turns.iter().map(count).sum();
        self.turns.push(StoredTurn {
            turn: TurnNumber(self.turns.len() as u64),
            first_event: EventNumber(first_event),
            record: encode_record(events).unwrap(),
        });
    }

    fn live(&mut self) -> &mut Live {
        self.live.as_mut().unwrap()
    }

    /// Commits the draft and says what it holds.
    fn commit(&mut self) -> String {
        let draft = self.live().hand_out_draft();
        let text = draft.events.iter().map(|event| show(&event.kind));
        let text: Vec<_> = text.collect();
        if !draft.events.is_empty() {
            self.keep(&draft.events);
        }
        text.join("; ")
    }

    fn take(&mut self, input: Input) -> &mut Self {
        let clock = self.clock;
        self.live().take(input, clock);
        self
    }

    fn done(&mut self, task: &str, nth: u32, result: u32) -> &mut Self {
        self.take(Input::Outcome {
            operation: OperationKey::new(OperationKind::Task, task, nth),
            attempt: 1,
            outcome: Payload::encode(&result),
        })
    }

    fn starting(&mut self, task: &str, attempt: u32) -> &mut Self {
        self.take(Input::Starting {
            operation: OperationKey::new(OperationKind::Task, task, 1),
            attempt,
        })
    }

    fn arrive(&mut self, kind: ArrivalKind, name: &str, content: Vec<u8>) -> &mut Self {
        self.arrivals += 1;
        let arrival = Arrival {
            number: ArrivalNumber(self.arrivals),
            accepted_at: self.clock,
            body: ArrivalBody {
                kind,
                name: name.to_owned(),
                content,
            },
        };
        self.take(Input::Arrival(arrival))
    }

    fn signal(&mut self, word: &str) -> &mut Self {
        let content = Payload::encode(word).unwrap().as_bytes().to_vec();
        self.arrive(ArrivalKind::Signal, "word", content)
    }

    fn cancel(&mut self) -> &mut Self {
        let reason = "enough".to_owned();
        self.control(&ControlContent::Cancel { reason })
    }

    fn pause(&mut self, timers: PausedTimers) -> &mut Self {
        let reason = "hold".to_owned();
        self.control(&ControlContent::Pause { reason, timers })
    }

    fn resume(&mut self) -> &mut Self {
        let reason = "go on".to_owned();
        self.control(&ControlContent::Resume { reason })
    }

    fn control(&mut self, content: &ControlContent) -> &mut Self {
        let content = messages::encode(content).unwrap();
        self.arrive(ArrivalKind::Control, "control", content)
    }

    /// Does to the run what a client does while nobody owns it.
    fn edit(&mut self, act: &Act) -> &mut Self {
        self.live = None;
        self.record.status = match act {
            Act::Pause { .. } => Status::Paused,
            _ => Status::Waiting,
        };
        let grounds = Grounds {
            row: &self.record,
            turns: &self.turns,
            hash_key: &[1; 16],
            now: self.clock,
        };
        let write = crate::id::WriteId(crate::id::Uuid::from_random_bytes([9; 16]));
        let turn = outside::edit(act, &grounds, write).unwrap();
        self.turns.extend(turn.turn);
        self
    }

    fn wait(&mut self, duration: Duration) -> &mut Self {
        self.clock = self.clock.after(duration);
        self.take(Input::Due)
    }

    /// Drops the future and replays it from what was committed.
    fn replay(&mut self) -> Result<(), Refusal> {
        self.live = None;
        let acquired = self.acquired();
        let program = Arc::clone(&self.program);
        self.live = Some(Live::take_up(&acquired, &how(&program), self.clock, None)?);
        Ok(())
    }

    fn acquired(&self) -> AcquiredRun {
        AcquiredRun {
            run: self.record.clone(),
            turns: self.turns.clone(),
            inbox: Vec::new(),
        }
    }

    /// Takes the run up with signals in its inbox, and expects it to have read them all.
    fn take_up_with<const N: usize>(&mut self, words: [&str; N]) {
        let mut acquired = self.acquired();
        for (word, number) in words.into_iter().zip(1..) {
            acquired.inbox.push(Arrival {
                number: ArrivalNumber(number),
                accepted_at: self.clock,
                body: ArrivalBody {
                    kind: ArrivalKind::Signal,
                    name: "word".to_owned(),
                    content: Payload::encode(word).unwrap().as_bytes().to_vec(),
                },
            });
        }
        let program = Arc::clone(&self.program);
        let live = Live::take_up(&acquired, &how(&program), self.clock, None).unwrap();
        assert_eq!(live.read(), ArrivalNumber(N as u64));
        self.live = Some(live);
    }

    fn approach(&self) -> Approach {
        approach(&self.acquired(), self.clock)
    }

    fn replayed(mut self) -> Self {
        self.record.read = ArrivalNumber(self.arrivals);
        self.replay().unwrap();
        self
    }

    /// Puts other code in the place of what made the history.
    fn refused_by<F>(mut self, code: impl Fn(Context) -> F + Send + Sync + 'static) -> String
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.program = Arc::new(move |machine, _| {
            let body = code(Context::new(machine));
            Box::pin(async move { Payload::encode(&body.await?) })
        });
        match self.replay() {
            Err(Refusal::Blocked(error)) => error.to_string(),
            Ok(()) => panic!("the other code fits"),
        }
    }
}

fn how(program: &Program) -> TakeUp<'_> {
    TakeUp {
        settings: Arc::new(Settings {
            hash_key: [1; 16],
            limits: Limits::default(),
            codecs: CodecChain::default(),
        }),
        program,
        foreign: Arc::new(|| panic!("woken by something foreign")),
        first_write: 0,
        room: Room::UNBOUNDED,
    }
}

fn record() -> RunRecord {
    let id = WorkflowId::from_stored("run");
    RunRecord {
        identity: WorkflowIdentity::root(id, WorkflowType::from_stored("script")),
        kind: RunKind::Workflow,
        segment: Segment::FIRST,
        route: Route::from_stored("script"),
        partition: 0,
        status: Status::Running,
        owner: None,
        epoch: Epoch(1),
        arrivals: ArrivalNumber(0),
        read: ArrivalNumber(0),
        wake_at: None,
        lost: 0,
        blocked: None,
        fingerprint: [0; 16],
        tags: Vec::new(),
        parent_operation: None,
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
    }
}

fn count(turn: &StoredTurn) -> u64 {
    crate::history::decode_record(&turn.record).unwrap().len() as u64
}

fn show(kind: &EventKind) -> String {
    match kind {
        EventKind::RunCompleted { result } => {
            format!("result {}", String::from_utf8_lossy(result.as_bytes()))
        }
        EventKind::SignalReceived { payload, .. } => {
            format!("signal {}", String::from_utf8_lossy(payload.as_bytes()))
        }
        EventKind::CancelRequested { .. } => "cancel".to_owned(),
        EventKind::RunPaused { .. } => "paused".to_owned(),
        EventKind::RunResumed { .. } => "resumed".to_owned(),
        EventKind::RunTerminated { .. } => "terminated".to_owned(),
        EventKind::OutcomeKept { operation, .. } => format!("{operation} kept"),
        EventKind::Recovered => "recovered".to_owned(),
        EventKind::AttemptLost { operation, attempt } => format!("lost {operation} {attempt}"),
        EventKind::TimerStarted { operation, .. } => format!("`{operation}`"),
        kind if kind.is_command() => Shown(kind).to_string(),
        kind => kind
            .operation()
            .map(|operation| format!("{operation} ended"))
            .unwrap_or_default(),
    }
}

// --- where tasks run --------------------------------------------------------------------------------------------------

/// Runs three tasks at once.
fn fan() -> Script {
    Script::new(async |ctx: Context| {
        let first = ctx.receive(WORD).await?;
        let all = join_all((0..3).map(|_| ctx.run(a()))).await;
        let sum: Result<Vec<_>> = all.into_iter().collect();
        Ok(format!("{first} {:?}", sum?))
    })
}

/// Says where the last turn placed each task, what it starts here, and which attempts it puts into which queue.
fn placed(draft: &crate::engine::live::Draft) -> String {
    let scheduled = draft.events.iter().filter_map(|event| match &event.kind {
        EventKind::TaskScheduled { placement, .. } => Some(format!("{placement:?}")),
        _ => None,
    });
    let queued = draft.enqueue.iter().map(|attempt| {
        format!(
            "{} {} in {}",
            attempt.operation, attempt.attempt, attempt.queue
        )
    });
    let scheduled: Vec<_> = scheduled.collect();
    let queued: Vec<_> = queued.collect();
    format!("{scheduled:?} {:?} {queued:?}", draft.start)
}

#[test]
fn tasks_beyond_the_room_of_their_owner_are_spilled() {
    let mut script = fan();
    script.commit();
    script.live().set_room(Room::of(1));
    script.signal("x");
    assert_eq!(
        placed(script.live().draft()),
        "[\"Local\", \"Spilled\", \"Spilled\"] [task:a#1] \
         [\"task:a#2 1 in longhaul:spilled\", \"task:a#3 1 in longhaul:spilled\"]"
    );
}

#[test]
fn placement_is_what_was_recorded_however_much_room_there_is_at_replay() {
    let mut script = fan();
    script.commit();
    script.live().set_room(Room::of(1));
    script.signal("x").commit();
    let mut script = script.replayed();
    let draft = script.live().draft();
    assert_eq!(placed(draft), "[] [task:a#1] []");
    script.done("a", 3, 7).done("a", 1, 5).done("a", 2, 6);
    let ended = script.commit();
    assert!(ended.ends_with("result \"x [5, 6, 7]\""), "{ended}");
}

#[test]
fn lost_and_failed_attempts_of_a_spilled_task_stay_in_the_queue() {
    let mut script = Script::new(async |ctx: Context| {
        let word = ctx.receive(WORD).await?;
        let retried = a().retry(crate::retry::RetryPolicy::exponential(1));
        Ok(format!("{word} {}", ctx.run(retried).await?))
    });
    script.commit();
    script.live().set_room(Room::of(0));
    script.signal("x").commit();
    script.live().set_room(Room::UNBOUNDED);
    script.arrive(ArrivalKind::AttemptLost, "task:a#1", vec![0, 0, 0, 1]);
    let queued = "[\"task:a#1 2 in longhaul:spilled\"]";
    assert_eq!(placed(script.live().draft()), format!("[] [] {queued}"));
    script.commit();
    script.take(Input::Outcome {
        operation: OperationKey::new(OperationKind::Task, "a", 1),
        attempt: 2,
        outcome: Err(Error::failed("once")),
    });
    let queued = "[\"task:a#1 3 in longhaul:spilled\"]";
    assert_eq!(placed(script.live().draft()), format!("[] [] {queued}"));
}

#[test]
fn task_that_runs_here_already_stays_when_its_turn_is_made_again() {
    let mut script = Script::new(async |ctx: Context| ctx.run(a()).await);
    assert!(script.live().draft().only_local_task().is_some());
    let running = script.live().take_starts().into_iter().collect();
    let (acquired, program) = (script.acquired(), Arc::clone(&script.program));
    let how = TakeUp {
        room: Room::of(0),
        ..how(&program)
    };
    let live = Live::take_up(&acquired, &how, script.clock, Some(running)).unwrap();
    assert!(live.draft().only_local_task().is_some());
    assert!(live.draft().enqueue.is_empty());
}

// --- order within a turn ----------------------------------------------------------------------------------------------

#[test]
fn each_event_is_followed_by_its_own_commands() {
    let mut script = Script::new(async |ctx: Context| {
        let first = ctx.receive(WORD).await?;
        ctx.run(a()).await?;
        let second = ctx.receive(WORD).await?;
        Ok(first + &second)
    });
    script.commit();
    script.signal("x").signal("y").done("a", 1, 0);
    assert_eq!(
        script.commit(),
        "signal \"x\"; signal taken by `receive:word#1`; `task:a#1`; signal \"y\"; task:a#1 ended; \
         signal taken by `receive:word#2`; result \"xy\""
    );
}

#[test]
fn unordered_futures_are_polled_until_quiet() {
    let mut script = Script::new(async |ctx: Context| {
        let mut open: futures_util::stream::FuturesUnordered<_> =
            (0..200).map(|_| ctx.run(a())).collect();
        let mut sum = 0;
        while let Some(value) = open.next().await {
            sum += value?;
        }
        Ok(sum)
    });
    assert_eq!(script.commit().matches("task:a#").count(), 200);
    for nth in (1..=200).rev() {
        script.done("a", nth, 1);
    }
    assert!(script.commit().ends_with("result 200"));
}

#[test]
fn operation_that_is_never_polled_uses_its_number_and_records_nothing() {
    let mut script = Script::new(async |ctx: Context| {
        drop(ctx.run(a()));
        ctx.run(a()).await
    });
    assert_eq!(script.commit(), "`task:a#2`");
}

#[test]
fn position_is_taken_at_construction_and_schedule_at_first_poll() {
    let mut script = Script::new(async |ctx: Context| {
        let first = ctx.run(a());
        let second = ctx.run(a());
        let value = second.await?;
        Ok(first.await? * 10 + value)
    });
    assert_eq!(script.commit(), "`task:a#2`");
    script.done("a", 2, 2);
    assert_eq!(script.commit(), "task:a#2 ended; `task:a#1`");
}

#[test]
fn dropped_open_operation_is_cancelled_and_its_outcome_ignored() {
    let mut script = Script::new(async |ctx: Context| {
        let slow = ctx.run(a());
        crate::select! {
            _ = slow => {}
            word = ctx.receive(WORD) => { word?; }
        }
        ctx.run(b()).await
    });
    script.commit();
    script.signal("go").done("a", 1, 9);
    assert_eq!(
        script.commit(),
        "signal \"go\"; signal taken by `receive:word#1`; drop of `task:a#1`; `task:b#1`"
    );
}

#[test]
fn signal_stays_in_the_mailbox_when_the_woken_receive_is_never_polled_again() {
    let mut script = Script::new(async |ctx: Context| {
        let picked = crate::select! {
            value = ctx.run(a()) => value?.to_string(),
            word = ctx.receive(WORD) => word?,
        };
        Ok(picked + &ctx.receive(WORD).await?)
    });
    script.commit();
    script.done("a", 1, 7).signal("kept");
    assert!(script.commit().ends_with("result \"7kept\""));
}

#[test]
fn upper_branch_wins_when_both_are_ready() {
    let mut script = Script::new(async |ctx: Context| {
        ctx.run(b()).await?;
        Ok(crate::select! {
            word = ctx.receive(WORD) => word?,
            word = ctx.receive(WORD) => word? + " below",
        })
    });
    script.commit();
    script.signal("first").done("b", 1, 0);
    assert!(script.commit().ends_with("result \"first\""));
}

#[test]
fn dropping_the_execution_asks_for_nothing() {
    let mut script = Script::new(async |ctx: Context| ctx.run(a()).await);
    script.commit();
    let machine = Arc::clone(script.live().machine());
    script.live = None;
    assert!(machine.take_commands().is_empty());
}

#[test]
fn join_polls_only_the_branches_that_were_woken() {
    static POLLS: AtomicUsize = AtomicUsize::new(0);
    let mut script = Script::new(async |ctx: Context| {
        let branches = (0..1_000).map(|_| {
            let mut run = ctx.run(a());
            std::future::poll_fn(move |context| {
                POLLS.fetch_add(1, Ordering::Relaxed);
                std::pin::Pin::new(&mut run).poll(context)
            })
        });
        let all: Result<Vec<_>> = join_all(branches).await.into_iter().collect();
        Ok(all?.len())
    });
    for nth in 1..=1_000 {
        script.done("a", nth, 1);
    }
    assert!(script.commit().ends_with("result 1000"));
    assert_eq!(POLLS.load(Ordering::Relaxed), 2_000);
}

// --- replay -----------------------------------------------------------------------------------------------------------

#[test]
fn every_prefix_of_a_history_replays_to_the_same_end() {
    let code = async |ctx: Context| {
        let noted: u64 = ctx.record("note", || 5)?;
        let both = ctx.join_all([a(), b()]).await?;
        ctx.update(COUNT, |count| count.unwrap_or(0) + 1)?;
        let word = ctx.receive(WORD).within(Duration::from_secs(5)).await?;
        ctx.sleep(Duration::from_secs(1)).await?;
        Ok((noted, both, word, ctx.random::<u64>(), ctx.uuid()))
    };
    let drive = |stop: usize| {
        let mut script = Script::new(code);
        let steps: [fn(&mut Script); 5] = [
            |script| {
                script.done("b", 1, 2);
            },
            |script| {
                script.done("a", 1, 1);
            },
            |script| {
                script.signal("w");
            },
            |script| {
                script.wait(Duration::from_millis(10));
            },
            |script| {
                script.wait(Duration::from_secs(1));
            },
        ];
        let mut last = script.commit();
        for (at, step) in steps.into_iter().enumerate() {
            if at == stop {
                script = script.replayed();
            }
            step(&mut script);
            last = script.commit();
        }
        last
    };
    let undisturbed = drive(usize::MAX);
    assert!(
        undisturbed.contains("result [5,[1,2],\"w\","),
        "{undisturbed}"
    );
    for stop in 0..5 {
        assert_eq!(drive(stop), undisturbed, "replayed before step {stop}");
    }
}

#[test]
fn recorded_value_is_not_made_again() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let mut script = Script::new(async |ctx: Context| {
        let made = ctx.record("made", || MADE.fetch_add(1, Ordering::SeqCst))?;
        ctx.run(a()).await?;
        Ok(made)
    });
    script.commit();
    let mut script = script.replayed();
    script.done("a", 1, 0);
    assert!(script.commit().ends_with("result 0"));
    assert_eq!(MADE.load(Ordering::SeqCst), 1);
}

#[test]
fn commands_that_were_cut_off_behind_the_last_event_are_asked_for_again() {
    let mut script = Script::new(async |ctx: Context| {
        ctx.join_all([a(), a(), b()]).await?;
        Ok(())
    });
    let draft = script.live().hand_out_draft();
    script.keep(&draft.events[..1]);
    let mut script = script.replayed();
    assert_eq!(script.commit(), "`task:a#2`; `task:b#1`");
}

#[test]
fn changed_code_is_refused_with_what_history_and_code_have() {
    let history = || {
        let mut script = Script::new(async |ctx: Context| {
            ctx.run(a()).await?;
            ctx.run(b()).await
        });
        script.commit();
        script.done("a", 1, 0);
        script.commit();
        script
    };
    let inserted = history().refused_by(async |ctx: Context| {
        ctx.sleep(Duration::from_secs(3)).await?;
        ctx.run(a()).await.map(drop)
    });
    assert!(inserted.contains("history has `task:a#1`") && inserted.contains("timer:sleep#1"));
    let removed = history().refused_by(async |ctx: Context| {
        ctx.run(a()).await?;
        ctx.receive(WORD).await.map(drop)
    });
    assert!(
        removed.contains("`task:b#1`") && removed.contains("receive:word#1"),
        "{removed}"
    );
    let ended = history().refused_by(async |ctx: Context| ctx.run(a()).await.map(drop));
    assert!(ended.contains("end with a result"), "{ended}");
    let reordered = history().refused_by(async |ctx: Context| {
        ctx.run(b()).await?;
        ctx.run(a()).await.map(drop)
    });
    assert!(reordered.contains("history has `task:a#1`"), "{reordered}");
}

#[test]
fn changed_arguments_and_durations_are_no_difference() {
    static LONGER: AtomicUsize = AtomicUsize::new(1);
    let mut script = Script::new(async |ctx: Context| {
        let seconds = LONGER.load(Ordering::SeqCst) as u64;
        ctx.sleep(Duration::from_secs(seconds)).await
    });
    script.commit();
    LONGER.store(1_000, Ordering::SeqCst);
    let mut script = script.replayed();
    script.wait(Duration::from_secs(1));
    assert!(script.commit().ends_with("result null"));
}

#[test]
fn chance_of_one_sort_does_not_shift_another() {
    let uuid_after = |draws: u32| {
        let mut script = Script::new(move |ctx: Context| async move {
            for _ in 0..draws {
                let _: u64 = ctx.random();
                ctx.rng().bits();
            }
            Ok(ctx.uuid())
        });
        script.commit()
    };
    assert_eq!(uuid_after(0), uuid_after(9));
}

// --- time -------------------------------------------------------------------------------------------------------------

#[test]
fn time_of_an_event_is_never_before_the_one_before() {
    let mut script = Script::new(async |ctx: Context| {
        let first = ctx.now();
        ctx.run(a()).await?;
        Ok(ctx.now() >= first)
    });
    script.commit();
    script.clock = Timestamp::from_micros(5);
    script.done("a", 1, 0);
    assert!(script.commit().ends_with("result true"));
}

#[test]
fn timer_does_not_fire_early_and_fires_once() {
    let mut script = Script::new(async |ctx: Context| {
        let before = ctx.now();
        ctx.sleep(Duration::from_secs(2)).await?;
        Ok(ctx.now().since(before).as_secs())
    });
    script.commit();
    script.wait(Duration::from_millis(1_999));
    assert_eq!(script.commit(), "");
    script
        .wait(Duration::from_millis(1))
        .wait(Duration::from_secs(9));
    assert_eq!(script.commit(), "timer:sleep#1 ended; result 2");
}

#[test]
fn signal_before_the_limit_wins_and_leaves_no_due_time() {
    let mut script = Script::new(async |ctx: Context| {
        let word = ctx.receive(WORD).within(Duration::from_secs(2)).await?;
        ctx.receive(WORD).await?;
        Ok(word)
    });
    script.commit();
    assert!(script.live().wake_at().is_some());
    script.signal("in time");
    assert_eq!(script.live().wake_at(), None);
}

// --- cancel -----------------------------------------------------------------------------------------------------------

#[test]
fn cancel_ends_every_open_operation_once_and_the_run() {
    let mut script = Script::new(async |ctx: Context| {
        ctx.join_all([a(), b()]).await?;
        Ok(())
    });
    script.commit();
    script.cancel();
    assert_eq!(script.commit(), "cancel; end after a cancel");
}

#[test]
fn code_that_ignores_a_cancel_for_ever_is_stopped() {
    let mut script = Script::new(async |ctx: Context| -> Result<()> {
        loop {
            let _ = ctx.sleep(Duration::from_secs(1)).await;
        }
    });
    script.commit();
    script.cancel();
    let stuck = script.live().stuck().unwrap().0.to_string();
    assert!(stuck.contains("cancelled"), "{stuck}");
}

#[test]
fn run_may_clean_up_after_a_cancel_and_end_as_it_likes() {
    let mut script = Script::new(async |ctx: Context| match ctx.run(a()).await {
        Ok(_) => Ok("done"),
        Err(_) => Ok("cleaned up"),
    });
    script.commit();
    script.cancel();
    assert_eq!(script.commit(), "cancel; result \"cleaned up\"");
}

#[test]
fn what_is_shielded_outlives_a_cancel_and_what_is_not_does_not() {
    let mut script = Script::new(async |ctx: Context| {
        let (kept, other) = futures_util::join!(ctx.shield(ctx.run(a())), ctx.run(b()));
        Ok(format!("{kept:?} {}", other.is_err()))
    });
    script.commit();
    script.cancel();
    assert_eq!(script.commit(), "cancel");
    script.replay().unwrap();
    assert!(
        !script.live().draft().start.is_empty(),
        "it is started anew"
    );
    script.done("a", 1, 7);
    assert_eq!(script.commit(), "task:a#1 ended; result \"Ok(7) true\"");
}

#[test]
fn shield_after_a_cancel_lets_the_code_clean_up_durably() {
    let mut script = Script::new(async |ctx: Context| {
        let first = ctx.run(a()).await;
        let second = ctx.run(b()).await;
        let slept = ctx.shield(ctx.sleep(Duration::from_secs(9))).await;
        Ok(format!(
            "{} {} {}",
            first.is_err(),
            second.is_err(),
            slept.is_ok()
        ))
    });
    script.commit();
    script.cancel();
    assert_eq!(script.commit(), "cancel; `task:b#1`; `timer:sleep#1`");
    script.replay().unwrap();
    assert!(
        script.live().draft().start.is_empty(),
        "the task is cancelled"
    );
    script.wait(Duration::from_secs(9));
    assert_eq!(
        script.commit(),
        "timer:sleep#1 ended; result \"true true true\""
    );
}

#[test]
fn shielded_wait_takes_signals_after_a_cancel() {
    let mut script = Script::new(async |ctx: Context| ctx.shield(ctx.receive(WORD)).await);
    script.commit();
    script.cancel();
    script.commit();
    script.replay().unwrap();
    script.signal("late");
    assert_eq!(
        script.commit(),
        "signal \"late\"; signal taken by `receive:word#1`; result \"late\""
    );
}

#[test]
fn branch_that_waits_for_a_cancel_hears_of_it_and_why() {
    let mut script = Script::new(async |ctx: Context| {
        let before = ctx.is_cancelled();
        let reason = ctx.cancelled().await;
        Ok(format!("{before} {} {reason}", ctx.is_cancelled()))
    });
    assert_eq!(script.commit(), "");
    script.cancel();
    assert_eq!(script.commit(), "cancel; result \"false true enough\"");
}

#[test]
fn code_that_gave_up_waiting_for_a_cancel_waits_for_nothing() {
    let mut script = Script::new(async |ctx: Context| -> Result<()> {
        crate::select! {
            reason = ctx.cancelled() => drop(reason),
            word = ctx.receive(WORD) => drop(word?),
        }
        std::future::pending().await
    });
    script.commit();
    script.signal("x");
    let stuck = script.live().stuck().unwrap().0.to_string();
    assert!(stuck.contains("not durable"), "{stuck}");
}

// --- pause ------------------------------------------------------------------------------------------------------------

#[test]
fn paused_run_keeps_what_arrives_until_it_is_resumed() {
    let mut script = Script::new(async |ctx: Context| {
        let word: String = ctx.receive(WORD).await?;
        Ok(word)
    });
    script.commit();
    script.pause(PausedTimers::RunOn);
    assert_eq!(script.commit(), "paused");
    script.signal("x").signal("y");
    assert_eq!(script.commit(), "");
    assert_eq!(script.live().read(), ArrivalNumber(1), "they stay unread");
    script.resume();
    assert_eq!(
        script.commit(),
        "resumed; signal \"x\"; signal taken by `receive:word#1`; signal \"y\"; result \"x\""
    );
    assert_eq!(script.live().read(), ArrivalNumber(4));
}

#[test]
fn attempt_that_ends_in_a_pause_is_decided_on_after_it() {
    let mut script = Script::new(async |ctx: Context| {
        ctx.run(a()).await?;
        ctx.run(b()).await
    });
    script.commit();
    script.pause(PausedTimers::RunOn);
    script.commit();
    assert!(!script.live().is_at_rest());
    script.done("a", 1, 1);
    assert_eq!(script.commit(), "task:a#1 kept");
    assert!(script.live().is_at_rest());
    let resume = Act::Resume {
        reason: "go on".to_owned(),
    };
    script.edit(&resume).replay().unwrap();
    assert_eq!(script.commit(), "task:a#1 ended; `task:b#1`");
}

#[test]
fn run_that_never_ran_is_paused_resumed_and_paused_by_edits() {
    let code = async |ctx: Context| {
        let before = ctx.record("noted", || 7)?;
        ctx.run(a()).await?;
        Ok(before)
    };
    let mut script = Script::new(code);
    for _ in 0..2 {
        let reason = "by an edit".to_owned();
        let timers = PausedTimers::RunOn;
        script.edit(&Act::Pause {
            reason: reason.clone(),
            timers,
        });
        script.edit(&Act::Resume { reason });
    }
    script.replay().unwrap();
    assert_eq!(script.commit(), "`record:noted#1`; `task:a#1`");
    script.replay().unwrap();
    script.done("a", 1, 1);
    assert_eq!(script.commit(), "task:a#1 ended; result 7");
    script.replay().unwrap();
}

#[test]
fn cancel_by_an_edit_ends_what_is_not_shielded() {
    let mut script = Script::new(async |ctx: Context| {
        let queued = ctx.run(a().queue("q"));
        let (kept, other) = futures_util::join!(ctx.shield(ctx.run(b().queue("q"))), queued);
        Ok(format!("{} {}", kept.is_ok(), other.is_err()))
    });
    script.commit();
    let reason = "enough".to_owned();
    script.edit(&Act::Cancel { reason }).replay().unwrap();
    let withdrawn = script.live().draft().withdraw.clone();
    assert_eq!(format!("{withdrawn:?}"), "[task:a#1]");
}

#[test]
fn timers_that_stand_still_are_put_off_by_the_pause() {
    let mut script = Script::new(async |ctx: Context| {
        let before = ctx.now();
        ctx.sleep(Duration::from_secs(10)).await?;
        Ok(ctx.now().since(before).as_secs())
    });
    script.commit();
    script.wait(Duration::from_secs(4));
    script.pause(PausedTimers::StandStill);
    script.commit();
    script.wait(Duration::from_secs(100));
    assert_eq!(script.commit(), "");
    script.resume();
    assert_eq!(script.commit(), "resumed");
    script.replay().unwrap();
    script.wait(Duration::from_secs(5));
    assert_eq!(script.commit(), "");
    script.wait(Duration::from_secs(1));
    assert_eq!(script.commit(), "timer:sleep#1 ended; result 110");
}

#[test]
fn pause_from_inside_ends_with_the_resume_and_fails_with_a_cancel() {
    let code = async |ctx: Context| match ctx.pause("review").await {
        Ok(()) => Ok("reviewed"),
        Err(_) => Ok("refused"),
    };
    let mut script = Script::new(code);
    assert_eq!(script.commit(), "`pause:pause#1`");
    script.replay().unwrap();
    assert!(script.live().is_at_rest());
    script.resume();
    assert_eq!(script.commit(), "resumed; result \"reviewed\"");
    let mut script = Script::new(code);
    script.commit();
    script.cancel();
    assert_eq!(script.commit(), "cancel; result \"refused\"");
}

#[test]
fn pause_that_was_asked_for_before_the_resume_is_over() {
    let mut script = Script::new(async |ctx: Context| {
        let word: String = ctx.receive(WORD).await?;
        Ok(word)
    });
    script.commit();
    script.pause(PausedTimers::RunOn);
    script.pause(PausedTimers::RunOn);
    script.resume();
    assert_eq!(script.commit(), "paused; resumed");
    assert!(!script.live().is_paused());
    script.clock = script.clock.after(Duration::from_secs(1));
    script.pause(PausedTimers::RunOn);
    assert_eq!(script.commit(), "paused");
}

#[test]
fn terminate_of_a_paused_run_notes_what_was_not_read() {
    let mut script = Script::new(async |ctx: Context| {
        let word: String = ctx.receive(WORD).await?;
        Ok(word)
    });
    script.commit();
    script.pause(PausedTimers::RunOn);
    script.signal("unread");
    let reason = "stop".to_owned();
    script.control(&ControlContent::Terminate { reason });
    assert_eq!(script.commit(), "paused; signal \"unread\"; terminated");
    assert_eq!(script.live().read(), ArrivalNumber(3));
}

// --- attempts ---------------------------------------------------------------------------------------------------------

#[test]
fn attempt_that_died_with_its_owner_is_counted_at_the_next_taking_up() {
    let mut script = Script::new(async |ctx: Context| ctx.run(a()).await);
    script.commit();
    script.record.lost = 1;
    let mut script = script.replayed();
    assert_eq!(script.commit(), "lost task:a#1 1");
    let task = OperationKey::new(OperationKind::Task, "a", 1);
    assert_eq!(script.live().ledger().task(&task).unwrap().attempt(), 2);
}

#[test]
fn outcome_of_an_attempt_that_was_given_up_is_ignored() {
    let mut script = Script::new(async |ctx: Context| ctx.run(a()).await);
    script.commit();
    script.record.lost = 1;
    let mut script = script.replayed();
    script.commit();
    script.done("a", 1, 5);
    assert_eq!(script.commit(), "");
}

/// P6: attempts lost to crashes have a limit of their own.
#[test]
fn tenth_lost_attempt_blocks_the_run() {
    let mut script = Script::new(async |ctx: Context| ctx.run(a()).await);
    script.commit();
    script.record.lost = 1;
    for lost in 1..10 {
        script.replay().unwrap();
        script.commit();
        script.starting("a", lost + 1);
        script.commit();
    }
    let Err(Refusal::Blocked(error)) = script.replay() else {
        panic!("the tenth loss does not block");
    };
    assert!(
        error.message().contains("10 attempts of `task:a#1`"),
        "{error}"
    );
}

/// P6: what only waited for a slot when its worker died was not tried.
#[test]
fn attempt_that_never_started_does_not_use_up_the_limit() {
    let mut script = Script::new(async |ctx: Context| ctx.run(a()).await);
    script.commit();
    script.record.lost = 1;
    for _ in 0..40 {
        script.replay().unwrap();
        script.commit();
    }
    let task = OperationKey::new(OperationKind::Task, "a", 1);
    assert_eq!(script.live().ledger().task(&task).unwrap().attempt(), 4);
    assert!(script.live().is_traced(&task));
}

#[test]
fn run_is_a_suspect_from_the_second_loss_without_progress() {
    let mut script = Script::new(async |ctx: Context| ctx.run(a()).await);
    script.commit();
    assert_eq!(script.approach(), Approach::Direct);
    script.record.lost = 1;
    assert_eq!(script.approach(), Approach::Direct);
    script.record.lost = 9;
    assert!(matches!(script.approach(), Approach::Recorded(_)));
}

#[test]
fn fifth_worker_that_dies_in_the_replay_of_a_run_is_the_last() {
    let mut script = Script::new(async |ctx: Context| ctx.run(a()).await);
    script.commit();
    script.record.lost = 2;
    for _ in 0..5 {
        let Approach::Recorded(turn) = script.approach() else {
            panic!("not a suspect");
        };
        script.turns.push(turn);
    }
    let Approach::Refused(error) = script.approach() else {
        panic!("the sixth worker tries it");
    };
    assert!(error.message().contains("5 workers"), "{error}");
}

#[test]
fn replay_that_a_worker_survives_wipes_the_slate_clean() {
    let mut script = Script::new(async |ctx: Context| {
        ctx.run(a()).await?;
        ctx.run(b()).await
    });
    script.commit();
    script.record.lost = 2;
    for _ in 0..4 {
        let Approach::Recorded(turn) = script.approach() else {
            panic!("not a suspect");
        };
        script.turns.push(turn);
    }
    script.replay().unwrap();
    assert_eq!(script.commit(), "recovered; lost task:a#1 1");
    script.record.lost = 1;
    assert_eq!(script.approach(), Approach::Direct);
    script.replay().unwrap();
}

#[test]
fn queued_task_that_is_dropped_in_the_turn_that_schedules_it_is_not_put_in() {
    let mut script = Script::new(|ctx| async move {
        crate::select! {
            _ = ctx.run(a().queue("mail")) => {}
            () = std::future::ready(()) => {}
        }
        ctx.run(b()).await
    });
    let draft = script.live().hand_out_draft();
    assert_eq!(draft.enqueue, []);
    assert_eq!(draft.withdraw.len(), 1);
}

#[test]
fn queued_task_of_a_run_that_ends_in_the_turn_that_schedules_it_is_not_put_in() {
    let mut script = Script::new(|ctx| async move {
        let mut task = std::pin::pin!(ctx.run(a().queue("mail")));
        let _ = futures::poll!(&mut task);
        Ok(1)
    });
    assert_eq!(script.live().hand_out_draft().enqueue, []);
}

#[test]
fn suspect_that_ends_in_its_replay_has_recovered_before_its_end() {
    let mut script = Script::new(|_| async { Ok(1) });
    script.record.lost = 2;
    let Approach::Recorded(turn) = script.approach() else {
        panic!("not a suspect");
    };
    script.turns.push(turn);
    script.replay().unwrap();
    assert_eq!(script.commit(), "recovered; result 1");
}

#[test]
fn signal_to_code_that_waits_for_nothing_is_kept_before_its_end() {
    let mut script = Script::new(|_| async { Ok(1) });
    script.take_up_with(["late"]);
    assert_eq!(script.commit(), "signal \"late\"; result 1");
    script.replay().unwrap();
    assert!(script.live().draft().is_empty());
}

#[test]
fn signals_behind_the_one_that_ends_the_run_are_kept_before_its_end() {
    let mut script = Script::new(|ctx| async move { ctx.receive(WORD).await });
    script.commit();
    script.take_up_with(["last", "too late", "later still"]);
    assert_eq!(
        script.commit(),
        "signal \"last\"; signal taken by `receive:word#1`; signal \"too late\"; signal \"later still\"; result \"last\""
    );
    script.replay().unwrap();
    assert!(script.live().draft().is_empty());
}

#[test]
fn outcome_that_comes_twice_is_taken_once() {
    let mut script = Script::new(async |ctx: Context| {
        ctx.run(a()).await?;
        ctx.run(a()).await
    });
    script.commit();
    script.done("a", 1, 1).done("a", 1, 2);
    assert_eq!(script.commit(), "task:a#1 ended; `task:a#2`");
}

#[test]
fn arrival_that_comes_twice_is_taken_once() {
    let mut script = Script::new(async |ctx: Context| {
        ctx.receive(WORD).await?;
        ctx.receive(WORD).await
    });
    script.commit();
    script.signal("one");
    script.arrivals -= 1;
    script.signal("one again");
    assert!(!script.commit().contains("again"));
}

// --- misuse -----------------------------------------------------------------------------------------------------------

#[test]
fn waiting_for_nothing_durable_is_stuck() {
    let script = Script::new(async |ctx: Context| {
        ctx.run(a()).await?;
        std::future::pending::<Result<()>>().await
    });
    let mut script = script.replayed();
    script.done("a", 1, 0);
    assert!(
        script
            .live()
            .stuck()
            .unwrap()
            .0
            .message()
            .contains("not durable")
    );
}

#[test]
fn code_that_wakes_itself_for_ever_is_stuck() {
    let script = Script::new(async |ctx: Context| {
        ctx.run(a()).await?;
        std::future::poll_fn(|context| {
            context.waker().wake_by_ref();
            std::task::Poll::<Result<()>>::Pending
        })
        .await
    });
    let mut script = script.replayed();
    script.done("a", 1, 0);
    assert!(
        script
            .live()
            .stuck()
            .unwrap()
            .0
            .message()
            .contains("wakes itself")
    );
}

#[test]
fn too_many_open_operations_fail_the_run_with_the_limit() {
    let limit = Limits::default().open_operations_max;
    let mut script = Script::new(move |ctx: Context| async move {
        ctx.join_all((0..=limit).map(|_| a())).await?;
        Ok(())
    });
    assert!(script.commit().ends_with("end with an error"));
}

#[test]
fn stuck_run_keeps_the_event_that_it_could_not_handle() {
    let script = Script::new(async |ctx: Context| {
        ctx.run(a()).await?;
        std::future::pending::<Result<()>>().await
    });
    let mut script = script.replayed();
    script.commit();
    script.done("a", 1, 0);
    assert_eq!(script.commit(), "task:a#1 ended");
}

#[test]
fn error_that_is_no_cancel_fails_the_run() {
    let mut script = Script::new(async |ctx: Context| {
        ctx.run(a()).await?;
        Err::<(), _>(Error::failed("no"))
    });
    script.commit();
    script.done("a", 1, 0);
    assert_eq!(script.commit(), "task:a#1 ended; end with an error");
}
