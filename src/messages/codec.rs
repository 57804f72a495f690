//! Items as records: a header of one word, then the item's bytes, filled up to whole words.
//!
//! Encoding happens before a lock is taken and decoding after it is given back, so that no code of a user's runs under
//! it; in between, a small record lies on the stack, and others in a buffer that each thread keeps.

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::Cell;

/// Bytes of a unit: what a queue's room is counted in.
pub(super) const UNIT: usize = 8;
/// A buffer that has grown larger than this is not kept.
const KEPT: usize = 1 << 16;
/// Tells headers from other words.
const MARK: u32 = 0x7265_6331;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Runs `work` with this thread's buffer, empty. A `Serialize` that itself uses a queue gets another.
#[inline]
pub(super) fn with_buffer<R>(work: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = BUFFER.take();
    buffer.clear();
    let outcome = work(&mut buffer);
    if buffer.capacity() <= KEPT {
        BUFFER.set(buffer);
    }
    outcome
}

/// Units of the largest record that is kept on the stack.
pub(super) const SMALL: usize = 16;

/// A record on the stack, aligned as units are.
pub(super) struct Small([u64; SMALL]);

impl Small {
    #[inline]
    pub(super) fn new() -> Self {
        Small([0; SMALL])
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8; SMALL * UNIT] {
        // SAFETY: the units are so many bytes, and any bytes are a u8.
        unsafe { &*self.0.as_ptr().cast() }
    }

    #[inline]
    pub(super) fn bytes_mut(&mut self) -> &mut [u8; SMALL * UNIT] {
        // SAFETY: as in `bytes`, and any bytes are a u64.
        unsafe { &mut *self.0.as_mut_ptr().cast() }
    }

    /// Encodes `item` if its record is that small, and tells how many units it takes.
    #[inline]
    pub(super) fn encode<T: Serialize>(&mut self, item: &T) -> Option<usize> {
        let room = &mut self.bytes_mut()[UNIT..];
        let len = postcard::to_slice(item, room).ok()?.len() as u32;
        self.0[0] = header_of(len);
        Some(units_of(len) as usize)
    }
}

/// The encoder's output: the end of a buffer.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Appends the record of `item`, by way of `small` if it fits there; the buffer is as before if it cannot be encoded.
#[inline]
pub(super) fn append<T: Serialize>(small: &mut Small, buffer: &mut Vec<u8>, item: &T) -> Result<(), NotEncodable> {
    let Some(units) = small.encode(item) else {
        return append_large(buffer, item);
    };
    let (len, end) = (units * UNIT, buffer.len());
    buffer.reserve(SMALL * UNIT);
    // SAFETY: `small` has `len` bytes and the buffer room for as many behind its end.
    unsafe { copy_units(small.bytes().as_ptr(), buffer.as_mut_ptr().add(end), len) };
    // SAFETY: these bytes have just been written, and there was room for them.
    unsafe { buffer.set_len(end + len) };
    Ok(())
}

/// As [`append`], for what does not fit on the stack.
pub(super) fn append_large<T: Serialize>(buffer: &mut Vec<u8>, item: &T) -> Result<(), NotEncodable> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; UNIT]);
    if postcard::serialize_with_flavor(item, Append(buffer)).is_err() {
        buffer.truncate(start);
        return Err(NotEncodable);
    }
    let len = buffer.len() - start - UNIT;
    // An item of more than 4 GiB fits into no queue; its header is never looked at.
    let header = header_of(len as u32);
    buffer[start..start + UNIT].copy_from_slice(&header.to_ne_bytes());
    buffer.resize(buffer.len().next_multiple_of(UNIT), 0);
    Ok(())
}

pub(super) struct NotEncodable;

fn header_of(len: u32) -> u64 {
    u64::from(len ^ MARK) << 32 | u64::from(len)
}

/// The length of the item behind a header, or `None` if the word is no header.
#[inline]
pub(super) fn length_in(header: u64) -> Option<u32> {
    let len = header as u32;
    (header_of(len) == header).then_some(len)
}

/// Units of the record of an item of `len` bytes.
#[inline]
pub(super) fn units_of(len: u32) -> u32 {
    1 + len.div_ceil(UNIT as u32)
}

/// The first record of `records`: its item's bytes, and the rest. The caller has checked the headers.
#[inline]
pub(super) fn split_first(records: &[u8]) -> Option<(&[u8], &[u8])> {
    let header = records.first_chunk::<UNIT>()?;
    let len = length_in(u64::from_ne_bytes(*header))?;
    let end = units_of(len) as usize * UNIT;
    let item = records.get(UNIT..UNIT + len as usize)?;
    Some((item, records.get(end..)?))
}

/// The first record's item; what follows the record does not matter.
#[inline]
pub(super) fn first_item(records: &[u8]) -> Option<&[u8]> {
    let len = length_in(u64::from_ne_bytes(*records.first_chunk::<UNIT>()?))?;
    records.get(UNIT..UNIT + len as usize)
}

/// Bytes of the first record, and 0 where there is none.
#[inline]
pub(super) fn first_bytes(records: &[u8]) -> usize {
    split_first(records).map_or(records.len(), |(_, rest)| records.len() - rest.len())
}

/// Copies `len` bytes, a number of whole units. Few of them are copied without a call: that costs as much as all the rest.
///
/// # Safety
///
/// `from` is readable and `to` writable for `len` bytes; the two do not overlap.
#[inline]
pub(super) unsafe fn copy_units(from: *const u8, to: *mut u8, len: usize) {
    if len >= 2 * SMALL * UNIT {
        // SAFETY: as the caller says.
        return unsafe { to.copy_from_nonoverlapping(from, len) };
    }
    let mut at = 0;
    macro_rules! copy_blocks {
        ($($bytes:literal)*) => {$(
            if len & $bytes != 0 {
                // SAFETY: the lower bits of `len` are still to come, so `at + $bytes` is not above it.
                unsafe { to.add(at).copy_from_nonoverlapping(from.add(at), $bytes) };
                at += $bytes;
            }
        )*};
    }
    copy_blocks!(128 64 32 16 8);
    debug_assert_eq!(at, len, "a number of whole units");
}

/// The item in `bytes`, all of which it must take.
#[inline]
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((item, [])) => Some(item),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_a_header_and_whole_words() {
        let mut buffer = Vec::new();
        assert!(append(&mut Small::new(), &mut buffer, &"hello").is_ok());
        assert!(append_large(&mut buffer, &()).is_ok());
        let len = 6u32;
        assert_eq!(&buffer[..4], &len.to_ne_bytes()[..]);
        assert_eq!((buffer.len(), units_of(len), units_of(0)), (24, 2, 1));
        let (first, rest) = split_first(&buffer).unwrap();
        assert_eq!(decode::<String>(first).as_deref(), Some("hello"));
        let (second, rest) = split_first(rest).unwrap();
        assert_eq!((second.len(), rest.len()), (0, 0));
    }

    #[test]
    fn a_word_that_is_no_header_has_no_length() {
        assert_eq!(length_in(0), None);
        assert_eq!(length_in(header_of(17)), Some(17));
        assert_eq!(length_in(header_of(17) ^ 1), None);
    }

    #[test]
    fn an_item_takes_all_its_bytes() {
        assert_eq!(decode::<u8>(&[1]), Some(1));
        assert_eq!(decode::<u8>(&[1, 2]), None);
        assert_eq!(decode::<u16>(&[0x80]), None);
    }
}
