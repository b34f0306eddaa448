#![deny(warnings, missing_docs)]
//! Every signature that a task or workflow may have.

extern crate longhaul_core as longhaul;

use std::collections::BTreeMap;
use std::fmt;

use longhaul::Result;
use longhaul::context::{Context, TaskContext};
use longhaul::registry::{Dep, Registry};
use longhaul_macros::{task, workflow};

/// Is an argument.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Order {
    /// Its number.
    pub id: u32,
}

/// Is a service.
pub struct Gateway;

/// Is an error of the user.
#[derive(Debug)]
pub struct Declined;

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("declined")
    }
}

impl std::error::Error for Declined {}

type Fallible<T> = std::result::Result<T, Declined>;

/// Takes and returns nothing.
#[task]
pub async fn nothing() {}

/// Takes the context, a dependency and arguments.
#[task(retries = 5, backoff = "200ms..30s", timeout = "10s", queue = "bank", priority = -3)]
pub async fn charge(ctx: TaskContext, order: Order, gateway: Dep<Gateway>, mut total: u64) -> Result<u64> {
    let _ = (ctx, gateway);
    total += u64::from(order.id);
    Ok(total)
}

/// Blocks.
#[task(name = "resize-image", force_new_workflow)]
fn resize(name: String, sizes: BTreeMap<String, Vec<(u8, u8)>>) -> std::result::Result<String, Declined> {
    if sizes.is_empty() { Err(Declined) } else { Ok(name) }
}

/// Returns a `Result` under another name.
#[task(result)]
async fn alias(r#type: String) -> Fallible<String> {
    Ok(r#type)
}

/// Fails with a boxed error.
#[task]
async fn boxed() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Err("no".into())
}

/// Has more arguments than any tuple of serde.
#[task]
#[rustfmt::skip]
async fn many(
    a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8,
    j: u8, k: u8, l: u8, m: u8, n: u8, o: u8, p: u8, q: u8, r: u8,
) -> [u8; 18] {
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r]
}

/// Takes the context and an argument, and calls itself.
#[workflow(version = 2)]
pub async fn checkout(ctx: Context, order: Order) -> Result<u32> {
    let _ = ctx;
    let _again = checkout(order.clone());
    Ok(order.id)
}

/// Returns a plain value.
#[workflow(name = "plain")]
async fn returns_a_value(_ctx: Context) -> Option<u8> {
    None
}

mod elsewhere {
    pub use longhaul_core as durable;

    #[longhaul_macros::task(crate = "crate::elsewhere::durable")]
    pub(crate) async fn renamed(on: bool) -> bool {
        on
    }
}

fn main() {
    #[task]
    async fn within_a_function(n: i64) -> i64 {
        n
    }

    let registry = Registry::linked().unwrap();
    for name in ["nothing", "charge", "resize-image", "alias", "boxed", "many", "renamed", "within_a_function"] {
        assert!(registry.task(name).is_some(), "{name}");
    }
    assert_eq!(registry.workflow("checkout").unwrap().version, 2);
    assert_eq!(registry.workflow("plain").unwrap().version, 0);

    let call = charge(Order { id: 7 }, 3);
    let options = &call.options().task;
    assert_eq!(options.retry.retries, 5);
    assert_eq!(options.timeout, Some(longhaul::retry::seconds(10)));
    assert_eq!(options.queue.as_ref().unwrap().as_str(), "bank");
    assert_eq!(options.priority, -3);
    assert!(resize(String::new(), BTreeMap::new()).options().task.force_new_workflow);
    let _ = within_a_function(1);
    let _ = elsewhere::renamed(true);
}
