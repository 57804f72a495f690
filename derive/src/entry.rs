//! Writes the first statement of programs and tests that start child processes.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Error, ItemFn, Result, parse_quote};

use crate::krate::CrateArgument;

/// Puts a statement before the body of `fn main` that lets children begin there, and handles the end of `main`.
pub(crate) fn main(args: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let (krate, mut function) = parse("#[procshare::main]", args, item)?;
    if function.sig.ident != "main" {
        return Err(Error::new_spanned(
            &function.sig.ident,
            "`#[procshare::main]` belongs on `fn main`, where a child process starts",
        ));
    }
    function
        .block
        .stmts
        .insert(0, parse_quote!(let _until_the_end = #krate::__private::enter_main();));
    Ok(function.into_token_stream())
}

/// Makes a test of the function, and lets its children in before the body.
pub(crate) fn test(args: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let (krate, mut function) = parse("#[procshare::test]", args, item)?;
    if let Some(attribute) = function
        .attrs
        .iter()
        .find(|attribute| attribute.path().is_ident("test"))
    {
        return Err(Error::new_spanned(
            attribute,
            "`#[procshare::test]` replaces `#[test]`: remove this attribute",
        ));
    }
    let name = &function.sig.ident;
    let enter = parse_quote! {
        #krate::__private::enter_test(
            ::core::concat!(::core::module_path!(), "::", ::core::stringify!(#name))
        );
    };
    function.block.stmts.insert(0, enter);
    Ok(quote! {
        #[::core::prelude::v1::test]
        #function
    })
}

/// Reads the path to this crate, and a function that the harness can call: no arguments, not async.
fn parse(attribute: &str, args: TokenStream, item: TokenStream) -> Result<(TokenStream, ItemFn)> {
    let given = if args.is_empty() {
        None
    } else {
        let refusal =
            format!("`{attribute}` takes no arguments except `crate = path`, for a `procshare` under another name");
        let given = syn::parse2::<CrateArgument>(args.clone());
        Some(given.map_err(|_| Error::new_spanned(args, refusal))?)
    };
    let function: ItemFn = syn::parse2(item)?;
    if let Some(token) = &function.sig.asyncness {
        return Err(Error::new_spanned(
            token,
            format!("`{attribute}` cannot be on an async function, since a child must start before any runtime does"),
        ));
    }
    if !function.sig.inputs.is_empty() {
        return Err(Error::new_spanned(
            &function.sig.inputs,
            format!("a function with `{attribute}` must not take arguments: nothing would pass any"),
        ));
    }
    Ok((CrateArgument::path(given), function))
}
