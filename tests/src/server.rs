//! Servers that suites run against, and names of stores that nobody else uses there.

use longhaul_core::clock::random_bytes_of_the_system;

/// Returns the URL of the server that an environment variable names.
///
/// # Panics
/// When the variable is not set; the text says what to do.
#[must_use]
pub fn named(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!(
            "{variable} names no server; name one, or run `cargo xtask test`, or `cargo xtask servers` beside"
        )
    })
}

/// Draws the name of a schema, a namespace or the like: the prefix, `_`, and 16 hexadecimal digits.
#[must_use]
pub fn unused_name(prefix: &str) -> String {
    let random = random_bytes_of_the_system();
    let digits = random.iter().take(8).map(|byte| format!("{byte:02x}"));
    format!("{prefix}_{}", digits.collect::<String>())
}
