#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul::context::Context;
use longhaul_macros::{task, workflow};

#[task(name = "")]
async fn charge(total: u64) -> u64 {
    total
}

#[task(queue = "longhaul:spilled")]
async fn ship(total: u64) -> u64 {
    total
}

#[workflow(name = "task:checkout", version = 0)]
async fn checkout(ctx: Context) {}

fn main() {}
