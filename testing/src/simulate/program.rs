//! Random workflow programs.
//!
//! Invariants: every program ends, whatever fails, as long as its signals are sent. Names of signals and data belong to
//! one branch each, so that what a branch sees is a function of that branch alone.

use serde::{Deserialize, Serialize};

use crate::chance::Chance;

/// Names signals and data keys, which must be constants.
pub(crate) const NAMES: [&str; 24] = [
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s",
    "t", "u", "v", "w", "x",
];

/// Is a program of one workflow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) steps: Vec<Step>,
    /// Whether the workflow fails behind its last step.
    pub(crate) fails: bool,
}

/// Is one step of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// Runs a task.
    Act(Act),
    /// Runs a step inline.
    Inline(u64),
    /// Runs several tasks at once.
    Each(Vec<Act>),
    /// Runs branches at once.
    Parallel(Vec<Vec<Self>>),
    /// Runs two branches and drops the one that is not first.
    Race(Vec<Self>, Vec<Self>),
    /// Sleeps so many milliseconds.
    Sleep(u64),
    /// Waits for a signal, for at most so many milliseconds.
    Receive(usize, Option<u64>),
    /// Runs a subworkflow, whose id ends in this.
    Child(String, Program),
    /// Sets data.
    Put(usize, String),
    /// Gets data.
    Get(usize),
    /// Draws random values and looks at the time.
    Draw,
    /// Records a value.
    Record,
}

/// Is one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Act {
    pub(crate) ends: Ends,
    pub(crate) retries: u32,
    pub(crate) takes_ms: u64,
    pub(crate) queued: bool,
}

/// Says how the attempts of a task end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ends {
    /// The first so many fail.
    After(u32),
    /// The first one panics.
    AfterPanic,
    /// All fail.
    Never,
    /// The first one fails for good.
    AtOnce,
    /// All take too long.
    TooLate,
}

impl Ends {
    /// Tells whether the task has a result in the end.
    pub(crate) const fn well(self) -> bool {
        matches!(self, Self::After(_) | Self::AfterPanic)
    }
}

/// Draws programs of a bounded size.
pub(crate) struct Author<'a> {
    chance: &'a mut Chance,
    names: usize,
    children: usize,
    steps: usize,
}

/// Is the most steps of a program, its subworkflows included.
const STEPS_MAX: usize = 14;

impl<'a> Author<'a> {
    pub(crate) fn new(chance: &'a mut Chance) -> Self {
        Self {
            chance,
            names: 0,
            children: 0,
            steps: STEPS_MAX,
        }
    }

    pub(crate) fn program(&mut self, depth: u32) -> Program {
        let steps = self.block(depth, 5);
        Program {
            steps,
            fails: self.chance.happens(100),
        }
    }

    fn block(&mut self, depth: u32, most: u64) -> Vec<Step> {
        let name = self.names;
        self.names += 1;
        let count = self.chance.within(1..=most);
        let mut block = Vec::new();
        for _ in 0..count {
            if self.steps == 0 {
                break;
            }
            self.steps -= 1;
            block.push(self.step(depth, name.min(NAMES.len() - 1)));
        }
        block
    }

    fn step(&mut self, depth: u32, name: usize) -> Step {
        let has_names = self.names + 2 < NAMES.len();
        match self.chance.within(0..=99) {
            0..=29 => Step::Act(self.act()),
            30..=34 => Step::Inline(self.chance.within(0..=200)),
            35..=41 => {
                let count = self.width();
                Step::Each((0..count).map(|_| self.act()).collect())
            }
            42..=50 if depth > 0 && has_names => {
                Step::Parallel(vec![self.block(depth - 1, 3), self.block(depth - 1, 3)])
            }
            51..=60 if depth > 0 && has_names => {
                Step::Race(self.block(depth - 1, 2), self.block(depth - 1, 2))
            }
            61..=68 => Step::Sleep(self.nap()),
            69..=80 => {
                let limit = self.chance.happens(600);
                Step::Receive(name, limit.then(|| self.limit()))
            }
            81..=86 if depth > 0 && has_names => {
                self.children += 1;
                let id = format!("{}", self.children);
                Step::Child(id, self.program(depth - 1))
            }
            87..=91 => Step::Put(name, format!("{:x}", self.chance.next())),
            92..=95 => Step::Get(name),
            96..=97 => Step::Record,
            _ => Step::Draw,
        }
    }

    /// Draws how many tasks run at once; sometimes more than a worker with few slots keeps.
    fn width(&mut self) -> u64 {
        match self.chance.happens(300) {
            true => self.chance.within(6..=24),
            false => self.chance.within(2..=5),
        }
    }

    /// Draws a time limit; often a round one, which signals come at too.
    fn limit(&mut self) -> u64 {
        match self.chance.happens(500) {
            true => 500 * self.chance.within(1..=8),
            false => self.chance.within(1..=4_000),
        }
    }

    fn nap(&mut self) -> u64 {
        match self.chance.within(0..=9) {
            0 => 0,
            1 => self.chance.within(10_000..=20_000),
            _ => self.chance.within(1..=3_000),
        }
    }

    fn act(&mut self) -> Act {
        let retries = u32::try_from(self.chance.within(0..=3)).unwrap_or_default();
        let ends = match self.chance.within(0..=19) {
            0 => Ends::Never,
            1 => Ends::AtOnce,
            2 => Ends::TooLate,
            3 if retries > 0 => Ends::AfterPanic,
            4..=7 => {
                let failures = self.chance.within(0..=u64::from(retries));
                Ends::After(u32::try_from(failures).unwrap_or_default())
            }
            _ => Ends::After(0),
        };
        Act {
            ends,
            retries,
            takes_ms: self.duration(),
            queued: self.chance.happens(250),
        }
    }

    fn duration(&mut self) -> u64 {
        match self.chance.within(0..=9) {
            0..=4 => 0,
            5 => self.chance.within(500..=3_000),
            _ => self.chance.within(1..=300),
        }
    }
}

impl Program {
    /// Lists the signals that the program can wait for, in the run with this id and below it: run, name, how many.
    pub(crate) fn signals(&self, id: &str) -> Vec<(String, usize, u64)> {
        let mut found = Vec::new();
        for step in &self.steps {
            step.signals(id, &mut found);
        }
        found
    }
}

impl Step {
    fn signals(&self, id: &str, found: &mut Vec<(String, usize, u64)>) {
        match self {
            Self::Receive(name, _) => {
                let known = found
                    .iter_mut()
                    .find(|(run, known, _)| run == id && known == name);
                match known {
                    Some((_, _, count)) => *count += 1,
                    None => found.push((id.to_owned(), *name, 1)),
                }
            }
            Self::Parallel(branches) => {
                let steps = branches.iter().flatten();
                steps.for_each(|step| step.signals(id, found));
            }
            Self::Race(left, right) => {
                let steps = left.iter().chain(right);
                steps.for_each(|step| step.signals(id, found));
            }
            Self::Child(child, program) => {
                found.append(&mut program.signals(&format!("{id}.{child}")));
            }
            _ => {}
        }
    }
}
