//! `Padded`: a value that shares its cache line with no other.

use core::ops::Deref;

/// Fills the rest of a cache line of 64 bytes, so that writers of neighbours do not disturb each other.
#[repr(C, align(64))]
pub(crate) struct Padded<T>(pub(crate) T);

impl<T> Deref for Padded<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}
