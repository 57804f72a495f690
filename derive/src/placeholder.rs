//! Puts names in the place of constant expressions in types, such as the length of `[u8; if WIDE { 8 } else { 4 }]`.
//!
//! `syn` reads `if`, `match` and statements only with its feature `full`, which takes half as long again to compile.

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens, format_ident};
use syn::Expr;
use syn::spanned::Spanned;

/// Each name and the expression that it stands for.
#[derive(Default)]
pub(crate) struct Placeholders(Vec<(Ident, TokenStream)>);

impl Placeholders {
    /// Replaces array lengths and constant arguments that `syn` cannot read.
    pub(crate) fn insert(&mut self, tokens: TokenStream) -> TokenStream {
        let mut replaced = TokenStream::new();
        let mut before = ' ';
        let mut trees = tokens.into_iter().peekable();
        while let Some(tree) = trees.next() {
            let punctuation = match &tree {
                TokenTree::Punct(punct) => punct.as_char(),
                _ => ' ',
            };
            replaced.extend(match tree {
                TokenTree::Group(group) if before != '#' => {
                    // The body of a type stands last.
                    let is_argument =
                        group.delimiter() == Delimiter::Brace && "<,=".contains(before) && trees.peek().is_some();
                    if is_argument {
                        self.name(TokenTree::from(group).into())
                    } else {
                        with_stream(&group, self.insert(group.stream()))
                    }
                }
                other => other.into(),
            });
            if punctuation == ';' {
                replaced.extend(self.name(trees.by_ref().collect()));
            }
            before = punctuation;
        }
        replaced
    }

    /// Returns the expression, or a name for one that `syn` cannot read.
    fn name(&mut self, expression: TokenStream) -> TokenStream {
        if expression.is_empty() || syn::parse2::<Expr>(expression.clone()).is_ok() {
            return expression;
        }
        let name = format_ident!("__procshare_expression_{}", self.0.len(), span = expression.span());
        let tokens = name.to_token_stream();
        self.0.push((name, expression));
        tokens
    }

    /// Puts the expressions back.
    pub(crate) fn restore(&self, tokens: TokenStream) -> TokenStream {
        if self.0.is_empty() {
            return tokens;
        }
        let restored = tokens.into_iter().map(|tree| match tree {
            TokenTree::Group(group) => with_stream(&group, self.restore(group.stream())),
            TokenTree::Ident(ident) => match self.0.iter().find(|(name, _)| *name == ident) {
                Some((_, expression)) => expression.clone(),
                None => ident.into_token_stream(),
            },
            other => other.into(),
        });
        restored.collect()
    }
}

fn with_stream(group: &Group, stream: TokenStream) -> TokenStream {
    let mut replaced = Group::new(group.delimiter(), stream);
    replaced.set_span(group.span());
    TokenTree::from(replaced).into()
}
