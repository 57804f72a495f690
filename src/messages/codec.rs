//! Items as records: a header of one word, then the item's bytes, filled up to whole words.
//!
//! Encoding happens before a lock is taken and decoding after it is released, so that no user code runs under it; in between, a
//! small record lies on the stack, and others in a buffer that each thread keeps.
//!
//! The header tells how many bytes the item takes, up to 2^48; in a ring, up to 2^32. In a ring, a header may also belong to a
//! reference to an item that lies elsewhere: a word with its place then follows.

pub(super) use crate::encoding::decode;
use crate::encoding::{self, Limit, Store, Trial, Unfit};
use crate::primitive::{AtomicU64, Ordering};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::Cell;

/// Bytes of a unit, in which a queue's room is counted.
pub(super) const UNIT: usize = 8;
/// A buffer that has grown larger than this is not kept.
const KEPT: usize = 1 << 16;
/// Tells headers from other words.
const MARK: u32 = 0x7265_6331;
/// Tells headers of references from those headers and from other words.
const REFERENCE_MARK: u32 = 0x7265_6632;
/// Tells the headers of references to extents from all others.
const EXTENT_MARK: u32 = 0x7265_6633;
/// Units of a reference.
pub(super) const REFERENCE: usize = 2;

thread_local! {
    static RECORDS: Cell<Records> = const { Cell::new(Records::EMPTY) };
}

/// Encoded records, one after the other.
pub(super) struct Records {
    /// A number of whole units, of which the first `end` bytes are records.
    bytes: Vec<u8>,
    end: usize,
}

/// Runs `work` with this thread's records, which are empty at first. A `Serialize` that itself uses a queue gets others.
#[inline]
pub(super) fn with_records<R>(work: impl FnOnce(&mut Records) -> R) -> R {
    // A thread that is ending keeps none.
    let kept = RECORDS.try_with(|kept| kept.replace(Records::EMPTY));
    let mut records = kept.unwrap_or(Records::EMPTY);
    records.clear();
    let outcome = work(&mut records);
    if records.bytes.capacity() <= KEPT {
        let _ = RECORDS.try_with(|kept| kept.set(records));
    }
    outcome
}

impl Records {
    const EMPTY: Records = Records {
        bytes: Vec::new(),
        end: 0,
    };

    pub(super) fn clear(&mut self) {
        self.end = 0;
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.end]
    }

    /// How many bytes there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.end
    }

    /// Appends the record of `item`, or nothing if it cannot be encoded, cannot be decoded again, or exceeds the limit.
    #[inline]
    pub(super) fn append<T: Serialize + DeserializeOwned>(
        &mut self,
        item: &T,
        limit: Limit<'_>,
        trial: &Trial,
    ) -> Result<(), Unfit> {
        if self.bytes.len() < self.end + SMALL * UNIT {
            self.bytes.resize(2 * self.end + 2 * SMALL * UNIT, 0);
        }
        let room = &mut self.bytes[self.end + UNIT..];
        let len = if trial.is_on() {
            None
        } else {
            encoding::fill(item, room)
        };
        match len {
            Some(len) => self.finish(len),
            None => drop(self.append_large(item, limit, trial, None)?),
        }
        Ok(())
    }

    /// As [`append`](Self::append), for an item that may not fit into the buffer; a long item goes to the store, and no record
    /// is appended. Returns how many bytes the store has.
    pub(super) fn append_large<T: Serialize + DeserializeOwned>(
        &mut self,
        item: &T,
        limit: Limit<'_>,
        trial: &Trial,
        mut store: Option<&mut dyn Store>,
    ) -> Result<usize, Unfit> {
        let start = self.end + UNIT;
        self.bytes.resize(start, 0);
        // Not `as_deref_mut`: that would borrow it for as long as the store lives.
        let lent: Option<&mut dyn Store> = match &mut store {
            Some(store) => Some(&mut **store),
            None => None,
        };
        let encoded = encoding::encode_through(limit, item, &mut self.bytes, lent);
        let tried = encoded.and_then(|encoded| {
            let tried = match store {
                Some(store) if encoded.stored > 0 => trial.check_stored::<T>(encoded, store),
                _ => trial.check::<T>(encoded, &self.bytes[start..]),
            };
            tried.map(|()| encoded.stored).map_err(Unfit::NotEncodable)
        });
        let len = self.bytes.len() - start;
        self.bytes.resize(self.bytes.len().next_multiple_of(UNIT), 0);
        let stored = tried?;
        if stored == 0 {
            self.finish(len);
        }
        Ok(stored)
    }

    /// Turns the `len` bytes after the room for a header into a record.
    #[inline]
    fn finish(&mut self, len: usize) {
        let header = header_of(len as u64);
        self.bytes[self.end..self.end + UNIT].copy_from_slice(&header.to_ne_bytes());
        self.end += UNIT + len.next_multiple_of(UNIT);
    }
}

/// Units of the largest record that is kept on the stack.
pub(super) const SMALL: usize = 16;

/// Units that are copied one by one.
const FEW: usize = 8;

/// A record on the stack, aligned as units are.
pub(super) struct Small([u64; SMALL]);

impl Small {
    #[inline]
    pub(super) fn new() -> Self {
        Small([0; SMALL])
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8; SMALL * UNIT] {
        // SAFETY: the units are that many bytes, and any bytes are a u8.
        unsafe { &*self.0.as_ptr().cast() }
    }

    #[inline]
    pub(super) fn bytes_mut(&mut self) -> &mut [u8; SMALL * UNIT] {
        // SAFETY: as in `bytes`, and any bytes are a u64.
        unsafe { &mut *self.0.as_mut_ptr().cast() }
    }

    /// Encodes `item` if its record is small enough, and returns how many units it takes.
    #[inline]
    pub(super) fn encode<T: Serialize>(&mut self, item: &T) -> Option<usize> {
        let len = encoding::fill(item, &mut self.bytes_mut()[UNIT..])? as u32;
        self.0[0] = short_header_of(len);
        Some(units_of(len) as usize)
    }
}

fn short_header_of(len: u32) -> u64 {
    u64::from(len ^ MARK) << 32 | u64::from(len)
}

/// The header of an item of up to 2^48 bytes. A long item's header differs from a short one's in the upper 16 bits.
pub(super) fn header_of(len: u64) -> u64 {
    match u32::try_from(len) {
        Ok(short) => short_header_of(short),
        Err(_) => !short_header_of(len as u32) & !(u64::MAX >> 16) | len & (u64::MAX >> 16),
    }
}

/// The length of the item behind a header in a ring, or `None` if the word is no such header.
#[inline]
pub(super) fn short_length_in(header: u64) -> Option<u32> {
    let len = header as u32;
    (short_header_of(len) == header).then_some(len)
}

/// The length of the item behind a header, or `None` if the word is no header.
#[inline]
pub(super) fn length_in(header: u64) -> Option<u64> {
    match short_length_in(header) {
        Some(len) => Some(u64::from(len)),
        None => Some(header & (u64::MAX >> 16)).filter(|len| header_of(*len) == header),
    }
}

/// An item that lies outside the ring: where it begins, and its length. Both are less than 2^48.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) position: u64,
    pub(super) len: u64,
}

impl Reference {
    /// Its record.
    pub(super) fn record(self) -> [u8; REFERENCE * UNIT] {
        self.marked(REFERENCE_MARK)
    }

    /// Its record where it leads to an extent, whose number is the position.
    pub(super) fn record_in_extent(self) -> [u8; REFERENCE * UNIT] {
        self.marked(EXTENT_MARK)
    }

    fn marked(self, mark: u32) -> [u8; REFERENCE * UNIT] {
        let short = self.len as u32;
        let header = u64::from(short ^ mark) << 32 | u64::from(short);
        let rest = self.len >> 32 << 48 | self.position;
        let words = [header.to_ne_bytes(), rest.to_ne_bytes()];
        core::array::from_fn(|at| words[at / UNIT][at % UNIT])
    }

    /// Whether a word is the header of a reference.
    #[inline]
    pub(super) fn is_header(header: u64) -> bool {
        let mark = (header >> 32) as u32 ^ header as u32;
        mark == REFERENCE_MARK || mark == EXTENT_MARK
    }

    /// What a record refers to, if it is a reference, and whether to an extent.
    pub(super) fn in_record(record: &[u8; REFERENCE * UNIT]) -> Option<(Self, bool)> {
        let word = |at: usize| u64::from_ne_bytes(core::array::from_fn(|byte| record[at * UNIT + byte]));
        let (header, rest) = (word(0), word(1));
        let is_in_extent = (header >> 32) as u32 ^ header as u32 == EXTENT_MARK;
        let reference = Reference {
            position: rest & (u64::MAX >> 16),
            len: rest >> 48 << 32 | header & u64::from(u32::MAX),
        };
        Self::is_header(header).then_some((reference, is_in_extent))
    }
}

/// Units of the record of an item of `len` bytes.
#[inline]
pub(super) fn units_of(len: u32) -> u32 {
    1 + len.div_ceil(UNIT as u32)
}

/// The first record of `records`: its item's bytes, and the rest. The caller has checked the headers.
#[inline]
pub(super) fn split_first(records: &[u8]) -> Option<(&[u8], &[u8])> {
    let item = first_item(records)?;
    let end = UNIT + item.len().next_multiple_of(UNIT);
    Some((item, records.get(end..)?))
}

/// The first record's item; what follows the record does not matter.
#[inline]
pub(super) fn first_item(records: &[u8]) -> Option<&[u8]> {
    let len = length_in(u64::from_ne_bytes(*records.first_chunk::<UNIT>()?))?;
    records.get(UNIT..)?.get(..usize::try_from(len).ok()?)
}

/// Bytes of the first record; all bytes if they do not begin with one.
#[inline]
pub(super) fn first_bytes(records: &[u8]) -> usize {
    split_first(records).map_or(records.len(), |(_, rest)| records.len() - rest.len())
}

/// Copies `len` bytes, a number of whole units, from memory of this process to a ring.
///
/// A few are copied unit by unit: the processor forwards what was just written only to a load of the same width, and a call
/// costs as much as all the rest. Atomic stores are kept as they are; the compiler would merge others.
///
/// # Safety
///
/// `from` is readable and `to` writable for `len` bytes; `to` is aligned as units are, and the two do not overlap.
#[inline]
pub(super) unsafe fn store_units(from: *const u8, to: *mut u8, len: usize) {
    if len > FEW * UNIT {
        // SAFETY: as the caller says.
        return unsafe { to.copy_from_nonoverlapping(from, len) };
    }
    let (from, to) = (from.cast::<u64>(), to.cast::<u64>());
    let mut unit = 0;
    while unit < len / UNIT {
        // SAFETY: the unit lies within the `len` bytes, which are readable.
        let word = unsafe { from.wrapping_add(unit).read_unaligned() };
        // SAFETY: the unit lies within the `len` bytes, which are writable, aligned, and used by nobody else meanwhile.
        let target = unsafe { AtomicU64::from_ptr(to.wrapping_add(unit)) };
        // Relaxed: publishing the record orders it.
        target.store(word, Ordering::Relaxed);
        unit += 1;
    }
}

/// Copies `len` bytes, a number of whole units, from a ring to memory of this process.
///
/// # Safety
///
/// `from` is readable and `to` writable for `len` bytes; `from` is aligned as units are, and the two do not overlap.
#[inline]
pub(super) unsafe fn load_units(from: *const u8, to: *mut u8, len: usize) {
    if len > FEW * UNIT {
        // SAFETY: as the caller says.
        return unsafe { to.copy_from_nonoverlapping(from, len) };
    }
    let (from, to) = (from.cast::<u64>(), to.cast::<u64>());
    let mut unit = 0;
    while unit < len / UNIT {
        // SAFETY: the unit lies within the `len` bytes, which are readable and aligned.
        let word = unsafe { from.wrapping_add(unit).read() };
        // SAFETY: the unit lies within the `len` bytes, which are writable.
        unsafe { to.wrapping_add(unit).write_unaligned(word) };
        unit += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_a_header_and_whole_words() {
        let mut records = Records::EMPTY;
        assert!(
            records
                .append(&"hello".to_owned(), Limit::NONE, &Trial::default())
                .is_ok()
        );
        assert!(records.append_large(&(), Limit::NONE, &Trial::default(), None).is_ok());
        let buffer = records.bytes();
        let len = 6u32;
        assert_eq!(&buffer[..4], &len.to_ne_bytes()[..]);
        assert_eq!((buffer.len(), units_of(len), units_of(0)), (32, 2, 1));
        let (first, rest) = split_first(buffer).unwrap();
        assert_eq!(decode::<String>(first).as_deref(), Ok("hello"));
        let (second, rest) = split_first(rest).unwrap();
        assert_eq!((second.len(), rest.len()), (1, 0));
    }

    #[test]
    fn a_word_that_is_no_header_has_no_length() {
        assert_eq!(length_in(0), None);
        assert_eq!(length_in(header_of(17) ^ 1), None);
        for len in [0, 17, u64::from(u32::MAX), 1 << 32, (1 << 48) - 1] {
            let header = header_of(len);
            assert_eq!(length_in(header), Some(len));
            assert_eq!(
                short_length_in(header).map(u64::from),
                Some(len).filter(|len| *len < 1 << 32)
            );
            assert!(!Reference::is_header(header));
        }
        // The low half of a long header may look like that of a short one.
        let tricky = (0x1234 << 32) | u64::from((0x5678_1234u32) ^ MARK);
        assert_eq!(length_in(header_of(tricky)), Some(tricky));
    }

    #[test]
    fn a_reference_tells_place_and_length() {
        for (position, len) in [(0, 0), (7 << 40, 5), ((1 << 48) - 1, (1 << 48) - 1), (9, 3 << 32)] {
            let reference = Reference { position, len };
            let record = reference.record();
            assert_eq!(Reference::in_record(&record), Some((reference, false)));
            let header = u64::from_ne_bytes(*record.first_chunk().unwrap());
            assert!(Reference::is_header(header) && short_length_in(header).is_none());
        }
        assert_eq!(Reference::in_record(&[0; 16]), None);
    }
}
