#![allow(unused_variables)]
#![deny(unused_must_use)]
extern crate longhaul_core as longhaul;

use longhaul_macros::task;

#[task]
async fn charge(total: u64) -> u64 {
    total
}

fn main() {
    charge(3);
}
