#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul::registry::Dep;
use longhaul_macros::task;

#[task]
async fn charge(bank: Dep) {}

fn main() {}
