//! Every case of the conformance suite once more for each kind of fault, over the toy backend.

mod fixture;

longhaul_tests::faults!(fixture::ToyFixture);
