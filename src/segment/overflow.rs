//! `OverflowArea`: bytes of a segment's file behind the mapping, for items that a queue does not hold in its ring.
//!
//! Bytes that were never written take no memory, nor do bytes that were given back. They are written and read by system
//! calls, so that a full file system or exhausted memory is an error and not a signal; only a long item that is complete is mapped,
//! while it is decoded. Each 4096 bytes of the mapping have an
//! overflow area of the same length, so that an object of that size or more has one to itself. What an overflow area holds is up to
//! the object: items one after another (`raw/overflow_cursor.rs`) in its first half, single long ones (`raw/extent.rs`) in its
//! second.

use super::Segment;
use super::build::add_overflow;
use super::mapping::FileBytes;
use super::refused::os_error;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::header;
use crate::primitive::Ordering;
use crate::raw::EXTENTS;
use crate::sys::file::{self, AsFd, BorrowedFd};
use crate::sys::memory;
use std::mem::MaybeUninit;

/// After this many bytes, ask again how much memory is left: asking costs some ten microseconds.
const ASKED_EACH: u64 = 1 << 20;

/// One object's stretch of the file. Positions in it grow without end and wrap around.
#[derive(Clone)]
pub(crate) struct OverflowArea {
    segment: Segment,
    base: u64,
    /// The size of one half.
    size: u64,
}

impl Segment {
    /// Adds overflow areas to a file in memory, unless that is already decided. On a disk the file would look large to copying
    /// tools.
    ///
    /// | state | word | moved by | to | if that party dies there |
    /// |---|---|---|---|---|
    /// | undecided | 0 | the thread that places a queue makes the file longer, always to the same length | the same | both lengths are right |
    /// | undecided | 0 | the same, by one compare-exchange | decided, for good | – |
    pub(crate) fn decide_overflow(&self) {
        let word = &self.words()[header::word::OVERFLOW_AREAS];
        // Relaxed: the overflow areas exist before anything refers to them.
        if self.is_frozen() || word.load(Ordering::Relaxed) != 0 {
            return;
        }
        let fd = &self.0.fd;
        let decision = match file::is_memory_backed(fd.as_fd()) {
            Ok(true) => add_overflow(fd, self.capacity() as u64),
            _ => header::NO_OVERFLOW_AREAS,
        };
        let _ = word.compare_exchange(0, decision, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The overflow area of the object at a byte offset, if the file has overflow areas.
    pub(crate) fn overflow(&self, offset: u64) -> Option<OverflowArea> {
        let length = self.capacity() as u64;
        let size = header::overflow_size(length)?;
        // Relaxed: decided before the object was placed.
        let has_overflow = self.words()[header::word::OVERFLOW_AREAS].load(Ordering::Relaxed) == header::OVERFLOW_AREAS;
        has_overflow.then(|| OverflowArea {
            segment: self.clone(),
            base: length + offset / header::OVERFLOW_EACH * size,
            size: size / 2,
        })
    }
}

impl OverflowArea {
    /// How many bytes it may hold at a time: the page whose memory is given back next must hold no others.
    pub(crate) fn size(&self) -> u64 {
        self.size - file::page_size() as u64
    }

    /// Writes `bytes` at `position`.
    pub(crate) fn write(&self, position: u64, bytes: &[u8]) -> Result<()> {
        let (fd, len) = (self.file()?.0, bytes.len() as u64);
        check_memory_behind(position, len, ASKED_EACH)?;
        let (first, rest) = bytes.split_at(self.until_wrap(position).min(len) as usize);
        file::write_at(fd, first, self.offset(position))
            .and_then(|()| file::write_at(fd, rest, self.base))
            .map_err(|error| os_error("writing an item", error))
    }

    /// Appends `len` bytes at `position` to `buffer`, which afterwards has room for one more word.
    pub(crate) fn read(&self, position: u64, len: u64, buffer: &mut Vec<u8>) -> Result<()> {
        let (fd, start) = (self.file_with(len)?, buffer.len());
        reserve(buffer, len)?;
        let first = self.until_wrap(position).min(len) as usize;
        let outcome = file::append_at(fd, buffer, first, self.offset(position))
            .and_then(|()| file::append_at(fd, buffer, len as usize - first, self.base));
        outcome.map_err(|error| {
            buffer.truncate(start);
            os_error("reading an item", error)
        })
    }

    /// Reads into uninitialised memory; on success all of it is written.
    pub(crate) fn read_into(&self, position: u64, target: &mut [MaybeUninit<u8>]) -> Result<()> {
        let len = target.len() as u64;
        let fd = self.file_with(len)?;
        let (first, rest) = target.split_at_mut(self.until_wrap(position).min(len) as usize);
        file::read_into(fd, first, self.offset(position))
            .and_then(|()| file::read_into(fd, rest, self.base))
            .map_err(|error| os_error("reading an item", error))
    }

    /// The segment's file, if it may hold an item of `len` bytes, and memory a copy of it.
    fn file_with(&self, len: u64) -> Result<BorrowedFd<'_>> {
        let (fd, held) = self.file()?;
        // The length comes from a peer; the size of the file comes from the kernel.
        if len > self.size.min(held) {
            let message = format!("a record refers to {len} bytes, more than the file holds");
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        check_memory(len)?;
        Ok(fd)
    }

    /// Gives back the pages that end within these `len` bytes; earlier bytes of the first page were given back before.
    pub(crate) fn give_back(&self, from: u64, len: u64) {
        let page = file::page_size() as u64;
        let before = from % page;
        let pages = (before + len) / page;
        if pages > 0 {
            self.clear(from - before, pages * page);
        }
    }

    /// Gives back the memory of exactly these bytes, as far as they fill pages.
    pub(crate) fn clear(&self, from: u64, len: u64) {
        let len = len.min(self.size);
        let first = self.until_wrap(from).min(len);
        for (offset, len) in [(self.offset(from), first), (self.base, len - first)] {
            if let (Ok((fd, _)), true) = (self.file(), len > 0) {
                // If it cannot be given back, it is overwritten later.
                let _ = file::punch(fd, offset, len);
            }
        }
    }

    /// Writes into an extent, behind the first `at` bytes of it.
    pub(crate) fn write_extent(&self, number: usize, at: u64, bytes: &[u8]) -> Result<()> {
        let (fd, len) = (self.file()?.0, bytes.len() as u64);
        let (start, room) = self.extent(number);
        if at + len > room {
            let message = format!(
                "an item of at least {} bytes exceeds the {room} bytes reserved for one",
                at + len
            );
            return Err(Error::new(ErrorKind::OutOfMemory, message));
        }
        check_memory_behind(at, len, ASKED_EACH)?;
        file::write_at(fd, bytes, start + at).map_err(|error| os_error("writing an item", error))
    }

    /// Appends the first `len` bytes of an extent to `buffer`, as [`read`](Self::read) does.
    pub(crate) fn read_extent(&self, number: usize, len: u64, buffer: &mut Vec<u8>) -> Result<()> {
        let fd = self.file_with(len)?;
        reserve(buffer, len)?;
        file::append_at(fd, buffer, len as usize, self.extent(number).0)
            .map_err(|error| os_error("reading an item", error))
    }

    /// Maps the first `len` bytes of an extent.
    ///
    /// # Safety
    ///
    /// While they are mapped, nobody changes them.
    pub(crate) unsafe fn map_extent(&self, number: usize, len: u64) -> Result<FileBytes> {
        let fd = self.file_with(len)?;
        // SAFETY: nobody changes the bytes, as the caller promises; the file of a segment never becomes shorter.
        let bytes = unsafe { FileBytes::map(fd, self.extent(number).0, len) };
        bytes.map_err(|error| os_error("mapping an item", error))
    }

    /// Gives back the memory of an extent.
    pub(crate) fn clear_extent(&self, number: usize) -> Result<()> {
        let (start, room) = self.extent(number);
        file::punch(self.file()?.0, start, room).map_err(|error| os_error("freeing the memory of an item", error))
    }

    /// Where in the file an extent begins, and how long it may be.
    fn extent(&self, number: usize) -> (u64, u64) {
        let page = file::page_size() as u64;
        let room = self.size / EXTENTS as u64 / page * page;
        let first = (self.base + self.size).next_multiple_of(page);
        (first + number as u64 * room, room - page)
    }

    fn offset(&self, position: u64) -> u64 {
        self.base + (position & (self.size - 1))
    }

    fn until_wrap(&self, position: u64) -> u64 {
        self.size - (position & (self.size - 1))
    }

    /// The segment's file, and how many bytes it occupies. A program that closes descriptors it did not open may have reassigned
    /// its number to another file.
    fn file(&self) -> Result<(BorrowedFd<'_>, u64)> {
        let fd = self.segment.0.fd.as_fd();
        let expected = self
            .segment
            .0
            .registration
            .as_ref()
            .map(|registration| registration.file());
        let found = file::stat(fd).map_err(|error| os_error("fstat", error))?;
        if expected != Some(found.id()) {
            let message = "the segment's descriptor was closed and now refers to another file";
            return Err(Error::new(ErrorKind::Io, message).in_segment(self.segment.label()));
        }
        Ok((fd, found.blocks.saturating_mul(512)))
    }
}

/// Makes room for an item of `len` bytes, and one more word.
fn reserve(buffer: &mut Vec<u8>, len: u64) -> Result<()> {
    buffer.try_reserve(len as usize + 8).map_err(|_| {
        Error::new(
            ErrorKind::OutOfMemory,
            format!("not enough memory for an item of {len} bytes"),
        )
    })
}

/// As [`check_memory`], where much is written piece by piece: `len` bytes follow `at` others, and the question is repeated after
/// `each`.
pub(crate) fn check_memory_behind(at: u64, len: u64, each: u64) -> Result<()> {
    if at / each == (at + len) / each {
        return Ok(());
    }
    check_memory(len.max(each))
}

/// Asks whether this much more memory is available: the kernel kills a process rather than refuse it.
pub(crate) fn check_memory(len: u64) -> Result<()> {
    if len < ASKED_EACH {
        return Ok(());
    }
    match memory::available_memory() {
        Some(available) if len > available => {
            let message = format!("{len} bytes requested, {available} bytes of memory available");
            Err(Error::new(ErrorKind::OutOfMemory, message))
        }
        _ => Ok(()),
    }
}
