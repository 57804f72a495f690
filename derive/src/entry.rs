//! Writes the first statement of programs and tests that start child processes.

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::quote;
use syn::parse::{End, Parse, ParseStream};
use syn::{Abi, Attribute, Error, Generics, Result, Token, Visibility, braced, token};

use crate::krate::CrateArgument;

/// Puts a statement before the body of `fn main` that lets children begin there, and handles the end of `main`.
pub(crate) fn main(args: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let (krate, function) = parse("#[procshare::main]", args, item)?;
    if function.name != "main" {
        return Err(Error::new_spanned(
            &function.name,
            "`#[procshare::main]` belongs on `fn main`, where a child process starts",
        ));
    }
    Ok(function.starting_with(quote! { let _until_the_end = #krate::__private::enter_main(); }))
}

/// Makes a test of the function, and lets its children in before the body.
pub(crate) fn test(args: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let (krate, function) = parse("#[procshare::test]", args, item)?;
    if let Some(attribute) = function
        .attributes
        .iter()
        .find(|attribute| attribute.path().is_ident("test"))
    {
        return Err(Error::new_spanned(
            attribute,
            "`#[procshare::test]` replaces `#[test]`: remove this attribute",
        ));
    }
    let name = &function.name;
    let enter = quote! {
        #krate::__private::enter_test(
            ::core::concat!(::core::module_path!(), "::", ::core::stringify!(#name))
        );
    };
    let function = function.starting_with(enter);
    Ok(quote! {
        #[::core::prelude::v1::test]
        #function
    })
}

/// Reads the path to this crate, and a function that the harness can call: no arguments, not async.
fn parse(attribute: &str, args: TokenStream, item: TokenStream) -> Result<(TokenStream, Function)> {
    let given = if args.is_empty() {
        None
    } else {
        let refusal =
            format!("`{attribute}` takes no arguments except `crate = path`, for a `procshare` under another name");
        let given = syn::parse2::<CrateArgument>(args.clone());
        Some(given.map_err(|_| Error::new_spanned(args, refusal))?)
    };
    let function: Function = syn::parse2(item)?;
    if let Some(token) = &function.asyncness {
        return Err(Error::new_spanned(
            token,
            format!("`{attribute}` cannot be on an async function, since a child must start before any runtime does"),
        ));
    }
    if !function.arguments.is_empty() {
        return Err(Error::new_spanned(
            &function.arguments,
            format!("a function with `{attribute}` must not take arguments: nothing would pass any"),
        ));
    }
    Ok((CrateArgument::path(given), function))
}

/// A function as far as the macros read it: `syn` reads bodies only with its feature `full`, which takes longer to compile.
struct Function {
    attributes: Vec<Attribute>,
    asyncness: Option<Token![async]>,
    name: Ident,
    arguments: TokenStream,
    /// All from the visibility to the body.
    signature: TokenStream,
    braces: token::Brace,
    inner_attributes: Vec<Attribute>,
    statements: TokenStream,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility: Visibility = input.parse()?;
        let constness: Option<Token![const]> = input.parse()?;
        let asyncness: Option<Token![async]> = input.parse()?;
        let unsafety: Option<Token![unsafe]> = input.parse()?;
        let abi: Option<Abi> = input.parse()?;
        let keyword: Token![fn] = input.parse()?;
        let name: Ident = input.parse()?;
        let generics: Generics = input.parse()?;
        let arguments: Group = input.parse()?;
        let mut signature = quote! {
            #visibility #constness #asyncness #unsafety #abi #keyword #name #generics #arguments
        };
        // The result and the bounds, which may hold blocks of their own.
        let is_at_end = || input.is_empty() || input.peek(Token![;]) || input.peek(token::Brace) && input.peek2(End);
        while !is_at_end() {
            signature.extend([input.parse::<TokenTree>()?]);
        }
        let body;
        Ok(Self {
            attributes,
            asyncness,
            name,
            arguments: arguments.stream(),
            signature,
            braces: braced!(body in input),
            inner_attributes: body.call(Attribute::parse_inner)?,
            statements: body.parse()?,
        })
    }
}

impl Function {
    /// The function with another statement before its own.
    fn starting_with(&self, statement: TokenStream) -> TokenStream {
        let Self {
            attributes,
            signature,
            inner_attributes,
            statements,
            ..
        } = self;
        let mut function = quote! { #(#attributes)* #signature };
        self.braces.surround(&mut function, |body| {
            body.extend(quote! { #(#inner_attributes)* #statement #statements });
        });
        function
    }
}
