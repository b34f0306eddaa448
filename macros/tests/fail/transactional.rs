#![allow(unused_variables)]
extern crate longhaul_core as longhaul;

use longhaul_macros::{task, workflow};

struct Connection;

struct Transaction<'c>(&'c str);

#[task(transactional)]
async fn without_connection(order: String) {}

#[task]
async fn without_the_option(tx: &mut Connection, order: String) {}

#[task(transactional)]
fn not_async(tx: &mut Connection) {}

#[task(transactional)]
async fn not_first(order: String, tx: &mut Connection) {}

#[task(transactional)]
async fn the_transaction(tx: &mut Transaction<'_>) {}

#[task(transactional)]
async fn two(tx: &mut Connection, other: &mut Connection) {}

#[workflow(transactional)]
async fn of_a_workflow(ctx: longhaul::context::Context) {}

fn main() {}
