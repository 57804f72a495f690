//! Whole items to bytes and back.

use super::decoder::Decoder;
use super::encoder::Encoder;
use super::fault::Fault;
use super::output::{Append, FixedOutput, Limit, NoRoom, Output, Store};
use super::reason::EncodingReason;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why an item has no bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unfit {
    NotEncodable(EncodingReason),
    /// At least this many bytes, which is more than allowed.
    TooLarge(usize),
    OutOfMemory,
    /// The system does not give back what it has written of it.
    Io(String),
}

impl Unfit {
    /// The reason, where nothing limits the size of a `T`.
    #[cold]
    pub(crate) fn reason<T: ?Sized>(self) -> EncodingReason {
        match self {
            Unfit::NotEncodable(reason) => reason,
            Unfit::TooLarge(_) | Unfit::OutOfMemory => Fault::NO_ROOM.reason::<T>(),
            Unfit::Io(why) => Fault::new(why).reason::<T>(),
        }
    }
}

/// What is known of an item that has been encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Encoded {
    /// It contains something that its own `Deserialize` may not read back.
    pub(crate) is_doubtful: bool,
    /// How many bytes the store has: all of the item's, or none.
    pub(crate) stored: usize,
}

/// Appends an item to `buffer`; after a failure, the bytes appended are no item.
#[inline]
pub(crate) fn encode<T: Serialize + ?Sized>(item: &T, buffer: &mut Vec<u8>) -> Result<Encoded, Unfit> {
    encode_within(Limit::NONE, item, buffer)
}

/// As [`encode`], giving up as soon as the item takes more than the limit allows and the buffer would have to grow.
#[inline]
pub(crate) fn encode_within<T: Serialize + ?Sized>(
    limit: Limit<'_>,
    item: &T,
    buffer: &mut Vec<u8>,
) -> Result<Encoded, Unfit> {
    encode_through(limit, item, buffer, None)
}

/// As [`encode_within`], but a long item goes to the store as a whole, and the buffer remains as it was.
#[inline]
pub(crate) fn encode_through<T: Serialize + ?Sized>(
    limit: Limit<'_>,
    item: &T,
    buffer: &mut Vec<u8>,
    store: Option<&mut dyn Store>,
) -> Result<Encoded, Unfit> {
    let mut output = Append::new(buffer, limit, store);
    let outcome = encode_into(item, &mut output).and_then(|encoded| {
        let stored = output.finish()?;
        Ok(Encoded { stored, ..encoded })
    });
    match outcome {
        Ok(encoded) => Ok(encoded),
        Err(fault) => Err(unfit::<T>(output.refused, fault)),
    }
}

#[cold]
fn unfit<T: ?Sized>(refused: Option<NoRoom>, fault: Fault) -> Unfit {
    match refused {
        Some(NoRoom::TooLarge(len)) => Unfit::TooLarge(len),
        Some(NoRoom::OutOfMemory) => Unfit::OutOfMemory,
        Some(NoRoom::Io(why)) => Unfit::Io(why),
        None => Unfit::NotEncodable(fault.reason::<T>()),
    }
}

/// Encodes an item into a piece of memory, and returns how many bytes it takes; `None` if the memory is too small, the item
/// cannot be encoded, or it is doubtful.
#[inline]
pub(crate) fn fill<T: Serialize + ?Sized>(item: &T, room: &mut [u8]) -> Option<usize> {
    let mut output = FixedOutput::new(room);
    match encode_into(item, &mut output) {
        Ok(Encoded { is_doubtful: false, .. }) => Some(output.len()),
        _ => None,
    }
}

#[inline(always)]
fn encode_into<T: Serialize + ?Sized>(item: &T, output: &mut impl Output) -> Result<Encoded, Fault> {
    let mut encoder = Encoder::new(output);
    item.serialize(&mut encoder)?;
    let is_doubtful = encoder.is_doubtful;
    // A `Serialize` may have ignored the refusal.
    if output.is_refused() {
        return Err(Fault::NO_ROOM);
    }
    Ok(Encoded { is_doubtful, stored: 0 })
}

/// The item in `bytes`, all of which it must take.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, EncodingReason> {
    let mut decoder = Decoder::new(bytes);
    match T::deserialize(&mut decoder) {
        Ok(item) if decoder.is_at_end() => Ok(item),
        Ok(_) => Err(Fault::new("unexpected bytes after the value").reason::<T>()),
        Err(fault) => Err(fault.reason::<T>()),
    }
}
