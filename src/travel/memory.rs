//! Whether there is memory for arguments and results, as errors of the system.

use crate::error::Error;
use crate::segment;
use std::io;

/// When much is written piece by piece, the question is repeated after this many bytes.
const ASKED_EACH: u64 = 1 << 22;

/// Asks whether this much more memory is available.
pub(crate) fn check_memory(len: u64) -> io::Result<()> {
    segment::check_memory(len).map_err(refused)
}

/// The same for `len` bytes that follow `at` others.
pub(crate) fn check_memory_behind(at: u64, len: u64) -> io::Result<()> {
    segment::check_memory_behind(at, len, ASKED_EACH).map_err(refused)
}

#[cold]
fn refused(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::OutOfMemory, error)
}
