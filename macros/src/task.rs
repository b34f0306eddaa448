//! Writes what `#[task]` stands for.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Result, Type};

use crate::attributes::TaskAttributes;
use crate::check::check_transactional;
use crate::function::{Function, Kind, Parameter};

/// Expands `#[task(options)] item`.
pub(crate) fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let attributes = TaskAttributes::parse(options)?;
    let function = Function::parse(Kind::Task, &attributes.common, item)?;
    check_transactional(&function, attributes.transactional)?;
    let support = &function.support;
    let stored_name = &function.stored_name;
    let settings = settings(&attributes, support);
    let keys = dependencies(&function);
    let (run, body) = run(&function);
    let definition = quote! {
        #[allow(clippy::all, clippy::pedantic, clippy::nursery, reason = "generated")]
        fn __longhaul_options() -> #support::TaskOptions {
            #settings
        }
        #run
        static __LONGHAUL_DEFINITION: #support::TaskDefinition = #support::TaskDefinition {
            name: #stored_name,
            options: __longhaul_options,
            dependencies: &[#(#keys),*],
            body: #body,
            location: (::core::file!(), ::core::line!()),
        };
        #support::inventory::submit! {
            #support::Registration::Task(&__LONGHAUL_DEFINITION)
        }
    };
    Ok(function.around(&definition))
}

fn dependencies(function: &Function) -> impl Iterator<Item = TokenStream> {
    let support = &function.support;
    function
        .parameters
        .iter()
        .filter_map(move |parameter| match parameter {
            Parameter::Dependency(ty) => Some(quote!(#support::DependencyKey::of::<#ty>())),
            Parameter::Context | Parameter::Connection(_) | Parameter::Argument(..) => None,
        })
}

fn run(function: &Function) -> (TokenStream, TokenStream) {
    let support = &function.support;
    let statements = function.run();
    let takes_apart = quote! {
        let #support::Invocation {
            context: __context,
            arguments: __stored,
            dependencies: __dependencies,
        } = __invocation;
    };
    if !function.is_async {
        let run = quote! {
            #[allow(clippy::all, clippy::pedantic, clippy::nursery, reason = "generated")]
            fn __longhaul_run(__invocation: #support::Invocation) -> #support::Outcome {
                #takes_apart
                #statements
            }
        };
        return (run, quote!(#support::TaskBody::Blocking(__longhaul_run)));
    }
    let (span, there) = function.support_at(function.name.span());
    let future = quote_spanned! {span=>
        #there::boxed(async move { #takes_apart #statements })
    };
    if let Some(connection) = function.connection() {
        return run_on(connection, support, &future);
    }
    let run = quote! {
        #[allow(clippy::all, clippy::pedantic, clippy::nursery, reason = "generated")]
        fn __longhaul_run(
            __invocation: #support::Invocation,
        ) -> #support::BoxFuture<'static, #support::Outcome> {
            #future
        }
    };
    (run, quote!(#support::TaskBody::Async(__longhaul_run)))
}

fn run_on(
    connection: &Type,
    support: &TokenStream,
    future: &TokenStream,
) -> (TokenStream, TokenStream) {
    let run = quote! {
        #[allow(clippy::all, clippy::pedantic, clippy::nursery, reason = "generated")]
        fn __longhaul_run<'a>(
            __invocation: #support::Invocation,
            __connection: &'a mut #support::AnyConnection,
        ) -> #support::BoxFuture<'a, #support::Outcome> {
            #future
        }
    };
    let body = quote! {
        #support::TaskBody::Transactional(#support::TransactionalBody {
            connection: #support::DependencyKey::of::<#connection>(),
            run: __longhaul_run,
        })
    };
    (run, body)
}

fn settings(attributes: &TaskAttributes, support: &TokenStream) -> TokenStream {
    let mut settings = Vec::new();
    if let Some(retries) = attributes.retries {
        let backoff = attributes.backoff.map(|(min, max)| {
            let (min, max) = (duration(min, support), duration(max, support));
            quote!(.backoff(#min, #max))
        });
        settings.push(quote!(retry = #support::RetryPolicy::exponential(#retries) #backoff));
    }
    if let Some(timeout) = attributes.timeout {
        let timeout = duration(timeout, support);
        settings.push(quote!(timeout = ::core::option::Option::Some(#timeout)));
    }
    if let Some(queue) = &attributes.queue {
        let queue = quote!(#support::QueueName::from_stored(#queue));
        settings.push(quote!(queue = ::core::option::Option::Some(#queue)));
    }
    if let Some(priority) = attributes.priority {
        settings.push(quote!(priority = #priority));
    }
    if attributes.force_new_workflow {
        settings.push(quote!(force_new_workflow = true));
    }
    if settings.is_empty() {
        return quote!(#support::TaskOptions::new());
    }
    quote! {
        let mut __options = #support::TaskOptions::new();
        #(__options.#settings;)*
        __options
    }
}

fn duration(duration: Duration, support: &TokenStream) -> TokenStream {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    quote!(#support::Duration::from_millis(#millis))
}
