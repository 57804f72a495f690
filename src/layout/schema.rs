//! What a shared type looks like: as data, as text, and as one number.
//!
//! The text is the contract between builds. Two types with the same text have the same bytes, since shared types have no padding
//! and their fields are in the order written. Type names are not part of it, field and variant names are.

use core::fmt;

/// Describes the bytes of a [`Shareable`](crate::Shareable) type.
///
/// Every object in a segment carries the text and the [fingerprint](Schema::fingerprint) of its schema, and attaching
/// compares them with those of the type asked for.
///
/// # Examples
///
/// ```
/// use procshare::Shareable;
///
/// assert_eq!(<[[f32; 3]; 8]>::SCHEMA.to_string(), "[[f32;3];8]");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Schema {
    /// A scalar, by its Rust name: `u64`, `f32`, `bool`, `char`.
    Primitive(&'static str),
    /// Equal elements, one after the other: `[u64;8]`.
    Array {
        /// What each element looks like.
        element: &'static Schema,
        /// How many there are.
        len: usize,
    },
    /// Named fields, one after the other: `{total:u64,per_worker:[u64;8]}`.
    Struct {
        /// The fields in the order of their bytes.
        fields: &'static [Field],
    },
    /// One of a set of integers: `u8{Idle=0,Busy=1}`.
    Enum {
        /// The integer that stands for a variant.
        repr: &'static Schema,
        /// The integers that are values, in the order written.
        variants: &'static [Variant],
    },
}

/// Describes one field of a [`Schema::Struct`].
///
/// # Examples
///
/// ```
/// use procshare::Shareable;
/// use procshare::schema::Field;
///
/// let field = Field { name: "total", offset: 0, schema: u64::SCHEMA };
/// assert_eq!(field.schema.to_string(), "u64");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    /// The name in the source; `0`, `1` … in a tuple struct.
    pub name: &'static str,
    /// Distance from the first byte of the struct.
    pub offset: usize,
    /// What the field looks like.
    pub schema: &'static Schema,
}

/// Describes one variant of a [`Schema::Enum`].
///
/// # Examples
///
/// ```
/// use procshare::schema::Variant;
///
/// let variant = Variant { name: "Busy", value: 1 };
/// assert_eq!(variant.value, 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// The name in the source.
    pub name: &'static str,
    /// The integer stored for it.
    pub value: i128,
}

impl Schema {
    /// Returns a digest of the schema's text.
    ///
    /// It is FNV-1a, 64 bits wide, over exactly the bytes that [`Display`](fmt::Display) writes, and the same in every
    /// build.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::Shareable;
    ///
    /// const FINGERPRINT: u64 = <[u64; 8]>::SCHEMA.fingerprint();
    /// assert_ne!(FINGERPRINT, <[u64; 9]>::SCHEMA.fingerprint());
    /// ```
    #[must_use]
    pub const fn fingerprint(&self) -> u64 {
        Fnv::EMPTY.schema(self).0
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primitive(name) => f.write_str(name),
            Self::Array { element, len } => write!(f, "[{element};{len}]"),
            Self::Struct { fields } => {
                f.write_str("{")?;
                for (i, field) in fields.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    write!(f, "{comma}{}:{}", field.name, field.schema)?;
                }
                f.write_str("}")
            }
            Self::Enum { repr, variants } => {
                write!(f, "{repr}{{")?;
                for (i, variant) in variants.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    write!(f, "{comma}{}={}", variant.name, variant.value)?;
                }
                f.write_str("}")
            }
        }
    }
}

/// Digests the text of a schema without building it, so that it works in a constant.
///
/// `core::fmt` does not, hence the second spelling of the text; a test checks that the two agree.
struct Fnv(u64);

/// The fingerprint of a type that is known only by a name.
#[cfg(any(feature = "map", feature = "messages"))]
pub(crate) fn text_fingerprint(name: &str) -> u64 {
    Fnv::EMPTY.text(name).0
}

impl Fnv {
    const EMPTY: Self = Self(0xcbf2_9ce4_8422_2325);
    const PRIME: u64 = 0x0100_0000_01b3;

    const fn bytes(self, bytes: &[u8]) -> Self {
        let mut hash = self.0;
        let mut i = 0;
        while i < bytes.len() {
            hash = (hash ^ bytes[i] as u64).wrapping_mul(Self::PRIME);
            i += 1;
        }
        Self(hash)
    }

    const fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    const fn number(self, value: i128) -> Self {
        self.bytes(Decimal::new(value).digits())
    }

    const fn schema(self, schema: &Schema) -> Self {
        match schema {
            Schema::Primitive(name) => self.text(name),
            Schema::Array { element, len } => self.text("[").schema(element).text(";").number(*len as i128).text("]"),
            Schema::Struct { fields } => self.text("{").fields(fields).text("}"),
            Schema::Enum { repr, variants } => self.schema(repr).text("{").variants(variants).text("}"),
        }
    }

    const fn fields(mut self, fields: &[Field]) -> Self {
        let mut i = 0;
        while i < fields.len() {
            let comma = if i == 0 { "" } else { "," };
            self = self.text(comma).text(fields[i].name).text(":").schema(fields[i].schema);
            i += 1;
        }
        self
    }

    const fn variants(mut self, variants: &[Variant]) -> Self {
        let mut i = 0;
        while i < variants.len() {
            let comma = if i == 0 { "" } else { "," };
            self = self
                .text(comma)
                .text(variants[i].name)
                .text("=")
                .number(variants[i].value);
            i += 1;
        }
        self
    }
}

/// Writes an integer in decimal, also in a constant.
pub(super) struct Decimal {
    /// Filled from the end; 40 bytes hold the sign and 39 digits of `i128::MIN`.
    buffer: [u8; 40],
    start: usize,
}

impl Decimal {
    pub(super) const fn new(value: i128) -> Self {
        let mut decimal = Self {
            buffer: [0; 40],
            start: 40,
        };
        let mut rest = value.unsigned_abs();
        decimal.push_front(b'0' + (rest % 10) as u8);
        rest /= 10;
        while rest > 0 {
            decimal.push_front(b'0' + (rest % 10) as u8);
            rest /= 10;
        }
        if value < 0 {
            decimal.push_front(b'-');
        }
        decimal
    }

    pub(super) const fn digits(&self) -> &[u8] {
        self.buffer.split_at(self.start).1
    }

    const fn push_front(&mut self, byte: u8) {
        self.start -= 1;
        self.buffer[self.start] = byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: Schema = Schema::Struct {
        fields: &[
            Field {
                name: "total",
                offset: 0,
                schema: &Schema::Primitive("u64"),
            },
            Field {
                name: "states",
                offset: 8,
                schema: &Schema::Array {
                    element: &Schema::Enum {
                        repr: &Schema::Primitive("i64"),
                        variants: &[
                            Variant {
                                name: "Low",
                                value: i64::MIN as i128,
                            },
                            Variant {
                                name: "High",
                                value: i64::MAX as i128,
                            },
                        ],
                    },
                    len: usize::MAX,
                },
            },
        ],
    };

    #[test]
    fn constant_digest_equals_digest_of_the_text() {
        const DIGEST: u64 = SAMPLE.fingerprint();
        assert_eq!(DIGEST, Fnv::EMPTY.text(&SAMPLE.to_string()).0);
        let empty = Schema::Struct { fields: &[] };
        assert_eq!(empty.fingerprint(), Fnv::EMPTY.text("{}").0);
    }

    #[test]
    fn digest_is_fnv_1a() {
        // The reference values of the FNV authors for "" and "foobar".
        assert_eq!(Fnv::EMPTY.text("").0, 0xcbf2_9ce4_8422_2325);
        assert_eq!(Fnv::EMPTY.text("foobar").0, 0x8594_4171_f739_67e8);
    }

    #[test]
    fn decimal_handles_the_ends_of_i128() {
        for value in [i128::MIN, -10, -1, 0, 1, 9, 10, i128::MAX] {
            assert_eq!(Decimal::new(value).digits(), value.to_string().as_bytes());
        }
    }

    #[test]
    fn decimal_agrees_with_fmt() {
        let mut random = 1i128;
        for shift in (0..128).cycle().take(1024) {
            // The multiplier of a 128-bit congruential generator, whose high bits are the random ones.
            random = random
                .wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645)
                .wrapping_add(1);
            let value = random >> shift;
            assert_eq!(Decimal::new(value).digits(), value.to_string().as_bytes());
        }
    }
}
