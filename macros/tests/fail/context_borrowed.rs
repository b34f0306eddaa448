#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul::context::{Context, TaskContext};
use longhaul::registry::Dep;
use longhaul_macros::{task, workflow};

#[workflow]
async fn checkout(ctx: &Context, total: u64) {}

#[task]
async fn charge(ctx: &TaskContext, bank: &Dep<String>) {}

fn main() {}
