//! The surroundings of a process: standard streams and working folder.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub(crate) use super::super::types::{STREAMS, Stream};
use super::retry;

impl Stream {
    fn number(self) -> libc::c_int {
        match self {
            Stream::In => libc::STDIN_FILENO,
            Stream::Out => libc::STDOUT_FILENO,
            Stream::Err => libc::STDERR_FILENO,
        }
    }
}

/// Makes a second descriptor of a standard stream; `None` if there is no such stream.
///
/// # Errors
/// Whatever `fcntl` reports.
pub(crate) fn copy(stream: Stream) -> io::Result<Option<OwnedFd>> {
    let (fd, lowest) = (stream.number(), libc::STDERR_FILENO + 1);
    // SAFETY: the call takes numbers; a closed descriptor is an error it reports.
    match retry(|| unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, lowest) }) {
        // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
        Ok(copy) => Ok(Some(unsafe { OwnedFd::from_raw_fd(copy) })),
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes `fd` a standard stream.
///
/// # Errors
/// Whatever `dup2` reports.
pub(crate) fn replace(stream: Stream, fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the number belongs to the process's standard stream, which no object owns; the call only exchanges it.
    retry(|| unsafe { libc::dup2(fd.as_raw_fd(), stream.number()) }).map(drop)
}

/// Opens a file that reads as empty and accepts all output.
///
/// # Errors
/// Whatever `open` reports.
pub(crate) fn open_null() -> io::Result<OwnedFd> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    Ok(file.into())
}

/// Opens a folder, to enter it later.
///
/// # Errors
/// Whatever `open` reports.
pub(crate) fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let folder = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    Ok(folder.into())
}

/// Makes it the working folder.
///
/// # Errors
/// Whatever `fchdir` reports.
pub(crate) fn enter_folder(folder: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the call takes a number and touches no memory.
    retry(|| unsafe { libc::fchdir(folder.as_raw_fd()) }).map(drop)
}
