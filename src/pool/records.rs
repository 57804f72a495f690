//! The byte format of jobs and results.
//!
//! ```text
//! job:     table of what travels with it (`table` bytes of MessagePack, none if nothing does)
//!          its items: length (varint), bytes; of one that lies in the job's extent: 0, place
//! results: records, one for each item: length and tag (varint: length * 8 + tag), times if the pool keeps them, bytes;
//!          of one that lies in the slot's extent, the place for bytes
//! place:   where it begins in the extent, length (varints)
//! ```

use super::extent::{Extent, Place};
use super::job_error::JobError;
use crate::encoding::{EncodingReason, decode, encode};
use crate::error::ErrorKind;
use crate::process::panic::Panic;
use serde::de::DeserializeOwned;

/// What a record says about its item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Tag {
    Value = 0,
    Panicked = 1,
    /// Not run, or with a result that cannot travel: the kind of the error, and its message.
    Refused = 2,
    /// A value that lies in the extent.
    Long = 3,
}

impl Tag {
    fn of_bits(bits: u64) -> Option<Self> {
        let all = [Tag::Value, Tag::Panicked, Tag::Refused, Tag::Long];
        all.into_iter().find(|tag| *tag as u64 == bits)
    }

    pub(super) fn is_failure(self) -> bool {
        matches!(self, Tag::Panicked | Tag::Refused)
    }
}

/// When an item began and ended, in nanoseconds of the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Times {
    pub(super) begun: u64,
    pub(super) done: u64,
}

const TIMES_BYTES: usize = 16;
const MOST_VARINT: usize = 10;

/// Appends a number, seven bits a byte, the low bits first.
#[inline]
pub(super) fn put_varint(mut number: u64, buffer: &mut Vec<u8>) {
    while number >= 0x80 {
        buffer.push(number as u8 | 0x80);
        number >>= 7;
    }
    buffer.push(number as u8);
}

/// Takes such a number off the front.
#[inline]
pub(super) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for at in 0..MOST_VARINT {
        let byte = *bytes.get(at)?;
        number |= u64::from(byte & 0x7f).checked_shl(7 * at as u32)?;
        if byte < 0x80 {
            *bytes = &bytes[at + 1..];
            return Some(number);
        }
    }
    None
}

/// Takes that many bytes off the front.
#[inline]
pub(super) fn take<'a>(bytes: &mut &'a [u8], len: u64) -> Option<&'a [u8]> {
    let len = usize::try_from(len).ok().filter(|len| *len <= bytes.len())?;
    let (taken, rest) = bytes.split_at(len);
    *bytes = rest;
    Some(taken)
}

impl Place {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_varint(self.at, &mut bytes);
        put_varint(self.len, &mut bytes);
        bytes
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let at = take_varint(bytes)?;
        let len = take_varint(bytes)?;
        Some(Place { at, len })
    }
}

/// An item of a job. None has no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item<'a> {
    Short(&'a [u8]),
    Long(Place),
}

impl<'a> Item<'a> {
    /// Takes one item off the front.
    #[inline]
    pub(super) fn take(rest: &mut &'a [u8]) -> Option<Self> {
        match take_varint(rest)? {
            0 => Place::take(rest).map(Item::Long),
            len => take(rest, len).map(Item::Short),
        }
    }
}

/// Room for the longest header of a record.
pub(super) const MOST_HEADER: usize = MOST_VARINT + TIMES_BYTES;

/// Writes a record's header to the end of `room`, followed by its bytes; returns where it begins.
#[inline]
pub(super) fn put_header(tag: Tag, len: usize, times: Option<Times>, room: &mut [u8; MOST_HEADER]) -> usize {
    let mut at = MOST_HEADER;
    if let Some(times) = times {
        at -= TIMES_BYTES;
        room[at..at + 8].copy_from_slice(&times.begun.to_le_bytes());
        room[at + 8..].copy_from_slice(&times.done.to_le_bytes());
    }
    let number = (len as u64) << 3 | tag as u64;
    if number < 0x80 {
        at -= 1;
        room[at] = number as u8;
        return at;
    }
    let mut varint = Vec::with_capacity(MOST_VARINT);
    put_varint(number, &mut varint);
    at -= varint.len();
    room[at..at + varint.len()].copy_from_slice(&varint);
    at
}

/// The bytes of a [`Tag::Refused`].
pub(super) fn refusal(kind: ErrorKind, text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = encode(&(kind, text), &mut bytes); // A number and a text: encoding cannot fail.
    bytes
}

/// One item's result.
pub(super) struct Record<'a> {
    tag: Tag,
    pub(super) times: Times,
    bytes: &'a [u8],
}

impl Record<'_> {
    pub(super) fn is_failure(&self) -> bool {
        self.tag.is_failure()
    }

    #[inline]
    pub(super) fn read<R: DeserializeOwned>(&self, worker: u32, extent: Option<&Extent>) -> Result<R, JobError> {
        if self.tag != Tag::Value {
            return self.read_other(worker, extent);
        }
        decode(self.bytes).map_err(not_decodable)
    }

    #[cold]
    fn read_other<R: DeserializeOwned>(&self, worker: u32, extent: Option<&Extent>) -> Result<R, JobError> {
        if self.is_failure() {
            return Err(self.failure(worker));
        }
        let mut bytes = self.bytes;
        let (place, extent) = Place::take(&mut bytes).zip(extent).ok_or_else(no_record)?;
        let unreadable = |error| JobError::of_system(&format!("reading a result of {} bytes", place.len), error);
        let bytes = extent.bytes(place).map_err(unreadable)?;
        decode(&bytes).map_err(not_decodable)
    }

    #[cold]
    fn failure(&self, worker: u32) -> JobError {
        if self.tag == Tag::Panicked {
            let Panic { words, location } = Panic::from_bytes(self.bytes);
            return JobError::Panicked {
                message: words,
                location,
                worker,
            };
        }
        let why = decode::<(ErrorKind, String)>(self.bytes);
        let (kind, text) = why.unwrap_or_else(|_| {
            (
                ErrorKind::Encoding,
                "unknown reason: the worker's error cannot be decoded".to_owned(),
            )
        });
        JobError::refusal(kind, text)
    }
}

/// A record that was counted cannot be read: only words that were overwritten cause that.
pub(super) fn no_record() -> JobError {
    JobError::Encoding("the worker's record of the result is missing or malformed".to_owned())
}

#[cold]
fn not_decodable(reason: EncodingReason) -> JobError {
    let text = format!("the result cannot be decoded: {reason}");
    if reason.is_of_memory() {
        JobError::OutOfMemory(text)
    } else {
        JobError::Encoding(text)
    }
}

/// The complete records in `bytes`.
pub(super) struct Records<'a> {
    bytes: &'a [u8],
    timed: bool,
}

impl<'a> Records<'a> {
    pub(super) fn new(bytes: &'a [u8], timed: bool) -> Self {
        Records { bytes, timed }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        let mut rest = self.bytes;
        let header = take_varint(&mut rest)?;
        let tag = Tag::of_bits(header & 7)?;
        let mut times = Times::default();
        if self.timed {
            let (begun, done) = take(&mut rest, TIMES_BYTES as u64)?.split_at(8);
            times.begun = u64::from_le_bytes(begun.try_into().ok()?);
            times.done = u64::from_le_bytes(done.try_into().ok()?);
        }
        let bytes = take(&mut rest, header >> 3)?;
        self.bytes = rest;
        Some(Record { tag, times, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = vec![];
            put_varint(number, &mut bytes);
            let mut rest = &bytes[..];
            assert_eq!((take_varint(&mut rest), rest.len()), (Some(number), 0));
            assert_eq!(take_varint(&mut &bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(take_varint(&mut &[0xff; 11][..]), None);
    }

    #[test]
    fn half_a_record_is_none() {
        for timed in [false, true] {
            let times = timed.then_some(Times { begun: 3, done: 9 });
            let mut room = [0; MOST_HEADER];
            let at = put_header(Tag::Panicked, 5, times, &mut room);
            let mut bytes = room[at..].to_vec();
            bytes.extend(b"words");
            for len in 0..bytes.len() {
                assert!(Records::new(&bytes[..len], timed).next().is_none());
            }
            let record = Records::new(&bytes, timed).next().unwrap();
            assert_eq!(record.times, times.unwrap_or_default());
            let panicked = JobError::Panicked {
                message: "words".to_owned(),
                location: None,
                worker: 7,
            };
            assert_eq!(record.read::<u8>(7, None), Err(panicked));
        }
    }
}
