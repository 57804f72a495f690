//! Stands in where there is no native backend.
//!
//! Threads of one process can still wait for each other and know who they are, so state machines
//! run here; file objects and facts about other processes are `Unsupported` or unknown.

pub(crate) use super::types::Errno;
use std::io;

/// Tells whether `error` carries that error number; no error of this backend carries one.
pub(crate) fn errno_is(_error: &io::Error, _errno: Errno) -> bool {
    false
}

/// The error for everything this backend cannot do.
fn linux_only() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "procshare supports 64-bit Linux only")
}

/// Functions that report `Unsupported`.
macro_rules! unsupported {
    ($(fn $name:ident($($argument:ty),*) -> $result:ty;)*) => {
        $(
            pub(crate) fn $name($(_: $argument),*) -> std::io::Result<$result> {
                Err(super::linux_only())
            }
        )*
    };
}

pub(crate) mod barrier {
    //! Reaches no other thread, so every thread issues its own fences.

    pub(crate) fn enlist() -> bool {
        false
    }

    pub(crate) fn everywhere() -> bool {
        false
    }
}

pub(crate) mod futex {
    //! Waits by looking at the word again.

    pub(crate) use super::super::types::Wait;
    use core::sync::atomic::{AtomicU64, Ordering};
    use core::time::Duration;

    /// The longest nap between two looks at the word.
    const NAP: Duration = Duration::from_millis(1);

    /// Naps while the low half of `word` is `expected_low`.
    pub(crate) fn wait(word: &AtomicU64, expected_low: u32, timeout: Option<Duration>) -> Wait {
        // Relaxed: the caller looks at the word again, with the ordering it needs.
        if word.load(Ordering::Relaxed) as u32 != expected_low {
            return Wait::Changed;
        }
        let last = timeout.filter(|timeout| *timeout <= NAP);
        super::clock::sleep(last.unwrap_or(NAP));
        if last.is_some() { Wait::TimedOut } else { Wait::Woken }
    }

    /// Wakes nobody: every sleeper looks again by itself.
    pub(crate) fn wake(_word: &AtomicU64, _count: u32) {}
}

pub(crate) mod clock {
    //! Tells time since this process first asked.

    use core::time::Duration;
    use std::sync::OnceLock;
    use std::time::Instant;

    /// Returns the same as [`monotonic_millis`].
    pub(crate) fn boot_millis() -> u64 {
        monotonic_millis()
    }

    /// Returns milliseconds since the first call.
    pub(crate) fn monotonic_millis() -> u64 {
        u64::try_from(elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns nanoseconds since the first call.
    pub(crate) fn monotonic_nanos() -> u64 {
        u64::try_from(elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn elapsed() -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }

    /// Puts this thread to sleep for at least `duration`.
    pub(crate) fn sleep(duration: Duration) {
        std::thread::sleep(duration);
    }
}

pub(crate) mod identity {
    //! Numbers the threads of this process; parents, users, boots and images are unknown.

    pub(crate) use super::super::types::Identity;
    use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
    use std::io;

    pub(crate) const NAMESPACES_NEED: &str = "procshare supports 64-bit Linux only";

    /// Returns `None`: there are none.
    pub(crate) fn missing_means() -> Option<&'static str> {
        None
    }

    /// Returns the process id; all else is unknown.
    pub(crate) fn identity() -> io::Result<Identity> {
        Ok(without_descriptors())
    }

    /// As [`identity`].
    pub(crate) fn without_descriptors() -> Identity {
        Identity {
            pid: process_id(),
            start: 0,
            pid_namespace: 0,
            time_namespace: 0,
        }
    }

    /// Does nothing: nobody forks.
    pub(crate) fn at_fork(_handler: extern "C" fn()) {}

    /// Returns a number that no other living thread of this process has.
    pub(crate) fn thread_id() -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        thread_local! {
            // Relaxed: numbers only need to differ.
            static OWN: u32 = NEXT.fetch_add(1, Ordering::Relaxed);
        }
        OWN.with(|own| *own)
    }

    /// Returns the id of this process.
    pub(crate) fn process_id() -> u32 {
        std::process::id()
    }

    pub(crate) fn parent_id() -> u32 {
        0
    }

    pub(crate) fn user_id() -> u32 {
        0
    }

    pub(crate) fn image_nonce() -> u8 {
        1
    }

    unsupported! {
        fn fork_word() -> &'static AtomicU64;
    }

    /// Ends this process without running a destructor.
    pub(crate) fn kill_self() {
        std::process::abort();
    }

    /// Does nothing: no process could continue this one.
    pub(crate) fn stop_self() {}

    pub(crate) fn boot_id() -> io::Result<Option<[u8; 16]>> {
        Ok(None)
    }
}

pub(crate) mod liveness {
    //! Knows no other process, so it has no proof of anything, and declares none dead.

    pub(crate) use super::super::types::Life;

    pub(crate) fn start_of(_pid: u32) -> u64 {
        0
    }

    pub(crate) fn life(_pid: u32) -> Life {
        Life::Alive { start: 0 }
    }

    pub(crate) fn has_execed(_pid: u32) -> bool {
        false
    }

    pub(crate) fn lacks_mapping(_pid: u32, _base: *const u8) -> bool {
        false
    }
}

pub(crate) mod memory {
    //! Knows nothing of memory.

    pub(crate) fn available_memory() -> Option<u64> {
        None
    }

    /// Does nothing: no child is forked.
    ///
    /// # Safety
    /// Nothing happens.
    pub(crate) unsafe fn keep_from_children(_base: *const u8, _len: usize) -> std::io::Result<()> {
        Ok(())
    }
}

pub(crate) mod file {
    //! Has the same functions for file objects, none of which works, and no limits.

    pub(crate) use super::super::types::{AsFd, BorrowedFd, OwnedFd, Seals, Stat};
    use core::ffi::CStr;
    use core::mem::MaybeUninit;
    use std::io;
    use std::path::Path;

    pub(crate) const SHARED_MEMORY: &str = "/dev/shm";
    pub(crate) const MOUNT_SHARED_MEMORY: &str = "use another system";

    unsupported! {
        fn memfd(&CStr) -> OwnedFd;
        fn seal_size(BorrowedFd<'_>) -> ();
        fn seal_all(BorrowedFd<'_>) -> ();
        fn seals(BorrowedFd<'_>) -> Seals;
        fn allocate(BorrowedFd<'_>, u64) -> ();
        fn set_len(BorrowedFd<'_>, u64) -> ();
        fn write_at(BorrowedFd<'_>, &[u8], u64) -> ();
        fn read_at(BorrowedFd<'_>, &mut [u8], u64) -> ();
        fn read_into(BorrowedFd<'_>, &mut [MaybeUninit<u8>], u64) -> ();
        fn append_at(BorrowedFd<'_>, &mut Vec<u8>, usize, u64) -> ();
        fn punch(BorrowedFd<'_>, u64, u64) -> ();
        fn stat(BorrowedFd<'_>) -> Stat;
        fn stat_path(&Path) -> Stat;
        fn open_unnamed(&Path, u32) -> OwnedFd;
        fn link_unnamed(BorrowedFd<'_>, &Path) -> ();
        fn create_exclusive(&Path, u32) -> OwnedFd;
        fn rename_noreplace(&Path, &Path) -> ();
        fn open(&Path) -> OwnedFd;
        fn reopen(BorrowedFd<'_>) -> OwnedFd;
        fn unlink(&Path) -> ();
        fn lock_shared(BorrowedFd<'_>) -> bool;
        fn lock_exclusive(BorrowedFd<'_>) -> bool;
        fn free_space(BorrowedFd<'_>) -> Option<u64>;
        fn is_memory_backed(BorrowedFd<'_>) -> bool;
    }

    pub(crate) fn file_size_limit() -> u64 {
        u64::MAX
    }

    pub(crate) fn locked_memory_limit() -> u64 {
        u64::MAX
    }

    /// Refuses no length.
    pub(crate) fn check_end(_end: u64) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn can_give_back(_fd: BorrowedFd<'_>, _end: u64) -> bool {
        false
    }

    /// Returns a common page size; nothing is mapped here.
    pub(crate) fn page_size() -> usize {
        4096
    }
}

pub(crate) mod descriptor {
    //! Passes nothing: a child that runs another program gets no descriptors.

    use super::file::{BorrowedFd, OwnedFd};
    use std::process::Command;

    /// Returns -1, which no descriptor has.
    pub(crate) fn number(_fd: &OwnedFd) -> i32 {
        -1
    }

    /// Returns -1, which no descriptor has.
    pub(crate) fn number_of(_fd: BorrowedFd<'_>) -> i32 {
        -1
    }

    /// Reports `Unsupported`.
    pub(crate) fn duplicate(_number: i32, _dev: u64, _ino: u64) -> std::io::Result<Option<OwnedFd>> {
        Err(super::linux_only())
    }

    /// Reports `Unsupported`.
    ///
    /// # Safety
    /// Nothing happens.
    pub(crate) unsafe fn exchange(
        _base: *mut u8,
        _len: usize,
        _own: BorrowedFd<'_>,
        _fresh: BorrowedFd<'_>,
    ) -> std::io::Result<()> {
        Err(super::linux_only())
    }

    /// Does nothing: the child finds no such descriptor.
    pub(crate) fn keep_in_child<K: Send + Sync + 'static>(_command: &mut Command, _keeper: K) {}

    pub(crate) fn take_inherited(_number: i32, _dev: u64, _ino: u64) -> Option<OwnedFd> {
        None
    }
}

#[cfg(feature = "process")]
#[path = "unsupported/children.rs"]
mod children;
#[cfg(feature = "process")]
pub(crate) use children::{event, executable, fork, privilege, socket, spawn, surroundings};
