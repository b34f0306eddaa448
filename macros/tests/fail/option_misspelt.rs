#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul_macros::task;

#[task(retry = 5, timout = "10s")]
async fn charge(total: u64) -> u64 {
    total
}

fn main() {}
