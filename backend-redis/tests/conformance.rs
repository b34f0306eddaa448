//! The conformance suite over a server.

mod fixture;

longhaul_tests::conformance!(fixture::RedisFixture);
