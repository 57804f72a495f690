//! Copies of this process: as its child, or as another child of its parent.

use core::mem::MaybeUninit;
use core::ptr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{check, map};

/// Returns how many threads this process has.
///
/// # Errors
/// What keeps `/proc` from being read.
pub(crate) fn thread_count() -> io::Result<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("Threads:"));
    let count = line.and_then(|line| line.trim().parse().ok());
    count.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Copies this process; `None` in the child, whose id the parent gets.
///
/// # Errors
/// Whatever `fork` reports.
///
/// # Safety
/// The process has one thread, or the child makes system calls only.
pub(crate) unsafe fn fork() -> io::Result<Option<u32>> {
    // SAFETY: the caller knows that no thread is missing in the child that may hold what this one needs.
    let pid = check(unsafe { libc::fork() })?;
    Ok((pid != 0).then_some(pid.unsigned_abs()))
}

/// Copies this process; the copy is a child of this one's parent. `None` in the child.
///
/// The kernel writes the child's id as an `i32` at byte `offset` of the first page of the file `note` before the child
/// runs and before this call returns: who reads it after the death of this process knows whether there is a child.
///
/// `clone` itself tells the C library nothing. What its own `fork` would put in order is done here: the thread id it
/// keeps, where the kernel says where that is, and the list of robust mutexes.
///
/// # Errors
/// Whatever `mmap` or `clone` reports.
///
/// # Safety
/// The process has one thread, and the file is longer than `offset` by four bytes at least.
pub(crate) unsafe fn clone_sibling(note: BorrowedFd<'_>, offset: usize) -> io::Result<Option<u32>> {
    let page = Page::map(note)?;
    let child_id = page.0.cast::<u8>().wrapping_add(offset);
    let (tid_at, robust) = (own_tid_address(), robust_list());
    let mut flags = libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID | libc::SIGCHLD;
    if !tid_at.is_null() {
        flags |= libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID;
    }
    let (flags, no_stack) = (flags as libc::c_ulong, 0 as libc::c_ulong);
    let (first, second) = if cfg!(target_arch = "s390x") {
        (no_stack, flags)
    } else {
        (flags, no_stack)
    };
    // Which of the last two is the thread id's address differs among architectures; the other one means nothing here.
    // SAFETY: without a stack of its own the child goes on with a copy of ours, as after fork, which the caller allows. The
    // kernel writes to the page mapped above, and to the word where it would have cleared this thread's id.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, first, second, child_id, tid_at, tid_at) })?;
    if pid != 0 {
        return Ok(Some(pid as u32));
    }
    if let Some((head, length)) = robust {
        // SAFETY: the list is the C library's own for this thread, of which the child's is a copy at the same place.
        unsafe { libc::syscall(libc::SYS_set_robust_list, head, length) };
    }
    Ok(None)
}

/// The first page of a file, mapped for as long as this lives.
struct Page(*mut libc::c_void);

impl Page {
    fn map(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let (access, fd) = (libc::PROT_READ | libc::PROT_WRITE, fd.as_raw_fd());
        // Populated: the kernel tells nobody if it cannot write there later.
        let kind = libc::MAP_SHARED | libc::MAP_POPULATE;
        // SAFETY: a new mapping at a place the kernel chooses touches nothing that exists.
        let page = unsafe { libc::mmap(ptr::null_mut(), map::page_size(), access, kind, fd, 0) };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Page(page))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the page was mapped by `map`, and nobody keeps its address.
        unsafe { libc::munmap(self.0, map::page_size()) };
    }
}

/// Where the C library keeps this thread's id; null if that cannot be told.
fn own_tid_address() -> *mut libc::pid_t {
    let mut address = ptr::null_mut::<libc::pid_t>();
    // SAFETY: the pointer is to room for an address, which the kernel may write.
    let told = unsafe { libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut address) };
    if told == -1 || address.is_null() {
        return ptr::null_mut();
    }
    // Another library than glibc has the kernel clear something else there.
    // SAFETY: the kernel would clear this word at the thread's end, so it is mapped, aligned, and an int.
    let kept = unsafe { address.read_volatile() };
    // SAFETY: the call only returns a number.
    let own = unsafe { libc::gettid() };
    if kept == own { address } else { ptr::null_mut() }
}

/// The list of robust mutexes the kernel looks at when this thread ends, and its length.
fn robust_list() -> Option<(*mut libc::c_void, usize)> {
    let (mut head, mut length) = (ptr::null_mut::<libc::c_void>(), 0_usize);
    let (head_at, length_at) = (&raw mut head, &raw mut length);
    // SAFETY: the pointers are to room for an address and a length; 0 is the calling thread.
    let told = unsafe { libc::syscall(libc::SYS_get_robust_list, 0, head_at, length_at) };
    (told == 0 && !head.is_null()).then_some((head, length))
}

/// Lets all signals through to this thread, as a program begun anew would.
pub(crate) fn unblock_signals() {
    let mut none = MaybeUninit::uninit();
    // SAFETY: the pointer is to writable room for one set.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: the call above, which cannot fail, has written the set; a null pointer takes no old one.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut()) };
}
