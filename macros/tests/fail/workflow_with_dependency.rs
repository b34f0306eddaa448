#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul::context::Context;
use longhaul::registry::Dep;
use longhaul_macros::workflow;

#[workflow]
async fn checkout(ctx: Context, bank: Dep<String>) {}

fn main() {}
