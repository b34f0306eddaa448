//! The comparison of backends finds a wrong one.

mod fixture;

use fixture::MemoryFixture;
use longhaul_tests::broken::{BrokenFixture, Fault, PROOFS};
use longhaul_tests::{Fixture, differential};

/// Lists what it cannot see.
const UNSEEN: [Fault; 10] = [
    // It has fewer runs than a page.
    Fault::CountsBeyondThePage,
    // How far the clock lags behind is the backend's own.
    Fault::RunsAhead,
    // So is when a hint comes.
    Fault::NeverHints,
    Fault::HintsNoEnds,
    Fault::HintsEndsAlone,
    // Only one turn of a batch sends anything, as the order of several senders is the backend's own.
    Fault::ForgetsRefusalsWithinABatch,
    // Its turns have few effects.
    Fault::CutsManyEffects,
    // What a store cannot hold it may refuse, so leases and event numbers are small.
    Fault::WrapsLongLeases,
    Fault::CutsLargeNumbers,
    // It drops no calls.
    Fault::LocksWhenAReadIsDropped,
];

#[test]
fn comparison_finds_every_fault_that_it_can_see() {
    let mut missed = Vec::new();
    for (fault, _) in PROOFS {
        let right = async || BrokenFixture::<MemoryFixture>::open_with(*fault).await;
        let found = differential::first_difference(0..60, 300, MemoryFixture::open, right);
        if found.is_none() {
            missed.push(*fault);
        }
    }
    assert_eq!(missed, UNSEEN, "of {} faults", PROOFS.len());
}

#[test]
fn list_that_differs_is_shrunk_to_what_matters() {
    let right = async || BrokenFixture::<MemoryFixture>::open_with(Fault::IgnoresPriorities).await;
    let report = differential::run(0..30, 300, MemoryFixture::open, right);
    let [shrunk] = &report.differences[..] else {
        panic!("no difference is found");
    };
    assert!(shrunk.actions.len() <= 6, "{shrunk}");
    assert!(shrunk.to_string().contains("TurnPlan"), "{shrunk}");
}

#[test]
fn backend_does_not_differ_from_itself() {
    differential::compare(0..40, 300, MemoryFixture::open, MemoryFixture::open);
}
