//! Every case of the conformance suite once more for each kind of fault, over a schema.

mod fixture;

longhaul_tests::faults!(fixture::PostgresFixture);
