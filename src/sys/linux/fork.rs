//! Copies of this process: as its child, or as another child of its parent.

use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::AtomicU64;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{check, file};

/// Returns how many threads this process has.
///
/// # Errors
/// Why `/proc` cannot be read.
pub(crate) fn thread_count() -> io::Result<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("Threads:"));
    let count = line.and_then(|line| line.trim().parse().ok());
    count.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Copies this process; returns the child's id in the parent, `None` in the child.
///
/// # Errors
/// Whatever `fork` reports.
///
/// # Safety
/// The process has one thread, or the child makes system calls only.
pub(crate) unsafe fn fork() -> io::Result<Option<u32>> {
    // SAFETY: the caller promises that no thread missing in the child holds what the child needs.
    let pid = check(unsafe { libc::fork() })?;
    Ok((pid != 0).then_some(pid.unsigned_abs()))
}

/// Copies this process; the copy is a child of this one's parent. `None` in the child.
///
/// The kernel writes the child's id as an `i32` at byte `offset` of the first page of the file `note` before the child runs and
/// before this call returns: a reader of it knows, after the death of this process, whether there is a child.
///
/// `clone` itself does not inform the C library. What its own `fork` would update is updated here: the thread id it keeps, and the
/// list of robust mutexes.
///
/// # Errors
/// Whatever `mmap` or `clone` reports; `ENOSYS` where the way to update that is unknown.
///
/// # Safety
/// The process has one thread, or a second one that waits; the file extends at least four bytes beyond `offset`.
pub(crate) unsafe fn clone_sibling(note: BorrowedFd<'_>, offset: usize) -> io::Result<Option<u32>> {
    let page = Page::map(note)?;
    let child_id = page.0.cast::<u8>().wrapping_add(offset);
    // SAFETY: the caller promises that no other thread looks.
    let tid = unsafe { ThreadId::find() }.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOSYS))?;
    let (cleared, robust) = (tid.cleared, robust_list());
    let mut flags = libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID | libc::SIGCHLD;
    if !cleared.is_null() {
        flags |= libc::CLONE_CHILD_CLEARTID;
    }
    let (flags, no_stack) = (flags as libc::c_ulong, 0 as libc::c_ulong);
    let (first, second) = if cfg!(target_arch = "s390x") {
        (no_stack, flags)
    } else {
        (flags, no_stack)
    };
    // Which of the last two arguments is the address to clear differs among architectures; the other one means nothing here.
    // SAFETY: without a stack of its own the child continues with a copy of ours, as after fork, which the caller allows. The
    // kernel writes to the page mapped above, and at the child's end to the word it would have cleared for this thread.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, first, second, child_id, cleared, cleared) })?;
    if pid != 0 {
        return Ok(Some(pid as u32));
    }
    // SAFETY: this is the child's only thread.
    unsafe { tid.correct() };
    if let Some((head, length)) = robust {
        // SAFETY: the list is the C library's own for this thread, and the child's copy of it lies at the same address.
        unsafe { libc::syscall(libc::SYS_set_robust_list, head, length) };
    }
    Ok(None)
}

/// Tells whether a copy made by [`clone_sibling`] can be updated as described there.
///
/// # Safety
/// The process has one thread, or a second one that waits.
pub(crate) unsafe fn can_clone_sibling() -> bool {
    // SAFETY: the caller promises that no other thread looks.
    unsafe { ThreadId::find() }.is_some()
}

/// Words, initially zero, that this process shares with the copies it makes from now on.
pub(crate) struct CommonWords(Page);

// SAFETY: the words are atomics, and it does not matter which thread unmaps the page.
unsafe impl Send for CommonWords {}
// SAFETY: as above.
unsafe impl Sync for CommonWords {}

impl CommonWords {
    /// Maps a page of such words; each process unmaps its own with this value.
    ///
    /// # Errors
    /// Whatever `mmap` reports.
    pub(crate) fn new() -> io::Result<Self> {
        Page::of_kind(libc::MAP_ANONYMOUS, -1).map(CommonWords)
    }
}

impl AsRef<[AtomicU64]> for CommonWords {
    fn as_ref(&self) -> &[AtomicU64] {
        let count = file::page_size() / size_of::<AtomicU64>();
        // SAFETY: the page was zero, is aligned, stays mapped while self lives, and is used through atomics alone.
        unsafe { core::slice::from_raw_parts(self.0.0.cast(), count) }
    }
}

/// A page that other processes map as well, mapped for as long as this lives.
struct Page(*mut libc::c_void);

impl Page {
    /// The first page of a file.
    fn map(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Self::of_kind(0, fd.as_raw_fd())
    }

    fn of_kind(kind: libc::c_int, fd: libc::c_int) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // Populated: if the kernel cannot write there later, it does not report that.
        let kind = kind | libc::MAP_SHARED | libc::MAP_POPULATE;
        // SAFETY: a new mapping at a place the kernel chooses touches nothing that exists.
        let page = unsafe { libc::mmap(ptr::null_mut(), file::page_size(), access, kind, fd, 0) };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Page(page))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the page was mapped by `of_kind`, and nobody keeps its address.
        unsafe { libc::munmap(self.0, file::page_size()) };
    }
}

/// Where the C library keeps the calling thread's id, which a copy made without its knowledge has from its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ThreadId {
    /// What `raise`, `abort` and owner-checking mutexes use.
    kept: *mut libc::pid_t,
    /// What the kernel clears when the thread ends; null if that is unknown.
    cleared: *mut libc::pid_t,
}

impl ThreadId {
    /// With glibc the kernel clears the id itself. Other libraries keep the id in the block that `pthread_self` points to.
    ///
    /// # Safety
    /// No other thread looks at this thread's id meanwhile.
    unsafe fn find() -> Option<Self> {
        let cleared = cleared_word();
        // SAFETY: the kernel would clear this word at the thread's end, so it is mapped, aligned, and an int.
        if !cleared.is_null() && unsafe { cleared.read_volatile() } == own_id() {
            return Some(ThreadId { kept: cleared, cleared });
        }
        // SAFETY: the caller's promise.
        let kept = unsafe { search() }?;
        Some(ThreadId { kept, cleared })
    }

    /// Writes the calling thread's id there.
    ///
    /// # Safety
    /// The process has one thread.
    unsafe fn correct(self) {
        // SAFETY: the word is the C library's for this thread's id, and nobody else looks.
        unsafe { self.kept.write_volatile(own_id()) };
    }
}

/// Asks the kernel: musl's `gettid` returns its stored value.
fn own_id() -> libc::pid_t {
    // SAFETY: the call only returns a number.
    unsafe { libc::syscall(libc::SYS_gettid) as libc::pid_t }
}

/// What the kernel clears when this thread ends; null if that is unknown.
fn cleared_word() -> *mut libc::pid_t {
    let mut address = ptr::null_mut::<libc::pid_t>();
    // SAFETY: the pointer is to room for an address, which the kernel may write.
    let told = unsafe { libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut address) };
    if told == -1 { ptr::null_mut() } else { address }
}

/// How many bytes at `pthread_self` are searched; with every library the block is at least this large.
const SEARCHED: usize = if cfg!(target_env = "gnu") {
    1024
} else if cfg!(any(target_env = "musl", target_env = "ohos")) {
    128
} else {
    0
};

/// The word behind `pthread_self` that the C library uses as this thread's id.
///
/// # Safety
/// No other thread looks at this thread's id meanwhile.
unsafe fn search() -> Option<*mut libc::pid_t> {
    // SAFETY: the call only returns a number, which with the libraries searched is an address.
    let first = unsafe { libc::pthread_self() };
    let first = ptr::with_exposed_provenance_mut::<libc::pid_t>(first as usize);
    // Ids stand at multiples of eight, followed by another small number: so halves of addresses are not mistaken for one.
    let mut words = (0..SEARCHED / 8).map(|at| first.wrapping_add(at * 2));
    words.find(|word| {
        // SAFETY: the library's description of this thread is at least that long, and aligned.
        let id = unsafe { word.read_volatile() };
        // SAFETY: as above.
        let next = unsafe { word.wrapping_add(1).read_volatile() };
        // SAFETY: as above; the caller promises that no other thread looks.
        id == own_id() && (0..4096).contains(&next) && unsafe { is_believed(*word) }
    })
}

/// No thread has this id: it exceeds the greatest that any kernel assigns.
const NOBODY: libc::pid_t = 0x0f1e_d2c3;

/// Whether the C library takes this word for this thread's id; found out with a mutex that records its owner.
///
/// # Safety
/// The word is an int of the library's description of this thread, and no other thread looks at it meanwhile.
unsafe fn is_believed(word: *mut libc::pid_t) -> bool {
    // SAFETY: the caller's promise.
    let own = unsafe { word.read_volatile() };
    // SAFETY: as above; the previous value is restored below.
    unsafe { word.write_volatile(NOBODY) };
    let owner = knows_owner(NOBODY);
    // SAFETY: as above.
    unsafe { word.write_volatile(own) };
    owner
}

/// Whether a mutex locked by this thread records `id` as its owner.
fn knows_owner(id: libc::pid_t) -> bool {
    const INTS: usize = size_of::<libc::pthread_mutex_t>() / 4;
    let mut kind = MaybeUninit::<libc::pthread_mutexattr_t>::zeroed();
    let mut mutex = MaybeUninit::<libc::pthread_mutex_t>::zeroed();
    let (kind, mutex) = (kind.as_mut_ptr(), mutex.as_mut_ptr());
    // SAFETY: the pointer is to room for such an object; none of these calls fails for a mutex on a stack.
    unsafe { libc::pthread_mutexattr_init(kind) };
    // SAFETY: the object is initialised.
    unsafe { libc::pthread_mutexattr_settype(kind, libc::PTHREAD_MUTEX_ERRORCHECK) };
    // SAFETY: the pointer is to room for such an object, and the attributes are initialised.
    unsafe { libc::pthread_mutex_init(mutex, kind) };
    // SAFETY: the mutex is initialised, and no other thread uses it.
    unsafe { libc::pthread_mutex_lock(mutex) };
    // SAFETY: a mutex consists of integers, and all of it was at least zeroed.
    let ints = unsafe { mutex.cast::<[libc::c_int; INTS]>().read_volatile() };
    // SAFETY: this thread has locked it.
    unsafe { libc::pthread_mutex_unlock(mutex) };
    // SAFETY: it is unlocked, and no other thread uses it.
    unsafe { libc::pthread_mutex_destroy(mutex) };
    // SAFETY: the object is initialised.
    unsafe { libc::pthread_mutexattr_destroy(kind) };
    ints.contains(&id)
}

/// The list of robust mutexes the kernel looks at when this thread ends, and its length.
fn robust_list() -> Option<(*mut libc::c_void, usize)> {
    let (mut head, mut length) = (ptr::null_mut::<libc::c_void>(), 0_usize);
    let (head_at, length_at) = (&raw mut head, &raw mut length);
    // SAFETY: the pointers are to room for an address and a length; 0 is the calling thread.
    let told = unsafe { libc::syscall(libc::SYS_get_robust_list, 0, head_at, length_at) };
    (told == 0 && !head.is_null()).then_some((head, length))
}

/// Unblocks all signals in this thread, as in a newly started program.
pub(crate) fn unblock_signals() {
    let mut none = MaybeUninit::uninit();
    // SAFETY: the pointer is to writable room for one set.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: the call above, which cannot fail, has written the set; a null pointer takes no old one.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With glibc the kernel also tells the place, so the two ways to find it can be compared.
    #[test]
    fn a_threads_id_is_found_without_the_kernels_help() {
        let find = || {
            // SAFETY: no other thread knows of this thread.
            let told = unsafe { ThreadId::find() };
            // SAFETY: as above.
            let found = unsafe { search() };
            (told.map(|word| word.kept.addr()), found.map(|word| word.addr()))
        };
        let (told, found) = std::thread::spawn(find).join().unwrap();
        assert!(found.is_some());
        assert_eq!(told, found);
    }

    #[test]
    fn a_mutex_knows_its_owner_and_no_other() {
        assert!(knows_owner(own_id()));
        assert!(!knows_owner(NOBODY));
    }
}
