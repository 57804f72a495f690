//! Talks to Linux 5.14 or newer on 64-bit targets.

pub(crate) use super::types::Errno;
use std::io;

pub(crate) mod barrier;
pub(crate) mod clock;
pub(crate) mod descriptor;
#[cfg(feature = "process")]
pub(crate) mod event;
#[cfg(feature = "process")]
pub(crate) mod executable;
pub(crate) mod file;
#[cfg(feature = "process")]
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod identity;
pub(crate) mod liveness;
pub(crate) mod memory;
#[cfg(feature = "process")]
pub(crate) mod privilege;
mod procfs;
#[cfg(feature = "process")]
pub(crate) mod socket;
#[cfg(feature = "process")]
pub(crate) mod spawn;
#[cfg(feature = "process")]
pub(crate) mod surroundings;
#[cfg(test)]
mod tests;

impl Errno {
    const fn number(self) -> libc::c_int {
        match self {
            Errno::Emfile => libc::EMFILE,
            Errno::Enfile => libc::ENFILE,
            Errno::Eloop => libc::ELOOP,
            Errno::Enxio => libc::ENXIO,
            Errno::Eopnotsupp => libc::EOPNOTSUPP,
            Errno::Eisdir => libc::EISDIR,
            Errno::Eexist => libc::EEXIST,
            Errno::Etoomanyrefs => libc::ETOOMANYREFS,
            Errno::Enametoolong => libc::ENAMETOOLONG,
        }
    }
}

/// Tells whether `error` carries that error number.
pub(crate) fn errno_is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.number())
}

/// Turns the -1 of a system call into its error.
fn check<T: PartialEq + From<i8>>(result: T) -> io::Result<T> {
    if result == T::from(-1) {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Repeats a system call for as long as signals interrupt it.
fn retry<T: PartialEq + From<i8>>(mut call: impl FnMut() -> T) -> io::Result<T> {
    loop {
        match check(call()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}
