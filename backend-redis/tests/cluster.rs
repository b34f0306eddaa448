//! The conformance suite over a cluster.

mod fixture;

longhaul_tests::conformance!(fixture::ClusterFixture);
