#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul_macros::task;

pub struct Gateway;

#[task]
async fn charge(total: u64, gateway: Gateway) -> u64 {
    total
}

fn main() {}
