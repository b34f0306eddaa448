#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul_macros::task;

#[task]
async fn greet<'a>(name: &'a str) -> usize {
    name.len()
}

fn main() {}
