//! What other writers may write, and is read all the same.

use crate::types::*;
use crate::vectors;
use procshare::__private::decode;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// The vectors that have been read so far.
struct Vectors(BTreeMap<String, Vec<u8>>);

impl Vectors {
    fn is<T: DeserializeOwned + PartialEq + Debug>(&mut self, name: &str, value: T) {
        let bytes = self
            .0
            .remove(name)
            .unwrap_or_else(|| panic!("{name} is not in the file"));
        assert_eq!(decode::<T>(&bytes), Ok(value), "{name}");
    }
}

#[test]
fn what_others_write_is_read() {
    let mut vectors = Vectors(vectors::read("read"));
    vectors.is("small integer as u64", 7u64);
    vectors.is("small integer as i128", 7i128);
    vectors.is("7 in u16", 7u8);
    vectors.is("7 in u64", 7i8);
    vectors.is("7 in i64", 7u8);
    vectors.is("-1 in i32", -1i8);
    vectors.is("f64 for f32", 1.5f32);
    vectors.is("integer for f64", 3.0f64);
    vectors.is("bin for Vec<u8>", vec![1u8, 2, 3]);
    vectors.is("bin of 20 for Vec<u8>", vec![9u8; 20]);
    vectors.is("bin for Vec<u16>", vec![1u16, 255]);
    vectors.is("list for bytes as Vec<u8>", (0..20).collect::<Vec<u8>>());
    vectors.is("list for a run", (0..20).collect::<Vec<u16>>());
    vectors.is("list for f64s", (0..16).map(f64::from).collect::<Vec<f64>>());
    vectors.is("run for bytes", Bytes((0..17).collect()));
    vectors.is("fixext for a run", (0..16).collect::<Vec<u8>>());
    vectors.is("short run", vec![1u32, 2]);
    vectors.is("run of u16 for u64", (0..16).collect::<Vec<u64>>());
    vectors.is("other order and unknown keys", Point { x: 1.0, y: 2.0 });
    vectors.is("list for a struct", Point { x: 1.0, y: 2.0 });
    vectors.is("variant with nil", Shape::Empty);
    vectors.is("variant in a wide map", Shape::Circle(7));
    vectors.is("list for a struct variant", Shape::Rectangle { width: 1, height: 2 });
    vectors.is("wide map and text", BTreeMap::from([("a".to_owned(), 1u8)]));
    vectors.is("wide array", vec![1u8]);
    vectors.is("bin for text", "abc".to_owned());
    vectors.is("long header of text", "abc".to_owned());
    vectors.is("long header of a run", vec![1u16, 2]);
    vectors.is("long header of a map", BTreeMap::from([(1u8, 2u8)]));
    assert!(vectors.0.is_empty(), "not read: {:?}", vectors.0.keys());
}
