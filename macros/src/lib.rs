//! The attribute macros of Longhaul: `#[task]` and `#[workflow]`.
//!
//! Invariants: generated code refers to `longhaul::__private` alone; what is wrong in the user's code is reported at its
//! place with what to write instead.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "tests may panic"
    )
)]

mod attributes;
mod check;
mod function;
mod nearest;
mod path;
mod task;
mod workflow;

use proc_macro::TokenStream;

/// Makes a task.
#[proc_macro_attribute]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    expanded(task::expand(options.into(), item.clone().into()), item)
}

/// Makes a workflow.
#[proc_macro_attribute]
pub fn workflow(options: TokenStream, item: TokenStream) -> TokenStream {
    expanded(workflow::expand(options.into(), item.clone().into()), item)
}

/// Reports an error beside the item as it was, so that its name and body stay known to the editor.
fn expanded(outcome: syn::Result<proc_macro2::TokenStream>, item: TokenStream) -> TokenStream {
    match outcome {
        Ok(tokens) => tokens.into(),
        Err(error) => TokenStream::from_iter([error.into_compile_error().into(), item]),
    }
}
