#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul::context::Context;
use longhaul_macros::{task, workflow};

#[workflow]
#[task]
async fn checkout(ctx: Context, total: u64) {}

fn main() {}
