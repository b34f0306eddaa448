//! Everything that a simulation does, drawn from its seed or written down.
//!
//! Invariants: a scenario and its seed decide every draw that follows, so equal scenarios give equal traces.

use serde::{Deserialize, Serialize};

use super::program::{Author, Program};
use crate::chance::Chance;

/// Is how long faults go on, in virtual milliseconds; then everything is mended.
pub(crate) const FAULTS_MS: u64 = 15_000;

/// Says what a simulation does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) nodes: Vec<NodePlan>,
    pub(crate) runs: Vec<RunPlan>,
    pub(crate) actions: Vec<Action>,
    pub(crate) weather: Weather,
    pub(crate) options: Options,
}

/// Says how the clock of a process runs.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct NodePlan {
    pub(crate) origin_ms: u64,
    pub(crate) slow_ppm: u32,
}

/// Says which program is started when.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RunPlan {
    pub(crate) id: String,
    pub(crate) program: Program,
    pub(crate) at_ms: u64,
    /// The node whose client starts it; none for a client outside.
    pub(crate) through: Option<usize>,
    /// When its signals are sent, one after the other.
    pub(crate) signals_at_ms: u64,
    pub(crate) signals_every_ms: u64,
    /// What is done to it from outside.
    #[serde(default)]
    pub(crate) controls: Vec<ControlPlan>,
}

/// Says what is done to a run from outside, and when.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct ControlPlan {
    pub(crate) at_ms: u64,
    pub(crate) what: Control,
}

/// Is what can be done to a run from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Control {
    /// It is paused, and resumed some time after that.
    Pause {
        for_ms: u64,
        stops_timers: bool,
    },
    /// It is resumed, whether it is paused or not.
    Resume,
    Cancel,
    Terminate,
}

/// Is something that is done to the fleet.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Action {
    pub(crate) at_ms: u64,
    pub(crate) what: Deed,
    pub(crate) node: usize,
    /// How long it lasts.
    pub(crate) for_ms: u64,
}

/// Is what can be done to the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Deed {
    /// Ends a process and starts another in its place.
    Crash,
    /// Stops a process and lets it go on.
    Pause,
    /// Lets a worker drain, and starts another in its place.
    Shutdown,
    /// Takes the store away from everyone.
    Outage,
}

/// Says how often requests meet a fault, in a thousand, and how long they take at most.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Weather {
    pub(crate) delay_ms: u64,
    pub(crate) stalled: u64,
    pub(crate) refused: u64,
    pub(crate) answer_lost: u64,
    pub(crate) applied_late: u64,
    pub(crate) doubled: u64,
    pub(crate) hint_lost: u64,
}

/// Says how the workers are set up.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Options {
    pub(crate) lease_ms: u64,
    pub(crate) park_after_ms: u64,
    pub(crate) live_max: usize,
    pub(crate) slots: usize,
    pub(crate) always_park: bool,
}

impl Scenario {
    /// Draws a scenario.
    pub(crate) fn draw(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let is_calm = chance.happens(80);
        let nodes = chance.within(1..=3);
        let mut scenario = Self {
            seed,
            nodes: (0..nodes).map(|_| node(&mut chance)).collect(),
            runs: Vec::new(),
            actions: Vec::new(),
            weather: weather(&mut chance),
            options: options(&mut chance),
        };
        // A stream of its own, so that seeds keep what they stood for before there were controls.
        let mut control = Chance::new(seed ^ 0xc0_0170);
        for number in 0..chance.within(1..=4) {
            let mut run = run_plan(&mut chance, number, nodes);
            run.controls = controls(&mut control);
            scenario.runs.push(run);
        }
        if is_calm {
            scenario.weather = Weather::default();
            scenario.nodes.iter_mut().for_each(|node| node.slow_ppm = 0);
            if nodes > 1 && chance.happens(500) {
                let crash = action(&mut chance, nodes);
                scenario.actions.push(Action {
                    what: Deed::Crash,
                    ..crash
                });
            }
            return scenario;
        }
        for _ in 0..chance.within(0..=6) {
            scenario.actions.push(action(&mut chance, nodes));
        }
        scenario.actions.sort_by_key(|action| action.at_ms);
        scenario
    }

    /// Tells whether nothing is done to the fleet.
    pub(crate) fn is_calm(&self) -> bool {
        self.actions.is_empty() && self.has_fair_weather()
    }

    /// Tells whether one process crashes, and nothing else goes wrong, so that another must take over in time.
    pub(crate) fn is_one_crash(&self) -> bool {
        let is_crash = |action: &Action| action.what == Deed::Crash;
        self.nodes.len() > 1
            && self.actions.len() == 1
            && self.actions.iter().all(is_crash)
            && self.has_fair_weather()
    }

    fn has_fair_weather(&self) -> bool {
        let Weather {
            stalled,
            refused,
            answer_lost,
            applied_late,
            doubled,
            ..
        } = self.weather;
        stalled + refused + answer_lost + applied_late + doubled == 0
    }
}

fn node(chance: &mut Chance) -> NodePlan {
    let is_slow = chance.happens(300);
    NodePlan {
        origin_ms: chance.within(0..=10_000_000),
        slow_ppm: if is_slow {
            u32::try_from(chance.within(100..=50_000)).unwrap_or_default()
        } else {
            0
        },
    }
}

fn run_plan(chance: &mut Chance, number: u64, nodes: u64) -> RunPlan {
    let depth = u32::try_from(chance.within(0..=2)).unwrap_or_default();
    let program = Author::new(chance).program(depth);
    let is_outside = chance.happens(400);
    let through = usize::try_from(chance.within(0..=nodes - 1)).unwrap_or_default();
    RunPlan {
        id: format!("run-{number}"),
        program,
        at_ms: chance.within(0..=3_000),
        through: (!is_outside).then_some(through),
        signals_at_ms: match chance.within(0..=3) {
            0 => 0,
            1..=2 => 500 * chance.within(0..=8),
            _ => chance.within(0..=8_000),
        },
        signals_every_ms: match chance.within(0..=2) {
            0 => 0,
            _ => chance.within(1..=2_000),
        },
        controls: Vec::new(),
    }
}

fn controls(chance: &mut Chance) -> Vec<ControlPlan> {
    let mut plans = Vec::new();
    if !chance.happens(350) {
        return plans;
    }
    for _ in 0..chance.within(1..=2) {
        let at_ms = chance.within(0..=6_000);
        let what = match chance.within(0..=9) {
            0 => Control::Cancel,
            1 => Control::Terminate,
            2..=3 => Control::Resume,
            _ => Control::Pause {
                for_ms: chance.within(0..=4_000),
                stops_timers: chance.happens(400),
            },
        };
        plans.push(ControlPlan { at_ms, what });
    }
    plans
}

fn action(chance: &mut Chance, nodes: u64) -> Action {
    let what = match chance.within(0..=9) {
        0..=4 => Deed::Crash,
        5..=6 => Deed::Pause,
        7..=8 => Deed::Shutdown,
        _ => Deed::Outage,
    };
    let for_ms = match what {
        Deed::Crash | Deed::Shutdown => chance.within(0..=4_000),
        Deed::Pause => chance.within(100..=7_000),
        Deed::Outage => chance.within(100..=3_000),
    };
    Action {
        at_ms: chance.within(0..=FAULTS_MS),
        what,
        node: usize::try_from(chance.within(0..=nodes - 1)).unwrap_or_default(),
        for_ms,
    }
}

/// Draws how strong each fault is in this seed; most are away in most seeds, so that each is also seen alone.
fn weather(chance: &mut Chance) -> Weather {
    let mut strength = |most: u64| match chance.happens(400) {
        true => chance.within(1..=most),
        false => 0,
    };
    Weather {
        delay_ms: strength(20),
        stalled: strength(20),
        refused: strength(100),
        answer_lost: strength(150),
        applied_late: strength(60),
        doubled: strength(150),
        hint_lost: strength(1_000),
    }
}

fn options(chance: &mut Chance) -> Options {
    Options {
        lease_ms: chance.within(600..=2_500),
        park_after_ms: match chance.within(0..=2) {
            0 => chance.within(0..=30),
            1 => chance.within(30..=500),
            _ => 2_000,
        },
        live_max: match chance.within(0..=3) {
            0 => usize::try_from(chance.within(1..=3)).unwrap_or(1),
            _ => 4_096,
        },
        slots: match chance.within(0..=3) {
            0 => usize::try_from(chance.within(1..=2)).unwrap_or(1),
            _ => 64,
        },
        always_park: chance.happens(150),
    }
}
