//! The bytes of file objects: how they are allocated, written, read and given back.
//!
//! All calls that make a file longer or write to it are made here. If a file would exceed the limit of file sizes (`ulimit -f`),
//! the kernel ends the process by a signal, so each of them compares first.

use core::mem::{ManuallyDrop, MaybeUninit};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd};
use std::os::unix::fs::FileExt;

use super::{check, retry};

/// The longest file that this process may write.
pub(crate) fn file_size_limit() -> u64 {
    soft_limit(libc::RLIMIT_FSIZE)
}

/// How much memory this process may lock.
pub(crate) fn locked_memory_limit() -> u64 {
    soft_limit(libc::RLIMIT_MEMLOCK)
}

fn soft_limit(resource: libc::__rlimit_resource_t) -> u64 {
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: the pointer is to room for one limit, which the kernel fills on success.
    let asked = check(unsafe { libc::getrlimit(resource, limit.as_mut_ptr()) });
    // SAFETY: read only if the call has filled it.
    asked.map_or(u64::MAX, |_| unsafe { limit.assume_init() }.rlim_cur)
}

/// Refuses to write up to byte `end` of a file if that would cause a signal.
///
/// # Errors
/// `FileTooLarge`, which names the limit.
pub(crate) fn check_end(end: u64) -> io::Result<()> {
    let limit = file_size_limit();
    // The kernel takes a length as a signed number.
    if end > limit.min(i64::MAX as u64) {
        let message = format!("a file of {end} bytes is beyond the limit of file sizes (ulimit -f), {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(())
}

/// Sets the length; bytes beyond the old one read as zero and take no space yet.
///
/// # Errors
/// `FileTooLarge` beyond the limit of file sizes or of the file system; otherwise what `ftruncate` reports.
pub(crate) fn set_len(fd: BorrowedFd<'_>, len: u64) -> io::Result<()> {
    check_end(len)?;
    borrowed(fd).set_len(len)
}

/// Sets the length and takes the space, so no later write fails.
///
/// Memory file systems allocate real memory here: a memfd longer than the machine's memory gets this process killed, and is not an
/// error. The caller asks beforehand whether there is enough.
///
/// # Errors
/// As [`set_len`]; also a full file system, an exceeded quota, or lack of memory.
pub(crate) fn allocate(fd: BorrowedFd<'_>, len: u64) -> io::Result<()> {
    set_len(fd, len)?;
    if len == 0 {
        return Ok(());
    }
    // The kernel has accepted it as a length, so it fits.
    let size = len as libc::off_t;
    // SAFETY: the descriptor is open, and the other arguments are numbers.
    match retry(|| unsafe { libc::fallocate(fd.as_raw_fd(), 0, 0, size) }) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => write_out(fd, size),
        outcome => outcome.map(drop),
    }
}

/// Allocates space by writing, on file systems without `fallocate`.
fn write_out(fd: BorrowedFd<'_>, size: libc::off_t) -> io::Result<()> {
    loop {
        // SAFETY: the descriptor is open, and the other arguments are numbers.
        match unsafe { libc::posix_fallocate(fd.as_raw_fd(), 0, size) } {
            0 => return Ok(()),
            libc::EINTR => {}
            number => return Err(io::Error::from_raw_os_error(number)),
        }
    }
}

/// Writes all of `bytes` at `offset`, independently of the descriptor's position.
///
/// # Errors
/// `FileTooLarge` beyond the limit of file sizes; otherwise what `pwrite` reports.
#[cfg(feature = "messages")]
pub(crate) fn write_at(fd: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> io::Result<()> {
    check_end(offset.saturating_add(bytes.len() as u64))?;
    borrowed(fd).write_all_at(bytes, offset)
}

/// Fills `bytes` from `offset`.
///
/// # Errors
/// Whatever `pread` reports; `UnexpectedEof` if the file ends first.
pub(crate) fn read_at(fd: BorrowedFd<'_>, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    borrowed(fd).read_exact_at(bytes, offset)
}

/// As [`read_at`], into uninitialised memory; on success all of it is written.
///
/// # Errors
/// Whatever `pread` reports; `UnexpectedEof` if the file ends first.
#[cfg(feature = "messages")]
pub(crate) fn read_into(fd: BorrowedFd<'_>, mut target: &mut [MaybeUninit<u8>], mut offset: u64) -> io::Result<()> {
    while !target.is_empty() {
        let (address, len) = (target.as_mut_ptr().cast(), target.len());
        // SAFETY: the target has `len` bytes, which may be written; the descriptor is open while it is borrowed.
        let read = retry(|| unsafe { libc::pread(fd.as_raw_fd(), address, len, offset as libc::off_t) })?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        offset += read as u64;
        target = &mut target[read as usize..];
    }
    Ok(())
}

/// Appends `len` bytes to `buffer`, which has room for them; on failure, nothing.
///
/// # Errors
/// As [`read_into`]; `InvalidInput` if there is no room.
#[cfg(feature = "messages")]
pub(crate) fn append_at(fd: BorrowedFd<'_>, buffer: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<()> {
    let room = buffer
        .spare_capacity_mut()
        .get_mut(..len)
        .ok_or(io::ErrorKind::InvalidInput)?;
    read_into(fd, room, offset)?;
    // SAFETY: this many bytes behind the buffer's old end have just been written.
    unsafe { buffer.set_len(buffer.len() + len) };
    Ok(())
}

/// Gives back the memory of a file's bytes, which then read as zero; the file keeps its length.
///
/// # Errors
/// Whatever `fallocate` reports.
pub(crate) fn punch(fd: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: the call takes numbers; the descriptor is open while it is borrowed.
    retry(|| unsafe { libc::fallocate(fd.as_raw_fd(), mode, offset as libc::off_t, len as libc::off_t) }).map(drop)
}

/// Tells whether bytes of a file that ends at `end` at most can be written by calls, and their memory given back.
pub(crate) fn can_give_back(fd: BorrowedFd<'_>, end: u64) -> bool {
    borrowed(fd).write_at(&[], 0).is_ok() && punch(fd, end, super::map::page_size() as u64).is_ok()
}

/// The descriptor as a file that does not close it.
fn borrowed(fd: BorrowedFd<'_>) -> ManuallyDrop<File> {
    // SAFETY: the descriptor is open while it is borrowed, and the file is never dropped, so it is closed by its owner.
    ManuallyDrop::new(unsafe { File::from_raw_fd(fd.as_raw_fd()) })
}
