//! Reads the `#[repr(…)]` attributes of a type.

use proc_macro2::{Ident, TokenStream};
use syn::{Attribute, Result, parenthesized, token};

/// Integers that may represent an enum.
///
/// Not `usize` and `isize`, which differ in width between builds.
const INTEGERS: [&str; 8] = ["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64"];

/// The hints given to the compiler, such as `C`, `u8` or `align`.
pub(crate) struct Repr(Vec<Ident>);

impl Repr {
    pub(crate) fn of(attributes: &[Attribute]) -> Result<Self> {
        let mut hints = Vec::new();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("repr")) {
            attribute.parse_nested_meta(|meta| {
                // The number of `align(8)` and `packed(2)`: its effect is measured, not read.
                if meta.input.peek(token::Paren) {
                    let number;
                    parenthesized!(number in meta.input);
                    number.parse::<TokenStream>()?;
                }
                hints.push(meta.path.require_ident()?.clone());
                Ok(())
            })?;
        }
        Ok(Self(hints))
    }

    pub(crate) fn is_c(&self) -> bool {
        self.has("C")
    }

    pub(crate) fn is_transparent(&self) -> bool {
        self.has("transparent")
    }

    /// Returns the integer that represents an enum.
    pub(crate) fn integer(&self) -> Option<&Ident> {
        self.0
            .iter()
            .find(|hint| INTEGERS.iter().any(|integer| hint == integer))
    }

    /// Returns an integer hint whose width differs between builds.
    pub(crate) fn pointer_sized(&self) -> Option<&Ident> {
        self.0.iter().find(|hint| *hint == "usize" || *hint == "isize")
    }

    fn has(&self, wanted: &str) -> bool {
        self.0.iter().any(|hint| hint == wanted)
    }
}
