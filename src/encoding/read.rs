//! What `serde` asks of a [`Decoder`]: short values are recognised here, all others by the decoder.

use super::access::VariantReader;
use super::decoder::{Decoder, Head};
use super::fault::Fault;
use super::format::{ElementType, marker};
use super::runs::bulk;
use serde::de::{self, Deserializer, Visitor};

macro_rules! numbers {
    ($($method:ident),*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.unsigned() {
                Some(number) => visitor.visit_u64(number),
                None => self.visit_other(visitor),
            }
        }
    )*};
}

macro_rules! texts {
    ($($method:ident $next:ident),*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.$next() {
                Some(text) => visitor.visit_borrowed_str(text),
                None => self.visit_other(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Decoder<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(visitor)
    }

    numbers!(
        deserialize_i8,
        deserialize_i16,
        deserialize_i32,
        deserialize_i64,
        deserialize_i128,
        deserialize_u8,
        deserialize_u16,
        deserialize_u32,
        deserialize_u64,
        deserialize_u128
    );
    texts!(
        deserialize_char next_text,
        deserialize_str next_text,
        deserialize_string next_text,
        deserialize_identifier short_text
    );

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.rest {
            [value @ (marker::FALSE | marker::TRUE), rest @ ..] => {
                self.rest = rest;
                visitor.visit_bool(*value == marker::TRUE)
            }
            _ => self.visit_other(visitor),
        }
    }

    #[inline]
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.rest {
            [marker::F32, a, b, c, d, rest @ ..] => {
                self.rest = rest;
                visitor.visit_f32(f32::from_be_bytes([*a, *b, *c, *d]))
            }
            _ => self.visit_other(visitor),
        }
    }

    #[inline]
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.rest {
            [marker::F64, bytes @ ..] if bytes.len() >= 8 => {
                self.rest = bytes;
                visitor.visit_f64(f64::from_be_bytes(self.array_of()?))
            }
            _ => self.visit_other(visitor),
        }
    }

    /// A run of bytes and a sequence of them are accepted alike.
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let before = self.rest;
        match self.head()? {
            Head::Run(ElementType::U8, len) => visitor.visit_borrowed_bytes(self.take(len)?),
            _ => {
                self.rest = before;
                self.visit(visitor)
            }
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_bytes(visitor)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.rest {
            [marker::NIL, rest @ ..] => {
                self.rest = rest;
                visitor.visit_none()
            }
            [marker::FIX_EXT_1, ..] => match self.wrapped() {
                Some(wrapped) => self.visit_wrapped(wrapped, visitor, true),
                None => self.visit_some(visitor),
            },
            [] => Err(Fault::too_short()),
            _ => self.visit_some(visitor),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        self.visit(visitor)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.rest {
            [short @ marker::FIX_ARRAY..marker::FIX_STR, rest @ ..] => {
                self.rest = rest;
                self.visit_array((short & 0x0f).into(), visitor)
            }
            _ => self.visit_long_seq(visitor),
        }
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.rest {
            [short @ marker::FIX_MAP..marker::FIX_ARRAY, rest @ ..] => {
                self.rest = rest;
                self.visit_map((short & 0x0f).into(), visitor)
            }
            _ => self.visit_other(visitor),
        }
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.rest {
            [0x81, rest @ ..] => {
                self.rest = rest;
                self.visit_variant(visitor)
            }
            [marker::FIX_STR..marker::NIL | marker::STR_8..=marker::STR_32, ..] => self.visit_name(visitor),
            _ => self.visit_other_variant(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.skip()?;
        visitor.visit_unit()
    }
}

impl<'de> Decoder<'de> {
    /// A longer sequence, or a run, or something else.
    fn visit_long_seq<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Fault> {
        let before = self.rest;
        let run = match self.head()? {
            Head::Array(len) => return self.visit_array(len, visitor),
            Head::Run(kind, len) => self.run(kind, len)?,
            Head::Bytes(len) => self.run(ElementType::U8, len)?,
            _ => {
                self.rest = before;
                return self.visit(visitor);
            }
        };
        match bulk::<V>(&run) {
            Some(_) if self.levels == 0 => Err(Fault::too_deep()),
            Some(values) => values,
            None => self.visit_run(run, visitor),
        }
    }

    /// A variant with content, behind the header of its map.
    #[inline(always)]
    fn visit_variant<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Fault> {
        self.enter()?;
        let value = visitor.visit_enum(VariantReader {
            decoder: &mut *self,
            name: "",
            has_content: true,
        })?;
        self.levels += 1;
        Ok(value)
    }

    /// A variant that consists of a name alone.
    #[inline(always)]
    fn visit_name<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_enum(VariantReader {
            decoder: self,
            name: "",
            has_content: false,
        })
    }

    /// A variant whose header is longer than necessary, or something else.
    #[cold]
    fn visit_other_variant<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Fault> {
        let before = self.rest;
        let head = self.head()?;
        if matches!(head, Head::Map(1)) {
            return self.visit_variant(visitor);
        }
        self.rest = before;
        match head {
            Head::Text(_) => self.visit_name(visitor),
            _ => Err(self.no_variant()),
        }
    }

    #[cold]
    fn no_variant(&mut self) -> Fault {
        struct Nothing;
        impl<'de> Visitor<'de> for Nothing {
            type Value = ();
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a variant: its name, or a map from its name to its content")
            }
        }
        match self.visit(Nothing) {
            Err(fault) => fault,
            Ok(()) => <Fault as de::Error>::custom("expected a variant, found nothing"),
        }
    }
}
