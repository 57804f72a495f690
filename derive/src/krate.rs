//! Finds the name by which a program knows `procshare`.

use std::path::Path;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream};
use syn::{LitStr, Result, Token};

/// The argument `crate = path` or `crate = "path"`.
pub(crate) struct CrateArgument(syn::Path);

impl Parse for CrateArgument {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        input.parse::<Token![crate]>()?;
        Self::parse_value(input)
    }
}

impl CrateArgument {
    /// Reads what follows the word `crate`.
    pub(crate) fn parse_value(input: ParseStream<'_>) -> Result<Self> {
        input.parse::<Token![=]>()?;
        if input.peek(LitStr) {
            return input
                .parse::<LitStr>()?
                .parse_with(syn::Path::parse_mod_style)
                .map(Self);
        }
        input.call(syn::Path::parse_mod_style).map(Self)
    }

    /// The path to the crate: the given one, otherwise the one that can be detected.
    pub(crate) fn path(given: Option<Self>) -> TokenStream {
        match given {
            Some(Self(path)) => path.into_token_stream(),
            None => {
                let name = renamed(std::env::args()).unwrap_or_else(|| "procshare".to_owned());
                let name = Ident::new(&name, Span::call_site());
                quote! { ::#name }
            }
        }
    }
}

/// Returns the other name that the program's manifest gives the crate, if no dependency has the usual name.
///
/// Macros run inside the compiler, whose command line names every dependency and its file: `--extern
/// shm=/…/libprocshare-0123.rmeta`. Elsewhere, as in a language server, nothing is found.
fn renamed(arguments: impl Iterator<Item = String>) -> Option<String> {
    let mut found = None;
    let mut follows = false;
    for argument in arguments {
        let value = argument
            .strip_prefix("--extern=")
            .or(follows.then_some(argument.as_str()));
        if let Some((name, file)) = value.and_then(|value| value.split_once('=')) {
            // Options may stand before the name, as in `priv:shm`.
            let name = name.rsplit(':').next().unwrap_or(name);
            if name == "procshare" {
                return None;
            }
            if is_ours(file) {
                found = Some(name.to_owned());
            }
        }
        follows = argument == "--extern";
    }
    found.filter(|name| syn::parse_str::<Ident>(name).is_ok())
}

/// Whether a library's file is that of this crate: `libprocshare-0123.rmeta`.
fn is_ours(file: &str) -> bool {
    let stem = Path::new(file)
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    stem.split('-').next() == Some("libprocshare")
}

#[cfg(test)]
mod tests {
    use super::renamed;

    fn of(line: &str) -> Option<String> {
        renamed(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_name_is_read_off_the_command_line() {
        assert_eq!(
            of("rustc --extern shm=/d/libprocshare-12.rmeta a.rs").as_deref(),
            Some("shm")
        );
        assert_eq!(
            of("rustc --extern=priv:shm=/d/libprocshare.rlib").as_deref(),
            Some("shm")
        );
    }

    #[test]
    fn the_usual_name_and_other_crates_are_left_alone() {
        assert_eq!(of("rustc --extern procshare=/d/libprocshare-12.rmeta"), None);
        assert_eq!(
            of("rustc --extern shm=/d/libprocshare-1.rlib --extern procshare=/d/libprocshare-2.rlib"),
            None
        );
        assert_eq!(of("rustc --extern macros=/d/libprocshare_derive-12.so"), None);
        assert_eq!(of("rustc -o shm=/d/libprocshare-12.rmeta"), None);
        assert_eq!(of("rustc --extern"), None);
    }
}
