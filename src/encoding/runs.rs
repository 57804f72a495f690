//! `Run`: numbers of one type, one after the other, in the bytes of a message.
//!
//! A run that becomes a `Vec` as a whole is copied at once. To find out whether it does, `serde`'s own implementation for `Vec`
//! is asked: it shows its visitor to a deserializer that only looks, and code that brings the same visitor later is that same
//! implementation.

use super::fault::Fault;
use super::format::{DEEPEST, ElementType};
use super::numbers::{Number, each_number, id, is, same};
use core::any::TypeId;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, Visitor};
use std::collections::VecDeque;
use std::fmt;

/// Elements that have not been taken yet.
pub(super) struct Run<'de> {
    kind: ElementType,
    bytes: &'de [u8],
    len: usize,
}

impl<'de> Run<'de> {
    /// The caller has made sure that the bytes are whole elements.
    pub(super) fn new(kind: ElementType, bytes: &'de [u8]) -> Self {
        Run {
            kind,
            bytes,
            len: bytes.len() / kind.size(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn left(&self) -> usize {
        self.bytes.len() / self.kind.size()
    }
}

impl<'de> de::SeqAccess<'de> for &mut Run<'de> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some((element, rest)) = self
            .bytes
            .split_at_checked(self.kind.size())
            .filter(|(first, _)| !first.is_empty())
        else {
            return Ok(None);
        };
        self.bytes = rest;
        let number = Number::from_element(self.kind, element);
        match seed.deserialize(Element { number, options: 0 }) {
            Ok(value) => Ok(Some(value)),
            Err(fault) => Err(fault.at_index(self.len - self.left() - 1)),
        }
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left())
    }
}

/// An element, and how many options around it have been reported.
struct Element {
    number: Number,
    options: u8,
}

impl<'de> Deserializer<'de> for Element {
    type Error = Fault;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.number {
            Number::U8(number) => visitor.visit_u8(number),
            Number::U16(number) => visitor.visit_u16(number),
            Number::U32(number) => visitor.visit_u32(number),
            Number::U64(number) => visitor.visit_u64(number),
            wide @ (Number::U128(_) | Number::I128(_)) => visit_wide(wide, visitor),
            Number::I8(number) => visitor.visit_i8(number),
            Number::I16(number) => visitor.visit_i16(number),
            Number::I32(number) => visitor.visit_i32(number),
            Number::I64(number) => visitor.visit_i64(number),
            Number::F32(number) => visitor.visit_f32(number),
            Number::F64(number) => visitor.visit_f64(number),
        }
    }

    /// Takes no bytes, so options nested in options must be cut off here.
    #[inline]
    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Fault> {
        if self.options == DEEPEST {
            return Err(Fault::too_deep());
        }
        self.options += 1;
        visitor.visit_some(self)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

/// Passes on a 128-bit integer, as a shorter one if it fits: `serde` buffers no others.
pub(super) fn visit_wide<'de, V: Visitor<'de>>(number: Number, visitor: V) -> Result<V::Value, Fault> {
    match number {
        Number::I128(number) => match (u64::try_from(number), i64::try_from(number)) {
            (Ok(number), _) => visitor.visit_u64(number),
            (_, Ok(number)) => visitor.visit_i64(number),
            _ => visitor.visit_i128(number),
        },
        number => match u64::try_from(number.bits()) {
            Ok(number) => visitor.visit_u64(number),
            Err(_) => visitor.visit_u128(number.bits()),
        },
    }
}

/// The run as the value of the visitor of a `Vec` or `VecDeque` of the same numbers; `None` for any other visitor.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(super) fn bulk<'de, V: Visitor<'de>>(run: &Run<'de>) -> Option<Result<V::Value, Fault>> {
    if cfg!(target_endian = "big") {
        return None; // Decoded element by element.
    }
    macro_rules! find {
        ($($number:ident $kind:ident),*) => {$(
            if run.kind == ElementType::$kind && visitor_of::<Vec<$number>>() == Some(id::<V>()) && is::<V::Value, Vec<$number>>() {
                return Some(collect::<$number>(run.bytes).map(|values| {
                    // SAFETY: the two types have just been found to be the same.
                    unsafe { same::<Vec<$number>, V::Value>(values) }
                }));
            }
            if run.kind == ElementType::$kind && visitor_of::<VecDeque<$number>>() == Some(id::<V>()) && is::<V::Value, VecDeque<$number>>() {
                return Some(collect::<$number>(run.bytes).map(|values| {
                    // SAFETY: the two types have just been found to be the same.
                    unsafe { same::<VecDeque<$number>, V::Value>(values.into()) }
                }));
            }
        )*};
    }
    each_number!(find);
    None
}

/// Copies the numbers in `bytes`, which are of type `T`.
fn collect<T>(bytes: &[u8]) -> Result<Vec<T>, Fault>
where
    Number: From<T>,
{
    let (mut values, len) = (Vec::<T>::new(), bytes.len() / size_of::<T>());
    let outcome = values.try_reserve_exact(len);
    outcome.map_err(|_| Fault::NO_ROOM)?;
    // SAFETY: the vector has room for `len` elements, which are not more bytes than there are.
    unsafe {
        values
            .as_mut_ptr()
            .cast::<u8>()
            .copy_from_nonoverlapping(bytes.as_ptr(), len * size_of::<T>())
    };
    // SAFETY: that many elements have just been written, and any bytes are a number.
    unsafe { values.set_len(len) };
    Ok(values)
}

/// The visitor that a sequence's `Deserialize` uses.
#[inline(always)]
fn visitor_of<T: for<'de> Deserialize<'de>>() -> Option<TypeId> {
    T::deserialize(Probe).err().and_then(|Shown(visitor)| visitor)
}

/// Looks at the visitor it is given, and gives it nothing.
struct Probe;

struct Shown(Option<TypeId>);

impl<'de> Deserializer<'de> for Probe {
    type Error = Shown;

    #[inline(always)]
    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Shown> {
        Err(Shown(None))
    }

    #[inline(always)]
    fn deserialize_seq<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Shown> {
        Err(Shown(Some(id::<V>())))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing is decoded")
    }
}

impl std::error::Error for Shown {}

impl de::Error for Shown {
    fn custom<T: fmt::Display>(_message: T) -> Self {
        Shown(None)
    }
}
