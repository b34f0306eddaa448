//! The conformance suite over a file.

mod fixture;

longhaul_tests::conformance!(fixture::SqliteFixture);
