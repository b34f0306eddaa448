//! The conformance suite over a named store.

mod fixture;

longhaul_tests::conformance!(fixture::MemoryFixture);
