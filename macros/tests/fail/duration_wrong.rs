#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul_macros::task;

#[task(timeout = "10 seconds")]
async fn charge(total: u64) -> u64 {
    total
}

#[task(timeout = "0s")]
async fn refund(total: u64) -> u64 {
    total
}

fn main() {}
