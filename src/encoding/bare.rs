//! The encoding alone, for this crate's own tests and benches.

use super::items::{self, Unfit};
use super::reason::EncodingReason;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An item as bytes, encoded as everywhere in this crate.
///
/// # Errors
///
/// Why it cannot be encoded.
pub fn encode<T: Serialize + ?Sized>(item: &T) -> Result<Vec<u8>, EncodingReason> {
    let mut bytes = Vec::new();
    encode_to(item, &mut bytes)?;
    Ok(bytes)
}

/// The same, appended to a buffer.
///
/// # Errors
///
/// Why it cannot be encoded.
#[inline]
pub fn encode_to<T: Serialize + ?Sized>(item: &T, bytes: &mut Vec<u8>) -> Result<(), EncodingReason> {
    items::encode(item, bytes).map(drop).map_err(Unfit::reason::<T>)
}

/// The item in these bytes.
///
/// # Errors
///
/// Why they hold no such item.
#[inline]
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, EncodingReason> {
    items::decode(bytes)
}
