#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul_macros::task;

#[task]
async fn store<T: serde::Serialize>(item: T) {}

fn main() {}
