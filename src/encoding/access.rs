//! The contents of sequences, maps and variants, one after the other.

use super::decoder::{Decoder, key_text};
use super::fault::Fault;
use super::runs::Run;
use serde::de::{self, DeserializeSeed, Deserializer, Visitor};

impl<'de> Decoder<'de> {
    #[inline]
    pub(super) fn visit_array<V: Visitor<'de>>(&mut self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.claim(len, 1)?;
        self.enter()?;
        let mut items = SeqReader {
            decoder: self,
            len,
            left: len,
        };
        let value = visitor.visit_seq(&mut items)?;
        if items.left != 0 {
            return Err(left_over(items.left, len));
        }
        self.levels += 1;
        Ok(value)
    }

    #[inline]
    pub(super) fn visit_map<V: Visitor<'de>>(&mut self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.claim(len, 2)?;
        self.enter()?;
        let mut pairs = MapReader {
            key: self.rest,
            decoder: self,
            len,
            left: len,
        };
        let value = visitor.visit_map(&mut pairs)?;
        if pairs.left != 0 {
            return Err(left_over(pairs.left, len));
        }
        self.levels += 1;
        Ok(value)
    }

    pub(super) fn visit_run<V: Visitor<'de>>(&mut self, mut run: Run<'de>, visitor: V) -> Result<V::Value, Fault> {
        self.enter()?;
        let value = visitor.visit_seq(&mut run)?;
        if run.left() != 0 {
            return Err(left_over(run.left(), run.len()));
        }
        self.levels += 1;
        Ok(value)
    }
}

#[cold]
fn left_over(left: usize, len: usize) -> Fault {
    Fault::new(format!("{left} of {len} elements are left over"))
}

/// A sequence being read.
struct SeqReader<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    len: usize,
    left: usize,
}

impl<'de> de::SeqAccess<'de> for &mut SeqReader<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        match seed.deserialize(&mut *self.decoder) {
            Ok(value) => Ok(Some(value)),
            Err(fault) => Err(fault.at_index(self.len - self.left - 1)),
        }
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// A map or struct being read.
struct MapReader<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    len: usize,
    left: usize,
    /// Begins with the last key.
    key: &'de [u8],
}

impl<'de> de::MapAccess<'de> for &mut MapReader<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.key = self.decoder.rest;
        match seed.deserialize(&mut *self.decoder) {
            Ok(key) => Ok(Some(key)),
            Err(fault) => Err(fault.at_index(self.len - self.left - 1).in_field("(keys)")),
        }
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        match seed.deserialize(&mut *self.decoder) {
            Ok(value) => Ok(value),
            Err(fault) => Err(fault.in_field(&key_text(self.key))),
        }
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// A variant: its name, followed by its content if it has any.
pub(super) struct VariantReader<'a, 'de> {
    pub(super) decoder: &'a mut Decoder<'de>,
    pub(super) name: &'de str,
    pub(super) has_content: bool,
}

impl<'de> de::EnumAccess<'de> for VariantReader<'_, 'de> {
    type Error = Fault;
    type Variant = Self;

    #[inline]
    fn variant_seed<V: DeserializeSeed<'de>>(mut self, seed: V) -> Result<(V::Value, Self), Fault> {
        let mut copy = Decoder::new(self.decoder.rest);
        let variant = seed.deserialize(&mut *self.decoder)?;
        self.name = copy.next_text().unwrap_or("(variant)");
        Ok((variant, self))
    }
}

impl<'de> VariantReader<'_, 'de> {
    /// The content of a variant of another shape.
    #[cold]
    fn without_content(&self, shape: &str) -> Fault {
        Fault::new(format!(
            "variant `{}`: expected {shape} as its content, found none",
            self.name
        ))
    }
}

impl<'de> de::VariantAccess<'de> for VariantReader<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn unit_variant(self) -> Result<(), Fault> {
        if !self.has_content {
            return Ok(());
        }
        let content = <() as de::Deserialize>::deserialize(self.decoder);
        content.map_err(|fault| fault.in_field(self.name))
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        if !self.has_content {
            return Err(self.without_content("a value"));
        }
        seed.deserialize(self.decoder)
            .map_err(|fault| fault.in_field(self.name))
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        if !self.has_content {
            return Err(self.without_content("a sequence"));
        }
        let value = self.decoder.deserialize_tuple(len, visitor);
        value.map_err(|fault| fault.in_field(self.name))
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(self, _fields: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        if !self.has_content {
            return Err(self.without_content("fields"));
        }
        let value = self.decoder.deserialize_map(visitor);
        value.map_err(|fault| fault.in_field(self.name))
    }
}
