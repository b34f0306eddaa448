//! The same random operations on the store in the process and on a server, compared answer by answer.
//!
//! The store has one partition: between several the order is not one, as the contract permits.

mod fixture;
#[path = "../../backend-memory/tests/fixture/mod.rs"]
mod memory;

use longhaul_tests::{Fixture, differential};

/// Is how many operations a list has.
const LENGTH: usize = 300;

#[test]
fn server_and_memory_answer_every_operation_alike() {
    let seeds = 0..differential::lists_or(25);
    let left = async || memory::MemoryFixture::open().await;
    let right = async || fixture::RedisFixture::at(fixture::server(), 1).await;
    differential::compare(seeds, LENGTH, left, right);
}
