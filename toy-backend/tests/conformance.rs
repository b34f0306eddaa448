//! The conformance suite over the toy backend.

mod fixture;

longhaul_tests::conformance!(fixture::ToyFixture);
