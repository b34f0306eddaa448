//! What a program must have seen, told without an engine.
//!
//! Invariants: the evaluator knows the program, the signals in the order they were sent, and what task bodies did; no
//! history. Where chance decides (who wins a race, whether a limit is over first) it takes what was seen and holds it
//! to the consequences.

use std::collections::BTreeMap;

use serde_json::Value;

use super::program::{Act, Ends, Program, Step};
use super::workflow::{Effect, Ended};

/// Is what happened outside the engine.
pub(crate) struct Outside<'a> {
    pub(crate) effects: &'a [Effect],
}

/// Tells how what was seen differs from what the program must see, if it does.
pub(crate) fn check(
    program: &Program,
    run: &str,
    seen: &Value,
    outside: &Outside<'_>,
) -> Result<(), String> {
    let mut evaluator = Evaluator {
        run,
        outside,
        received: BTreeMap::new(),
        data: BTreeMap::new(),
    };
    evaluator.block(&program.steps, seen)
}

struct Evaluator<'a> {
    run: &'a str,
    outside: &'a Outside<'a>,
    received: BTreeMap<usize, u64>,
    data: BTreeMap<usize, String>,
}

impl Evaluator<'_> {
    fn block(&mut self, steps: &[Step], seen: &Value) -> Result<(), String> {
        let seen = seen
            .as_array()
            .ok_or_else(|| format!("{seen} is no list"))?;
        if seen.len() != steps.len() {
            return Err(format!("{} steps gave {} values", steps.len(), seen.len()));
        }
        for (step, seen) in steps.iter().zip(seen) {
            self.step(step, seen)
                .map_err(|why| format!("{step:?} gave {seen}: {why}"))?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step, seen: &Value) -> Result<(), String> {
        match step {
            Step::Act(act) => self.act(act, seen),
            Step::Inline(value) => same(seen, "inline", &Value::from(*value)),
            Step::Each(acts) => {
                let all = list(seen, "each")?;
                if all.len() != acts.len() {
                    return Err("another number of results".to_owned());
                }
                let mut pairs = acts.iter().zip(all);
                pairs.try_for_each(|(act, seen)| self.act(act, seen))
            }
            Step::Parallel(branches) => {
                let all = list(seen, "parallel")?;
                if all.len() != branches.len() {
                    return Err("another number of branches".to_owned());
                }
                let mut pairs = branches.iter().zip(all);
                pairs.try_for_each(|(steps, seen)| self.block(steps, seen))
            }
            Step::Race(left, right) => match (seen.get("left"), seen.get("right")) {
                (Some(seen), None) => self.block(left, seen),
                (None, Some(seen)) => self.block(right, seen),
                _ => Err("one branch wins".to_owned()),
            },
            Step::Sleep(time) => match seen.get("slept").and_then(Value::as_u64) {
                Some(slept) if slept >= time * 1_000 => Ok(()),
                _ => Err(format!("it must last {time} ms at least")),
            },
            Step::Receive(name, limit) => self.receive(*name, *limit, seen),
            Step::Child(id, program) => self.child(id, program, seen),
            Step::Put(key, value) => {
                let value = format!("{} {value}", self.run);
                same(seen, "put", &Value::from(value.clone()))?;
                self.data.insert(*key, value);
                Ok(())
            }
            Step::Get(key) => {
                let value = self.data.get(key).cloned();
                same(seen, "got", &value.map_or(Value::Null, Value::from))
            }
            Step::Draw => match seen.get("drawn") {
                Some(_) => Ok(()),
                None => Err("nothing was drawn".to_owned()),
            },
            Step::Record => same(seen, "recorded", &Value::from(7)),
        }
    }

    fn act(&self, act: &Act, seen: &Value) -> Result<(), String> {
        let outcome = seen.get("act").ok_or("it is no outcome of a task")?;
        if let Some(kind) = outcome.get("failed").and_then(Value::as_str) {
            let expected = match act.ends {
                Ends::TooLate => "TimedOut",
                _ => "Failed",
            };
            return match act.ends.well() {
                true => Err("it must succeed".to_owned()),
                false if kind == expected => Ok(()),
                false => Err(format!("it must fail as {expected}")),
            };
        }
        if !act.ends.well() {
            return Err("it must fail".to_owned());
        }
        let nonce = outcome.as_u64().ok_or("it is no number")?;
        let effect = self
            .outside
            .effects
            .iter()
            .find(|effect| effect.nonce == nonce);
        let is_ours = |effect: &&Effect| {
            let of_run = effect.operation.rsplit_once("/1/").map(|(run, _)| run);
            of_run == Some(self.run) && effect.ended == Some(Ended::Well)
        };
        match effect.filter(is_ours) {
            Some(_) => Ok(()),
            None => Err("no task of this run gave that".to_owned()),
        }
    }

    fn receive(&mut self, name: usize, limit: Option<u64>, seen: &Value) -> Result<(), String> {
        let next = self.received.entry(name).or_default();
        match seen.get("received") {
            Some(Value::Null) if limit.is_some() => Ok(()),
            Some(number) if *number == Value::from(*next) => {
                *next += 1;
                Ok(())
            }
            _ => Err(format!("signal {next} comes next")),
        }
    }

    fn child(&self, id: &str, program: &Program, seen: &Value) -> Result<(), String> {
        let outcome = seen
            .get("child")
            .ok_or("it is no outcome of a subworkflow")?;
        match (outcome.get("failed"), program.fails) {
            (None, false) => {
                let id = format!("{}.{id}", self.run);
                check(program, &id, outcome, self.outside)
            }
            (Some(kind), true) if *kind == Value::from("Failed") => Ok(()),
            _ => Err("it must end otherwise".to_owned()),
        }
    }
}

fn same(seen: &Value, key: &str, expected: &Value) -> Result<(), String> {
    match seen.get(key) {
        Some(value) if value == expected => Ok(()),
        _ => Err(format!("it must be {expected}")),
    }
}

fn list<'a>(seen: &'a Value, key: &str) -> Result<&'a Vec<Value>, String> {
    let found = seen.get(key).and_then(Value::as_array);
    found.ok_or_else(|| "it is no list".to_owned())
}
