//! Refusals of the system as kinds that a program can match on: one table for the whole crate.

use crate::error::{Error, ErrorKind};
use crate::primitive::Foreign;
use crate::sys::file::{MOUNT_SHARED_MEMORY, SHARED_MEMORY};
use crate::sys::{Errno, errno_is, identity};
use std::io;
use std::path::Path;

/// An error of the operating system in a step that concerns memory and files.
pub(crate) fn os_error(what: &str, error: io::Error) -> Error {
    os_error_or(ErrorKind::Io, what, error)
}

/// As [`os_error`]; errors that are not in the table get the kind `otherwise`.
pub(crate) fn os_error_or(otherwise: ErrorKind, what: &str, error: io::Error) -> Error {
    let kind = kind_of(&error).unwrap_or(otherwise);
    let cure = match error.kind() {
        io::ErrorKind::WouldBlock if kind == ErrorKind::Spawn => {
            " (the limit of processes, ulimit -u or the cgroup's pids.max, may be reached)"
        }
        _ if kind == ErrorKind::TooManyDescriptors => " (the limit of open files, ulimit -n, may be reached)",
        _ => "",
    };
    Error::new(kind, format!("{what} failed{cure}")).with_source(error)
}

/// An error in a step that concerns the folder of segments.
pub(super) fn folder_error(step: &str, folder: &Path, error: io::Error) -> Error {
    let cure = match kind_of(&error) {
        Some(ErrorKind::NotFound | ErrorKind::PermissionDenied) if folder == Path::new(SHARED_MEMORY) => {
            &format!(": {MOUNT_SHARED_MEMORY}, or use `SegmentBuilder::folder` or `Segment::create_file`")
        }
        Some(ErrorKind::NotFound) if !folder.exists() && error.kind() == io::ErrorKind::NotFound => {
            ": create the folder first"
        }
        _ => "",
    };
    let what = format!("{step} the folder {}", folder.display());
    let kind = kind_of(&error).unwrap_or(ErrorKind::Io);
    Error::new(kind, format!("{what} failed{cure}")).with_source(error)
}

/// An error in a step that needs `/proc`; errors that are not in the table get the kind `otherwise`.
pub(crate) fn proc_error(otherwise: ErrorKind, step: &str, error: io::Error) -> Error {
    match identity::missing_means() {
        Some(missing) if error.kind() == io::ErrorKind::NotFound => {
            Error::new(ErrorKind::Unsupported, format!("{step} failed: {missing}")).with_source(error)
        }
        _ => os_error_or(otherwise, step, error),
    }
}

/// The refusal of a process whose ids would mean nothing to its peers.
pub(crate) fn foreign_self(why: Foreign) -> Error {
    match why {
        Foreign::Moved => Error::new(
            ErrorKind::ForeignNamespace,
            "this process was moved to another PID or time namespace, where its locks would mean nothing",
        ),
        Foreign::Starved => Error::new(
            ErrorKind::TooManyDescriptors,
            "cannot determine the identity of this process: two free descriptors and some memory are needed; raise the \
                limit of open files (ulimit -n)",
        ),
    }
}

/// The table. `EAGAIN` is not in it: from `mmap` it concerns memory (see `mapping`), from `fork` processes.
fn kind_of(error: &io::Error) -> Option<ErrorKind> {
    let by_errno = [
        (Errno::Emfile, ErrorKind::TooManyDescriptors),
        (Errno::Enfile, ErrorKind::TooManyDescriptors),
        (Errno::Etoomanyrefs, ErrorKind::TooManyDescriptors),
        (Errno::Eloop, ErrorKind::NotARegularFile),
        (Errno::Enxio, ErrorKind::NotARegularFile),
        (Errno::Enametoolong, ErrorKind::InvalidName),
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

#[cfg(test)]
#[cfg(all(target_os = "linux", not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_the_system_has_its_kind() {
        let kinds = [
            (
                ErrorKind::OutOfMemory,
                &[libc::ENOMEM, libc::ENOSPC, libc::EDQUOT, libc::EFBIG][..],
            ),
            (ErrorKind::TooManyDescriptors, &[libc::EMFILE, libc::ENFILE]),
            (ErrorKind::PermissionDenied, &[libc::EACCES, libc::EPERM, libc::EROFS]),
            (ErrorKind::NotFound, &[libc::ENOENT, libc::ENOTDIR]),
            (ErrorKind::NotARegularFile, &[libc::ELOOP, libc::ENXIO, libc::EISDIR]),
            (ErrorKind::InvalidName, &[libc::ENAMETOOLONG]),
            (ErrorKind::Unsupported, &[libc::ENOSYS, libc::EOPNOTSUPP]),
            (ErrorKind::Io, &[libc::EIO, libc::EINVAL, libc::EAGAIN, libc::EBADF]),
        ];
        for (kind, numbers) in kinds {
            for number in numbers {
                let error = os_error("it", io::Error::from_raw_os_error(*number));
                assert_eq!(error.kind(), kind, "{error}");
            }
        }
        let error = os_error_or(ErrorKind::Spawn, "fork", io::Error::from_raw_os_error(libc::EAGAIN));
        assert_eq!(error.kind(), ErrorKind::Spawn);
        assert!(error.to_string().contains("ulimit -u"), "{error}");
    }

    #[test]
    fn what_else_is_missing_is_not_taken_for_proc() {
        assert!(Path::new("/proc/self").exists(), "this test needs it");
        let error = proc_error(ErrorKind::Spawn, "it", io::Error::from_raw_os_error(libc::ENOENT));
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(!error.to_string().contains("/proc"), "{error}");
    }
}
