//! Which functions cannot be a task or workflow, and what to write instead.
//!
//! Invariants: nothing is changed here; every message names the cure. What makes the rest of a signature meaningless
//! (`self`, generics) is reported alone, everything else at once.

use proc_macro2::TokenTree;
use quote::ToTokens;
use syn::spanned::Spanned as _;
use syn::{Error, FnArg, ItemFn, Pat, PatType, Result, ReturnType, Safety, Signature, Type};

use crate::function::{Function, Kind, mentions_self};
use crate::path::{any_token, is_named, spelled};

/// Refuses what cannot be a task or workflow.
pub(crate) fn check_signature(kind: Kind, function: &ItemFn) -> Result<()> {
    let signature = &function.sig;
    check_attributes(kind, function)?;
    check_free(kind, signature)?;
    check_generics(kind, signature)?;
    let mut problems = Problems::default();
    problems.take(check_qualifiers(kind, signature));
    problems.take(check_async(kind, signature));
    problems.take(check_context(kind, signature));
    let connection = connection(kind, signature);
    for input in typed(signature) {
        problems.take(match connection {
            Some(connection) if connection == input => check_name(input),
            _ => check_parameter(kind, input),
        });
    }
    if let ReturnType::Type(_, ty) = &signature.output {
        problems.take(check_opaque(ty, "a result"));
        problems.take(check_owned(ty, "a result"));
    }
    problems.finish()
}

/// Returns the parameter for a connection: the first `&mut`, after the context.
pub(crate) fn connection(kind: Kind, signature: &Signature) -> Option<&PatType> {
    let is_context = |input: &&PatType| is_named(&input.ty, "TaskContext");
    let first = typed(signature).find(|input| !is_context(input))?;
    let is_taken = kind == Kind::Task && is_mutable(&first.ty) && !is_injected(&first.ty);
    is_taken.then_some(first)
}

fn is_mutable(ty: &Type) -> bool {
    matches!(ty, Type::Reference(reference) if reference.mutability.is_some())
}

fn is_injected(ty: &Type) -> bool {
    let injected = ["Context", "TaskContext", "Dep"];
    injected.iter().any(|name| is_named(unreferenced(ty), name))
}

/// Refuses a connection without the option, and the option without a connection or where it makes no sense.
pub(crate) fn check_transactional(function: &Function, is_transactional: bool) -> Result<()> {
    let (name, connection) = (&function.name, function.connection());
    match connection {
        Some(ty) if !is_transactional => Err(Error::new(
            ty.span(),
            format!(
                "a task that borrows a connection is `#[task(transactional)]`; for an argument take ownership: `{}`",
                owned(ty)
            ),
        )),
        Some(ty)
            if is_named(ty, "Transaction")
                || is_named(ty, "SqliteTransaction")
                || is_named(ty, "PgTransaction") =>
        {
            Err(Error::new(
                ty.span(),
                "take the connection, which is in the transaction: `&mut sqlx09::SqliteConnection` or \
                 `&mut sqlx09::PgConnection`; the worker commits it",
            ))
        }
        None if is_transactional => Err(Error::new(
            name.span(),
            format!(
                "a transactional task borrows its connection as the first parameter, after `ctx` if there is one:\n    \
                 async fn {name}(tx: &mut sqlx09::SqliteConnection, ...)"
            ),
        )),
        Some(_) if !function.is_async => Err(Error::new(
            function.fn_token,
            format!("a transactional task is async, as its SQL is; write `async fn {name}`"),
        )),
        Some(_) | None => Ok(()),
    }
}

#[derive(Default)]
struct Problems(Option<Error>);

impl Problems {
    fn take(&mut self, outcome: Result<()>) {
        match (outcome, &mut self.0) {
            (Ok(()), _) => {}
            (Err(error), Some(errors)) => errors.combine(error),
            (Err(error), none) => *none = Some(error),
        }
    }

    fn finish(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

fn typed(signature: &Signature) -> impl Iterator<Item = &PatType> {
    signature.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(input) => Some(input),
        FnArg::Receiver(_) => None,
    })
}

fn check_attributes(kind: Kind, function: &ItemFn) -> Result<()> {
    for attribute in &function.attrs {
        let last = attribute.path().segments.last();
        if last.is_some_and(|last| last.ident == "task" || last.ident == "workflow") {
            return Err(Error::new(
                attribute.span(),
                format!("a function is a task or a workflow; remove this attribute or `#[{kind}]`"),
            ));
        }
    }
    Ok(())
}

fn check_free(kind: Kind, signature: &Signature) -> Result<()> {
    let name = &signature.ident;
    let place = match signature.inputs.first() {
        Some(FnArg::Receiver(receiver)) => receiver.span(),
        _ if mentions_self(signature.to_token_stream()) => name.span(),
        _ => return Ok(()),
    };
    let cure = match kind {
        Kind::Task => {
            "what it needs of `self` becomes arguments, or a `Dep<...>` that the worker provides"
        }
        Kind::Workflow => "what it needs of `self` becomes arguments",
    };
    Err(Error::new(
        place,
        format!("a {kind} is a free function; move `{name}` out of the `impl`: {cure}"),
    ))
}

fn check_generics(kind: Kind, signature: &Signature) -> Result<()> {
    let generics = &signature.generics;
    let name = &signature.ident;
    if generics.params.is_empty() && generics.where_clause.is_none() {
        return Ok(());
    }
    let only_lifetimes = generics
        .params
        .iter()
        .all(|parameter| matches!(parameter, syn::GenericParam::Lifetime(_)));
    let message = if only_lifetimes && generics.where_clause.is_none() {
        format!(
            "a {kind} outlives its caller, so it borrows nothing; remove the lifetimes of `{name}` and let it own its arguments"
        )
    } else {
        format!(
            "a {kind} cannot be generic, as it is found by its name when it runs again; name the types, and call a generic helper function from `{name}`"
        )
    };
    Err(Error::new(generics.params.span(), message))
}

fn check_qualifiers(kind: Kind, signature: &Signature) -> Result<()> {
    let refused = |span, word: &str| {
        Err(Error::new(
            span,
            format!(
                "a {kind} cannot be `{word}`; write a plain `async fn` that calls such a function"
            ),
        ))
    };
    match &signature.safety {
        Safety::Unsafe(word) => return refused(word.span, "unsafe"),
        Safety::Safe(word) => return refused(word.span, "safe"),
        Safety::Default => {}
    }
    if let Some(abi) = &signature.abi {
        return refused(abi.extern_token.span, "extern");
    }
    if let Some(word) = &signature.constness {
        return refused(word.span, "const");
    }
    if let Some(dots) = &signature.variadic {
        return refused(dots.span(), "variadic");
    }
    Ok(())
}

fn check_async(kind: Kind, signature: &Signature) -> Result<()> {
    if kind == Kind::Task || signature.asyncness.is_some() {
        return Ok(());
    }
    let name = &signature.ident;
    Err(Error::new(
        signature.fn_token.span,
        format!(
            "a workflow is async; write `async fn {name}`, or make it a `#[task]` if it does blocking work"
        ),
    ))
}

fn check_context(kind: Kind, signature: &Signature) -> Result<()> {
    let name = match kind {
        Kind::Task => "TaskContext",
        Kind::Workflow => "Context",
    };
    let is_context = |input: &PatType| is_named(unreferenced(&input.ty), name);
    let first = typed(signature).next().is_some_and(is_context);
    let other = |input: &PatType| is_named(&input.ty, "TaskContext");
    if kind == Kind::Workflow && !first && !typed(signature).next().is_some_and(other) {
        return Err(Error::new(
            signature.ident.span(),
            format!(
                "the first parameter of a workflow is its context; write\n    {}",
                with_context(signature)
            ),
        ));
    }
    match typed(signature).skip(1).find(|input| is_context(input)) {
        Some(late) => Err(Error::new(
            late.span(),
            format!("there is one `{name}`, and it comes first: `ctx: {name}`"),
        )),
        None => Ok(()),
    }
}

fn with_context(signature: &Signature) -> String {
    let mut parameters = vec!["ctx: Context".to_owned()];
    let others = typed(signature).filter(|input| {
        !is_named(unreferenced(&input.ty), "Context") && !is_named(&input.ty, "TaskContext")
    });
    parameters
        .extend(others.map(|input| format!("{}: {}", spelled(&input.pat), spelled(&input.ty))));
    let output = match &signature.output {
        ReturnType::Default => String::new(),
        ReturnType::Type(_, ty) => format!(" -> {}", spelled(ty)),
    };
    let name = &signature.ident;
    format!("async fn {name}({}){output}", parameters.join(", "))
}

fn check_parameter(kind: Kind, input: &PatType) -> Result<()> {
    let ty = &*input.ty;
    check_role(kind, input)?;
    check_opaque(ty, "an argument")?;
    check_owned(ty, "an argument")?;
    check_name(input)
}

fn check_name(input: &PatType) -> Result<()> {
    match &*input.pat {
        Pat::Ident(name) if name.by_ref.is_none() && name.subpat.is_none() => Ok(()),
        Pat::Wild(wild) => Err(Error::new(
            wild.span(),
            "give the argument a name, as it is a parameter of the call too; `_name` says that it is unused",
        )),
        other => Err(Error::new(
            other.span(),
            "give the argument a plain name, and take it apart in the body: `let ... = name;`",
        )),
    }
}

fn check_role(kind: Kind, input: &PatType) -> Result<()> {
    let plain = unreferenced(&input.ty);
    let message = match kind {
        Kind::Task if is_named(plain, "Context") => {
            "a task has no durable operations; make it a `#[workflow]`, or take `ctx: TaskContext` for its attempt and cancellation"
        }
        Kind::Workflow if is_named(plain, "TaskContext") => {
            "a workflow takes `ctx: Context`; `TaskContext` is for tasks"
        }
        Kind::Workflow if is_named(plain, "Dep") => {
            "a workflow has no dependencies, as it is replayed; use this in a `#[task]` that the workflow awaits with `ctx.run(...)`"
        }
        Kind::Task | Kind::Workflow => return check_by_value(input),
    };
    Err(Error::new(input.ty.span(), message))
}

fn check_by_value(input: &PatType) -> Result<()> {
    let plain = unreferenced(&input.ty);
    if is_injected(plain) && matches!(*input.ty, Type::Reference(_)) {
        let plain = spelled(plain);
        return Err(Error::new(
            input.ty.span(),
            format!("take it by value: `{}: {plain}`", spelled(&input.pat)),
        ));
    }
    Ok(())
}

fn check_opaque(ty: &Type, what: &str) -> Result<()> {
    let is_opaque = any_token(
        ty.to_token_stream(),
        &|token| matches!(token, TokenTree::Ident(ident) if ident == "impl"),
    );
    if !is_opaque {
        return Ok(());
    }
    Err(Error::new(
        ty.span(),
        format!("{what} is stored, so its type must have a name; write it instead of `impl ...`"),
    ))
}

fn check_owned(ty: &Type, what: &str) -> Result<()> {
    let borrows = any_token(
        ty.to_token_stream(),
        &|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == '&'),
    );
    if !borrows || is_named(ty, "Dep") {
        return Ok(());
    }
    let cure = match ty {
        Type::Reference(reference) if is_mutable(ty) => format!(
            "take ownership: `{}`; the connection of a transactional task comes first",
            owned(&reference.elem)
        ),
        Type::Reference(reference) => format!("take ownership: `{}`", owned(&reference.elem)),
        _ => "take ownership of what it borrows, such as `String` instead of `&str`".to_owned(),
    };
    Err(Error::new(
        ty.span(),
        format!(
            "{what} is stored and read back, perhaps in another process, so it cannot borrow; {cure}"
        ),
    ))
}

fn owned(ty: &Type) -> String {
    match ty {
        Type::Slice(slice) => format!("Vec<{}>", spelled(&slice.elem)),
        _ if is_named(ty, "str") => "String".to_owned(),
        _ if is_named(ty, "Path") => "PathBuf".to_owned(),
        Type::Reference(reference) => owned(&reference.elem),
        _ => spelled(ty),
    }
}

pub(crate) fn unreferenced(ty: &Type) -> &Type {
    match ty {
        Type::Reference(reference) => unreferenced(&reference.elem),
        _ => ty,
    }
}
