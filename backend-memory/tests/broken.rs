//! Each case of the conformance suite fails on a backend that is wrong.

mod fixture;

// The clock of the runtime is paused so that a case which waits for something gives up at once.
#[tokio::test(start_paused = true)]
async fn every_case_fails_on_a_backend_that_is_wrong() {
    longhaul_tests::broken::check_proofs::<fixture::MemoryFixture>().await;
}
