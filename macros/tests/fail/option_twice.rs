#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul_macros::task;

#[task(retries = 5, timeout = "10s", retries = 6)]
async fn charge(total: u64) -> u64 {
    total
}

fn main() {}
