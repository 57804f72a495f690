//! Types of every shape, for tests and for the fuzz target.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

macro_rules! item {
    ($($item:item)*) => {$(
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        $item
    )*};
}

item! {
    pub struct Point {
        pub x: f64,
        pub y: f64,
    }
    pub struct Unit;
    pub struct Meters(pub f64);
    pub enum Shape {
        Empty,
        Circle(u32),
        Line(i16, i16),
        Rectangle { width: u8, height: u8 },
    }
    /// Nothing but an option in an option in an option.
    pub struct Nested(pub Option<Box<Nested>>);
    #[serde(untagged)]
    pub enum Untagged {
        Numbers(Vec<f64>),
        Text(String),
        Pair(u8, Option<i64>),
        Fields { name: String, at: Option<u8> },
        Whole(i64),
        Float(f64),
        Nothing,
    }
    #[serde(tag = "type")]
    pub enum Tagged {
        Empty,
        Fields { list: Vec<u16>, by_number: BTreeMap<i32, String> },
    }
    pub struct Flat {
        pub id: u32,
        #[serde(flatten)]
        pub rest: BTreeMap<String, i64>,
    }
    /// Integers of all widths, and what may be missing.
    pub struct Record {
        pub small: (u8, i8, u16, i16),
        pub large: (u32, i32, u64, i64),
        pub wide: (u128, i128),
        pub letter: char,
        pub maybe: Option<String>,
        pub perhaps: Option<Option<u8>>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub runs: Vec<Vec<u16>>,
        pub by_name: BTreeMap<String, Vec<f32>>,
    }
    /// A tree of values.
    pub enum Tree {
        Unit,
        Bool(bool),
        Signed(i64),
        Unsigned(u64),
        Float(f64),
        Single(f32),
        Text(String),
        Bytes(Vec<u8>),
        Numbers(Vec<i32>),
        Wide(Vec<u128>),
        List(Vec<Tree>),
        Map(BTreeMap<String, Tree>),
        ByNumber(BTreeMap<i64, Tree>),
        Pair(Box<Tree>, u8),
        Fields { first: Option<Box<Tree>>, second: Option<Option<i16>> },
        Record(Box<Record>),
    }
    /// Nothing but lists in lists.
    pub struct Lists(pub Vec<Lists>);
    /// As deep as it likes, and buffered by `serde` at each level.
    pub struct Deep {
        pub inner: Option<Box<DeepKind>>,
    }
    #[serde(untagged)]
    pub enum DeepKind {
        Number(u8),
        Fields(Deep),
    }
}

/// What `serde` has of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

/// Calls `$with` with each of the types that any bytes are decoded as.
#[macro_export]
macro_rules! decoded_types {
    ($with:ident) => {
        $with!(
            Tree, Record, Point, Shape, Nested, Vec<Nested>, Lists, Untagged, Tagged, Flat, Unit, Meters, Bytes, u8, i128, f32,
            char, bool, String, (), Vec<u8>, Vec<f64>, Vec<u128>, std::collections::VecDeque<u16>, [u16; 16],
            Vec<Option<Option<u8>>>, (u8, String), std::collections::BTreeMap<String, Vec<u32>>,
            std::collections::BTreeMap<i32, Option<char>>, serde_json::Value
        )
    };
}
