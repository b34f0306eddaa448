#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul_macros::task;

#[task]
async fn greet(name: &str, numbers: &[u8], also: Option<&'static str>) {}

fn main() {}
