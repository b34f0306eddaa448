#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul_macros::task;

#[task]
async fn greet(name: impl Into<String>) -> impl Sized {
    name.into()
}

fn main() {}
