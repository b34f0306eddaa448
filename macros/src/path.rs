//! Paths: where generated code finds the library, and what the last segment of a type's path says.
//!
//! Invariants: types are told apart by their last path segment alone, as a macro sees no imports.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{GenericArgument, PathArguments, PathSegment, Type};

/// Returns the path of the items that generated code refers to.
pub(crate) fn support(library: Option<&syn::Path>) -> TokenStream {
    match library {
        Some(path) => quote!(#path::__private),
        None => quote!(::longhaul::__private),
    }
}

/// Gives every token the place of `span`.
pub(crate) fn moved(tokens: TokenStream, span: Span) -> TokenStream {
    let moved = tokens.into_iter().map(|mut token| {
        token.set_span(span);
        token
    });
    moved.collect()
}

/// Returns the last segment of a type that is a path.
pub(crate) fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) if path.qself.is_none() => path.path.segments.last(),
        Type::Group(group) => last_segment(&group.elem),
        Type::Paren(paren) => last_segment(&paren.elem),
        _ => None,
    }
}

/// Tells whether the last segment of a type's path is `name`.
pub(crate) fn is_named(ty: &Type, name: &str) -> bool {
    last_segment(ty).is_some_and(|segment| segment.ident == name)
}

/// Returns the first type between the angle brackets of a type's last segment.
pub(crate) fn first_argument(ty: &Type) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &last_segment(ty)?.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

/// Tells whether any token, at any depth, satisfies `wanted`.
pub(crate) fn any_token(tokens: TokenStream, wanted: &impl Fn(&TokenTree) -> bool) -> bool {
    tokens.into_iter().any(|token| match &token {
        TokenTree::Group(group) => any_token(group.stream(), wanted),
        TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => wanted(&token),
    })
}

/// Writes a type as a person would.
pub(crate) fn spelled(tokens: &impl ToTokens) -> String {
    let mut text = String::new();
    spell(tokens.to_token_stream(), &mut text);
    text
}

fn spell(tokens: TokenStream, text: &mut String) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                spell(group.stream(), text);
                text.push_str(close);
            }
            TokenTree::Punct(punct) => match punct.as_char() {
                ',' | ';' => {
                    text.push(punct.as_char());
                    text.push(' ');
                }
                '+' | '=' => {
                    text.push(' ');
                    text.push(punct.as_char());
                    text.push(' ');
                }
                other => text.push(other),
            },
            TokenTree::Ident(_) | TokenTree::Literal(_) => {
                if text.ends_with(|last: char| last.is_alphanumeric() || last == '_') {
                    text.push(' ');
                }
                text.push_str(&token.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    #[test]
    fn types_are_written_as_a_person_would() {
        let written = "std::collections::BTreeMap<String, Vec<(u8, [u32; 4])>>";
        let ty: Type = syn::parse_str(written).unwrap();
        assert_eq!(spelled(&ty), written);
        let ty: Type = parse_quote!(Dep<dyn Gateway + Send>);
        assert_eq!(spelled(&ty), "Dep<dyn Gateway + Send>");
    }

    #[test]
    fn last_segment_decides() {
        let ty: Type = parse_quote!(anyhow::Result<Receipt, E>);
        assert!(is_named(&ty, "Result"));
        assert_eq!(spelled(first_argument(&ty).unwrap()), "Receipt");
        let ty: Type = parse_quote!((u8, u8));
        assert!(!is_named(&ty, "Result"));
    }
}
