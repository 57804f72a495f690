//! The bytes: MessagePack's markers, and this crate's extension types.

/// MessagePack's markers; small numbers, texts, arrays and maps have their value or length in the marker.
pub(super) mod marker {
    pub(in crate::encoding) const FIX_MAP: u8 = 0x80;
    pub(in crate::encoding) const FIX_ARRAY: u8 = 0x90;
    pub(in crate::encoding) const FIX_STR: u8 = 0xa0;
    pub(in crate::encoding) const NIL: u8 = 0xc0;
    pub(in crate::encoding) const FALSE: u8 = 0xc2;
    pub(in crate::encoding) const TRUE: u8 = 0xc3;
    pub(in crate::encoding) const BIN_8: u8 = 0xc4;
    pub(in crate::encoding) const BIN_16: u8 = 0xc5;
    pub(in crate::encoding) const BIN_32: u8 = 0xc6;
    pub(in crate::encoding) const EXT_8: u8 = 0xc7;
    pub(in crate::encoding) const EXT_16: u8 = 0xc8;
    pub(in crate::encoding) const EXT_32: u8 = 0xc9;
    pub(in crate::encoding) const F32: u8 = 0xca;
    pub(in crate::encoding) const F64: u8 = 0xcb;
    pub(in crate::encoding) const U8: u8 = 0xcc;
    pub(in crate::encoding) const U16: u8 = 0xcd;
    pub(in crate::encoding) const U32: u8 = 0xce;
    pub(in crate::encoding) const U64: u8 = 0xcf;
    pub(in crate::encoding) const I8: u8 = 0xd0;
    pub(in crate::encoding) const I16: u8 = 0xd1;
    pub(in crate::encoding) const I32: u8 = 0xd2;
    pub(in crate::encoding) const I64: u8 = 0xd3;
    pub(in crate::encoding) const FIX_EXT_1: u8 = 0xd4;
    pub(in crate::encoding) const FIX_EXT_8: u8 = 0xd7;
    pub(in crate::encoding) const FIX_EXT_16: u8 = 0xd8;
    pub(in crate::encoding) const STR_8: u8 = 0xd9;
    pub(in crate::encoding) const STR_16: u8 = 0xda;
    pub(in crate::encoding) const STR_32: u8 = 0xdb;
    pub(in crate::encoding) const ARRAY_16: u8 = 0xdc;
    pub(in crate::encoding) const ARRAY_32: u8 = 0xdd;
    pub(in crate::encoding) const MAP_16: u8 = 0xde;
    pub(in crate::encoding) const MAP_32: u8 = 0xdf;
    pub(in crate::encoding) const NEGATIVE: u8 = 0xe0;
}

/// This crate's extension types.
pub(super) mod extension {
    /// One byte: the number of `Some`s around a nil, which would otherwise be read as `None`.
    pub(in crate::encoding) const SOME: u8 = 1;
    /// Sixteen bytes, little-endian: an integer beyond 64 bits.
    pub(in crate::encoding) const U128: u8 = 2;
    pub(in crate::encoding) const I128: u8 = 3;
    /// Eight bytes, `[ what:8 | length:56 ]`, big-endian: what follows is longer than MessagePack can express.
    pub(in crate::encoding) const LONG: u8 = 4;
    /// The first of the types of runs, see [`ElementType`](super::ElementType).
    pub(in crate::encoding) const RUN: u8 = 16;
}

/// What is longer than MessagePack can express, besides runs, which are known by their extension type.
pub(super) mod long {
    pub(in crate::encoding) const STR: u8 = 0;
    pub(in crate::encoding) const BIN: u8 = 1;
    pub(in crate::encoding) const ARRAY: u8 = 2;
    pub(in crate::encoding) const MAP: u8 = 3;
}

/// The largest such length.
pub(super) const LONGEST: u64 = (1 << 56) - 1;

/// At least this many elements of one numeric type are a run; fewer are an array.
pub(super) const SHORTEST_RUN: usize = 16;

/// The deepest nesting of sequences, maps, structs, and variants with content.
pub(super) const DEEPEST: u8 = 128;

/// The element type of a run: its extension type is [`RUN`](extension::RUN) plus this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum ElementType {
    U8 = 0,
    U16 = 1,
    U32 = 2,
    U64 = 3,
    U128 = 4,
    I8 = 5,
    I16 = 6,
    I32 = 7,
    I64 = 8,
    I128 = 9,
    F32 = 10,
    F64 = 11,
}

impl ElementType {
    pub(super) fn of_extension(extension: u8) -> Option<Self> {
        use ElementType::*;
        let all = [U8, U16, U32, U64, U128, I8, I16, I32, I64, I128, F32, F64];
        all.get(usize::from(extension.checked_sub(extension::RUN)?)).copied()
    }

    pub(super) fn extension(self) -> u8 {
        extension::RUN + self as u8
    }

    /// Bytes of an element.
    pub(super) fn size(self) -> usize {
        match self {
            ElementType::U8 | ElementType::I8 => 1,
            ElementType::U16 | ElementType::I16 => 2,
            ElementType::U32 | ElementType::I32 | ElementType::F32 => 4,
            ElementType::U64 | ElementType::I64 | ElementType::F64 => 8,
            ElementType::U128 | ElementType::I128 => 16,
        }
    }
}

/// Up to sixteen bytes of a header.
#[derive(Clone, Copy)]
pub(super) struct FormatHeader {
    bytes: [u8; 16],
    len: usize,
}

impl FormatHeader {
    fn new(parts: [&[u8]; 3]) -> Self {
        let mut header = FormatHeader { bytes: [0; 16], len: 0 };
        for part in parts {
            header.bytes[header.len..header.len + part.len()].copy_from_slice(part);
            header.len += part.len();
        }
        header
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The header of something `len` long: the markers are for lengths of one byte (0 if there is none), two and four.
    fn sized([one, two, four]: [u8; 3], extension: &[u8], len: usize, what: u8) -> Self {
        if let (Ok(len), true) = (u8::try_from(len), one != 0) {
            FormatHeader::new([&[one], &[len], extension])
        } else if let Ok(len) = u16::try_from(len) {
            FormatHeader::new([&[two], &len.to_be_bytes(), extension])
        } else if let Ok(len) = u32::try_from(len) {
            FormatHeader::new([&[four], &len.to_be_bytes(), extension])
        } else {
            let word = u64::from(what) << 56 | len as u64;
            FormatHeader::new([&[marker::FIX_EXT_8, extension::LONG], &word.to_be_bytes(), &[]])
        }
    }

    pub(super) fn array(len: usize) -> Self {
        if len < 16 {
            return FormatHeader::new([&[marker::FIX_ARRAY | len as u8], &[], &[]]);
        }
        Self::sized([0, marker::ARRAY_16, marker::ARRAY_32], &[], len, long::ARRAY)
    }

    pub(super) fn map(len: usize) -> Self {
        if len < 16 {
            return FormatHeader::new([&[marker::FIX_MAP | len as u8], &[], &[]]);
        }
        Self::sized([0, marker::MAP_16, marker::MAP_32], &[], len, long::MAP)
    }

    pub(super) fn text(len: usize) -> Self {
        if len < 32 {
            return FormatHeader::new([&[marker::FIX_STR | len as u8], &[], &[]]);
        }
        Self::sized([marker::STR_8, marker::STR_16, marker::STR_32], &[], len, long::STR)
    }

    pub(super) fn bytes_of(len: usize) -> Self {
        Self::sized([marker::BIN_8, marker::BIN_16, marker::BIN_32], &[], len, long::BIN)
    }

    /// The header of a run of that many bytes.
    pub(super) fn run(kind: ElementType, len: usize) -> Self {
        let markers = [marker::EXT_8, marker::EXT_16, marker::EXT_32];
        Self::sized(markers, &[kind.extension()], len, kind.extension())
    }
}
