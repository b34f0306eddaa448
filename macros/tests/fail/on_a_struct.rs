#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul_macros::{task, workflow};

#[task]
struct Charge;

#[workflow]
mod shop {}

#[task]
impl Charge {}

fn main() {}
