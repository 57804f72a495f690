//! Bytes that nobody should have sent: they are refused, without a panic and without much memory.

use crate::decoding::decode_as_all;
use crate::types::*;
use procshare::__private::{decode, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Headers that say there is more than there is, of all kinds.
fn long_headers() -> Vec<Vec<u8>> {
    let mut headers = vec![];
    for (marker, bytes) in [
        (0xc4u8, 1),
        (0xc5, 2),
        (0xc6, 4),
        (0xd9, 1),
        (0xda, 2),
        (0xdb, 4),
        (0xdc, 2),
        (0xdd, 4),
        (0xde, 2),
        (0xdf, 4),
    ] {
        headers.push([&[marker][..], &vec![0xff; bytes]].concat());
    }
    for kind in (1..5).chain(16..29) {
        headers.push([&[0xc7, 0xff][..], &[kind]].concat());
        headers.push([&[0xc8, 0xff, 0xff][..], &[kind]].concat());
        headers.push([&[0xc9, 0xff, 0xff, 0xff, 0xff][..], &[kind]].concat());
    }
    for what in (0..5).chain(16..29) {
        headers.push([&[0xd7, 4, what][..], &[0xff; 7]].concat());
    }
    headers
}

#[test]
fn lengths_beyond_the_bytes_are_refused() {
    for header in long_headers() {
        for padding in [0, 1, 20, 5000] {
            let bytes = [&header[..], &vec![1; padding]].concat();
            decode_as_all(&bytes);
            for deep in 1..4 {
                decode_as_all(&[&vec![0x91; deep][..], &bytes].concat());
            }
        }
    }
}

/// Nested sequences, each of which says that all the rest is its elements.
#[test]
fn lengths_in_lengths_take_no_more_than_one() {
    let mut bytes = vec![];
    let all = 100_000usize;
    while bytes.len() < 127 * 5 {
        let left = all - bytes.len() - 5;
        bytes.push(0xdd);
        bytes.extend((left as u32).to_be_bytes());
    }
    bytes.resize(all, 0xc0);
    decode_as_all(&bytes);
}

#[test]
fn deep_nesting_is_refused() {
    let nested: [&[u8]; 6] = [
        &[0x91],
        &[0x81, 0xa1, b'a'],
        &[0x81, 0xa4, b'P', b'a', b'i', b'r', 0x92],
        &[0x81, 0xa4, b'L', b'i', b's', b't', 0x91],
        &[0x81, 0xa5, b'i', b'n', b'n', b'e', b'r'],
        &[0x91, 0x81, 0xc0],
    ];
    for level in nested {
        for depth in [60, 128, 129, 10_000] {
            decode_as_all(&level.repeat(depth));
            decode_as_all(&[level.repeat(depth), vec![0xc0]].concat());
        }
    }
}

#[test]
fn options_without_end_are_refused() {
    for innermost in [
        &[5u8][..],
        &[0xc0],
        &[0xd4, 1, 0],
        &[0xd4, 1, 128],
        &[0xd4, 1, 255],
        &[0xa1, b'x'],
        &[],
    ] {
        decode_as_all(innermost);
        decode_as_all(&[&[0x91][..], innermost].concat());
    }
    // Numbers in a run are no options in options either.
    for kind in 16..28 {
        let run = [&[0xc7, 32, kind][..], &[1; 32]].concat();
        assert!(decode::<Vec<Nested>>(&run).is_err(), "{kind}");
        decode_as_all(&run);
    }
    assert!(decode::<Nested>(&[5]).is_err());
    let deepest = (0..128).fold(Nested(None), |inner, _| Nested(Some(Box::new(inner))));
    assert_eq!(decode::<Nested>(&encode(&deepest).unwrap()), Ok(deepest));
}

/// Goes there and back in a thread with a small stack.
fn fits_in_a_small_stack<T: Serialize + DeserializeOwned + PartialEq + Debug + Send + 'static>(value: T) {
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
        let bytes = encode(&value).unwrap();
        assert_eq!(decode::<T>(&bytes), Ok(value));
    });
    thread.unwrap().join().unwrap();
}

/// All that may be nested, also what `serde` buffers, and where each level has a sequence long enough for a run.
#[test]
fn the_deepest_nesting_fits_in_a_mebibyte_of_stack() {
    let innermost = Deep {
        inner: Some(Box::new(DeepKind::Number(7))),
    };
    fits_in_a_small_stack((1..128).fold(innermost, |deep, _| Deep {
        inner: Some(Box::new(DeepKind::Fields(deep))),
    }));
    fits_in_a_small_stack((1..128).fold(Lists(vec![]), |list, _| Lists(vec![list])));
    fits_in_a_small_stack((1..128).fold(Lists(vec![]), |list, _| {
        let others = (0..16).map(|_| Lists(vec![]));
        Lists(std::iter::once(list).chain(others).collect())
    }));
}
