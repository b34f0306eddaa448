//! Scenarios that the simulator once broke a promise with, as it shrank them.

use longhaul_testing::simulate::simulate_scenario;

/// Runs a scenario and expects it to keep every promise.
fn check(scenario: &str) {
    let report = simulate_scenario(scenario);
    assert_eq!(
        report.map(|report| report.violations).ok(),
        Some(Vec::new())
    );
}

/// P7: the run ends on the first of two unread signals.
#[test]
fn run_that_ends_on_one_of_several_unread_signals_ends() {
    check(
        r#"{"seed":138,"nodes":[{"origin_ms":3682172,"slow_ppm":24392},{"origin_ms":2079694,"slow_ppm":27292}],"runs":[{"id":"run-1","program":{"steps":[{"Parallel":[[{"Inline":18},{"Parallel":[[{"Sleep":1283},{"Act":{"ends":{"After":0},"retries":0,"takes_ms":0,"queued":false}}],[{"Receive":[3,1109]}]]}],[{"Act":{"ends":{"After":0},"retries":2,"takes_ms":26,"queued":false}},{"Inline":184}]]},{"Receive":[0,null]}],"fails":false},"at_ms":2174,"through":0,"signals_at_ms":1855,"signals_every_ms":0}],"actions":[],"weather":{"delay_ms":9,"stalled":0,"refused":0,"answer_lost":0,"applied_late":0,"doubled":0,"hint_lost":0},"options":{"lease_ms":958,"park_after_ms":2000,"live_max":2,"slots":64,"always_park":false}}"#,
    );
}

/// P6: an attempt that waited for its retry runs while its run is replayed.
#[test]
fn attempt_that_was_retried_is_not_started_again_by_a_replay() {
    check(
        r#"{"seed":284,"nodes":[{"origin_ms":7818128,"slow_ppm":0}],"runs":[{"id":"run-3","program":{"steps":[{"Parallel":[[],[{"Each":[{"ends":{"After":0},"retries":0,"takes_ms":0,"queued":false},{"ends":{"After":1},"retries":1,"takes_ms":106,"queued":false},{"ends":{"After":0},"retries":3,"takes_ms":172,"queued":true}]}]]}],"fails":false},"at_ms":2440,"through":0,"signals_at_ms":5465,"signals_every_ms":0}],"actions":[],"weather":{"delay_ms":0,"stalled":0,"refused":0,"answer_lost":0,"applied_late":0,"doubled":0,"hint_lost":0},"options":{"lease_ms":671,"park_after_ms":4,"live_max":3,"slots":64,"always_park":true}}"#,
    );
}

/// P1: the answer to a claim is lost, and the worker lives on.
#[test]
fn queued_attempt_whose_claim_was_not_answered_runs() {
    check(
        r#"{"seed":5,"nodes":[{"origin_ms":5949317,"slow_ppm":8597},{"origin_ms":2413111,"slow_ppm":0}],"runs":[{"id":"run-2","program":{"steps":[{"Parallel":[[],[{"Receive":[2,null]},{"Each":[{"ends":{"After":2},"retries":2,"takes_ms":0,"queued":false},{"ends":{"After":0},"retries":1,"takes_ms":0,"queued":true}]}]]},{"Receive":[0,null]}],"fails":false},"at_ms":705,"through":1,"signals_at_ms":0,"signals_every_ms":1307}],"actions":[],"weather":{"delay_ms":0,"stalled":0,"refused":72,"answer_lost":124,"applied_late":0,"doubled":0,"hint_lost":0},"options":{"lease_ms":1445,"park_after_ms":20,"live_max":4096,"slots":64,"always_park":false}}"#,
    );
}

/// P5: a shutdown gives up on an attempt that takes too long.
#[test]
fn run_whose_attempt_outlived_a_shutdown_goes_on_elsewhere() {
    check(
        r#"{"seed":827,"nodes":[{"origin_ms":1089247,"slow_ppm":0}],"runs":[{"id":"run-0","program":{"steps":[{"Parallel":[[{"Act":{"ends":{"After":0},"retries":2,"takes_ms":2506,"queued":false}}],[]]}],"fails":false},"at_ms":152,"through":0,"signals_at_ms":4591,"signals_every_ms":0}],"actions":[{"at_ms":268,"what":"Shutdown","node":0,"for_ms":1677}],"weather":{"delay_ms":0,"stalled":0,"refused":0,"answer_lost":0,"applied_late":0,"doubled":0,"hint_lost":0},"options":{"lease_ms":1511,"park_after_ms":15,"live_max":4096,"slots":64,"always_park":false}}"#,
    );
}

/// P2: a run that several workers lost ends in the very replay that shows that it is harmless.
#[test]
fn suspect_that_ends_in_its_replay_has_its_end_last() {
    check(
        r#"{"seed":1765,"nodes":[{"origin_ms":3353019,"slow_ppm":0},{"origin_ms":8698134,"slow_ppm":0},{"origin_ms":100785,"slow_ppm":17460}],"runs":[{"id":"run-0","program":{"steps":[{"Receive":[0,null]},{"Receive":[0,null]}],"fails":false},"at_ms":754,"through":1,"signals_at_ms":2983,"signals_every_ms":0},{"id":"run-1","program":{"steps":[{"Act":{"ends":{"After":0},"retries":3,"takes_ms":24,"queued":false}}],"fails":false},"at_ms":2291,"through":1,"signals_at_ms":2540,"signals_every_ms":116},{"id":"run-2","program":{"steps":[{"Sleep":478},{"Child":["1",{"steps":[],"fails":false}]}],"fails":false},"at_ms":1788,"through":null,"signals_at_ms":4751,"signals_every_ms":638},{"id":"run-3","program":{"steps":[],"fails":false},"at_ms":2038,"through":null,"signals_at_ms":4145,"signals_every_ms":907}],"actions":[{"at_ms":5274,"what":"Crash","node":1,"for_ms":3525},{"at_ms":8659,"what":"Shutdown","node":0,"for_ms":2881}],"weather":{"delay_ms":16,"stalled":0,"refused":0,"answer_lost":80,"applied_late":0,"doubled":41,"hint_lost":0},"options":{"lease_ms":2339,"park_after_ms":3,"live_max":4096,"slots":64,"always_park":false}}"#,
    );
}
