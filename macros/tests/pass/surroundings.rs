#![deny(warnings)]
#![forbid(unsafe_code)]
//! Places and attributes that generated code has to live with.

extern crate longhaul_core as longhaul;

use longhaul::context::Context;
use longhaul::registry::Registry;
use longhaul::{Error, Result};
use longhaul_macros::{task, workflow};

// A method of this name on every type must not confuse generated code.
trait Everywhere {
    fn push(&self) {}
    fn read(&self) {}
    fn choose(&self) {}
    fn found(&self) {}
}

impl<T> Everywhere for T {}

// Names of the prelude are the user's to shadow.
#[allow(dead_code, non_camel_case_types)]
mod shadowed {
    pub struct Some;
    pub struct Ok;
    pub struct Box;
    pub struct Vec;
    pub struct core;

    #[longhaul_macros::task(retries = 1, backoff = "1s..2s", timeout = "3s", queue = "q")]
    pub async fn in_shadow(text: String) -> Result<u8, String> {
        text.parse::<u8>().map_err(|error| error.to_string())
    }

    #[longhaul_macros::workflow]
    pub async fn in_shadow_too(_ctx: super::Context, text: String) -> String {
        text
    }
}

macro_rules! echo {
    ($name:ident, $ty:ty) => {
        #[task]
        async fn $name(value: $ty) -> Result<$ty> {
            Ok(value)
        }
    };
}

echo!(echo_text, String);
echo!(echo_numbers, Vec<u64>);

struct Shop;

impl Shop {
    #[task]
    async fn open(name: String) -> String {
        helper(name)
    }
}

fn helper(name: String) -> String {
    name
}

#[cfg(any())]
#[task]
async fn never(missing: Missing) -> Missing {}

#[deprecated(note = "use `open`")]
#[task]
async fn old(#[allow(unused_variables)] unused: u8) {}

#[expect(unused_variables, reason = "shows that the attribute reaches the body")]
#[task]
async fn expects(unused: u8) {}

#[task]
#[allow(clippy::unused_unit)]
async fn unit() -> () {}

mod inner {
    use super::*;

    #[workflow]
    pub(super) async fn recursive(ctx: Context, depth: u32) -> Result<u32> {
        let _ = (ctx, depth);
        let _next = self::recursive(0);
        let _sibling = super::echo_text(String::new());
        Err(Error::failed("deep"))
    }
}

fn main() {
    let _ = echo_text(String::new());
    let _ = echo_numbers(Vec::new());
    let _ = Shop::open(String::new());
    let _ = inner::recursive(1);
    let _ = shadowed::in_shadow(String::new());
    1.push();
    1.read();
    1.choose();
    1.found();
    let registry = Registry::linked().unwrap();
    assert!(registry.task("never").is_none());
    // Nobody calls these, and yet they are registered and no dead code.
    for name in ["old", "expects", "unit"] {
        assert!(registry.task(name).is_some(), "{name}");
    }
}
