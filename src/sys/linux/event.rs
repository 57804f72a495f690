//! A counter in the kernel that wakes the threads polling it.

use super::retry;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The kernel adds what is written and returns the whole sum to one reader.
const WORD: usize = size_of::<u64>();

/// Makes an unsignalled one; reads and writes of it never block.
///
/// # Errors
/// Whatever `eventfd` reports.
pub(crate) fn new() -> io::Result<OwnedFd> {
    // SAFETY: the call takes two numbers and touches no memory.
    let fd = retry(|| unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes it readable; if it already is, it stays so.
///
/// # Errors
/// Whatever `write` reports.
pub(crate) fn signal(fd: BorrowedFd<'_>) -> io::Result<()> {
    let one = 1_u64;
    // SAFETY: the pointer is to eight readable bytes.
    ignore_full(retry(|| unsafe {
        libc::write(fd.as_raw_fd(), (&raw const one).cast(), WORD)
    }))
}

/// Makes it unreadable until it is next signalled.
///
/// # Errors
/// Whatever `read` reports.
pub(crate) fn drain(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut count = 0_u64;
    // SAFETY: the pointer is to eight writable bytes.
    ignore_full(retry(|| unsafe {
        libc::read(fd.as_raw_fd(), (&raw mut count).cast(), WORD)
    }))
}

/// A full counter is readable, and an empty one is drained: a call that would block has not failed.
fn ignore_full(outcome: io::Result<isize>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        outcome => outcome.map(drop),
    }
}
