#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul_macros::task;

#[task(retries = "5", timeout = 10, force_new_workflow = true, name)]
async fn charge(total: u64) -> u64 {
    total
}

#[task(priority = 40_000, retries = -1)]
async fn refund(total: u64) -> u64 {
    total
}

fn main() {}
