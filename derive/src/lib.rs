//! Macros of [`procshare`](https://docs.rs/procshare): `derive(Shareable)`, `main` and `test`.
//!
//! Use them through `procshare`, which re-exports them. The code they generate names `::procshare`, or the name that the program's
//! manifest gives to that crate. If another crate re-exports it, give its path: `#[other::procshare::main(crate =
//! other::procshare)]`, and the same for `test`; `#[shareable(crate = other::procshare)]` below the derive.

mod entry;
mod field_type;
mod krate;
mod repr;
mod shareable;

use proc_macro::TokenStream;

/// Implements `procshare::Shareable` for a struct or a fieldless enum.
///
/// The type must also be `Copy`, and its layout must be fixed:
///
/// - a struct has `#[repr(C)]` or `#[repr(transparent)]`, optionally with `packed` or `align`; each field is `Shareable`, and there
///   is no padding between or after the fields: otherwise compilation fails with a message that gives the place and size of the
///   gap;
/// - an enum has no fields and an integer representation, `#[repr(u8)]` to `#[repr(i64)]`.
///
/// Type parameters get the bound `Shareable`; padding of a generic struct is found where the type is used.
///
/// `#[shareable(crate = path)]` gives the path to `procshare`, if it is not a direct dependency.
///
/// The trait `procshare::Shareable` has an example.
#[proc_macro_derive(Shareable, attributes(shareable))]
pub fn derive_shareable(input: TokenStream) -> TokenStream {
    shareable::expand(input.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Lets child processes begin in a program's `main`.
///
/// `Process::spawn` runs the program's own executable again. This attribute does what `procshare::init()` does, before the first
/// statement of `main`: in a child it runs the requested function and then ends the process; otherwise it does nothing.
///
/// When `main` ends, also by an error or a panic, the attribute ends daemons, waits for all other children that were not detached
/// with `Process::detach`, and removes the names of segments that the program has used and no other process uses.
///
/// `#[procshare::main(crate = path)]` gives the path to `procshare`, if it is not a direct dependency.
///
/// `fn main` takes no arguments and is not `async`; with another runtime's attribute, call `procshare::init()` by hand.
///
/// The front page of `procshare` has an example.
#[proc_macro_attribute]
pub fn main(args: TokenStream, item: TokenStream) -> TokenStream {
    entry::main(args.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Marks a test that starts child processes.
///
/// It replaces `#[test]`. The test harness has its own `main`, so a child of a test starts as that harness running only that test,
/// and becomes the child where the test would begin.
///
/// `#[ignore]`, `#[should_panic]` and results work as usual. `#[procshare::test(crate = path)]` gives the path to `procshare`, if
/// it is not a direct dependency.
///
/// The documentation of `procshare::Process` has an example.
#[proc_macro_attribute]
pub fn test(args: TokenStream, item: TokenStream) -> TokenStream {
    entry::test(args.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
