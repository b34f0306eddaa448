//! The conformance suite over a schema.

mod fixture;

longhaul_tests::conformance!(fixture::PostgresFixture);
