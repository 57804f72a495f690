//! `Mapping`: one process's view of a segment's bytes.

use crate::primitive::AtomicU64;
#[cfg(feature = "messages")]
use crate::primitive::Home;
use crate::sys::file::{self, OwnedFd};
#[cfg(feature = "messages")]
use crate::sys::file::{AsFd, BorrowedFd};
use crate::sys::memory;
#[cfg(feature = "messages")]
use memmap2::Mmap;
use memmap2::{MmapOptions, MmapRaw};
use std::io;
#[cfg(feature = "messages")]
use std::mem::ManuallyDrop;

/// Small segments are mapped with their pages populated, which saves a fault for each.
const POPULATE_BELOW: u64 = 64 * 1024;

/// A shared mapping of a whole segment, unmapped on drop.
pub(super) struct Mapping {
    map: MmapRaw,
}

impl Mapping {
    /// Maps the first `length` bytes for reading and writing.
    pub(super) fn writable(fd: &OwnedFd, length: u64) -> io::Result<Self> {
        let map = options(length)?.map_raw(fd).map_err(explain)?;
        Ok(Mapping { map })
    }

    /// Maps the first `length` bytes for reading.
    pub(super) fn read_only(fd: &OwnedFd, length: u64) -> io::Result<Self> {
        let map = options(length)?.map_raw_read_only(fd).map_err(explain)?;
        Ok(Mapping { map })
    }

    /// Leaves this mapping out of children that are forked from now on.
    pub(super) fn keep_from_children(&self) -> io::Result<()> {
        // SAFETY: it is the whole range of this mapping, and a child has no handle of a segment that is still being made.
        unsafe { memory::keep_from_children(self.base(), self.map.len()) }
    }

    pub(super) fn base(&self) -> *mut u8 {
        self.map.as_mut_ptr()
    }

    /// Where it lies, and how long it is.
    #[cfg(feature = "process")]
    pub(super) fn range(&self) -> (*mut u8, usize) {
        (self.base(), self.map.len())
    }

    /// The segment as the words it is made of.
    pub(super) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, at least this long, and lives as long as self; any bytes are an AtomicU64. What is
        // loaded or stored through this slice (header, directory, locks) is used by peers as 64-bit atomics too; the elements of
        // objects are never touched through it. Only memory files can be sealed and so mapped for reading; in those, callers only
        // load, from header and directory, relaxed.
        unsafe { core::slice::from_raw_parts(self.base().cast::<AtomicU64>(), self.map.len() / 8) }
    }
}

/// Some bytes of a file, mapped for reading, unmapped on drop.
#[cfg(feature = "messages")]
pub(crate) struct FileBytes {
    map: ManuallyDrop<Mmap>,
    /// The process that has the mapping: its copies do not.
    home: Home,
}

#[cfg(feature = "messages")]
impl FileBytes {
    /// Maps `len` bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the file ends before that; otherwise what `mmap` reports.
    ///
    /// # Safety
    ///
    /// While they are mapped, no process changes these bytes or makes the file shorter.
    pub(crate) unsafe fn map(fd: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<Self> {
        // The length may come from a peer; the file's comes from the kernel.
        if offset.saturating_add(len) > file::stat(fd)?.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut options = options(len)?;
        // SAFETY: the bytes are all in the file, and remain there unchanged, as the caller promises.
        let map = unsafe { options.offset(offset).populate().map(&fd.as_fd()) };
        let map = map.map_err(explain)?;
        // A copy of this process does not get them: they may change as soon as this process is done with them.
        // SAFETY: the bytes are mapped, from somewhere in the first page on; copies of this process neither read nor unmap them.
        unsafe { memory::keep_from_children(map.as_ptr(), map.len()) }?;
        Ok(FileBytes {
            map: ManuallyDrop::new(map),
            home: Home::here(),
        })
    }
}

#[cfg(feature = "messages")]
impl core::ops::Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

#[cfg(feature = "messages")]
impl Drop for FileBytes {
    fn drop(&mut self) {
        if self.home.is_here() {
            // SAFETY: it is dropped here, once.
            unsafe { ManuallyDrop::drop(&mut self.map) };
        }
    }
}

fn options(length: u64) -> io::Result<MmapOptions> {
    let length_here = usize::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    let mut options = MmapOptions::new();
    options.len(length_here);
    if length < POPULATE_BELOW {
        options.populate();
    }
    Ok(options)
}

/// When `mmap` reports "try again", a process with all its memory locked (`mlockall`) has reached its limit.
fn explain(error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::WouldBlock {
        return error;
    }
    let limit = file::locked_memory_limit();
    let message = format!("the locked-memory limit of {limit} bytes was reached: raise it (ulimit -l)");
    io::Error::new(io::ErrorKind::OutOfMemory, message)
}
