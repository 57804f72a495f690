//! Says who this thread, process and executable image are.

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

pub(crate) use super::super::types::Identity;
pub(crate) use super::procfs::{NAMESPACES_NEED, missing_means};
use super::{check, file, liveness, procfs, retry};

/// `_IO(0xff, 5)` and `_IO(0xff, 7)`: the namespaces a pidfd's process is in (Linux 6.11).
const PIDFD_GET_PID_NAMESPACE: libc::c_ulong = 0xff05;
const PIDFD_GET_TIME_NAMESPACE: libc::c_ulong = 0xff07;

/// Stands for the one time namespace of kernels built without them.
const ONLY_TIME_NAMESPACE: u64 = 1;

/// Determines again who this process is.
///
/// # Errors
/// Why files cannot be opened now, if something is unknown: then it may be known later.
pub(crate) fn identity() -> io::Result<Identity> {
    let pid = process_id();
    let believed = procfs::is_trusted();
    let pidfd = liveness::open_pidfd(pid).ok();
    let pidfd = pidfd.as_ref().map(AsFd::as_fd);
    let found = Identity {
        pid,
        start: if believed { liveness::start_of(pid) } else { 0 },
        pid_namespace: pid_namespace(pidfd, believed),
        time_namespace: time_namespace(pidfd, believed),
    };
    if found.start == 0 || found.pid_namespace == 0 || found.time_namespace == 0 {
        check_means()?;
    }
    Ok(found)
}

/// As [`identity`] for a process that can open nothing: when it started stays unknown.
pub(crate) fn without_descriptors() -> Identity {
    procfs::trust_as_ancestor();
    let namespace = |path| proc_namespace(path).unwrap_or(0);
    Identity {
        pid: process_id(),
        start: 0,
        // Whatever `/proc` counts, its entry for us refers to ourselves.
        pid_namespace: namespace("/proc/thread-self/ns/pid"),
        time_namespace: proc_time_namespace(),
    }
}

/// Asks whether anything can be opened at all: two files at once, as [`identity`] does.
pub(crate) fn check_means() -> io::Result<()> {
    let lacks = |error: &io::Error| matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM));
    let open = || File::open("/").map(drop);
    let first = File::open("/");
    match first.map(|_first| open()).and_then(|second| second) {
        Err(error) if lacks(&error) => Err(error),
        _ => Ok(()),
    }
}

fn pid_namespace(pidfd: Option<BorrowedFd<'_>>, believed: bool) -> u64 {
    if let Some(Ok(inode)) = pidfd.map(|fd| pidfd_namespace(fd, PIDFD_GET_PID_NAMESPACE)) {
        return inode;
    }
    if !believed {
        return 0;
    }
    proc_namespace("/proc/thread-self/ns/pid").unwrap_or(0)
}

fn time_namespace(pidfd: Option<BorrowedFd<'_>>, believed: bool) -> u64 {
    match pidfd.map(|fd| pidfd_namespace(fd, PIDFD_GET_TIME_NAMESPACE)) {
        Some(Ok(inode)) => inode,
        Some(Err(error)) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => ONLY_TIME_NAMESPACE,
        _ if !believed => 0,
        _ => proc_time_namespace(),
    }
}

fn proc_time_namespace() -> u64 {
    match proc_namespace("/proc/thread-self/ns/time") {
        Ok(inode) => inode,
        Err(error) if error.kind() == io::ErrorKind::NotFound => ONLY_TIME_NAMESPACE,
        Err(_) => 0,
    }
}

fn pidfd_namespace(pidfd: BorrowedFd<'_>, request: libc::c_ulong) -> io::Result<u64> {
    // SAFETY: the descriptor is open, and these requests take no argument.
    let fd = retry(|| unsafe { libc::ioctl(pidfd.as_raw_fd(), request as _, 0) })?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    let namespace = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok(file::stat(namespace.as_fd())?.ino)
}

/// Reads a namespace's inode; the thread's, as a leader that has ended is no longer in any.
fn proc_namespace(path: &str) -> io::Result<u64> {
    Ok(fs::metadata(path)?.ino())
}

/// Returns the id of this thread.
pub(crate) fn thread_id() -> u32 {
    // SAFETY: the call takes nothing and cannot fail.
    let tid = unsafe { libc::gettid() };
    tid.unsigned_abs()
}

/// Returns the id of this process.
pub(crate) fn process_id() -> u32 {
    std::process::id()
}

/// Returns the id of the parent; 0 if it is in another PID namespace.
#[cfg(feature = "process")]
pub(crate) fn parent_id() -> u32 {
    // SAFETY: the call takes nothing and cannot fail.
    let pid = unsafe { libc::getppid() };
    pid.unsigned_abs()
}

/// Returns the effective user this process acts for.
pub(crate) fn user_id() -> u32 {
    // SAFETY: the call takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Returns a number from 1 to 255 that every `exec` draws again.
///
/// All threads of an image and all its fork children share it.
pub(crate) fn image_nonce() -> u8 {
    // SAFETY: the call only looks up a number the kernel left for this image.
    let address = unsafe { libc::getauxval(libc::AT_RANDOM) };
    let random = ptr::with_exposed_provenance::<[u8; 16]>(address as usize);
    if random.is_null() {
        return 1;
    }
    // SAFETY: the kernel put 16 random bytes there before the image began; nothing writes them.
    let bytes = unsafe { random.read() };
    // The sum reveals next to nothing about the bytes, from which libc takes its stack guard.
    let sum: u32 = bytes.iter().map(|byte| u32::from(*byte)).sum();
    (sum % 255) as u8 + 1
}

/// Returns a word that reads zero again in every fork child.
///
/// The kernel wipes it, so it also works for a raw `clone`, which runs no fork handlers. The page is
/// made once and never unmapped.
///
/// # Errors
/// Whatever `mmap` and `madvise` report.
pub(crate) fn fork_word() -> io::Result<&'static AtomicU64> {
    // No lock guards the creation: a fork in the middle of it would leave the child waiting for ever.
    static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());
    // Acquire: pairs with the Release below, so the page is wiped on fork before anyone uses it.
    let mut page = PAGE.load(Ordering::Acquire);
    if page.is_null() {
        let fresh = map_fork_page()?;
        // Release: publishes the finished page; Acquire: pairs with the winner's Release.
        match PAGE.compare_exchange(ptr::null_mut(), fresh, Ordering::Release, Ordering::Acquire) {
            Ok(_) => page = fresh,
            Err(winner) => {
                unmap_page(fresh);
                page = winner;
            }
        }
    }
    // SAFETY: the page is zeroed or written through atomics only, aligned, and never unmapped.
    Ok(unsafe { &*page })
}

fn map_fork_page() -> io::Result<*mut AtomicU64> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: the kernel chooses a free address, so no memory in use is touched.
    let page = unsafe { libc::mmap(ptr::null_mut(), file::page_size(), protection, kind, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the range is the private anonymous page just mapped, which is known nowhere else.
    let advice = unsafe { libc::madvise(page, file::page_size(), libc::MADV_WIPEONFORK) };
    check(advice).inspect_err(|_| unmap_page(page.cast()))?;
    Ok(page.cast())
}

/// Unmaps a page that `map_fork_page` made and did not publish.
fn unmap_page(page: *mut AtomicU64) {
    // SAFETY: the page was mapped by this thread and no reference to it was handed out.
    unsafe { libc::munmap(page.cast(), file::page_size()) };
}

/// Has `handler` run first in every child made by `fork`; not in one made by `clone`.
pub(crate) fn at_fork(handler: extern "C" fn()) {
    // SAFETY: the handler is a function of the program, which takes and returns nothing; there is none before the fork, nor in the
    // parent. If there is no memory to register it, `fork` behaves like `clone`.
    unsafe { libc::pthread_atfork(None, None, Some(handler)) };
}

/// Returns the id the kernel drew when this machine booted; `None` if it is unknown.
///
/// # Errors
/// Why this process cannot open files now.
pub(crate) fn boot_id() -> io::Result<Option<[u8; 16]>> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    if text.is_err() {
        check_means()?;
    }
    Ok(text.ok().as_deref().and_then(parse_uuid))
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let hex: String = text.trim().chars().filter(|c| *c != '-').collect();
    if hex.len() != 32 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some(u128::from_str_radix(&hex, 16).ok()?.to_be_bytes())
}

/// Ends this process as `kill -9` would: no destructor runs, nothing is flushed.
#[cfg(feature = "crash-points")]
pub(crate) fn kill_self() {
    let own = process_id() as libc::pid_t;
    // SAFETY: the call takes two numbers and touches no memory of ours.
    unsafe { libc::kill(own, libc::SIGKILL) };
}

/// Stops this process, in this call; for `crash_point!`.
#[cfg(feature = "crash-points")]
pub(crate) fn stop_self() {
    // SAFETY: only asks for a number.
    let thread = unsafe { libc::gettid() };
    // Sent to the thread, it takes effect before the call returns, and stops all threads. SAFETY: the call takes three numbers.
    unsafe { libc::syscall(libc::SYS_tgkill, process_id(), thread, libc::SIGSTOP) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_knows_itself() {
        let me = identity().unwrap();
        assert_eq!(me.pid, std::process::id());
        assert!(me.start > 0);
        assert_eq!(me, identity().unwrap());
        let there = std::thread::spawn(|| (identity().unwrap(), thread_id()))
            .join()
            .unwrap();
        assert_eq!(there.0, me);
        assert_ne!(there.1, thread_id());
        assert_eq!(process_id(), me.pid);
        assert_eq!(user_id(), fs::metadata("/proc/self").unwrap().uid());
    }

    #[test]
    fn pidfd_and_proc_agree_on_namespaces() {
        let me = identity().unwrap();
        assert_eq!(pid_namespace(None, true), me.pid_namespace);
        assert_eq!(time_namespace(None, true), me.time_namespace);
        assert_ne!((me.pid_namespace, me.time_namespace), (0, 0));
        assert_eq!((pid_namespace(None, false), time_namespace(None, false)), (0, 0));
    }

    #[test]
    fn without_a_descriptor_all_is_known_but_the_start() {
        let me = identity().unwrap();
        assert_eq!(without_descriptors(), Identity { start: 0, ..me });
    }

    #[test]
    fn the_image_nonce_is_stable_and_never_zero() {
        let nonce = image_nonce();
        assert_ne!(nonce, 0);
        assert_eq!(std::thread::spawn(image_nonce).join().unwrap(), nonce);
    }

    #[test]
    fn all_threads_get_the_same_fork_word() {
        let word = ptr::from_ref(fork_word().unwrap()).addr();
        let others: Vec<_> = (0..4)
            .map(|_| std::thread::spawn(|| ptr::from_ref(fork_word().unwrap()).addr()))
            .collect();
        for other in others {
            assert_eq!(other.join().unwrap(), word);
        }
    }

    #[test]
    fn the_boot_id_is_parsed() {
        assert!(boot_id().unwrap().is_some());
        let parsed = parse_uuid("00112233-4455-6677-8899-aabbccddeeff\n").unwrap();
        assert_eq!(parsed[..3], [0x00, 0x11, 0x22]);
        assert_eq!(parsed[15], 0xff);
        for bad in ["", "0011", "+0112233-4455-6677-8899-aabbccddeeff", "zz"] {
            assert_eq!(parse_uuid(bad), None);
        }
    }
}
