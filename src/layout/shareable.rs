//! Which types may live in a segment, and how their bytes are checked.

use super::schema::{Decimal, Schema};

/// Marks types whose bytes mean the same in every process.
///
/// A peer sees a shared value as bytes, perhaps written by another build, perhaps by a buggy one. So a shared type owns no
/// memory elsewhere, has the same layout in every build, and can tell whether bytes are one of its values.
///
/// | type | shareable |
/// |---|---|
/// | `bool`, `char`, `u8` … `u128`, `i8` … `i128`, `f32`, `f64`, `()`, arrays of shareable types | yes |
/// | your struct | `#[derive(Clone, Copy, Shareable)]` and `#[repr(C)]`, without padding |
/// | your enum without fields | `#[derive(Clone, Copy, Shareable)]` and `#[repr(u8)]` or another integer |
/// | `usize`, `isize` | no, their width differs between builds: `u64`, `i64` |
/// | `String`, `Vec<T>` | no, they point into one process's heap: `[u8; N]`, `[T; N]` |
/// | pointers, references, `Box`, `Rc`, `Arc`, functions | no: an index, or an enum |
/// | tuples, `Option`, `Result` | no, their layout is unspecified: a struct, a flag beside the value |
///
/// # Safety
///
/// An implementation promises, and other unsafe code relies on it, that
///
/// 1. `Self` is self-contained: no part of it is an address, a reference, or anything else that only one process can
///    follow;
/// 2. `Self` has no padding: every byte of every value is initialised;
/// 3. `Self` has the same size and the same field offsets in every build, and [`SCHEMA`](Self::SCHEMA) describes them, so
///    that equal schemas mean equal layouts;
/// 4. [`is_valid`](Self::is_valid) returns `true` only for bytes that are a value of `Self`, whatever their alignment, and
///    is deterministic;
/// 5. [`ANY_BITS`](Self::ANY_BITS) is `true` only if *every* `size_of::<Self>()` bytes are a value of `Self`.
///
/// Nothing inside `Self` can be changed through a shared reference: that is `Copy`, which no cell has.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "derive")] {
/// use procshare::Shareable;
///
/// #[derive(Clone, Copy, Shareable)]
/// #[repr(u8)]
/// enum State {
///     Idle,
///     Busy,
/// }
///
/// #[derive(Clone, Copy, Shareable)]
/// #[repr(C)]
/// struct Worker {
///     done: u64,
///     state: State,
///     _pad: [u8; 7],
/// }
///
/// assert_eq!(Worker::SCHEMA.to_string(), "{done:u64,state:u8{Idle=0,Busy=1},_pad:[u8;7]}");
/// assert!(State::is_valid(&[1]));
/// assert!(!State::is_valid(&[2]));
/// # }
/// ```
///
/// Padding is refused when the program is compiled:
///
/// ```compile_fail
/// use procshare::Shareable;
///
/// #[derive(Clone, Copy, Shareable)]
/// #[repr(C)]
/// struct Worker {
///     done: u64,
///     busy: bool, // seven bytes missing
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot live in shared memory",
    label = "not `Shareable`",
    note = "a struct of your own: `#[derive(Clone, Copy, procshare::Shareable)]` and `#[repr(C)]`; an enum without fields: `#[repr(u8)]`",
    note = "`String` and `Vec` point into the heap of one process: use a fixed array such as `[u8; 64]`",
    note = "`usize` and `isize` differ in width between builds: use `u64` and `i64`",
    note = "pointers and references mean nothing to another process: use an index",
    note = "tuples and `Option` have no specified layout: use a `#[repr(C)]` struct, with a flag beside the value"
)]
pub unsafe trait Shareable: Copy + Send + Sync + 'static {
    /// Describes the bytes of a value.
    const SCHEMA: &'static Schema;

    /// Tells whether every bit pattern of the right length is a value.
    ///
    /// Array elements must have it, since an array is used in place.
    const ANY_BITS: bool;

    /// Checks whether `bytes`, in this machine's byte order, are a value.
    ///
    /// Bytes of any length but `size_of::<Self>()` are not. Their alignment does not matter.
    fn is_valid(bytes: &[u8]) -> bool;
}

/// Implements `Shareable` for scalars of which every bit pattern is a value.
macro_rules! any_bits {
    ($($scalar:ident)*) => {$(
        // SAFETY: a primitive integer or float holds no address and no padding, its width is part of its name, and every
        // bit pattern of that width is a value (of a float perhaps a NaN).
        unsafe impl Shareable for $scalar {
            const SCHEMA: &'static Schema = &Schema::Primitive(stringify!($scalar));
            const ANY_BITS: bool = true;

            #[inline]
            fn is_valid(bytes: &[u8]) -> bool {
                bytes.len() == size_of::<Self>()
            }
        }
    )*};
}

any_bits!(u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 f32 f64);

// SAFETY: `bool` is one byte in every build, and the language defines exactly 0 and 1 as its values.
unsafe impl Shareable for bool {
    const SCHEMA: &'static Schema = &Schema::Primitive("bool");
    const ANY_BITS: bool = false;

    #[inline]
    fn is_valid(bytes: &[u8]) -> bool {
        matches!(bytes, [0 | 1])
    }
}

// SAFETY: `char` has the size and bytes of `u32` in every build, and `char::from_u32` accepts exactly its values.
unsafe impl Shareable for char {
    const SCHEMA: &'static Schema = &Schema::Primitive("char");
    const ANY_BITS: bool = false;

    #[inline]
    fn is_valid(bytes: &[u8]) -> bool {
        <[u8; 4]>::try_from(bytes).is_ok_and(|bytes| char::from_u32(u32::from_ne_bytes(bytes)).is_some())
    }
}

// SAFETY: `()` has no bytes, hence no address and no padding, and its one value is the empty sequence of bytes.
unsafe impl Shareable for () {
    const SCHEMA: &'static Schema = &Schema::Struct { fields: &[] };
    const ANY_BITS: bool = true;

    #[inline]
    fn is_valid(bytes: &[u8]) -> bool {
        bytes.is_empty()
    }
}

// SAFETY: an array is its elements one after the other, `size_of::<T>()` apart, with nothing between or after them; so it
// is self-contained, free of padding and fixed in layout because `T` is, and valid exactly when each element is.
unsafe impl<T: Shareable, const N: usize> Shareable for [T; N] {
    const SCHEMA: &'static Schema = &Schema::Array {
        element: T::SCHEMA,
        len: N,
    };
    const ANY_BITS: bool = T::ANY_BITS;

    #[inline]
    fn is_valid(bytes: &[u8]) -> bool {
        if bytes.len() != size_of::<Self>() {
            return false;
        }
        if T::ANY_BITS || N == 0 {
            return true;
        }
        if size_of::<T>() == 0 {
            return T::is_valid(bytes);
        }
        bytes.chunks_exact(size_of::<T>()).all(T::is_valid)
    }
}

/// Returns the bytes of one field; for the derive.
#[doc(hidden)]
#[inline]
#[must_use]
pub fn field_bytes(bytes: &[u8], offset: usize, size: usize) -> Option<&[u8]> {
    bytes.get(offset..offset.checked_add(size)?)
}

/// Tells whether a struct of fields of these sizes is as large as the one that has bytes; for the derive.
#[doc(hidden)]
#[must_use]
pub const fn is_transparent(fields: &[usize], size: usize) -> bool {
    let (mut filled, mut i) = (0, 0);
    while i < fields.len() {
        if fields[i] > 0 {
            filled += 1;
        }
        if fields[i] != 0 && fields[i] != size {
            return false;
        }
        i += 1;
    }
    filled == (size > 0) as usize
}

/// Names the gap that makes a type unfit to be shared; for the derive.
///
/// A constant may panic with a text but cannot format one, so the text is put together here, byte by byte.
#[doc(hidden)]
pub struct PaddingMessage {
    buffer: [u8; Self::CAPACITY],
    len: usize,
}

impl PaddingMessage {
    const CAPACITY: usize = 512;

    /// Writes the message for `gap` bytes at `place` in the type called `name`.
    #[must_use]
    pub const fn new(name: &str, place: &str, gap: usize) -> Self {
        let bytes = if gap == 1 { " byte" } else { " bytes" };
        let gap = Decimal::new(gap as i128);
        let mut message = Self {
            buffer: [0; Self::CAPACITY],
            len: 0,
        };
        message.push(b"`");
        message.push(name.as_bytes());
        message.push(b"` cannot be shared: ");
        message.push(gap.digits());
        message.push(bytes.as_bytes());
        message.push(b" of padding ");
        message.push(place.as_bytes());
        message.push(b"; put the fields with the largest alignment first, or fill the gap with a field `_pad: [u8; ");
        message.push(gap.digits());
        message.push(b"]`");
        message
    }

    /// Returns the text, or a general one if the names did not fit.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        match core::str::from_utf8(self.buffer.split_at(self.len).0) {
            Ok(text) => text,
            Err(_) => "padding: reorder the fields, or fill the gap with a field `_pad: [u8; N]`",
        }
    }

    const fn push(&mut self, bytes: &[u8]) {
        let mut i = 0;
        while i < bytes.len() && self.len < Self::CAPACITY {
            self.buffer[self.len] = bytes[i];
            self.len += 1;
            i += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_message_names_type_place_and_size() {
        let message = PaddingMessage::new("Stats", "after field `busy`", 7);
        assert!(
            message
                .as_str()
                .starts_with("`Stats` cannot be shared: 7 bytes of padding after field `busy`;")
        );
        assert!(message.as_str().ends_with("`_pad: [u8; 7]`"));
    }

    #[test]
    fn padding_message_survives_names_that_do_not_fit() {
        let cut = "x".repeat(PaddingMessage::CAPACITY * 2);
        assert_eq!(
            PaddingMessage::new(&cut, "", 1).as_str().len(),
            PaddingMessage::CAPACITY
        );
        let cut_inside_a_character = "é".repeat(PaddingMessage::CAPACITY);
        assert!(
            PaddingMessage::new(&cut_inside_a_character, "", 1)
                .as_str()
                .starts_with("padding:")
        );
    }

    #[test]
    fn field_outside_the_bytes_is_none() {
        assert_eq!(field_bytes(&[1, 2, 3, 4], 2, 2), Some(&[3, 4][..]));
        assert_eq!(field_bytes(&[1, 2, 3, 4], 3, 2), None);
        assert_eq!(field_bytes(&[1, 2, 3, 4], usize::MAX, 2), None);
    }
}
