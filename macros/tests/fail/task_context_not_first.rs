#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul::context::TaskContext;
use longhaul_macros::task;

#[task]
async fn charge(total: u64, ctx: TaskContext) -> u64 {
    total
}

fn main() {}
