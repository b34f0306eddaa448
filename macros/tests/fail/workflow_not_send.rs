#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul::context::Context;
use longhaul_macros::workflow;

#[workflow]
async fn checkout(ctx: Context) {
    let shared = std::rc::Rc::new(1);
    std::future::ready(()).await;
    drop(shared);
}

fn main() {}
