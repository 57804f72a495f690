//! An attribute that rewrites what it stands on: a stand-in for macros that change a type after a derive has seen it.

use proc_macro::{Delimiter, Group, TokenStream, TokenTree};

/// Replaces words of the item: `#[rewrite((u64)(&'static str) (first)(second))]`.
#[proc_macro_attribute]
pub fn rewrite(rules: TokenStream, item: TokenStream) -> TokenStream {
    let rules: Vec<TokenStream> = rules.into_iter().filter_map(inside).collect();
    let rules: Vec<_> = rules
        .chunks_exact(2)
        .map(|rule| (rule[0].to_string(), rule[1].clone()))
        .collect();
    replace(item, &rules)
}

/// What parentheses hold.
fn inside(tree: TokenTree) -> Option<TokenStream> {
    match tree {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis => Some(group.stream()),
        _ => None,
    }
}

fn replace(tokens: TokenStream, rules: &[(String, TokenStream)]) -> TokenStream {
    let replaced = tokens.into_iter().map(|tree| match tree {
        TokenTree::Group(group) => {
            let inner = Group::new(group.delimiter(), replace(group.stream(), rules));
            TokenTree::Group(inner).into()
        }
        other => match rules.iter().find(|(from, _)| *from == other.to_string()) {
            Some((_, to)) => to.clone(),
            None => other.into(),
        },
    });
    replaced.collect()
}
