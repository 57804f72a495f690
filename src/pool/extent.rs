//! `Extent`: a stretch of the pool's file for long data: arguments of a job, or results of a slot.
//!
//! Long data is encoded directly into the file, and decoded from a mapping of it.
//!
//! | an extent is | moved by | to | if that party dies there |
//! |---|---|---|---|
//! | free | the parent, when an item of a job is long | the job's | the workers end with the parent, and the file goes with them |
//! | free | the parent, when it first posts a slot | the slot's | as above |
//! | a job's | the parent, when the job has ended | free, its memory given back | as above |
//! | a slot's | the parent, when it takes results that are there | theirs, and the slot gets another | as above |
//! | a slot's | a worker, which writes a long result and publishes its record | the same | the parent takes what was published, or gives the memory back |
//! | that of results | dropping the results | free, its memory given back | as above |

use crate::encoding::Store;
use crate::primitive::Home;
use crate::segment::FileBytes;
use crate::sys::file::{self, AsFd, OwnedFd};
use crate::travel::check_memory_behind;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;

/// The distance between the file's parts, unless this process may not write such long files.
pub(super) const STRIDE: u64 = 1 << 40;

/// Long data begins on a page of its own, however large pages are.
const PAGE: u64 = 1 << 16;

/// The file of a pool, as a row of extents.
pub(super) struct Extents {
    file: Arc<OwnedFd>,
    home: Home,
    unused: Mutex<Unused>,
}

/// The numbers of free extents.
struct Unused {
    given_back: Vec<u64>,
    /// From this number on, no extent was ever taken.
    next: u64,
    end: u64,
}

impl Extents {
    /// The extents from the number `first` on, as far as files can reach. Where files may not be so long, there are none.
    pub(super) fn new(file: Arc<OwnedFd>, first: u64, stride: u64) -> Self {
        let end = if stride == STRIDE { i64::MAX as u64 / STRIDE } else { 0 };
        Extents {
            file,
            home: Home::here(),
            unused: Mutex::new(Unused {
                given_back: Vec::new(),
                next: first,
                end,
            }),
        }
    }

    pub(super) fn file(&self) -> &Arc<OwnedFd> {
        &self.file
    }

    /// An extent for the caller's exclusive use; `None` if there is none.
    pub(super) fn take(self: &Arc<Self>) -> Option<Extent> {
        let mut unused = self.unused.lock();
        let number = unused.given_back.pop().or_else(|| {
            let next = unused.next;
            unused.next += 1;
            (next < unused.end).then_some(next)
        })?;
        Some(Extent {
            of: self.clone(),
            number,
        })
    }

    /// Writes into an extent of which `len` bytes are already written.
    fn write(&self, number: u64, at: u64, bytes: &[u8]) -> io::Result<()> {
        if number == 0 || at + bytes.len() as u64 > STRIDE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.check_ours()?;
        check_memory_behind(at, bytes.len() as u64)?;
        file::write_at(self.file.as_fd(), bytes, number * STRIDE + at)
    }

    /// The bytes of one long item.
    pub(super) fn bytes(&self, number: u64, place: Place) -> io::Result<FileBytes> {
        let Place { at, len } = place;
        if number == 0 || at.saturating_add(len) > STRIDE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.check_ours()?;
        check_memory_behind(0, len)?;
        // SAFETY: a long item is complete before its place is published, and its extent is not given to another user before its
        // reader is done: a job's while the job is posted, that of results while they exist. The file never shrinks.
        unsafe { FileBytes::map(self.file.as_fd(), number * STRIDE + at, len) }
    }

    /// Whether this is the process that made it, not a copy.
    fn is_ours(&self) -> bool {
        self.home.is_here()
    }

    fn check_ours(&self) -> io::Result<()> {
        if self.is_ours() {
            return Ok(());
        }
        Err(io::Error::other(
            "the process was forked while it was encoding or decoding an item",
        ))
    }

    /// Gives back the memory behind the first `from` bytes of an extent.
    fn punch(&self, number: u64, from: u64) {
        // The file's first parts belong to slots, and a copy of this process owns none of it.
        if number == 0 || !self.is_ours() {
            return;
        }
        // If it cannot be given back, the next user overwrites it.
        let _ = file::punch(self.file.as_fd(), number * STRIDE + from, STRIDE - from);
    }
}

/// Where in its extent a long item lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) at: u64,
    pub(super) len: u64,
}

/// One extent, given back on drop.
pub(super) struct Extent {
    of: Arc<Extents>,
    number: u64,
}

impl Extent {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn bytes(&self, place: Place) -> io::Result<FileBytes> {
        self.of.bytes(self.number, place)
    }

    /// Gives back the memory of everything it holds.
    pub(super) fn clear(&self) {
        self.of.punch(self.number, 0);
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        // A copy of the pool's process does not own its file.
        if self.of.is_ours() {
            self.clear();
            self.of.unused.lock().given_back.push(self.number);
        }
    }
}

/// Writes long items one after another into an extent.
pub(super) struct Writer<'a> {
    extents: &'a Arc<Extents>,
    /// The extent's number; 0 is none.
    number: u64,
    /// Whether to take an extent if there is none.
    may_take: bool,
    taken: Option<Extent>,
    /// Where the next item begins.
    next: u64,
    /// Whether bytes were written behind what is kept.
    is_dirty: bool,
}

impl<'a> Writer<'a> {
    /// For the extent with this number; 0 is none.
    pub(super) fn new(extents: &'a Arc<Extents>, number: u64) -> Self {
        Writer {
            extents,
            number,
            may_take: false,
            taken: None,
            next: 0,
            is_dirty: false,
        }
    }

    /// For an extent that is taken when the first bytes are written.
    pub(super) fn taking(extents: &'a Arc<Extents>) -> Self {
        Writer {
            may_take: true,
            ..Writer::new(extents, 0)
        }
    }

    /// Keeps `len` bytes, which were written from `next` on.
    pub(super) fn keep(&mut self, len: usize) -> Place {
        let (at, len) = (self.next, len as u64);
        self.next = (at + len).next_multiple_of(PAGE);
        self.is_dirty = false;
        Place { at, len }
    }

    /// Gives back the memory of what was written but not kept.
    #[inline]
    pub(super) fn discard(&mut self) {
        if self.is_dirty {
            self.extents.punch(self.number, self.next);
            self.is_dirty = false;
        }
    }

    /// How many bytes are kept so far.
    pub(super) fn kept(&self) -> u64 {
        self.next
    }

    /// The extent it has taken.
    pub(super) fn into_extent(self) -> Option<Extent> {
        self.taken
    }
}

impl Store for Writer<'_> {
    fn write(&mut self, at: usize, bytes: &[u8]) -> io::Result<()> {
        if self.may_take && self.taken.is_none() {
            self.taken = self.extents.take();
            self.number = self.taken.as_ref().map_or(0, Extent::number);
        }
        if self.number == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.is_dirty = true;
        self.extents.write(self.number, self.next + at as u64, bytes)
    }

    fn read(&self, len: usize, look: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let (at, len) = (self.next, len as u64);
        look(&self.extents.bytes(self.number, Place { at, len })?);
        Ok(())
    }
}
