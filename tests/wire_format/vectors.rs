//! The vectors in the file, and the values that they are.

use crate::types::*;
use procshare::__private::{decode, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::{Debug, Write};

/// One vector of the file: what it is called, and its bytes.
pub(crate) fn read(list: &str) -> BTreeMap<String, Vec<u8>> {
    let file: serde_json::Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let vectors = file[list].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    vectors
        .map(|vector| (text(&vector["name"]), from_hex(&text(&vector["hex"]))))
        .collect()
}

fn from_hex(hex: &str) -> Vec<u8> {
    assert!(hex.len() % 2 == 0, "{hex}");
    let pairs = (0..hex.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A value's name and bytes, from which it has come back.
fn of<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &'static str, value: T) -> (&'static str, Vec<u8>) {
    let bytes = encode(&value).unwrap();
    assert_eq!(decode::<T>(&bytes), Ok(value), "{name}");
    (name, bytes)
}

fn scalars() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        of("unit", ()),
        of("unit struct", Unit),
        of("false", false),
        of("true", true),
        of("127", 127u8),
        of("128 as u64", 128u64),
        of("256", 256u16),
        of("65536", 65_536u32),
        of("u64::MAX", u64::MAX),
        of("-1", -1i8),
        of("-32", -32i64),
        of("-33", -33i8),
        of("-129", -129i16),
        of("-32769", -32_769i32),
        of("i64::MIN", i64::MIN),
        of("7 as i128", 7i128),
        of("2^64 as u128", 1u128 << 64),
        of("2^64 as i128", 1i128 << 64),
        of("i128::MIN", i128::MIN),
        of("1.5 as f32", 1.5f32),
        of("0.1", 0.1f64),
        of("-0.0", -0.0f64),
        of("infinity", f64::INFINITY),
        of("char", 'ß'),
    ]
}

fn texts_and_sequences() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        of("empty text", String::new()),
        of("text of 31 bytes", "x".repeat(31)),
        of("text of 32 bytes", "x".repeat(32)),
        of("text of 256 bytes", "x".repeat(256)),
        of("bytes", Bytes(vec![0, 1, 255])),
        of("16 bytes", Bytes(vec![7; 16])),
        of("empty vector", Vec::<u8>::new()),
        of("15 numbers", (0..15).collect::<Vec<u32>>()),
        of("16 u8", (0..16).collect::<Vec<u8>>()),
        of("17 u8", (0..17).collect::<Vec<u8>>()),
        of("16 u16", (0..16).map(|number| number * 257).collect::<Vec<u16>>()),
        of("16 u32", (0..16).collect::<Vec<u32>>()),
        of("16 u64", [u64::MAX; 16]),
        of("16 u128", [1u128 << 100; 16]),
        of("16 i8", [-1i8; 16]),
        of("16 i16", (-8..8).collect::<Vec<i16>>()),
        of("16 i32", (-8..8).collect::<VecDeque<i32>>()),
        of("16 i64", (-8..8).collect::<BTreeSet<i64>>()),
        of("16 i128", [-1i128; 16]),
        of("16 f32", [0.5f32; 16]),
        of("16 f64", (0..16).map(f64::from).collect::<Vec<f64>>()),
        of("300 u8", vec![1u8; 300]),
        of("16 texts", vec!["a".to_owned(); 16]),
        of("tuple", (1u8, "a".to_owned(), 0.5f64)),
        of("tuple struct", Meters(0.5)),
    ]
}

fn maps_enums_and_options() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        of("map", BTreeMap::from([(1u8, "a".to_owned()), (2, "b".to_owned())])),
        of("map of 16", (0..16u8).map(|key| (key, key)).collect::<BTreeMap<_, _>>()),
        of("struct", Point { x: 1.0, y: 2.0 }),
        of("unit variant", Shape::Empty),
        of("newtype variant", Shape::Circle(7)),
        of("tuple variant", Shape::Line(1, -1)),
        of("struct variant", Shape::Rectangle { width: 1, height: 2 }),
        of(
            "untagged",
            Untagged::Fields {
                name: "a".to_owned(),
                at: None,
            },
        ),
        of(
            "tagged",
            Tagged::Fields {
                list: vec![1; 16],
                by_number: BTreeMap::from([(-1, "a".to_owned())]),
            },
        ),
        of(
            "flattened",
            Flat {
                id: 1,
                rest: BTreeMap::from([("a".to_owned(), -1)]),
            },
        ),
        of("None", None::<u8>),
        of("Some", Some(7u8)),
        of("Some(None)", Some(None::<u8>)),
        of("Some(Some(None))", Some(Some(None::<u8>))),
        of("Some(())", Some(())),
        of("Some(Some(7))", Some(Some(7u8))),
    ]
}

#[test]
fn values_have_the_bytes_in_the_file() {
    let in_file = read("written");
    let values = [scalars(), texts_and_sequences(), maps_enums_and_options()].concat();
    let mut wrong = String::new();
    for (name, bytes) in &values {
        if in_file.get(*name) != Some(bytes) {
            let _ = writeln!(wrong, "{{\"name\": \"{name}\", \"hex\": \"{}\"}}", to_hex(bytes));
        }
    }
    assert!(wrong.is_empty(), "other bytes are in the file, or none:\n{wrong}");
    assert_eq!(values.len(), in_file.len(), "a vector has no value here");
}

#[test]
fn headers_are_as_short_as_they_can_be() {
    fn begins<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, header: &str) {
        let (_, bytes) = of("by its header", value);
        assert_eq!(to_hex(&bytes[..header.len() / 2]), header);
    }
    begins("x".repeat(70_000), "db00011170");
    begins(Bytes(vec![0; 300]), "c5012c");
    begins(Bytes(vec![0; 70_000]), "c600011170");
    begins(vec![(); 70_000], "dd00011170");
    begins(
        (0..70_000u32).map(|key| (key, ())).collect::<BTreeMap<_, _>>(),
        "df00011170",
    );
    begins(vec![0u8; 255], "c7ff10");
    begins(vec![0u8; 256], "c8010010");
    begins(vec![0u16; 35_000], "c90001117011");
}

#[test]
fn floats_come_back_bit_by_bit() {
    let nan = f64::from_bits(0x7ff8_0000_0000_1234);
    let bytes = encode(&nan).unwrap();
    assert_eq!(to_hex(&bytes), "cb7ff8000000001234");
    assert_eq!(decode::<f64>(&bytes).unwrap().to_bits(), nan.to_bits());
    assert_ne!(encode(&0.0).unwrap(), encode(&-0.0).unwrap());
}

#[test]
fn sequences_of_the_same_numbers_have_the_same_bytes() {
    for count in [0, 15, 16, 32] {
        let numbers: Vec<u32> = (0..count).collect();
        let bytes = encode(&numbers).unwrap();
        assert_eq!(encode(&numbers[..]).unwrap(), bytes);
        assert_eq!(
            encode(&numbers.iter().copied().collect::<VecDeque<_>>()).unwrap(),
            bytes
        );
        assert_eq!(
            encode(&numbers.iter().copied().collect::<BTreeSet<_>>()).unwrap(),
            bytes
        );
        match count {
            16 => assert_eq!(encode(&<[u32; 16]>::try_from(&numbers[..]).unwrap()).unwrap(), bytes),
            32 => assert_eq!(encode(&<[u32; 32]>::try_from(&numbers[..]).unwrap()).unwrap(), bytes),
            _ => {}
        }
    }
}
