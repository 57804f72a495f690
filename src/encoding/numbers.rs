//! `Number`: what runs consist of, recognised in generic code by its type.
//!
//! Everything here rests on the equality of type ids alone: the numeric types have no lifetimes and no padding, so a type that
//! has the id of one is that one.

use super::format::ElementType;
use core::any::TypeId;
use core::mem::{ManuallyDrop, transmute_copy};
use std::collections::VecDeque;

/// A number, and its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    U8(u8),
    U16(u16),
    U32(u32),
    U64(u64),
    U128(u128),
    I8(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    I128(i128),
    F32(f32),
    F64(f64),
}

#[cfg(target_pointer_width = "64")]
macro_rules! each_number {
    ($each:ident) => {
        $each! { u8 U8, u16 U16, u32 U32, u64 U64, u128 U128, i8 I8, i16 I16, i32 I32, i64 I64, i128 I128, f32 F32, f64 F64,
        usize U64, isize I64 }
    };
}
#[cfg(not(target_pointer_width = "64"))]
macro_rules! each_number {
    ($each:ident) => {
        $each! { u8 U8, u16 U16, u32 U32, u64 U64, u128 U128, i8 I8, i16 I16, i32 I32, i64 I64, i128 I128, f32 F32, f64 F64,
        usize U32, isize I32 }
    };
}
pub(super) use each_number;

/// Whether two types are the same, apart from lifetimes.
#[inline(always)]
pub(super) fn is<T: ?Sized, U: ?Sized>() -> bool {
    typeid::of::<T>() == typeid::of::<U>()
}

/// The id of a type, with all its lifetimes taken as `'static`.
#[inline(always)]
pub(super) fn id<T: ?Sized>() -> TypeId {
    typeid::of::<T>()
}

/// `value`, which is a `U` already.
///
/// # Safety
///
/// `T` and `U` are the same type.
#[inline(always)]
pub(super) unsafe fn same<T, U>(value: T) -> U {
    let value = ManuallyDrop::new(value);
    // SAFETY: a ManuallyDrop<T> is as T, which the caller knows to be U; the value is not used again.
    unsafe { transmute_copy::<ManuallyDrop<T>, U>(&value) }
}

impl Number {
    /// The number that `value` is, or refers to.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn of<T: ?Sized>(value: &T) -> Option<Self> {
        let address = core::ptr::from_ref(value).cast::<u8>();
        macro_rules! find {
            ($($number:ident $kind:ident),*) => {$(
                if is::<T, $number>() {
                    // SAFETY: T is this type, and `value` refers to one.
                    return Some(Number::from(unsafe { *address.cast::<$number>() }));
                }
                if is::<T, &$number>() {
                    // SAFETY: T is a reference to this type, and lives as long as `value` does.
                    return Some(Number::from(*unsafe { *address.cast::<&$number>() }));
                }
            )*};
        }
        each_number!(find);
        None
    }

    #[inline(always)]
    pub(super) fn kind(self) -> ElementType {
        match self {
            Number::U8(_) => ElementType::U8,
            Number::U16(_) => ElementType::U16,
            Number::U32(_) => ElementType::U32,
            Number::U64(_) => ElementType::U64,
            Number::U128(_) => ElementType::U128,
            Number::I8(_) => ElementType::I8,
            Number::I16(_) => ElementType::I16,
            Number::I32(_) => ElementType::I32,
            Number::I64(_) => ElementType::I64,
            Number::I128(_) => ElementType::I128,
            Number::F32(_) => ElementType::F32,
            Number::F64(_) => ElementType::F64,
        }
    }

    /// Its bits; the rest is zero.
    #[inline(always)]
    pub(super) fn bits(self) -> u128 {
        match self {
            Number::U8(number) => number.into(),
            Number::U16(number) => number.into(),
            Number::U32(number) => number.into(),
            Number::U64(number) => number.into(),
            Number::U128(number) => number,
            Number::I8(number) => (number as u8).into(),
            Number::I16(number) => (number as u16).into(),
            Number::I32(number) => (number as u32).into(),
            Number::I64(number) => (number as u64).into(),
            Number::I128(number) => number as u128,
            Number::F32(number) => number.to_bits().into(),
            Number::F64(number) => number.to_bits().into(),
        }
    }

    #[inline(always)]
    pub(super) fn from_bits(kind: ElementType, bits: u128) -> Self {
        match kind {
            ElementType::U8 => Number::U8(bits as u8),
            ElementType::U16 => Number::U16(bits as u16),
            ElementType::U32 => Number::U32(bits as u32),
            ElementType::U64 => Number::U64(bits as u64),
            ElementType::U128 => Number::U128(bits),
            ElementType::I8 => Number::I8(bits as i8),
            ElementType::I16 => Number::I16(bits as i16),
            ElementType::I32 => Number::I32(bits as i32),
            ElementType::I64 => Number::I64(bits as i64),
            ElementType::I128 => Number::I128(bits as i128),
            ElementType::F32 => Number::F32(f32::from_bits(bits as u32)),
            ElementType::F64 => Number::F64(f64::from_bits(bits as u64)),
        }
    }

    /// The number in an element of a run, which has as many bytes as the kind says.
    #[inline(always)]
    pub(super) fn from_element(kind: ElementType, element: &[u8]) -> Self {
        macro_rules! read {
            ($number:ident) => {
                element
                    .first_chunk()
                    .map_or(0, |bytes| $number::from_le_bytes(*bytes))
                    .into()
            };
        }
        let bits = match kind.size() {
            1 => read!(u8),
            2 => read!(u16),
            4 => read!(u32),
            8 => read!(u64),
            _ => read!(u128),
        };
        Number::from_bits(kind, bits)
    }
}

macro_rules! from_numbers {
    ($($number:ident $kind:ident),*) => {$(
        impl From<$number> for Number {
            #[inline(always)]
            fn from(number: $number) -> Self {
                Number::$kind(number as _)
            }
        }
    )*};
}
each_number!(from_numbers);

/// Neighbouring elements of a run in memory of this process, in one or two pieces.
pub(super) struct Pieces<'a> {
    pub(super) kind: ElementType,
    pub(super) pieces: [&'a [u8]; 2],
}

/// The bytes of some numbers, in little-endian order.
#[cfg(target_endian = "little")]
fn bytes_of<T: Into<Number>>(numbers: &[T]) -> &[u8] {
    // SAFETY: only the numeric types become a Number: initialised bytes without padding.
    unsafe { core::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
}

/// The numbers of a collection that stores them side by side; on hosts with another byte order they are encoded one by one.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(super) fn pieces_of<I>(collection: &I) -> Option<Pieces<'_>> {
    #[cfg(target_endian = "little")]
    {
        let address = core::ptr::from_ref(collection);
        macro_rules! find {
            ($($number:ident $kind:ident),*) => {$(
                if is::<I, &Vec<$number>>() {
                    // SAFETY: I is such a reference, and lives as long as `collection` does.
                    let numbers = unsafe { *address.cast::<&Vec<$number>>() };
                    return Some(Pieces { kind: ElementType::$kind, pieces: [bytes_of(numbers), &[]] });
                }
                if is::<I, &[$number]>() {
                    // SAFETY: I is such a slice, and lives as long as `collection` does.
                    let numbers = unsafe { *address.cast::<&[$number]>() };
                    return Some(Pieces { kind: ElementType::$kind, pieces: [bytes_of(numbers), &[]] });
                }
                if is::<I, &VecDeque<$number>>() {
                    // SAFETY: I is a reference to such a ring, and lives as long as `collection` does.
                    let (first, second) = unsafe { *address.cast::<&VecDeque<$number>>() }.as_slices();
                    return Some(Pieces { kind: ElementType::$kind, pieces: [bytes_of(first), bytes_of(second)] });
                }
            )*};
        }
        each_number!(find);
    }
    None
}
