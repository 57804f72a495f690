//! `Decoder`: values from MessagePack.
//!
//! The bytes are not trusted: each length is compared with what is left before anything is taken or reserved, and the depth is
//! limited. What a marker says is passed on as it is; the type decides whether it fits.

use super::fault::Fault;
use super::format::{DEEPEST, ElementType, LONGEST, extension, long, marker};
use super::numbers::Number;
use super::runs::{Run, visit_wide};
use core::str::Utf8Error;
use serde::de::Visitor;

/// Decodes one value after another.
pub(super) struct Decoder<'de> {
    pub(super) rest: &'de [u8],
    /// How many more levels may be nested.
    pub(super) levels: u8,
    /// How many more elements and entries there can be: each takes a byte.
    unclaimed: usize,
    /// How many of the `Some`s around the next nil have been reported.
    told: u8,
    /// How much was left when an option was last reported, and how many have been reported there since.
    option_at: usize,
    options: u8,
}

/// What comes next.
pub(super) enum Head {
    Nil,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Wide(Number),
    F32(f32),
    F64(f64),
    Text(usize),
    Bytes(usize),
    Array(usize),
    Map(usize),
    Run(ElementType, usize),
    /// `Some`s around a nil.
    Wrapped,
}

impl<'de> Decoder<'de> {
    pub(super) fn new(bytes: &'de [u8]) -> Self {
        Decoder {
            rest: bytes,
            levels: DEEPEST,
            unclaimed: bytes.len(),
            told: 0,
            option_at: usize::MAX,
            options: 0,
        }
    }

    /// Whether all bytes have been taken.
    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline(always)]
    pub(super) fn take(&mut self, len: usize) -> Result<&'de [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(Fault::too_short)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline(always)]
    pub(super) fn array_of<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or_else(Fault::too_short)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline(always)]
    fn byte(&mut self) -> Result<u8, Fault> {
        self.array_of::<1>().map(|[byte]| byte)
    }

    #[inline(always)]
    fn length<const N: usize>(&mut self) -> Result<usize, Fault> {
        let mut bytes = [0; 8];
        bytes[8 - N..].copy_from_slice(&self.array_of::<N>()?);
        // A length that does not fit an address exceeds what is left.
        Ok(usize::try_from(u64::from_be_bytes(bytes)).unwrap_or(usize::MAX))
    }

    /// Takes what precedes a value's content, or the whole of a short value.
    pub(super) fn head(&mut self) -> Result<Head, Fault> {
        let marker = self.byte()?;
        Ok(match marker {
            0..marker::FIX_MAP => Head::Unsigned(marker.into()),
            marker::NEGATIVE.. => Head::Signed((marker as i8).into()),
            marker::FIX_MAP..marker::FIX_ARRAY => Head::Map((marker & 0x0f).into()),
            marker::FIX_ARRAY..marker::FIX_STR => Head::Array((marker & 0x0f).into()),
            marker::FIX_STR..marker::NIL => Head::Text((marker & 0x1f).into()),
            marker::NIL => Head::Nil,
            marker::FALSE => Head::Bool(false),
            marker::TRUE => Head::Bool(true),
            marker::U8 => Head::Unsigned(self.byte()?.into()),
            marker::U16 => Head::Unsigned(u16::from_be_bytes(self.array_of()?).into()),
            marker::U32 => Head::Unsigned(u32::from_be_bytes(self.array_of()?).into()),
            marker::U64 => Head::Unsigned(u64::from_be_bytes(self.array_of()?)),
            marker::I8 => Head::Signed((self.byte()? as i8).into()),
            marker::I16 => Head::Signed(i16::from_be_bytes(self.array_of()?).into()),
            marker::I32 => Head::Signed(i32::from_be_bytes(self.array_of()?).into()),
            marker::I64 => Head::Signed(i64::from_be_bytes(self.array_of()?)),
            marker::F32 => Head::F32(f32::from_be_bytes(self.array_of()?)),
            marker::F64 => Head::F64(f64::from_be_bytes(self.array_of()?)),
            marker::STR_8 => Head::Text(self.length::<1>()?),
            marker::STR_16 => Head::Text(self.length::<2>()?),
            marker::STR_32 => Head::Text(self.length::<4>()?),
            marker::BIN_8 => Head::Bytes(self.length::<1>()?),
            marker::BIN_16 => Head::Bytes(self.length::<2>()?),
            marker::BIN_32 => Head::Bytes(self.length::<4>()?),
            marker::ARRAY_16 => Head::Array(self.length::<2>()?),
            marker::ARRAY_32 => Head::Array(self.length::<4>()?),
            marker::MAP_16 => Head::Map(self.length::<2>()?),
            marker::MAP_32 => Head::Map(self.length::<4>()?),
            marker::EXT_8 => self.length::<1>().and_then(|len| self.extension(len))?,
            marker::EXT_16 => self.length::<2>().and_then(|len| self.extension(len))?,
            marker::EXT_32 => self.length::<4>().and_then(|len| self.extension(len))?,
            marker::FIX_EXT_1..=marker::FIX_EXT_16 => self.extension(1 << (marker - marker::FIX_EXT_1))?,
            _ => return Err(Fault::new(format!("expected a value, found the byte {marker:#04x}"))),
        })
    }

    #[cold]
    fn extension(&mut self, len: usize) -> Result<Head, Fault> {
        let extension = self.byte()?;
        Ok(match (extension, len) {
            (extension::SOME, 1) => match self.byte()? {
                0 => return Err(Fault::new("expected at least one Some in ext 1, found 0")),
                _ => Head::Wrapped,
            },
            (extension::U128, 16) => Head::Wide(Number::U128(u128::from_le_bytes(self.array_of()?))),
            (extension::I128, 16) => Head::Wide(Number::I128(i128::from_le_bytes(self.array_of()?))),
            (extension::LONG, 8) => {
                let word = u64::from_be_bytes(self.array_of()?);
                let len = usize::try_from(word & LONGEST).unwrap_or(usize::MAX);
                match ((word >> 56) as u8, ElementType::of_extension((word >> 56) as u8)) {
                    (long::STR, _) => Head::Text(len),
                    (long::BIN, _) => Head::Bytes(len),
                    (long::ARRAY, _) => Head::Array(len),
                    (long::MAP, _) => Head::Map(len),
                    (_, Some(kind)) => Head::Run(kind, len),
                    (what, _) => return Err(Fault::new(format!("unknown type {what} of a long value (ext 4)"))),
                }
            }
            _ => match ElementType::of_extension(extension) {
                Some(kind) => Head::Run(kind, len),
                None => {
                    let text = format!("unknown extension type {} of {len} bytes", extension as i8);
                    return Err(Fault::new(text));
                }
            },
        })
    }

    /// The elements of a run of that many bytes.
    pub(super) fn run(&mut self, kind: ElementType, len: usize) -> Result<Run<'de>, Fault> {
        let bytes = self.take(len)?;
        if len % kind.size() != 0 {
            return Err(Fault::new(format!(
                "a run of {len} bytes is not a whole number of elements"
            )));
        }
        Ok(Run::new(kind, bytes))
    }

    #[inline(always)]
    pub(super) fn text(&mut self, len: usize) -> Result<&'de str, Fault> {
        text_of(self.take(len)?).map_err(|_| Fault::new("a string is not valid UTF-8"))
    }

    /// Takes a text shorter than 256 bytes, if one comes next.
    #[inline(always)]
    pub(super) fn short_text(&mut self) -> Option<&'de str> {
        let (len, rest) = match self.rest {
            [marker @ marker::FIX_STR..marker::NIL, rest @ ..] => (marker & 0x1f, rest),
            [marker::STR_8, len, rest @ ..] => (*len, rest),
            _ => return None,
        };
        let (text, rest) = rest.split_at_checked(len.into())?;
        let text = text_of(text).ok()?;
        self.rest = rest;
        Some(text)
    }

    /// As `short_text`, but as a call, so that the functions around it are small enough to be inlined.
    #[inline(never)]
    pub(super) fn next_text(&mut self) -> Option<&'de str> {
        self.short_text()
    }

    #[inline(always)]
    pub(super) fn enter(&mut self) -> Result<(), Fault> {
        self.levels = self.levels.checked_sub(1).ok_or_else(Fault::too_deep)?;
        Ok(())
    }

    /// Checks that the remaining bytes can hold that many elements or entries of at least that many bytes each; for sequences
    /// in sequences too, since otherwise the memory reserved for each of them would add up to a multiple of the bytes.
    #[inline(always)]
    pub(super) fn claim(&mut self, count: usize, least: usize) -> Result<(), Fault> {
        if count > self.rest.len() / least {
            return Err(Fault::too_short());
        }
        let left = self.unclaimed.checked_sub(count * least);
        self.unclaimed = left.ok_or_else(Fault::too_short)?;
        Ok(())
    }

    /// Takes no bytes, so options nested in options must be cut off here, whatever the bytes.
    #[inline(always)]
    pub(super) fn visit_some<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Fault> {
        if self.rest.len() != self.option_at {
            self.option_at = self.rest.len();
            self.options = 0;
        } else if self.options == DEEPEST {
            return Err(Fault::too_deep());
        }
        self.options += 1;
        visitor.visit_some(self)
    }

    /// A nil in `Some`s: reports the next one, or the nil.
    #[cold]
    pub(super) fn visit_wrapped<V: Visitor<'de>>(
        &mut self,
        wrapped: u8,
        visitor: V,
        is_option: bool,
    ) -> Result<V::Value, Fault> {
        if self.told < wrapped {
            self.told += 1;
            return self.visit_some(visitor);
        }
        self.told = 0;
        self.rest = &self.rest[3..];
        if is_option {
            visitor.visit_none()
        } else {
            visitor.visit_unit()
        }
    }

    /// The depth of `Some`s around the nil that comes next, if one does.
    #[inline(always)]
    pub(super) fn wrapped(&self) -> Option<u8> {
        match self.rest {
            [marker::FIX_EXT_1, extension::SOME, wrapped, ..] => Some(*wrapped).filter(|wrapped| *wrapped > 0),
            _ => None,
        }
    }

    /// Passes on whatever comes next.
    pub(super) fn visit<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Fault> {
        if let Some(wrapped) = self.wrapped() {
            return self.visit_wrapped(wrapped, visitor, false);
        }
        match self.head()? {
            Head::Nil => visitor.visit_unit(),
            Head::Bool(value) => visitor.visit_bool(value),
            Head::Unsigned(number) => visitor.visit_u64(number),
            Head::Signed(number) => visitor.visit_i64(number),
            Head::Wide(number) => visit_wide(number, visitor),
            Head::F32(number) => visitor.visit_f32(number),
            Head::F64(number) => visitor.visit_f64(number),
            Head::Text(len) => visitor.visit_borrowed_str(self.text(len)?),
            Head::Bytes(len) => visitor.visit_borrowed_bytes(self.take(len)?),
            Head::Array(len) => self.visit_array(len, visitor),
            Head::Map(len) => self.visit_map(len, visitor),
            Head::Run(kind, len) => {
                let run = self.run(kind, len)?;
                self.visit_run(run, visitor)
            }
            Head::Wrapped => Err(Fault::new("expected ext 1 as fixext 1, found a longer form")),
        }
    }

    /// Takes a number that is not negative, if one comes next.
    #[inline(always)]
    pub(super) fn unsigned(&mut self) -> Option<u64> {
        let (number, rest) = match self.rest {
            [number @ 0..marker::FIX_MAP, rest @ ..] => (u64::from(*number), rest),
            [marker::U8, number, rest @ ..] => (u64::from(*number), rest),
            [marker::U16, a, b, rest @ ..] => (u16::from_be_bytes([*a, *b]).into(), rest),
            [marker::U32, a, b, c, d, rest @ ..] => (u32::from_be_bytes([*a, *b, *c, *d]).into(), rest),
            [marker::U64, rest @ ..] => {
                let (number, rest) = rest.split_first_chunk()?;
                (u64::from_be_bytes(*number), rest)
            }
            _ => return None,
        };
        self.rest = rest;
        Some(number)
    }

    /// Reports an unexpected value. The value is moved to this function's frame, so that others can stay in registers.
    #[inline(always)]
    pub(super) fn visit_other<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Fault> {
        let value = self.visit_cold(visitor)?;
        Ok(value)
    }

    #[cold]
    #[inline(never)]
    fn visit_cold<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(visitor)
    }

    /// Skips a value, without recursion.
    pub(super) fn skip(&mut self) -> Result<(), Fault> {
        self.told = 0;
        let mut values = 1u64;
        while values > 0 {
            values -= 1;
            match self.head()? {
                Head::Text(len) | Head::Bytes(len) | Head::Run(_, len) => drop(self.take(len)?),
                Head::Array(len) => {
                    self.claim(len, 1)?;
                    values += len as u64;
                }
                Head::Map(len) => {
                    self.claim(len, 2)?;
                    values += 2 * len as u64;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// These bytes as text.
#[inline(always)]
fn text_of(bytes: &[u8]) -> Result<&str, Utf8Error> {
    let is_plain = if bytes.len() <= 16 {
        is_ascii(bytes)
    } else {
        is_ascii_long(bytes)
    };
    if is_plain {
        // SAFETY: ASCII is UTF-8.
        return Ok(unsafe { core::str::from_utf8_unchecked(bytes) });
    }
    core::str::from_utf8(bytes)
}

/// Whether all bytes, sixteen at most, are ASCII. They are read as two pieces that may overlap.
#[inline(always)]
fn is_ascii(bytes: &[u8]) -> bool {
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        (u64::from_ne_bytes(*first) | u64::from_ne_bytes(*last)) & 0x8080_8080_8080_8080 == 0
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        (u32::from_ne_bytes(*first) | u32::from_ne_bytes(*last)) & 0x8080_8080 == 0
    } else {
        bytes.iter().fold(0, |all, byte| all | byte) < 0x80
    }
}

/// As [`is_ascii`], for sixteen bytes or more. All are looked at, whatever the first are: stopping early costs more.
#[inline(never)]
fn is_ascii_long(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk::<16>() else {
        return false;
    };
    let words = bytes.chunks_exact(16).filter_map(|word| word.first_chunk::<16>());
    let all = words.fold(u128::from_ne_bytes(*last), |all, word| all | u128::from_ne_bytes(*word));
    all & u128::from_ne_bytes([0x80; 16]) == 0
}

/// Describes an encoded key in words.
#[cold]
pub(super) fn key_text(key: &[u8]) -> String {
    let mut decoder = Decoder::new(key);
    match decoder.head() {
        Ok(Head::Text(len)) => decoder.text(len).unwrap_or("?").to_owned(),
        Ok(Head::Unsigned(number)) => number.to_string(),
        Ok(Head::Signed(number)) => number.to_string(),
        Ok(Head::Bool(value)) => value.to_string(),
        _ => "(value)".to_owned(),
    }
}
