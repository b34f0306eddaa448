#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul_macros::task;

#[task(result)]
async fn charge(total: u64) -> Option<u64> {
    Some(total)
}

fn main() {}
