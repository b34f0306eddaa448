//! Every case of the conformance suite once more for each kind of fault, over a server.

mod fixture;

longhaul_tests::faults!(fixture::RedisFixture);
