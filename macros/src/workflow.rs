//! Writes what `#[workflow]` stands for.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::Result;

use crate::attributes::WorkflowAttributes;
use crate::function::{Function, Kind};

/// Expands `#[workflow(options)] item`.
pub(crate) fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let attributes = WorkflowAttributes::parse(options)?;
    let function = Function::parse(Kind::Workflow, &attributes.common, item)?;
    let support = &function.support;
    let stored_name = &function.stored_name;
    let version = attributes.version;
    let statements = function.run();
    let (span, there) = function.support_at(function.name.span());
    let future = quote_spanned! {span=>
        #there::boxed(async move { #statements })
    };
    let definition = quote! {
        #[allow(clippy::all, clippy::pedantic, clippy::nursery, reason = "generated")]
        fn __longhaul_run(
            __context: #support::Context,
            __stored: #support::Payload,
        ) -> #support::BoxFuture<'static, #support::Outcome> {
            #future
        }
        static __LONGHAUL_DEFINITION: #support::WorkflowDefinition = #support::WorkflowDefinition {
            name: #stored_name,
            version: #version,
            run: __longhaul_run,
            location: (::core::file!(), ::core::line!()),
        };
        #support::inventory::submit! {
            #support::Registration::Workflow(&__LONGHAUL_DEFINITION)
        }
    };
    Ok(function.around(&definition))
}
