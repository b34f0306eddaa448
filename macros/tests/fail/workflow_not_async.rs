#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul::context::Context;
use longhaul_macros::workflow;

#[workflow]
fn checkout(ctx: Context, total: u64) -> u64 {
    total
}

fn main() {}
