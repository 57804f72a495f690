//! Sequences, maps and structs being written.

use super::decoder::key_text;
use super::encoder::Encoder;
use super::fault::Fault;
use super::format::{ElementType, FormatHeader, SHORTEST_RUN};
use super::numbers::Number;
use super::output::Output;
use serde::{Serialize, ser};

/// The fault as seen one step further out, if there is a variant around it.
#[cold]
fn locate(variant: Option<&'static str>, fault: Fault) -> Fault {
    match variant {
        Some(variant) => fault.in_field(variant),
        None => fault,
    }
}

/// A sequence being written.
pub(super) struct Elements<'a, 'b, O> {
    encoder: &'a mut Encoder<'b, O>,
    start: usize,
    /// Bytes of the header there.
    header: usize,
    declared: usize,
    count: usize,
    /// Its elements so far are numbers of this type, and lie side by side.
    run: Option<ElementType>,
    variant: Option<&'static str>,
}

impl<'a, 'b, O: Output> Elements<'a, 'b, O> {
    #[inline(always)]
    pub(super) fn begin(
        encoder: &'a mut Encoder<'b, O>,
        declared: usize,
        variant: Option<&'static str>,
    ) -> Result<Self, Fault> {
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
        // A type that the compiler knows to be no number needs none of this, nor do short sequences.
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
        outcome.map_err(|fault| locate(self.variant, fault.at_index(count)))?;
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
        self.encoder.header(FormatHeader::run(kind, bytes))?;
        self.header = self.encoder.output.len() - self.start;
        Ok(())
    }

    /// Makes the elements so far an array: one has another type, or there are fewer or more than declared.
    #[cold]
    fn end_run(&mut self, kind: ElementType) -> Result<(), Fault> {
        self.run = None;
        self.encoder.unmake_run(self.start, self.header, kind, self.count)?;
        self.header = FormatHeader::array(self.count).bytes().len();
        self.encoder
            .replace_header(self.start, self.header, FormatHeader::array(self.declared))?;
        self.header = FormatHeader::array(self.declared).bytes().len();
        Ok(())
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

    /// The declared length was wrong or unknown.
    #[cold]
    fn correct(&mut self) -> Result<(), Fault> {
        if let Some(kind) = self.run {
            self.end_run(kind)?;
        }
        self.encoder
            .replace_header(self.start, self.header, FormatHeader::array(self.count))
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

/// A map or struct being written.
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
    pub(super) fn begin(
        encoder: &'a mut Encoder<'b, O>,
        declared: usize,
        variant: Option<&'static str>,
    ) -> Result<Self, Fault> {
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
        outcome.map_err(|fault| locate(self.variant, fault.in_field(name)))
    }

    #[inline(always)]
    fn finish(self) -> Result<(), Fault> {
        if self.count != self.declared {
            let header = FormatHeader::map(self.declared).bytes().len();
            self.encoder
                .replace_header(self.start, header, FormatHeader::map(self.count))?;
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
        outcome.map_err(|fault| fault.at_index(count).in_field("(keys)"))?;
        self.encoder.doubt_key(self.key);
        Ok(())
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        let end = self.encoder.output.len();
        let outcome = value.serialize(&mut *self.encoder);
        outcome.map_err(|fault| match self.encoder.output.look(self.key, end) {
            Some(key) => fault.in_field(&key_text(key)),
            None => fault,
        })?;
        self.count += 1;
        Ok(())
    }

    #[inline]
    fn end(self) -> Result<(), Fault> {
        self.finish()
    }
}

macro_rules! structs {
    ($($kind:ident),*) => {$(
        impl<O: Output> ser::$kind for Entries<'_, '_, O> {
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
    )*};
}
structs!(SerializeStruct, SerializeStructVariant);
