#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul::context::Context;
use longhaul_macros::{task, workflow};

#[task(version = 2)]
async fn charge(total: u64) -> u64 {
    total
}

#[workflow(queue = "bank")]
async fn checkout(ctx: Context) {}

fn main() {}
