#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul::context::TaskContext;
use longhaul_macros::workflow;

#[workflow]
async fn checkout(ctx: TaskContext, total: u64) {}

fn main() {}
