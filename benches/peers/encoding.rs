//! The encoding alone, beside postcard's, and beside `memcpy` for what is one piece.

use crate::measure::{Effort, Measured, each, interleave};
use procshare::__private::{decode, encode_to};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::hint::black_box;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    number: u64,
    customer: String,
    price: f64,
    items: u32,
    tags: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Picture {
    width: u32,
    pixels: Vec<u8>,
}

/// Encodes and decodes an item in memory; buffers are there already.
fn beside_postcard<T>(effort: Effort, item: &T) -> Measured
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let operations = effort.operations(100_000);
    let item = black_box(item);
    let mut buffer = Vec::with_capacity(4096);
    let mut ours = || {
        buffer.clear();
        encode_to(item, &mut buffer).unwrap();
        // The vector goes through the black box, not a slice of it: that is read from the vector's fields in one load, which has
        // to wait for the store of its length. The peer's is made of two registers.
        decode::<T>(black_box::<&Vec<u8>>(&buffer)).unwrap()
    };
    assert_eq!(&ours(), item);
    let mut room = vec![0; 4096];
    let mut theirs = || {
        let bytes = postcard::to_slice(item, &mut room).unwrap();
        postcard::from_bytes::<T>(black_box(bytes)).unwrap()
    };
    assert_eq!(&theirs(), item);
    interleave(
        effort.rounds(51),
        || each(operations, || drop(black_box(ours()))),
        || each(operations, || drop(black_box(theirs()))),
    )
}

pub(crate) fn of_number(effort: Effort) -> Option<Measured> {
    Some(beside_postcard(effort, &0x1234_5678_9abcu64))
}

pub(crate) fn of_string(effort: Effort) -> Option<Measured> {
    Some(beside_postcard(
        effort,
        &"a text of a few words, as names are".to_owned(),
    ))
}

pub(crate) fn of_struct(effort: Effort) -> Option<Measured> {
    let order = Order {
        number: 123_456,
        customer: "somebody".to_owned(),
        price: 9.5,
        items: 7,
        tags: vec!["new".to_owned(), "urgent".to_owned()],
    };
    Some(beside_postcard(effort, &order))
}

/// Each way is one copy: that of the encoder to a buffer that is there, that of the decoder to memory of its own.
pub(crate) fn of_a_large_piece(effort: Effort) -> Option<Measured> {
    let picture = Picture {
        width: 1024,
        pixels: (0..1 << 20).map(|at| at as u8).collect(),
    };
    let operations = effort.operations(100);
    let picture = black_box(&picture);
    let mut buffer = Vec::with_capacity(2 << 20);
    let mut ours = || {
        buffer.clear();
        encode_to(picture, &mut buffer).unwrap();
        decode::<Picture>(black_box(&buffer)).unwrap()
    };
    assert_eq!(&ours(), picture);
    let mut copy = Vec::with_capacity(2 << 20);
    let mut theirs = || {
        copy.clear();
        copy.extend_from_slice(&picture.pixels);
        black_box(&copy).to_vec()
    };
    Some(interleave(
        effort.rounds(51),
        || each(operations, || drop(black_box(ours()))),
        || each(operations, || drop(black_box(theirs()))),
    ))
}
