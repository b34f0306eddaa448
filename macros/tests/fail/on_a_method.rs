#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul_macros::task;

struct Shop;

impl Shop {
    #[task]
    async fn charge(&self, total: u64) -> u64 {
        total
    }

    #[task]
    async fn open(name: String) -> Self {
        Self
    }
}

fn main() {}
