#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul_macros::task;

pub struct Declined;

#[task]
async fn charge(total: u64) -> Result<u64, Declined> {
    Ok(total)
}

fn main() {}
