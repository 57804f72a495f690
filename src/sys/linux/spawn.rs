//! Starts this executable again, waits for children and signals them, by pidfd.

use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::ptr;
use core::time::Duration;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

pub(crate) use super::super::types::{End, Signal};
use super::executable::OWN;
use super::{check, liveness, retry};

/// Turns the error number some calls return into an error.
fn check_number(number: libc::c_int) -> io::Result<()> {
    match number {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}

/// What a child does with its descriptors before it starts.
struct FileActions(Box<libc::posix_spawn_file_actions_t>);

impl FileActions {
    fn new() -> io::Result<Self> {
        let mut actions = Box::new(MaybeUninit::uninit());
        // SAFETY: the pointer is to writable room for one such object, which does not move until it is destroyed.
        check_number(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        let actions = Box::into_raw(actions).cast();
        // SAFETY: the box was made above, and the call has written what it holds.
        Ok(FileActions(unsafe { Box::from_raw(actions) }))
    }

    /// Lets the child keep a descriptor: duplicated onto itself, it loses its close-on-exec flag there.
    fn keep(&mut self, fd: RawFd) -> io::Result<()> {
        // SAFETY: the object was initialised by `new`.
        check_number(unsafe { libc::posix_spawn_file_actions_adddup2(&mut *self.0, fd, fd) })
    }

    /// Gives the child `/dev/null` as its standard output.
    fn silence_stdout(&mut self) -> io::Result<()> {
        let path = c"/dev/null".as_ptr();
        let (fd, flags) = (libc::STDOUT_FILENO, libc::O_WRONLY);
        // SAFETY: the object was initialised by `new`; the path is a string that ends in NUL and lives for ever.
        check_number(unsafe { libc::posix_spawn_file_actions_addopen(&mut *self.0, fd, path, flags, 0) })
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: the object was initialised by `new`, and is not used after this.
        unsafe { libc::posix_spawn_file_actions_destroy(&mut *self.0) };
    }
}

/// How the kernel sets a child up.
struct Attributes(Box<libc::posix_spawnattr_t>);

impl Attributes {
    /// No signal blocked, and SIGPIPE as at login: it was this program's runtime that changed it, not its user.
    fn new() -> io::Result<Self> {
        let mut attributes = Box::new(MaybeUninit::uninit());
        // SAFETY: the pointer is to writable room for one such object, which does not move until it is destroyed.
        check_number(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        let attributes = Box::into_raw(attributes).cast();
        // SAFETY: the box was made above, and the call has written what it holds.
        let mut attributes = Attributes(unsafe { Box::from_raw(attributes) });
        let mut signals = no_signals();
        // SAFETY: both objects are initialised.
        check_number(unsafe { libc::posix_spawnattr_setsigmask(&mut *attributes.0, &signals) })?;
        // SAFETY: the set is initialised, and the signal exists.
        check(unsafe { libc::sigaddset(&mut signals, libc::SIGPIPE) })?;
        // SAFETY: both objects are initialised.
        check_number(unsafe { libc::posix_spawnattr_setsigdefault(&mut *attributes.0, &signals) })?;
        let flags = libc::POSIX_SPAWN_SETSIGDEF | libc::POSIX_SPAWN_SETSIGMASK;
        // SAFETY: the object is initialised.
        check_number(unsafe { libc::posix_spawnattr_setflags(&mut *attributes.0, flags as _) })?;
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: the object was initialised by `new`, and is not used after this.
        unsafe { libc::posix_spawnattr_destroy(&mut *self.0) };
    }
}

fn no_signals() -> libc::sigset_t {
    let mut signals = MaybeUninit::uninit();
    // SAFETY: the pointer is to writable room for one set.
    unsafe { libc::sigemptyset(signals.as_mut_ptr()) };
    // SAFETY: the call above, which cannot fail, has written all of it.
    unsafe { signals.assume_init() }
}

/// Starts this process's executable again and returns the child's id.
///
/// Of the descriptors that close on exec, the child gets only `keep`, under the same numbers. The parent is not copied, so its size
/// does not matter, and its descriptors never lose their flag, so no other child gets them.
///
/// # Errors
/// Whatever `posix_spawn` reports, including failures of the child's `exec`.
pub(crate) fn spawn_self(
    arguments: &[impl AsRef<CStr>],
    environment: &[impl AsRef<CStr>],
    keep: &[BorrowedFd<'_>],
    silent: bool,
) -> io::Result<u32> {
    let mut actions = FileActions::new()?;
    for fd in keep {
        actions.keep(fd.as_raw_fd())?;
    }
    if silent {
        actions.silence_stdout()?;
    }
    let attributes = Attributes::new()?;
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    let mut pid = 0;
    // SAFETY: the path and every string of the two lists end in NUL, each list ends in a null pointer, both objects are
    // initialised, and all of them outlive the call, which writes only to `pid`.
    check_number(unsafe {
        libc::posix_spawn(
            &mut pid,
            OWN.as_ptr(),
            &*actions.0,
            &*attributes.0,
            arguments.as_ptr(),
            environment.as_ptr(),
        )
    })?;
    Ok(pid.unsigned_abs())
}

/// A list of strings as C expects it, with a null at its end.
fn pointers(strings: &[impl AsRef<CStr>]) -> Vec<*mut libc::c_char> {
    let pointers = strings.iter().map(|text| text.as_ref().as_ptr().cast_mut());
    pointers.chain([ptr::null_mut()]).collect()
}

/// Opens a descriptor that names child `pid`; `None` if its end was already reported elsewhere.
///
/// # Errors
/// Whatever `pidfd_open` reports.
pub(crate) fn open_child(pid: u32) -> io::Result<Option<OwnedFd>> {
    match liveness::open_pidfd(pid) {
        Ok(pidfd) => Ok(Some(pidfd)),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a descriptor that names this process.
///
/// # Errors
/// Whatever `pidfd_open` reports.
pub(crate) fn open_self() -> io::Result<OwnedFd> {
    liveness::open_pidfd(super::identity::process_id())
}

/// Ends a child that has no descriptor, and waits for it.
///
/// Does nothing if its end was already reported elsewhere: then the number may belong to another process.
pub(crate) fn abandon(pid: u32) {
    let child = WaitTarget::Child(pid);
    if look(child, libc::WNOHANG | libc::WNOWAIT).is_err() {
        return;
    }
    // SAFETY: the call takes two numbers and touches no memory.
    unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) };
    // Repeated until it has ended: if this process traces it, stops may be reported before.
    while let Ok(None) = look(child, 0) {}
}

/// How a child is identified.
#[derive(Clone, Copy)]
enum WaitTarget<'a> {
    Child(u32),
    Behind(BorrowedFd<'a>),
}

/// Asks the kernel how a child has ended; `None` if it has not.
///
/// For a child that this process traces, the kernel also reports stops, requested or not: they do not count as ends.
fn look(child: WaitTarget<'_>, options: libc::c_int) -> io::Result<Option<End>> {
    let (kind, id) = match child {
        WaitTarget::Child(pid) => (libc::P_PID, pid as libc::id_t),
        WaitTarget::Behind(pidfd) => (libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t),
    };
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: the pointer is to room for one siginfo, which the kernel may write.
    retry(|| unsafe { libc::waitid(kind, id, info.as_mut_ptr(), options | libc::WEXITED) })?;
    // SAFETY: a siginfo is made of integers, and all of it was at least zeroed.
    let info = unsafe { info.assume_init() };
    // SAFETY: waitid has filled the fields that belong to a child, or left them zero.
    let status = unsafe { info.si_status() };
    Ok(match info.si_code {
        libc::CLD_EXITED => Some(End::Exited(status)),
        libc::CLD_KILLED | libc::CLD_DUMPED => Some(End::Signaled(status)),
        _ => None,
    })
}

/// Waits until the process behind `pidfd` has ended; false on timeout, or if a signal comes.
///
/// Without a time limit, signals do not end the wait.
///
/// # Errors
/// Whatever `ppoll` reports.
pub(crate) fn wait(pidfd: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<bool> {
    Ok(wait_any(&[pidfd], timeout)?.contains(&true))
}

/// Waits until a descriptor is readable, or its other end is gone; says so for each.
///
/// All are false on timeout, or if a signal comes. Without a time limit, signals do not end the wait. A pidfd is readable once its
/// process has ended.
///
/// # Errors
/// Whatever `ppoll` reports.
pub(crate) fn wait_any(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    let entry = |fd: &BorrowedFd<'_>| libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut entries: Vec<_> = fds.iter().map(entry).collect();
    let limit = timeout.map(|timeout| libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let limit_at = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
    let (first, count) = (entries.as_mut_ptr(), entries.len() as libc::nfds_t);
    loop {
        // SAFETY: the pointers are to that many writable entries, to a time or null, and to no signal mask.
        match check(unsafe { libc::ppoll(first, count, limit_at, ptr::null()) }) {
            Ok(_) => break,
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Err(_) if limit.is_some() => return Ok(vec![false; fds.len()]),
            Err(_) => {}
        }
    }
    Ok(entries.iter().map(|entry| entry.revents != 0).collect())
}

/// Whether the process behind `pidfd` is a child of this one that has not been reaped.
pub(crate) fn is_child(pidfd: BorrowedFd<'_>) -> bool {
    let asked = look(WaitTarget::Behind(pidfd), libc::WNOHANG | libc::WNOWAIT);
    !asked.is_err_and(|error| error.raw_os_error() == Some(libc::ECHILD))
}

/// Whether the child behind `pidfd` was stopped by a signal, and has not been continued.
pub(crate) fn is_stopped(pidfd: BorrowedFd<'_>) -> bool {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT;
    let id = pidfd.as_raw_fd() as libc::id_t;
    // SAFETY: the pointer is to room for one siginfo, which the kernel may write.
    let told = retry(|| unsafe { libc::waitid(libc::P_PIDFD, id, info.as_mut_ptr(), options) }).is_ok();
    // SAFETY: a siginfo is made of integers, and all of it was at least zeroed.
    told && unsafe { info.assume_init() }.si_code == libc::CLD_STOPPED
}

/// Reaps the child behind `pidfd`, and returns how it ended; `None` while it runs.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> Option<End> {
    let child = WaitTarget::Behind(pidfd);
    // Reports of stops are left for the tracer.
    match look(child, libc::WNOHANG | libc::WNOWAIT) {
        Ok(None) => None,
        Ok(end) => {
            // It fails only if the child has been reaped elsewhere since.
            let _ = look(child, libc::WNOHANG);
            end
        }
        // Not our child, or reaped elsewhere: how it ended is unknown, once it has.
        Err(_) => wait(pidfd, Some(Duration::ZERO))
            .unwrap_or(true)
            .then_some(End::Unknown),
    }
}

/// The end of a child as a type of the standard library.
pub(crate) fn exit_status(end: End) -> Option<ExitStatus> {
    // As `wait` would report it: the exit status in the second byte, or the signal in the first.
    match end {
        End::Exited(code) => Some(ExitStatus::from_raw((code & 0xff) << 8)),
        End::Signaled(signal) => Some(ExitStatus::from_raw(signal)),
        End::Unknown => None,
    }
}

/// Sends a signal to the process behind `pidfd`; if it has ended, nothing is sent, which is not an error.
///
/// # Errors
/// Whatever `pidfd_send_signal` reports.
pub(crate) fn send(pidfd: BorrowedFd<'_>, signal: Signal) -> io::Result<()> {
    let number = match signal {
        Signal::Kill => libc::SIGKILL,
        Signal::Terminate => libc::SIGTERM,
    };
    let no_info = ptr::null::<libc::siginfo_t>();
    // SAFETY: the call takes numbers and a null pointer.
    let call = || unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), number, no_info, 0) };
    match retry(call) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Ends this process now, with this status: nothing is flushed, and no handler runs.
pub(crate) fn exit_at_once(code: i32) -> ! {
    // SAFETY: the call does not return, and touches no memory.
    unsafe { libc::_exit(code) }
}

/// The error of a process with no room for another descriptor.
pub(crate) fn too_many_descriptors() -> io::Error {
    io::Error::from_raw_os_error(libc::EMFILE)
}
