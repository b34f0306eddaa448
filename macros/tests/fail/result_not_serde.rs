#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul::Result;
use longhaul_macros::task;

pub struct Receipt;

#[task]
async fn charge(total: u64) -> Result<Receipt> {
    Ok(Receipt)
}

#[task]
async fn refund(total: u64) -> Receipt {
    Receipt
}

fn main() {}
