#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul::context::Context;
use longhaul_macros::workflow;

#[workflow]
async fn checkout(total: u64, ctx: Context) {}

fn main() {}
