//! Descriptors that cross `exec`: passed to one child, and taken over there.

use parking_lot::Mutex;
use std::io;
#[cfg(feature = "process")]
use std::os::fd::BorrowedFd;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The number by which a child will know the descriptor.
pub(crate) fn number(fd: &OwnedFd) -> RawFd {
    fd.as_raw_fd()
}

/// The number of a descriptor that belongs to another object.
#[cfg(feature = "process")]
pub(crate) fn number_of(fd: BorrowedFd<'_>) -> RawFd {
    fd.as_raw_fd()
}

/// Makes a second descriptor of `number`; `None` if that is not the file `(dev, ino)`.
///
/// A process made by `fork` has its parent's descriptors, which objects of the parent still own in their copies here.
///
/// # Errors
/// Whatever `fcntl` and `fstat` report.
#[cfg(feature = "process")]
pub(crate) fn duplicate(number: RawFd, dev: u64, ino: u64) -> io::Result<Option<OwnedFd>> {
    let lowest = libc::STDERR_FILENO + 1;
    // SAFETY: the call takes numbers; a closed descriptor is an error it reports.
    let copy = match super::retry(|| unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, lowest) }) {
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => return Ok(None),
        copy => copy?,
    };
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    let copy = unsafe { OwnedFd::from_raw_fd(copy) };
    let stat = super::file::stat(copy.as_fd())?;
    Ok((stat.id() == (dev, ino)).then_some(copy))
}

/// Replaces the open file behind a mapping and the descriptor `own` by `fresh`, unnoticed by users of either.
///
/// # Errors
/// Whatever `mmap` and `dup3` report. Older kernels remove the old mapping before they have memory for the new one: if `mmap` fails
/// for lack of memory, the range may no longer be mapped.
///
/// # Safety
/// The range is a shared mapping of the beginning of the file, for reading and writing, and both descriptors are of that file. The
/// process is about to end: after an error, threads that still use the range may be ended by a signal.
#[cfg(feature = "process")]
pub(crate) unsafe fn exchange(base: *mut u8, len: usize, own: BorrowedFd<'_>, fresh: BorrowedFd<'_>) -> io::Result<()> {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_FIXED);
    // SAFETY: the range is already mapped in the same way, and to the same bytes of the same file, as the caller promises. A hole
    // that a failure leaves is not closed here: see above.
    if unsafe { libc::mmap(base.cast(), len, access, kind, fresh.as_raw_fd(), 0) } == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the number stays open, and its owner's; it leads to the same file as before.
    super::retry(|| unsafe { libc::dup3(fresh.as_raw_fd(), own.as_raw_fd(), libc::O_CLOEXEC) }).map(drop)
}

/// Lets the child of `command`, and no other, inherit the keeper's descriptor under the same number.
///
/// The keeper lives as long as the command. The close-on-exec flag is cleared in the child, after the fork: if it were cleared
/// here, the descriptor would leak into any child that another thread starts meanwhile.
pub(crate) fn keep_in_child(command: &mut Command, keeper: impl AsFd + Send + Sync + 'static) {
    let clear = move || clear_close_on_exec(keeper.as_fd().as_raw_fd());
    // SAFETY: the closure asks the keeper (a segment, for a number it holds) and makes one fcntl call, which is
    // async-signal-safe; neither allocates nor locks.
    unsafe { command.pre_exec(clear) };
}

fn clear_close_on_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: F_SETFD changes a flag of a descriptor number; no memory is involved.
    match unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Takes over the descriptor `number`, if this process inherited it and it is the file `(dev, ino)`.
///
/// A descriptor opened in this process has the close-on-exec flag (this crate and `std` see to that), and an inherited one does
/// not: so a descriptor that is owned here under the same number is never taken, and nothing is taken twice.
///
/// A program that runs with more rights than its caller (set-user-id and the like) takes nothing: otherwise the caller would choose
/// what the program does with them.
pub(crate) fn take_inherited(number: RawFd, dev: u64, ino: u64) -> Option<OwnedFd> {
    // SAFETY: the call reads the vector the kernel gave this process at its start.
    if unsafe { libc::getauxval(libc::AT_SECURE) } != 0 {
        return None;
    }
    // Looking at the flag and setting it are two calls: no two threads may take the same number.
    static TAKING: Mutex<()> = Mutex::new(());
    let _taking = TAKING.lock();
    // SAFETY: F_GETFD asks for a flag of a descriptor number; no memory is involved.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags == -1 || flags & libc::FD_CLOEXEC != 0 {
        return None;
    }
    let mut stat = core::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the buffer has room for one stat, which the kernel fills on success.
    if unsafe { libc::fstat(number, stat.as_mut_ptr()) } == -1 {
        return None;
    }
    // SAFETY: fstat succeeded, so the buffer is filled.
    let stat = unsafe { stat.assume_init() };
    if (stat.st_dev, stat.st_ino) != (dev, ino) {
        return None;
    }
    // SAFETY: F_SETFD changes a flag of a descriptor number; no memory is involved.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return None;
    }
    // SAFETY: the number is open, and was without the flag that Rust's library and this crate give every descriptor they
    // own, so no object here owned it; the flag just set keeps a second call from taking it again.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}
