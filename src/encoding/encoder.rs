//! `Encoder`: values as MessagePack.
//!
//! Numbers are as short as they can be, so that equal keys have equal bytes. Sequences whose elements are numbers of one type
//! become runs, which are copied as a whole if they lie side by side.

use super::fault::Fault;
use super::format::{DEEPEST, ElementType, FormatHeader, extension, marker};
use super::numbers::Number;
use super::output::{Output, WORD};
use serde::Serializer;

/// Encodes one value after another into an output.
pub(super) struct Encoder<'a, O> {
    pub(super) output: &'a mut O,
    /// How many more levels may be nested.
    levels: u8,
    /// Whether something was written that its own `Deserialize` may not read back.
    pub(super) is_doubtful: bool,
    /// Where an option was last begun, and how many have been begun there since.
    option_at: usize,
    options: u8,
}

impl<'a, O: Output> Encoder<'a, O> {
    pub(super) fn new(output: &'a mut O) -> Self {
        Encoder {
            output,
            levels: DEEPEST,
            is_doubtful: false,
            option_at: usize::MAX,
            options: 0,
        }
    }

    #[inline(always)]
    pub(super) fn byte(&mut self, byte: u8) -> Result<(), Fault> {
        self.output.put_word(byte.into(), 1)
    }

    /// A marker and a number of that many bytes, in big-endian order.
    #[inline(always)]
    pub(super) fn marked(&mut self, marker: u8, number: u64, bytes: u32) -> Result<(), Fault> {
        let number = number.swap_bytes() >> (64 - 8 * bytes);
        self.output
            .put_word(number << 8 | u64::from(marker), 1 + bytes as usize)
    }

    /// As `marked`, of eight bytes. They are written as one word, as readers read them.
    #[inline(always)]
    pub(super) fn marked_long(&mut self, marker: u8, number: u64) -> Result<(), Fault> {
        self.byte(marker)?;
        self.output.put_word(number.swap_bytes(), WORD)
    }

    #[inline(always)]
    pub(super) fn unsigned(&mut self, number: u64) -> Result<(), Fault> {
        if number < 0x80 {
            self.byte(number as u8)
        } else if number <= u8::MAX.into() {
            self.marked(marker::U8, number, 1)
        } else if number <= u16::MAX.into() {
            self.marked(marker::U16, number, 2)
        } else if number <= u32::MAX.into() {
            self.marked(marker::U32, number, 4)
        } else {
            self.marked_long(marker::U64, number)
        }
    }

    #[inline(always)]
    pub(super) fn signed(&mut self, number: i64) -> Result<(), Fault> {
        if let Ok(number) = u64::try_from(number) {
            self.unsigned(number)
        } else if number >= -32 {
            self.byte(number as u8)
        } else if number >= i8::MIN.into() {
            self.marked(marker::I8, number as u64, 1)
        } else if number >= i16::MIN.into() {
            self.marked(marker::I16, number as u64, 2)
        } else if number >= i32::MIN.into() {
            self.marked(marker::I32, number as u64, 4)
        } else {
            self.marked_long(marker::I64, number as u64)
        }
    }

    #[cold]
    pub(super) fn beyond_64_bits(&mut self, extension: u8, bits: u128) -> Result<(), Fault> {
        self.output.put(&[marker::FIX_EXT_16, extension])?;
        self.output.put(&bits.to_le_bytes())
    }

    /// Where fields are flattened, `serde` accepts no compound keys.
    #[inline(always)]
    pub(super) fn doubt_key(&mut self, start: usize) {
        let has_parts = |first| matches!(first, marker::FIX_MAP..marker::FIX_STR | marker::EXT_8..=marker::EXT_32 | marker::ARRAY_16..=marker::MAP_32 | marker::FIX_EXT_1..=marker::FIX_EXT_16);
        self.is_doubtful |= self.output.byte_at(start).is_none_or(has_parts);
    }

    /// What `serde` buffers, for an untagged enum for example, cannot hold a 128-bit integer.
    #[inline(always)]
    pub(super) fn doubt(&mut self, kind: ElementType) {
        self.is_doubtful |= matches!(kind, ElementType::U128 | ElementType::I128);
    }

    #[inline(always)]
    pub(super) fn header(&mut self, header: FormatHeader) -> Result<(), Fault> {
        self.output.put(header.bytes())
    }

    #[inline(always)]
    pub(super) fn array(&mut self, len: usize) -> Result<(), Fault> {
        if len < 16 {
            return self.byte(marker::FIX_ARRAY | len as u8);
        }
        self.header(FormatHeader::array(len))
    }

    #[inline(always)]
    pub(super) fn map(&mut self, len: usize) -> Result<(), Fault> {
        if len < 16 {
            return self.byte(marker::FIX_MAP | len as u8);
        }
        self.header(FormatHeader::map(len))
    }

    #[inline(always)]
    pub(super) fn text(&mut self, text: &str) -> Result<(), Fault> {
        match text.len() {
            len @ 0..32 => self.byte(marker::FIX_STR | len as u8)?,
            len @ 32..256 => self.marked(marker::STR_8, len as u64, 1)?,
            len => self.header(FormatHeader::text(len))?,
        }
        self.output.put(text.as_bytes())
    }

    /// A text known at compile time: it becomes constant words.
    #[inline(always)]
    pub(super) fn name(&mut self, name: &'static str) -> Result<(), Fault> {
        if name.len() >= 2 * WORD {
            return self.text(name);
        }
        let letters = name.as_bytes();
        let first = letters.iter().take(WORD - 1).rev();
        let first = first.fold(0, |word, letter| word << 8 | u64::from(*letter));
        let word = first << 8 | u64::from(marker::FIX_STR | letters.len() as u8);
        self.output.put_word(word, (1 + letters.len()).min(WORD))?;
        if letters.len() < WORD {
            return Ok(());
        }
        let rest = letters.iter().skip(WORD - 1).rev();
        let rest = rest.fold(0, |word, letter| word << 8 | u64::from(*letter));
        self.output.put_word(rest, letters.len() - (WORD - 1))
    }

    /// A number as an element of an array.
    fn number(&mut self, number: Number) -> Result<(), Fault> {
        match number {
            Number::U8(number) => self.serialize_u8(number),
            Number::U16(number) => self.serialize_u16(number),
            Number::U32(number) => self.serialize_u32(number),
            Number::U64(number) => self.serialize_u64(number),
            Number::U128(number) => self.serialize_u128(number),
            Number::I8(number) => self.serialize_i8(number),
            Number::I16(number) => self.serialize_i16(number),
            Number::I32(number) => self.serialize_i32(number),
            Number::I64(number) => self.serialize_i64(number),
            Number::I128(number) => self.serialize_i128(number),
            Number::F32(number) => self.serialize_f32(number),
            Number::F64(number) => self.serialize_f64(number),
        }
    }

    /// A number as an element of a run.
    #[inline(always)]
    pub(super) fn element(&mut self, number: Number) -> Result<(), Fault> {
        let (bits, size) = (number.bits(), number.kind().size());
        self.output.put_word(bits as u64, size.min(WORD))?;
        if size > WORD {
            self.output.put_word((bits >> 64) as u64, WORD)?;
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn enter(&mut self) -> Result<(), Fault> {
        self.levels = self.levels.checked_sub(1).ok_or_else(Fault::too_deep)?;
        Ok(())
    }

    #[inline(always)]
    pub(super) fn leave(&mut self) {
        self.levels += 1;
    }

    /// Begins a `Some`: nesting is limited by the depth, as it is for the reader.
    #[inline(always)]
    pub(super) fn begin_some(&mut self) -> Result<usize, Fault> {
        let start = self.output.len();
        if start != self.option_at {
            self.option_at = start;
            self.options = 0;
        } else if self.options == DEEPEST {
            return Err(Fault::too_deep());
        }
        self.options += 1;
        Ok(start)
    }

    /// Makes what begins at `start` a `Some`; only what would otherwise be read as `None` needs a mark.
    #[inline(always)]
    pub(super) fn wrap(&mut self, start: usize) -> Result<(), Fault> {
        if self.output.len() - start > 3 {
            return Ok(());
        }
        match *self.output.tail(start)? {
            [marker::NIL] => {
                // A type that reads options by hand may take two levels for one.
                self.is_doubtful = true;
                self.output.truncate(start);
                self.output.put(&[marker::FIX_EXT_1, extension::SOME, 1])
            }
            [marker::FIX_EXT_1, extension::SOME, DEEPEST] => Err(Fault::too_deep()),
            [marker::FIX_EXT_1, extension::SOME, ref mut wrapped] => {
                *wrapped += 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Replaces the header at `start`, which is `len` bytes long.
    #[cold]
    pub(super) fn replace_header(&mut self, start: usize, len: usize, header: FormatHeader) -> Result<(), Fault> {
        let (header, end) = (header.bytes(), self.output.len());
        if header.len() == len {
            return self.output.overwrite(start, header);
        }
        if header.len() > len {
            self.output.put(&[0; 16][..header.len() - len])?;
        }
        let tail = self.output.tail(start)?;
        tail.copy_within(len..end - start, header.len());
        tail[..header.len()].copy_from_slice(header);
        self.output.truncate(end - len + header.len());
        Ok(())
    }

    /// Turns the run at `start`, of `count` elements behind `header`, into an array.
    #[cold]
    pub(super) fn unmake_run(
        &mut self,
        start: usize,
        header: usize,
        kind: ElementType,
        count: usize,
    ) -> Result<(), Fault> {
        let elements = self.output.tail(start)?[header..].to_vec();
        self.output.truncate(start);
        self.array(count)?;
        for element in elements.chunks_exact(kind.size()) {
            self.number(Number::from_element(kind, element))?;
        }
        Ok(())
    }
}
