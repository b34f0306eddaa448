//! The conformance suite through a pooler that lends sessions by the transaction.

mod fixture;

longhaul_tests::conformance!(fixture::PooledFixture);
