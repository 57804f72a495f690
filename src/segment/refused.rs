//! What the system refused, as the kind a program can match on: one table for the whole crate.

use crate::error::{Error, ErrorKind};
use crate::sys::{Errno, errno_is};
use std::io;

/// An error of the operating system in a step that has to do with memory and files.
pub(crate) fn os_error(what: &str, error: io::Error) -> Error {
    os_error_or(ErrorKind::Io, what, error)
}

/// As [`os_error`]; what the table does not know is of the kind `otherwise`.
pub(crate) fn os_error_or(otherwise: ErrorKind, what: &str, error: io::Error) -> Error {
    let kind = kind_of(&error).unwrap_or(otherwise);
    let cure = match error.kind() {
        io::ErrorKind::WouldBlock if kind == ErrorKind::Spawn => {
            " (the limit of processes, ulimit -u or the cgroup's pids.max, may be reached)"
        }
        _ => "",
    };
    Error::new(kind, format!("{what} failed{cure}")).with_source(error)
}

/// The table. `EAGAIN` is not in it: `mmap` means memory by it (see `mapping`), `fork` processes.
fn kind_of(error: &io::Error) -> Option<ErrorKind> {
    let by_errno = [
        (Errno::Emfile, ErrorKind::TooManyDescriptors),
        (Errno::Enfile, ErrorKind::TooManyDescriptors),
        (Errno::Eloop, ErrorKind::NotARegularFile),
        (Errno::Enxio, ErrorKind::NotARegularFile),
    ];
    if let Some((_, kind)) = by_errno.into_iter().find(|(errno, _)| errno_is(error, *errno)) {
        return Some(kind);
    }
    Some(match error.kind() {
        io::ErrorKind::OutOfMemory
        | io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::FileTooLarge => ErrorKind::OutOfMemory,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::PermissionDenied,
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ErrorKind::NotFound,
        io::ErrorKind::IsADirectory => ErrorKind::NotARegularFile,
        io::ErrorKind::Unsupported => ErrorKind::Unsupported,
        _ => return None,
    })
}
