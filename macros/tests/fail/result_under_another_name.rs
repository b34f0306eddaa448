#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul_macros::task;

type Fallible<T> = Result<T, String>;

#[task]
async fn charge(total: u64) -> Fallible<u64> {
    Ok(total)
}

fn main() {}
