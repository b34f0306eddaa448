#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul::Result;
use longhaul_macros::workflow;

#[workflow]
async fn checkout(order: Vec<(String, u32)>, total: u64) -> Result<u64> {
    Ok(total)
}

fn main() {}
