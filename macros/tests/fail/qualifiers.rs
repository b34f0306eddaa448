#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul_macros::task;

#[task]
async unsafe fn raw(total: u64) -> u64 {
    total
}

#[task]
extern "C" fn foreign(total: u64) -> u64 {
    total
}

#[task]
const fn known(total: u64) -> u64 {
    total
}

fn main() {}
