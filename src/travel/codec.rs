//! Arguments and results as bytes.

use super::context;
use crate::encoding::{EncodingReason, Limit, Store, Trial, Unfit, decode, encode_through};
use crate::error::{Error, ErrorKind, Result};
use crate::segment::check_memory;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Arguments and results are limited only by memory, and the question precedes the allocation.
const BY_MEMORY: Limit<'static> = Limit {
    most: usize::MAX,
    has_memory: &|len| check_memory(len as u64).is_ok(),
};

const NOT_PACKED: &str = "the arguments cannot be encoded";

/// Appends arguments, which the receiver decodes as a `D`, to `buffer`, or puts them into the store if they are long; returns how
/// many bytes are in the store: all of them, or none. Bytes appended before a failure do not count.
///
/// They are decoded on trial if nothing is attached to them: attachments can be received only once.
#[inline]
pub(crate) fn pack<D: DeserializeOwned>(
    arguments: &impl Serialize,
    buffer: &mut Vec<u8>,
    store: &mut dyn Store,
    trial: &Trial,
) -> Result<usize> {
    let start = buffer.len();
    let encoded =
        encode_through(BY_MEMORY, arguments, buffer, Some(store)).map_err(|unfit| refused::<D>(NOT_PACKED, unfit))?;
    if trial.is_due(encoded) && !context::has_attachments() {
        let tried = match encoded.stored {
            0 => trial.check::<D>(encoded, &buffer[start..]),
            _ => trial.check_stored::<D>(encoded, store),
        };
        tried.map_err(|reason| explain(NOT_PACKED, &reason))?;
    }
    Ok(encoded.stored)
}

/// Decodes arguments.
pub(crate) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    decode(bytes).map_err(|reason| explain("the arguments cannot be decoded", &reason))
}

/// Encodes a result, as [`pack`] does arguments.
pub(crate) fn pack_result<T: Serialize>(result: &T, buffer: &mut Vec<u8>, store: &mut dyn Store) -> Result<usize> {
    let outcome = encode_through(BY_MEMORY, result, buffer, Some(store)).map(|encoded| encoded.stored);
    outcome.map_err(|unfit| refused::<T>("the result cannot be encoded", unfit))
}

/// Decodes a result.
pub(crate) fn unpack_result<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    decode(bytes).map_err(|reason| explain("the result cannot be decoded", &reason))
}

/// What went wrong in encoding a `T`.
#[cold]
fn refused<T>(what: &str, unfit: Unfit) -> Error {
    match unfit {
        Unfit::Io(why) => context::take_fault().unwrap_or_else(|| Error::new(ErrorKind::Io, format!("{what}: {why}"))),
        unfit => explain(what, &unfit.reason::<T>()),
    }
}

/// What went wrong: the refusal of a handle, or else a fault of the encoding.
#[cold]
fn explain(what: &str, reason: &EncodingReason) -> Error {
    context::take_fault().unwrap_or_else(|| {
        let kind = if reason.is_of_memory() {
            ErrorKind::OutOfMemory
        } else {
            ErrorKind::Encoding
        };
        Error::new(kind, format!("{what}: {reason}"))
    })
}
