#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul::registry::Dep;
use longhaul_macros::task;

#[task]
async fn charge(total: u64, bank: Dep<String>) -> u64 {
    total
}

fn main() {
    let bank = Dep::new(String::new());
    let _ = charge(3, bank);
}
