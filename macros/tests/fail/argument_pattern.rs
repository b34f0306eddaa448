#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul_macros::task;

#[task]
async fn add((left, right): (u64, u64), _: u8) -> u64 {
    left + right
}

fn main() {}
