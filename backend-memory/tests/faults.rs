//! Every case of the conformance suite once more for each kind of fault, over a named store.

mod fixture;

longhaul_tests::faults!(fixture::MemoryFixture);

#[test]
fn every_exception_from_the_faults_is_needed() {
    longhaul_tests::faults::check_exceptions::<fixture::MemoryFixture>();
}
