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
        r#"{"seed":1,"nodes":[{"origin_ms":0,"slow_ppm":0}],"runs":[{"id":"run-0","program":{"steps":[{"Race":[[{"Receive":[0,null]}],[{"Receive":[1,null]}]]}],"fails":false},"at_ms":0,"through":null,"signals_at_ms":3000,"signals_every_ms":0}],"actions":[],"weather":{"delay_ms":0,"stalled":0,"refused":0,"answer_lost":0,"applied_late":0,"doubled":0,"hint_lost":1000},"options":{"lease_ms":2000,"park_after_ms":0,"live_max":8,"slots":8,"always_park":false}}"#,
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
        r#"{"seed":37,"nodes":[{"origin_ms":4414354,"slow_ppm":0},{"origin_ms":3623262,"slow_ppm":26425}],"runs":[{"id":"run-0","program":{"steps":[{"Each":[{"ends":{"After":0},"retries":2,"takes_ms":259,"queued":false},{"ends":{"After":2},"retries":2,"takes_ms":192,"queued":false},{"ends":{"After":0},"retries":0,"takes_ms":0,"queued":false}]}],"fails":false},"at_ms":2131,"through":1,"signals_at_ms":21,"signals_every_ms":801},{"id":"run-2","program":{"steps":[{"Act":{"ends":{"After":0},"retries":2,"takes_ms":0,"queued":false}},{"Act":{"ends":{"After":0},"retries":1,"takes_ms":82,"queued":true}},{"Act":{"ends":{"After":0},"retries":3,"takes_ms":261,"queued":true}}],"fails":false},"at_ms":2314,"through":null,"signals_at_ms":3899,"signals_every_ms":0}],"actions":[{"at_ms":1761,"what":"Shutdown","node":1,"for_ms":2869}],"weather":{"delay_ms":5,"stalled":0,"refused":0,"answer_lost":113,"applied_late":0,"doubled":0,"hint_lost":0},"options":{"lease_ms":2176,"park_after_ms":413,"live_max":4096,"slots":64,"always_park":false}}"#,
    );
}

/// P5: a shutdown gives up on an attempt that takes too long.
#[test]
fn run_whose_attempt_outlived_a_shutdown_goes_on_elsewhere() {
    check(
        r#"{"seed":827,"nodes":[{"origin_ms":1089247,"slow_ppm":0}],"runs":[{"id":"run-0","program":{"steps":[{"Parallel":[[{"Act":{"ends":{"After":0},"retries":2,"takes_ms":2506,"queued":false}}],[]]}],"fails":false},"at_ms":152,"through":0,"signals_at_ms":4591,"signals_every_ms":0}],"actions":[{"at_ms":268,"what":"Shutdown","node":0,"for_ms":1677}],"weather":{"delay_ms":0,"stalled":0,"refused":0,"answer_lost":0,"applied_late":0,"doubled":0,"hint_lost":0},"options":{"lease_ms":1511,"park_after_ms":15,"live_max":4096,"slots":64,"always_park":false}}"#,
    );
}

/// P6: a run seals its inbox while its end waits to be committed.
#[test]
fn attempt_that_ended_is_not_started_again_by_a_seal() {
    check(
        r#"{"seed":510968,"nodes":[{"origin_ms":6898604,"slow_ppm":14972},{"origin_ms":2107014,"slow_ppm":0}],"runs":[{"id":"run-0","program":{"steps":[{"Receive":[0,1500]},{"Receive":[0,null]},{"Act":{"ends":{"After":0},"retries":2,"takes_ms":0,"queued":false}}],"fails":false},"at_ms":2151,"through":0,"signals_at_ms":0,"signals_every_ms":26}],"actions":[],"weather":{"delay_ms":15,"stalled":0,"refused":0,"answer_lost":0,"applied_late":0,"doubled":0,"hint_lost":0},"options":{"lease_ms":2237,"park_after_ms":1,"live_max":3,"slots":64,"always_park":true}}"#,
    );
}

/// P1: a run that two workers lost is found missing while it is being recovered.
#[test]
fn run_is_recovered_once_however_often_it_is_found_missing() {
    check(
        r#"{"seed":572669,"nodes":[{"origin_ms":7533458,"slow_ppm":9102}],"runs":[{"id":"run-0","program":{"steps":[{"Each":[{"ends":"Never","retries":1,"takes_ms":0,"queued":false},{"ends":{"After":0},"retries":2,"takes_ms":1780,"queued":false},{"ends":{"After":0},"retries":0,"takes_ms":0,"queued":true},{"ends":{"After":1},"retries":3,"takes_ms":0,"queued":false},{"ends":{"After":0},"retries":0,"takes_ms":1909,"queued":false}]}],"fails":false},"at_ms":2520,"through":0,"signals_at_ms":0,"signals_every_ms":1532},{"id":"run-1","program":{"steps":[],"fails":false},"at_ms":2036,"through":0,"signals_at_ms":1059,"signals_every_ms":0},{"id":"run-2","program":{"steps":[{"Act":{"ends":{"After":1},"retries":1,"takes_ms":1409,"queued":false}}],"fails":false},"at_ms":1327,"through":0,"signals_at_ms":500,"signals_every_ms":537}],"actions":[{"at_ms":5574,"what":"Shutdown","node":0,"for_ms":866},{"at_ms":8797,"what":"Pause","node":0,"for_ms":5454},{"at_ms":9481,"what":"Crash","node":0,"for_ms":3328},{"at_ms":13074,"what":"Crash","node":0,"for_ms":2162}],"weather":{"delay_ms":0,"stalled":18,"refused":0,"answer_lost":0,"applied_late":0,"doubled":119,"hint_lost":0},"options":{"lease_ms":705,"park_after_ms":2,"live_max":2,"slots":1,"always_park":false}}"#,
    );
}

/// P6: a shutdown gives up on an attempt while its run is read anew.
#[test]
fn attempt_that_a_shutdown_gave_up_is_counted_as_lost() {
    check(
        r#"{"seed":598345,"nodes":[{"origin_ms":1947588,"slow_ppm":0}],"runs":[{"id":"run-3","program":{"steps":[{"Race":[[{"Parallel":[[{"Sleep":1440},{"Act":{"ends":{"After":0},"retries":3,"takes_ms":270,"queued":false}}],[{"Each":[{"ends":"Never","retries":2,"takes_ms":0,"queued":false},{"ends":"TooLate","retries":2,"takes_ms":12,"queued":false}]}]]}],[{"Each":[{"ends":{"After":2},"retries":3,"takes_ms":0,"queued":false},{"ends":"TooLate","retries":2,"takes_ms":0,"queued":false}]}]]}],"fails":false},"at_ms":2420,"through":0,"signals_at_ms":2500,"signals_every_ms":1655}],"actions":[{"at_ms":1885,"what":"Outage","node":0,"for_ms":1523},{"at_ms":5073,"what":"Outage","node":0,"for_ms":2374},{"at_ms":5407,"what":"Pause","node":0,"for_ms":5082},{"at_ms":8376,"what":"Shutdown","node":0,"for_ms":683}],"weather":{"delay_ms":0,"stalled":0,"refused":0,"answer_lost":0,"applied_late":0,"doubled":0,"hint_lost":0},"options":{"lease_ms":892,"park_after_ms":2000,"live_max":4096,"slots":64,"always_park":true}}"#,
    );
}
