//! Bytes that travel as such, and not number by number.

#![allow(dead_code, reason = "each test file uses what it needs")]

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Blob(pub(crate) Vec<u8>);

impl Blob {
    /// So many bytes, which tell the number and their places.
    pub(crate) fn new(number: usize, len: usize) -> Self {
        let pattern: Vec<u8> = (0..251_u32).map(|at| (number as u32 * 37 + at) as u8).collect();
        Blob(pattern.iter().copied().cycle().take(len).collect())
    }
}

impl Serialize for Blob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

struct Visitor;

impl serde::de::Visitor<'_> for Visitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(Visitor).map(Blob)
    }
}
