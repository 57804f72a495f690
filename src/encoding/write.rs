//! `Encoder`: values as MessagePack.
//!
//! Numbers are as short as they can be, so that equal keys have equal bytes. Sequences whose elements are numbers of one type
//! become runs, which are copied as a whole where they lie side by side.

use super::fault::Fault;
use super::format::{DEEPEST, Header, Kind, SHORTEST_RUN, extension, marker};
use super::numbers::{Number, Pieces, pieces_of};
use super::output::{Output, WORD};
use serde::Serialize;
use serde::ser::{self, Serializer};

/// Encodes one value after another into an output.
pub(super) struct Encoder<'a, O> {
    output: &'a mut O,
    /// How many levels more may be nested.
    levels: u8,
    /// Whether there was something that its own `Deserialize` may not take back.
    pub(super) is_doubtful: bool,
}

impl<'a, O: Output> Encoder<'a, O> {
    pub(super) fn new(output: &'a mut O) -> Self {
        Encoder {
            output,
            levels: DEEPEST,
            is_doubtful: false,
        }
    }

    #[inline(always)]
    fn byte(&mut self, byte: u8) -> Result<(), Fault> {
        self.output.put_word(byte.into(), 1)
    }

    /// A marker and a number of so many bytes, the high ones first.
    #[inline(always)]
    fn marked(&mut self, marker: u8, number: u64, bytes: u32) -> Result<(), Fault> {
        let number = number.swap_bytes() >> (64 - 8 * bytes);
        self.output
            .put_word(number << 8 | u64::from(marker), 1 + bytes as usize)
    }

    /// As `marked`, of eight bytes.
    #[inline(always)]
    fn marked_long(&mut self, marker: u8, number: u64) -> Result<(), Fault> {
        let number = number.swap_bytes();
        self.output.put_word(number << 8 | u64::from(marker), WORD)?;
        self.output.put_word(number >> 56, 1)
    }

    #[inline(always)]
    fn unsigned(&mut self, number: u64) -> Result<(), Fault> {
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
    fn signed(&mut self, number: i64) -> Result<(), Fault> {
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
    fn beyond_64_bits(&mut self, extension: u8, bits: u128) -> Result<(), Fault> {
        self.output.put(&[marker::FIX_EXT_16, extension])?;
        self.output.put(&bits.to_le_bytes())
    }

    /// What `serde` buffers, for an untagged enum say, can be no integer of 128 bits.
    #[inline(always)]
    fn doubt(&mut self, kind: Kind) {
        self.is_doubtful |= matches!(kind, Kind::U128 | Kind::I128);
    }

    #[inline(always)]
    fn header(&mut self, header: Header) -> Result<(), Fault> {
        self.output.put(header.bytes())
    }

    #[inline(always)]
    fn array(&mut self, len: usize) -> Result<(), Fault> {
        if len < 16 {
            return self.byte(marker::FIX_ARRAY | len as u8);
        }
        self.header(Header::array(len))
    }

    #[inline(always)]
    fn map(&mut self, len: usize) -> Result<(), Fault> {
        if len < 16 {
            return self.byte(marker::FIX_MAP | len as u8);
        }
        self.header(Header::map(len))
    }

    #[inline(always)]
    fn text(&mut self, text: &str) -> Result<(), Fault> {
        if text.len() < 32 {
            self.byte(marker::FIX_STR | text.len() as u8)?;
        } else {
            self.header(Header::text(text.len()))?;
        }
        self.output.put(text.as_bytes())
    }

    /// A text the compiler knows: it becomes words that are constants.
    #[inline(always)]
    fn name(&mut self, name: &'static str) -> Result<(), Fault> {
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
    fn element(&mut self, number: Number) -> Result<(), Fault> {
        let (bits, size) = (number.bits(), number.kind().size());
        self.output.put_word(bits as u64, size.min(WORD))?;
        if size > WORD {
            self.output.put_word((bits >> 64) as u64, WORD)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn enter(&mut self) -> Result<(), Fault> {
        self.levels = self.levels.checked_sub(1).ok_or_else(Fault::too_deep)?;
        Ok(())
    }

    #[inline(always)]
    fn leave(&mut self) {
        self.levels += 1;
    }

    /// Makes what begins at `start` a `Some`, which only what else would be read as `None` needs to be told of.
    #[inline(always)]
    fn wrap(&mut self, start: usize) -> Result<(), Fault> {
        match *self.output.tail(start) {
            [marker::NIL] => {
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

    /// Puts another header in the place of that at `start`, which is `len` bytes long.
    #[cold]
    fn replace_header(&mut self, start: usize, len: usize, header: Header) -> Result<(), Fault> {
        let (header, end) = (header.bytes(), self.output.len());
        if header.len() > len {
            self.output.put(&[0; 16][..header.len() - len])?;
        }
        let tail = self.output.tail(start);
        tail.copy_within(len..end - start, header.len());
        tail[..header.len()].copy_from_slice(header);
        self.output.truncate(end - len + header.len());
        Ok(())
    }

    /// Makes the run at `start`, of `count` elements behind `header`, an array.
    #[cold]
    fn unmake_run(&mut self, start: usize, header: usize, kind: Kind, count: usize) -> Result<(), Fault> {
        let elements = self.output.tail(start)[header..].to_vec();
        self.output.truncate(start);
        self.array(count)?;
        for element in elements.chunks_exact(kind.size()) {
            self.number(Number::from_element(kind, element))?;
        }
        Ok(())
    }
}

impl<'a, 'b, O: Output> Serializer for &'a mut Encoder<'b, O> {
    type Ok = ();
    type Error = Fault;
    type SerializeSeq = Elements<'a, 'b, O>;
    type SerializeTuple = Elements<'a, 'b, O>;
    type SerializeTupleStruct = Elements<'a, 'b, O>;
    type SerializeTupleVariant = Elements<'a, 'b, O>;
    type SerializeMap = Entries<'a, 'b, O>;
    type SerializeStruct = Entries<'a, 'b, O>;
    type SerializeStructVariant = Entries<'a, 'b, O>;

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), Fault> {
        self.byte(if value { marker::TRUE } else { marker::FALSE })
    }

    #[inline]
    fn serialize_i8(self, number: i8) -> Result<(), Fault> {
        self.signed(number.into())
    }

    #[inline]
    fn serialize_i16(self, number: i16) -> Result<(), Fault> {
        self.signed(number.into())
    }

    #[inline]
    fn serialize_i32(self, number: i32) -> Result<(), Fault> {
        self.signed(number.into())
    }

    #[inline]
    fn serialize_i64(self, number: i64) -> Result<(), Fault> {
        self.signed(number)
    }

    #[inline]
    fn serialize_i128(self, number: i128) -> Result<(), Fault> {
        self.doubt(Kind::I128);
        match (u64::try_from(number), i64::try_from(number)) {
            (Ok(number), _) => self.unsigned(number),
            (_, Ok(number)) => self.signed(number),
            _ => self.beyond_64_bits(extension::I128, number as u128),
        }
    }

    #[inline]
    fn serialize_u8(self, number: u8) -> Result<(), Fault> {
        self.unsigned(number.into())
    }

    #[inline]
    fn serialize_u16(self, number: u16) -> Result<(), Fault> {
        self.unsigned(number.into())
    }

    #[inline]
    fn serialize_u32(self, number: u32) -> Result<(), Fault> {
        self.unsigned(number.into())
    }

    #[inline]
    fn serialize_u64(self, number: u64) -> Result<(), Fault> {
        self.unsigned(number)
    }

    #[inline]
    fn serialize_u128(self, number: u128) -> Result<(), Fault> {
        self.doubt(Kind::U128);
        match u64::try_from(number) {
            Ok(number) => self.unsigned(number),
            Err(_) => self.beyond_64_bits(extension::U128, number),
        }
    }

    #[inline]
    fn serialize_f32(self, number: f32) -> Result<(), Fault> {
        self.marked(marker::F32, number.to_bits().into(), 4)
    }

    #[inline]
    fn serialize_f64(self, number: f64) -> Result<(), Fault> {
        self.marked_long(marker::F64, number.to_bits())
    }

    fn serialize_char(self, letter: char) -> Result<(), Fault> {
        self.text(letter.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Result<(), Fault> {
        self.text(text)
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Fault> {
        self.header(Header::bytes_of(bytes.len()))?;
        self.output.put(bytes)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Fault> {
        self.byte(marker::NIL)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Fault> {
        let start = self.output.len();
        value.serialize(&mut *self)?;
        self.wrap(start)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Fault> {
        self.byte(marker::NIL)
    }

    #[inline]
    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Fault> {
        self.byte(marker::NIL)
    }

    #[inline]
    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Result<(), Fault> {
        self.name(variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Result<(), Fault> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        self.enter()?;
        self.byte(marker::FIX_MAP | 1)?;
        self.name(variant)?;
        value.serialize(&mut *self).map_err(|fault| fault.in_field(variant))?;
        self.leave();
        Ok(())
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Elements<'a, 'b, O>, Fault> {
        Elements::begin(self, len.unwrap_or(0), None)
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Elements<'a, 'b, O>, Fault> {
        Elements::begin(self, len, None)
    }

    #[inline]
    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<Elements<'a, 'b, O>, Fault> {
        Elements::begin(self, len, None)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Elements<'a, 'b, O>, Fault> {
        self.enter()?;
        self.byte(marker::FIX_MAP | 1)?;
        self.name(variant)?;
        Elements::begin(self, len, Some(variant))
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Entries<'a, 'b, O>, Fault> {
        Entries::begin(self, len.unwrap_or(0), None)
    }

    #[inline]
    fn serialize_struct(self, _name: &'static str, len: usize) -> Result<Entries<'a, 'b, O>, Fault> {
        Entries::begin(self, len, None)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Entries<'a, 'b, O>, Fault> {
        self.enter()?;
        self.byte(marker::FIX_MAP | 1)?;
        self.name(variant)?;
        Entries::begin(self, len, Some(variant))
    }

    /// Collections come here as a whole: those of numbers side by side are copied.
    #[inline]
    fn collect_seq<I>(self, collection: I) -> Result<(), Fault>
    where
        I: IntoIterator<Item: Serialize>,
    {
        if let Some(Pieces { kind, pieces }) = pieces_of(&collection) {
            let len = pieces[0].len() + pieces[1].len();
            if len >= SHORTEST_RUN * kind.size() {
                self.doubt(kind);
                self.enter()?;
                self.leave();
                self.header(Header::run(kind, len))?;
                self.output.put(pieces[0])?;
                return self.output.put(pieces[1]);
            }
        }
        let mut items = collection.into_iter();
        let len = match items.size_hint() {
            (least, Some(most)) if least == most => Some(most),
            _ => None,
        };
        let mut elements = self.serialize_seq(len)?;
        items.try_for_each(|item| ser::SerializeSeq::serialize_element(&mut elements, &item))?;
        ser::SerializeSeq::end(elements)
    }
}

/// A sequence under way.
pub(super) struct Elements<'a, 'b, O> {
    encoder: &'a mut Encoder<'b, O>,
    start: usize,
    /// Bytes of the header there.
    header: usize,
    declared: usize,
    count: usize,
    /// Its elements so far are numbers of this type, and lie side by side.
    run: Option<Kind>,
    variant: Option<&'static str>,
}

impl<'a, 'b, O: Output> Elements<'a, 'b, O> {
    #[inline(always)]
    fn begin(encoder: &'a mut Encoder<'b, O>, declared: usize, variant: Option<&'static str>) -> Result<Self, Fault> {
        encoder.enter()?;
        let start = encoder.output.len();
        encoder.array(declared)?;
        Ok(Elements {
            header: encoder.output.len() - start,
            encoder,
            start,
            declared,
            count: 0,
            run: None,
            variant,
        })
    }

    #[inline(always)]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        // What the compiler knows not to be a number needs none of this, and short sequences none either.
        if self.declared >= SHORTEST_RUN {
            let number = Number::of(value);
            if self.count == 0 {
                self.begin_run(number)?;
            }
            if let Some(kind) = self.run {
                match number.filter(|number| number.kind() == kind) {
                    Some(number) => {
                        self.count += 1;
                        return self.encoder.element(number);
                    }
                    None => self.end_run(kind)?,
                }
            }
        }
        let count = self.count;
        let outcome = value.serialize(&mut *self.encoder);
        outcome.map_err(|fault| self.locate(fault.at_index(count)))?;
        self.count += 1;
        Ok(())
    }

    /// Begins a run, if the first element is a number.
    #[inline(always)]
    fn begin_run(&mut self, first: Option<Number>) -> Result<(), Fault> {
        let Some(kind) = first.map(Number::kind) else {
            return Ok(());
        };
        self.run = Some(kind);
        self.encoder.doubt(kind);
        self.encoder.output.truncate(self.start);
        let bytes = self.declared.checked_mul(kind.size()).ok_or_else(Fault::too_short)?;
        self.encoder.header(Header::run(kind, bytes))?;
        self.header = self.encoder.output.len() - self.start;
        Ok(())
    }

    /// The elements so far become an array: there is one of another type, or not as many as were declared.
    #[cold]
    fn end_run(&mut self, kind: Kind) -> Result<(), Fault> {
        self.run = None;
        self.encoder.unmake_run(self.start, self.header, kind, self.count)?;
        self.header = Header::array(self.count).bytes().len();
        self.encoder
            .replace_header(self.start, self.header, Header::array(self.declared))?;
        self.header = Header::array(self.declared).bytes().len();
        Ok(())
    }

    #[cold]
    fn locate(&self, fault: Fault) -> Fault {
        match self.variant {
            Some(variant) => fault.in_field(variant),
            None => fault,
        }
    }

    #[inline(always)]
    fn finish(mut self) -> Result<(), Fault> {
        if self.count != self.declared {
            self.correct()?;
        }
        self.encoder.leave();
        if self.variant.is_some() {
            self.encoder.leave();
        }
        Ok(())
    }

    /// What was declared was not so, or not known.
    #[cold]
    fn correct(&mut self) -> Result<(), Fault> {
        if let Some(kind) = self.run {
            self.end_run(kind)?;
        }
        self.encoder
            .replace_header(self.start, self.header, Header::array(self.count))
    }
}

macro_rules! sequences {
    ($($sequence:ident $element:ident),*) => {$(
        impl<O: Output> ser::$sequence for Elements<'_, '_, O> {
            type Ok = ();
            type Error = Fault;

            #[inline]
            fn $element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
                self.element(value)
            }

            #[inline]
            fn end(self) -> Result<(), Fault> {
                self.finish()
            }
        }
    )*};
}
sequences!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

/// A map or struct under way.
pub(super) struct Entries<'a, 'b, O> {
    encoder: &'a mut Encoder<'b, O>,
    start: usize,
    declared: usize,
    count: usize,
    /// Where the last key begins.
    key: usize,
    variant: Option<&'static str>,
}

impl<'a, 'b, O: Output> Entries<'a, 'b, O> {
    #[inline(always)]
    fn begin(encoder: &'a mut Encoder<'b, O>, declared: usize, variant: Option<&'static str>) -> Result<Self, Fault> {
        encoder.enter()?;
        let start = encoder.output.len();
        encoder.map(declared)?;
        Ok(Entries {
            encoder,
            start,
            declared,
            count: 0,
            key: 0,
            variant,
        })
    }

    #[inline(always)]
    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Fault> {
        self.count += 1;
        self.encoder.name(name)?;
        let outcome = value.serialize(&mut *self.encoder);
        outcome.map_err(|fault| self.locate(fault.in_field(name)))
    }

    #[cold]
    fn locate(&self, fault: Fault) -> Fault {
        match self.variant {
            Some(variant) => fault.in_field(variant),
            None => fault,
        }
    }

    #[inline(always)]
    fn finish(self) -> Result<(), Fault> {
        if self.count != self.declared {
            let header = Header::map(self.declared).bytes().len();
            self.encoder
                .replace_header(self.start, header, Header::map(self.count))?;
        }
        self.encoder.leave();
        if self.variant.is_some() {
            self.encoder.leave();
        }
        Ok(())
    }
}

impl<O: Output> ser::SerializeMap for Entries<'_, '_, O> {
    type Ok = ();
    type Error = Fault;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Fault> {
        self.key = self.encoder.output.len();
        let count = self.count;
        let outcome = key.serialize(&mut *self.encoder);
        outcome.map_err(|fault| fault.at_index(count).in_field("(keys)"))
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        let end = self.encoder.output.len();
        let outcome = value.serialize(&mut *self.encoder);
        outcome.map_err(|fault| {
            let key = super::read::key_text(&self.encoder.output.tail(self.key)[..end - self.key]);
            fault.in_field(&key)
        })?;
        self.count += 1;
        Ok(())
    }

    #[inline]
    fn end(self) -> Result<(), Fault> {
        self.finish()
    }
}

impl<O: Output> ser::SerializeStruct for Entries<'_, '_, O> {
    type Ok = ();
    type Error = Fault;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Fault> {
        self.field(name, value)
    }

    #[inline]
    fn end(self) -> Result<(), Fault> {
        self.finish()
    }
}

impl<O: Output> ser::SerializeStructVariant for Entries<'_, '_, O> {
    type Ok = ();
    type Error = Fault;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Fault> {
        self.field(name, value)
    }

    #[inline]
    fn end(self) -> Result<(), Fault> {
        self.finish()
    }
}
