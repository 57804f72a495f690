//! Decodes any bytes as any type, and counts the memory that takes.

use crate::decoded_types;
use crate::memory::most_during;
use crate::types::*;
use procshare::__private::decode;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::any::type_name;

/// Bytes of memory for each byte of the input: entries of maps are the largest, of two bytes each. And what any fault takes.
const PER_BYTE: usize = 256;
const FAULT: usize = 32 << 10;

fn decode_within<T: DeserializeOwned>(bytes: &[u8]) {
    let most = most_during(|| decode::<T>(bytes));
    let allowed = PER_BYTE * bytes.len() + FAULT;
    assert!(
        most <= allowed,
        "{most} bytes for {} of a {}",
        bytes.len(),
        type_name::<T>()
    );
}

pub(crate) fn decode_as_all(bytes: &[u8]) {
    macro_rules! each {
        ($($type:ty),*) => { $(decode_within::<$type>(bytes);)* };
    }
    decoded_types!(each);
    decode_within::<IgnoredAny>(bytes);
}
