//! What `serde` asks of an [`Encoder`].

use super::compound::{Elements, Entries};
use super::encoder::Encoder;
use super::fault::Fault;
use super::format::{ElementType, FormatHeader, SHORTEST_RUN, extension, marker};
use super::numbers::{Pieces, pieces_of};
use super::output::Output;
use serde::Serialize;
use serde::ser::{self, Serializer};

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
        self.doubt(ElementType::I128);
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
        self.doubt(ElementType::U128);
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
        self.header(FormatHeader::bytes_of(bytes.len()))?;
        self.output.put(bytes)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Fault> {
        self.byte(marker::NIL)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Fault> {
        let start = self.begin_some()?;
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

    /// Collections arrive here as a whole: numbers that lie side by side are copied.
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
                self.header(FormatHeader::run(kind, len))?;
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
