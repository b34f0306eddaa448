#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul_macros::task;

#[task(retries = 1, backoff = "200ms")]
async fn no_range(total: u64) -> u64 {
    total
}

#[task(retries = 1, backoff = "30s..200ms")]
async fn backwards(total: u64) -> u64 {
    total
}

#[task(retries = 1, backoff = "200..30s")]
async fn no_unit(total: u64) -> u64 {
    total
}

#[task(backoff = "200ms..30s")]
async fn no_retries(total: u64) -> u64 {
    total
}

fn main() {}
