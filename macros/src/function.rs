//! What both attributes need to know of the function they stand on.
//!
//! Invariants: what is refused here is refused with what to write instead; past this file a function is free, not
//! generic, and owns its arguments.

use std::fmt;

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{
    Attribute, Block, Error, FnArg, Ident, Item, ItemFn, Pat, Result, ReturnType, Type, Visibility,
};

use crate::attributes::CommonOptions;
use crate::check::{self, check_signature};
use crate::path;

/// Tells the two attributes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Task,
    Workflow,
}

impl Kind {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Task => Self::Workflow,
            Self::Workflow => Self::Task,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Task => "task",
            Self::Workflow => "workflow",
        })
    }
}

/// Is a parameter, by what fills it.
#[derive(Debug)]
pub(crate) enum Parameter {
    /// The context.
    Context,
    /// A connection of this type, in a transaction that the worker ends.
    Connection(Box<Type>),
    /// A value of the worker, of this type.
    Dependency(Box<Type>),
    /// A stored argument.
    Argument(Ident, Box<Type>),
}

/// Is how the function returns.
#[derive(Debug)]
pub(crate) enum Output {
    Value(Box<Type>),
    Result { ok: TokenStream, span: Span },
}

/// Is a function that can be a task or workflow.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) kind: Kind,
    pub(crate) name: Ident,
    pub(crate) stored_name: String,
    pub(crate) is_async: bool,
    pub(crate) fn_token: Span,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) output: Output,
    pub(crate) support: TokenStream,
    visibility: Visibility,
    outer_attributes: Vec<Attribute>,
    inner_attributes: Vec<Attribute>,
    inputs: TokenStream,
    return_type: ReturnType,
    block: Box<Block>,
}

impl Function {
    /// Reads the item under the attribute.
    pub(crate) fn parse(kind: Kind, options: &CommonOptions, item: TokenStream) -> Result<Self> {
        let function = parse_item(kind, item)?;
        check_signature(kind, &function)?;
        let support = path::support(options.library.as_ref());
        let (outer_attributes, inner_attributes) =
            function.attrs.into_iter().partition(stays_outside);
        let signature = function.sig;
        let taken = check::connection(kind, &signature);
        let parameters = signature.inputs.iter().map(|input| match (input, taken) {
            (FnArg::Typed(input), Some(taken)) if input == taken => {
                let ty = check::unreferenced(&input.ty);
                Ok(Parameter::Connection(Box::new(ty.clone())))
            }
            _ => parameter(kind, input),
        });
        let parameters = parameters.collect::<Result<_>>()?;
        let name = signature.ident;
        let stored_name = options.name.clone();
        Ok(Self {
            kind,
            stored_name: stored_name.unwrap_or_else(|| name.unraw().to_string()),
            name,
            is_async: signature.asyncness.is_some(),
            fn_token: signature.fn_token.span,
            parameters,
            output: output(&signature.output, options, &support),
            visibility: function.vis,
            outer_attributes,
            inner_attributes,
            inputs: signature.inputs.into_token_stream(),
            return_type: signature.output,
            block: function.block,
            support,
        })
    }

    /// Returns the type of the value that the function returns when all is well.
    pub(crate) fn ok_type(&self) -> TokenStream {
        match &self.output {
            Output::Value(ty) => ty.to_token_stream(),
            Output::Result { ok, .. } => ok.clone(),
        }
    }

    /// Writes the function that makes calls, around `definition`, which declares `__LONGHAUL_DEFINITION`.
    pub(crate) fn around(&self, definition: &TokenStream) -> TokenStream {
        let Self {
            name,
            support,
            visibility,
            outer_attributes,
            ..
        } = self;
        let (names, types): (Vec<_>, Vec<_>) = self.arguments().unzip();
        let pushes = names.iter().enumerate().map(|(position, name)| {
            let shape = shape(position);
            quote!(let __writer = #support::ArgumentWriter::push(__writer, &#shape, &#name);)
        });
        let ok = self.ok_type();
        let call = format_ident!("call_{}", self.kind.to_string());
        let body = self.body();
        let described = self.described();
        quote! {
            #(#outer_attributes)*
            #[allow(dead_code, clippy::too_many_arguments, reason = "it is registered, and takes what its body takes")]
            #visibility fn #name(#(#names: #types),*) -> #support::Call<#ok> {
                #body
                #described
                #definition
                let __writer = #support::ArgumentWriter::new(&__LONGHAUL_PARAMETERS);
                #(#pushes)*
                #support::ArgumentWriter::#call(__writer, &__LONGHAUL_DEFINITION)
            }
        }
    }

    /// Writes the statements that read the arguments from `__stored` and call the body, giving an outcome.
    pub(crate) fn run(&self) -> TokenStream {
        let support = &self.support;
        let mut shapes = (0..).map(shape);
        let variables: Vec<_> = self.parameters.iter().enumerate().map(|(position, parameter)| {
            let variable = variable(position);
            match parameter {
                Parameter::Context => quote!(let #variable = __context;),
                Parameter::Connection(ty) => {
                    let (span, support) = self.support_at(ty.span());
                    quote_spanned! {span=>
                        let #variable =
                            #support::connection::<#ty>(&__LONGHAUL_PARAMETERS, __connection)?;
                    }
                }
                Parameter::Dependency(ty) => {
                    let (span, support) = self.support_at(ty.span());
                    quote_spanned! {span=>
                        let #variable =
                            #support::dependency::<#ty>(&__LONGHAUL_PARAMETERS, &__dependencies)?;
                    }
                }
                Parameter::Argument(..) => {
                    let shape = shapes.next();
                    quote!(let #variable = #support::ArgumentReader::read(&mut __reader, &#shape)?;)
                }
            }
        }).collect();
        let reader = if self.arguments().next().is_some() {
            quote!(let mut __reader)
        } else {
            quote!(let __reader)
        };
        let passed = (0..self.parameters.len()).map(variable);
        let awaited = self.is_async.then(|| quote!(.await));
        let returned = quote!(__longhaul_body(#(#passed),*)#awaited);
        let outcome = self.outcome(&returned);
        quote! {
            #reader = #support::ArgumentReader::open(&__LONGHAUL_PARAMETERS, &__stored)?;
            #(#variables)*
            #support::ArgumentReader::close(__reader)?;
            #outcome
        }
    }

    fn outcome(&self, returned: &TokenStream) -> TokenStream {
        let place = match &self.output {
            Output::Value(ty) => ty.span(),
            Output::Result { span, .. } => *span,
        };
        let (span, support) = self.support_at(place);
        let returned = path::moved(returned.clone(), span);
        match &self.output {
            Output::Value(ty) => quote_spanned! {span=>
                let __returned: #ty = #returned;
                {
                    #[allow(unused_imports, reason = "a `Result` does not use it")]
                    use #support::FoundValue as _;
                    let __found = #support::ReturnProbe::<#ty>::new().longhaul_found();
                    #support::require_plain(&__found);
                }
                #support::encode_output(&__returned)
            },
            Output::Result { .. } => quote_spanned! {span=>
                let __returned: ::core::result::Result<_, _> = #returned;
                match __returned {
                    ::core::result::Result::Ok(__value) => #support::encode_output(&__value),
                    ::core::result::Result::Err(__error) => {
                        #[allow(unused_imports, reason = "one of them is used")]
                        use #support::{ChooseConvert as _, ChooseDescribe as _, ChooseTyped as _};
                        let __conversion = (&&&#support::ErrorProbe::of(&__error)).longhaul_choose();
                        ::core::result::Result::Err(__conversion.convert(__error))
                    }
                }
            },
        }
    }

    /// Returns a span that shows errors at `place`, and the path of the support items there.
    pub(crate) fn support_at(&self, place: Span) -> (Span, TokenStream) {
        let span = at(place);
        (span, path::moved(self.support.clone(), span))
    }

    fn arguments(&self) -> impl Iterator<Item = (&Ident, &Type)> {
        self.parameters
            .iter()
            .filter_map(|parameter| match parameter {
                Parameter::Argument(name, ty) => Some((name, &**ty)),
                Parameter::Context | Parameter::Connection(_) | Parameter::Dependency(_) => None,
            })
    }

    /// Returns the type of the connection that it takes.
    pub(crate) fn connection(&self) -> Option<&Type> {
        self.parameters
            .iter()
            .find_map(|parameter| match parameter {
                Parameter::Connection(ty) => Some(&**ty),
                Parameter::Context | Parameter::Dependency(_) | Parameter::Argument(..) => None,
            })
    }

    fn body(&self) -> TokenStream {
        let Self {
            inner_attributes,
            inputs,
            return_type,
            block,
            ..
        } = self;
        let asyncness = self.is_async.then(|| quote!(async));
        quote! {
            #(#inner_attributes)*
            #[allow(clippy::needless_pass_by_value, clippy::unused_async, reason = "arguments are owned")]
            #asyncness fn __longhaul_body(#inputs) #return_type #block
        }
    }

    fn described(&self) -> TokenStream {
        let support = &self.support;
        let target = format!("{} `{}`", self.kind, self.stored_name);
        let names = self
            .arguments()
            .map(|(name, ty)| format!("{}: {}", name.unraw(), path::spelled(ty)));
        let shapes = self.arguments().enumerate().map(|(position, (_, ty))| {
            let shape = shape(position);
            let (span, support) = self.support_at(ty.span());
            quote_spanned!(span=> const #shape: #support::Shape<#ty> = #support::Shape::of();)
        });
        quote! {
            #(#shapes)*
            static __LONGHAUL_PARAMETERS: #support::Parameters = #support::Parameters {
                target: #target,
                names: &[#(#names),*],
            };
        }
    }
}

/// Returns a span that counts as generated for lints.
fn at(place: Span) -> Span {
    Span::call_site().located_at(place)
}

fn shape(position: usize) -> Ident {
    format_ident!("__LONGHAUL_ARGUMENT_{position}")
}

fn variable(position: usize) -> Ident {
    format_ident!("__parameter_{position}")
}

fn parse_item(kind: Kind, item: TokenStream) -> Result<ItemFn> {
    let misplaced = |span: Span, what: &str| {
        let message = format!(
            "`#[{kind}]` goes on a function, and this is {what}; write `#[{kind}] async fn ...`"
        );
        Error::new(span, message)
    };
    match syn::parse2::<Item>(item)? {
        Item::Fn(function) => Ok(function),
        Item::Struct(item) => Err(misplaced(item.ident.span(), "a struct")),
        Item::Enum(item) => Err(misplaced(item.ident.span(), "an enum")),
        Item::Trait(item) => Err(misplaced(item.ident.span(), "a trait")),
        Item::Impl(item) => Err(misplaced(item.impl_token.span, "an impl block")),
        Item::Mod(item) => Err(misplaced(item.ident.span(), "a module")),
        other => Err(misplaced(other.span(), "something else")),
    }
}

fn stays_outside(attribute: &Attribute) -> bool {
    const OUTSIDE: &[&str] = &[
        "doc",
        "cfg",
        "cfg_attr",
        "deprecated",
        "must_use",
        "allow",
        "expect",
        "warn",
        "deny",
        "forbid",
    ];
    OUTSIDE.iter().any(|name| attribute.path().is_ident(name))
}

fn parameter(kind: Kind, input: &FnArg) -> Result<Parameter> {
    let FnArg::Typed(input) = input else {
        return Err(Error::new(input.span(), "a free function has no `self`"));
    };
    let context = match kind {
        Kind::Task => "TaskContext",
        Kind::Workflow => "Context",
    };
    if path::is_named(&input.ty, context) {
        return Ok(Parameter::Context);
    }
    if path::is_named(&input.ty, "Dep") {
        let inner = path::first_argument(&input.ty)
            .ok_or_else(|| Error::new(input.ty.span(), "say what is injected: `Dep<Gateway>`"))?;
        return Ok(Parameter::Dependency(Box::new(inner.clone())));
    }
    match &*input.pat {
        Pat::Ident(name) => Ok(Parameter::Argument(name.ident.clone(), input.ty.clone())),
        other => Err(Error::new(other.span(), "an argument has a plain name")),
    }
}

fn output(returned: &ReturnType, options: &CommonOptions, support: &TokenStream) -> Output {
    let ReturnType::Type(_, ty) = returned else {
        return Output::Value(Box::new(syn::parse_quote!(())));
    };
    if !options.result && !path::is_named(ty, "Result") {
        return Output::Value(ty.clone());
    }
    let ok = match path::first_argument(ty) {
        Some(ok) if !options.result => ok.to_token_stream(),
        _ => quote_spanned!(at(ty.span())=> <#ty as #support::ResultType>::Ok),
    };
    let span = ty.span();
    Output::Result { ok, span }
}

/// Tells whether `Self` is among the tokens.
pub(crate) fn mentions_self(tokens: TokenStream) -> bool {
    path::any_token(
        tokens,
        &|token| matches!(token, TokenTree::Ident(ident) if ident == "Self"),
    )
}
