#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul_macros::task;

const RETRIES: u32 = 5;

#[task(retries = RETRIES)]
async fn charge(total: u64) -> u64 {
    total
}

#[task(timeout("10s"))]
async fn refund(total: u64) -> u64 {
    total
}

fn main() {}
