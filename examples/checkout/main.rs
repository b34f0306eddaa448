//! Checkout.
fn main() {}
