//! From a seed that breaks a promise to the smallest test of it that can be found.
//!
//! Invariants: each smaller scenario breaks the same promise. The number of tries is bounded.

use super::program::{Program, Step};
use super::scenario::{Scenario, Weather};
use super::{Flaw, fleet};

/// Is the most simulations that are spent on one seed.
const TRIES_MAX: usize = 600;

/// Makes the source of a test of the smallest scenario found.
pub(super) fn to_test(scenario: &Scenario, flaw: Flaw) -> String {
    let Some(promise) = broken_promise(scenario, flaw) else {
        return format!("// seed {} breaks no promise", scenario.seed);
    };
    let smallest = smallest(scenario.clone(), flaw, promise);
    let text = serde_json::to_string(&smallest).unwrap_or_default();
    let what = fleet::run(&smallest, flaw).violations;
    let what = what.first().map(|one| one.what.clone()).unwrap_or_default();
    format!(
        "/// {promise}: {what}\n#[test]\nfn seed_{}_keeps_its_promises() {{\n    let report = \
         longhaul_testing::simulate::simulate_scenario(\n        r##\"{text}\"##,\n    )\n    .unwrap();\n    \
         assert_eq!(report.violations, []);\n}}",
        scenario.seed
    )
}

fn broken_promise(scenario: &Scenario, flaw: Flaw) -> Option<&'static str> {
    let report = fleet::run(scenario, flaw);
    report.violations.first().map(|violation| violation.promise)
}

fn smallest(mut scenario: Scenario, flaw: Flaw, promise: &str) -> Scenario {
    let mut tries = 0;
    loop {
        let found = smaller(&scenario).into_iter().find(|candidate| {
            tries += 1;
            tries <= TRIES_MAX && broken_promise(candidate, flaw) == Some(promise)
        });
        match found {
            Some(found) => scenario = found,
            None => return scenario,
        }
    }
}

/// Lists scenarios with one thing less, the largest things first.
fn smaller(scenario: &Scenario) -> Vec<Scenario> {
    let mut found = Vec::new();
    for at in 0..scenario.runs.len() {
        let mut less = scenario.clone();
        less.runs.remove(at);
        found.push(less);
    }
    for at in 0..scenario.actions.len() {
        let mut less = scenario.clone();
        less.actions.remove(at);
        found.push(less);
    }
    found.extend(calmer(scenario));
    for (at, run) in scenario.runs.iter().enumerate() {
        for program in shorter(&run.program) {
            let mut less = scenario.clone();
            if let Some(run) = less.runs.get_mut(at) {
                run.program = program;
            }
            found.push(less);
        }
    }
    found
}

fn calmer(scenario: &Scenario) -> impl Iterator<Item = Scenario> {
    let fields: [fn(&mut Weather) -> &mut u64; 7] = [
        |weather| &mut weather.stalled,
        |weather| &mut weather.refused,
        |weather| &mut weather.answer_lost,
        |weather| &mut weather.applied_late,
        |weather| &mut weather.doubled,
        |weather| &mut weather.hint_lost,
        |weather| &mut weather.delay_ms,
    ];
    fields.into_iter().filter_map(|field| {
        let mut less = scenario.clone();
        let strength = std::mem::take(field(&mut less.weather));
        (strength > 0).then_some(less)
    })
}

fn shorter(program: &Program) -> Vec<Program> {
    let with = |steps| Program {
        steps,
        fails: program.fails,
    };
    let mut found: Vec<_> = shorter_block(&program.steps)
        .into_iter()
        .map(with)
        .collect();
    if program.fails {
        found.push(Program {
            fails: false,
            ..program.clone()
        });
    }
    found
}

fn shorter_block(steps: &[Step]) -> Vec<Vec<Step>> {
    let mut found = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let mut less = steps.to_vec();
        less.remove(at);
        found.push(less);
        for inner in shorter_step(step) {
            let mut less = steps.to_vec();
            if let Some(place) = less.get_mut(at) {
                *place = inner;
            }
            found.push(less);
        }
    }
    found
}

fn shorter_step(step: &Step) -> Vec<Step> {
    match step {
        Step::Parallel(branches) => {
            let mut found = Vec::new();
            for (at, branch) in branches.iter().enumerate() {
                for less in shorter_block(branch) {
                    let mut branches = branches.clone();
                    if let Some(place) = branches.get_mut(at) {
                        *place = less;
                    }
                    found.push(Step::Parallel(branches));
                }
            }
            found
        }
        Step::Race(left, right) => {
            let lefts = shorter_block(left).into_iter();
            let rights = shorter_block(right).into_iter();
            lefts
                .map(|less| Step::Race(less, right.clone()))
                .chain(rights.map(|less| Step::Race(left.clone(), less)))
                .collect()
        }
        Step::Child(id, program) => shorter(program)
            .into_iter()
            .map(|less| Step::Child(id.clone(), less))
            .collect(),
        Step::Each(acts) if acts.len() > 1 => {
            let first = acts.iter().take(acts.len() - 1).cloned().collect();
            vec![Step::Each(first)]
        }
        _ => Vec::new(),
    }
}
