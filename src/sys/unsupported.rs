//! Stands in where there is no native backend.
//!
//! Threads of one process can still wait for each other and know who they are, so state machines
//! run here; file objects and facts about other processes are `Unsupported` or unknown.

use std::io;

/// Names the error numbers that higher floors tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "this backend reports none of them")]
pub(crate) enum Errno {
    Emfile,
    Enfile,
    Eloop,
    Enxio,
    Eopnotsupp,
    Eisdir,
    Eexist,
    Etoomanyrefs,
    Enametoolong,
}

/// Tells whether `error` carries that error number; no error of this backend carries one.
pub(crate) fn errno_is(_error: &io::Error, _errno: Errno) -> bool {
    false
}

/// The error for everything this backend cannot do.
fn linux_only() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "procshare works on 64-bit Linux only so far",
    )
}

pub(crate) mod barrier {
    //! Reaches no other thread, so every thread issues its own fences.

    /// Registers nothing.
    pub(crate) fn enlist() -> bool {
        false
    }

    /// Reaches no thread.
    pub(crate) fn everywhere() -> bool {
        false
    }
}

pub(crate) mod futex {
    //! Waits by looking at the word again.

    use core::sync::atomic::{AtomicU64, Ordering};
    use core::time::Duration;

    /// The longest nap between two looks at the word.
    const NAP: Duration = Duration::from_millis(1);

    /// Says why a wait ended.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Wait {
        /// Possibly woken; look at the word again.
        Woken,
        /// The low half had another value, so there was no sleep.
        Changed,
        /// The timeout passed first.
        TimedOut,
    }

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
    #[cfg(feature = "map")]
    pub(crate) fn boot_millis() -> u64 {
        monotonic_millis()
    }

    /// Returns milliseconds since the first call.
    pub(crate) fn monotonic_millis() -> u64 {
        u64::try_from(elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns nanoseconds since the first call.
    #[cfg(feature = "process")]
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
    //! Numbers the threads of this process.

    use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
    use std::io;

    /// Says which process this is, and in which namespaces its numbers are valid.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Identity {
        pub(crate) pid: u32,
        pub(crate) start: u64,
        pub(crate) pid_namespace: u64,
        pub(crate) time_namespace: u64,
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

    /// Returns 0: parents are unknown.
    #[cfg(feature = "process")]
    pub(crate) fn parent_id() -> u32 {
        0
    }

    /// Returns 0: users are unknown.
    pub(crate) fn user_id() -> u32 {
        0
    }

    /// Returns 1: images are not told apart.
    pub(crate) fn image_nonce() -> u8 {
        1
    }

    /// Reports `Unsupported`: nothing is wiped on fork.
    pub(crate) fn fork_word() -> io::Result<&'static AtomicU64> {
        Err(super::linux_only())
    }

    /// Ends this process without running a destructor.
    #[cfg(feature = "crash-points")]
    pub(crate) fn kill_self() {
        std::process::abort();
    }

    /// Does nothing: no process could continue this one.
    #[cfg(feature = "crash-points")]
    pub(crate) fn stop_self() {}

    /// Returns `None`: boots are unknown.
    pub(crate) fn boot_id() -> io::Result<Option<[u8; 16]>> {
        Ok(None)
    }
}

pub(crate) mod liveness {
    //! Knows no other process, so it declares none dead.

    /// Says whether a process can still act.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[allow(dead_code, reason = "this backend has no proof of death")]
    pub(crate) enum Life {
        /// It never runs another instruction of its own.
        Dead,
        /// Nothing proves it dead.
        Alive {
            /// When it started; 0 is unknown.
            start: u64,
        },
    }

    /// Returns 0: unknown.
    #[cfg(feature = "process")]
    pub(crate) fn start_of(_pid: u32) -> u64 {
        0
    }

    /// Returns alive: there is no proof.
    pub(crate) fn life(_pid: u32) -> Life {
        Life::Alive { start: 0 }
    }

    /// Returns false: there is no proof.
    pub(crate) fn has_execed(_pid: u32) -> bool {
        false
    }

    /// Returns false: there is no proof.
    pub(crate) fn lacks_mapping(_pid: u32, _base: *const u8) -> bool {
        false
    }
}

pub(crate) mod memory {
    //! Knows nothing of memory.

    /// Returns `None`: unknown.
    pub(crate) fn available_memory() -> Option<u64> {
        None
    }
}

pub(crate) mod map {
    //! Has the same functions for file objects, none of which works.

    use core::ffi::CStr;
    use std::io;
    use std::path::Path;

    #[cfg(not(unix))]
    pub(crate) use descriptor::{AsFd, BorrowedFd, OwnedFd};
    #[cfg(unix)]
    pub(crate) use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

    /// Descriptors for systems that have none: they name no object, as none can be made.
    #[cfg(not(unix))]
    mod descriptor {
        use core::convert::Infallible;
        use core::marker::PhantomData;

        #[derive(Debug)]
        pub(crate) struct OwnedFd(Infallible);

        impl OwnedFd {
            pub(crate) fn try_clone(&self) -> std::io::Result<Self> {
                match self.0 {}
            }
        }

        #[derive(Clone, Copy, Debug)]
        pub(crate) struct BorrowedFd<'a>(Infallible, PhantomData<&'a ()>);

        pub(crate) trait AsFd {
            fn as_fd(&self) -> BorrowedFd<'_>;
        }

        impl AsFd for OwnedFd {
            fn as_fd(&self) -> BorrowedFd<'_> {
                match self.0 {}
            }
        }

        impl<T: AsFd> AsFd for std::sync::Arc<T> {
            fn as_fd(&self) -> BorrowedFd<'_> {
                (**self).as_fd()
            }
        }

        impl AsFd for BorrowedFd<'_> {
            fn as_fd(&self) -> BorrowedFd<'_> {
                match self.0 {}
            }
        }

        #[cfg(windows)]
        impl std::os::windows::io::AsRawHandle for OwnedFd {
            fn as_raw_handle(&self) -> std::os::windows::io::RawHandle {
                match self.0 {}
            }
        }

        #[cfg(windows)]
        impl std::os::windows::io::AsRawHandle for BorrowedFd<'_> {
            fn as_raw_handle(&self) -> std::os::windows::io::RawHandle {
                match self.0 {}
            }
        }
    }

    /// What a kernel says about a file object.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Stat {
        pub(crate) dev: u64,
        pub(crate) ino: u64,
        pub(crate) len: u64,
        pub(crate) uid: u32,
        pub(crate) mode: u32,
        pub(crate) is_file: bool,
        pub(crate) blocks: u64,
    }

    /// What can no longer be done to a file object.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Seals {
        pub(crate) write: bool,
        pub(crate) shrink: bool,
        pub(crate) grow: bool,
        pub(crate) seal: bool,
    }

    fn unsupported<T>() -> io::Result<T> {
        Err(super::linux_only())
    }

    /// Reports `Unsupported`.
    pub(crate) fn memfd(_name: &CStr) -> io::Result<OwnedFd> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn seal_size(_fd: BorrowedFd<'_>) -> io::Result<()> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn seal_all(_fd: BorrowedFd<'_>) -> io::Result<()> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn seals(_fd: BorrowedFd<'_>) -> io::Result<Seals> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn allocate(_fd: BorrowedFd<'_>, _len: u64) -> io::Result<()> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn set_len(_fd: BorrowedFd<'_>, _len: u64) -> io::Result<()> {
        unsupported()
    }

    /// Reports no limit.
    #[cfg(feature = "process")]
    pub(crate) fn file_size_limit() -> u64 {
        u64::MAX
    }

    /// Reports no limit.
    pub(crate) fn locked_memory_limit() -> u64 {
        u64::MAX
    }

    /// Refuses no length.
    #[cfg(feature = "timeline-svg")]
    pub(crate) fn check_end(_end: u64) -> io::Result<()> {
        Ok(())
    }

    /// Reports `Unsupported`.
    #[cfg(feature = "messages")]
    pub(crate) fn write_at(_fd: BorrowedFd<'_>, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn read_at(_fd: BorrowedFd<'_>, _bytes: &mut [u8], _offset: u64) -> io::Result<()> {
        unsupported()
    }

    /// Returns false.
    pub(crate) fn can_give_back(_fd: BorrowedFd<'_>, _end: u64) -> bool {
        false
    }

    /// Reports `Unsupported`.
    #[cfg(feature = "messages")]
    pub(crate) fn read_into(
        _fd: BorrowedFd<'_>,
        _target: &mut [core::mem::MaybeUninit<u8>],
        _offset: u64,
    ) -> io::Result<()> {
        unsupported()
    }

    /// Reports `Unsupported`.
    #[cfg(feature = "messages")]
    pub(crate) fn append_at(_fd: BorrowedFd<'_>, _buffer: &mut Vec<u8>, _len: usize, _offset: u64) -> io::Result<()> {
        unsupported()
    }

    /// Reports `Unsupported`.
    #[cfg(feature = "messages")]
    pub(crate) fn punch(_fd: BorrowedFd<'_>, _offset: u64, _len: u64) -> io::Result<()> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn stat(_fd: BorrowedFd<'_>) -> io::Result<Stat> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn stat_path(_path: &Path) -> io::Result<Stat> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn open_unnamed(_folder: &Path, _mode: u32) -> io::Result<OwnedFd> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn link_unnamed(_fd: BorrowedFd<'_>, _path: &Path) -> io::Result<()> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn create_exclusive(_path: &Path, _mode: u32) -> io::Result<OwnedFd> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn rename_noreplace(_from: &Path, _to: &Path) -> io::Result<()> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn open(_path: &Path) -> io::Result<OwnedFd> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn reopen(_fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn unlink(_path: &Path) -> io::Result<()> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn lock_shared(_fd: BorrowedFd<'_>) -> io::Result<bool> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn lock_exclusive(_fd: BorrowedFd<'_>) -> io::Result<bool> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn free_space(_fd: BorrowedFd<'_>) -> io::Result<Option<u64>> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn is_memory_backed(_fd: BorrowedFd<'_>) -> io::Result<bool> {
        unsupported()
    }

    /// Returns a common page size; nothing is mapped here.
    pub(crate) fn page_size() -> usize {
        4096
    }
}

pub(crate) mod descriptor {
    //! Passes nothing: a child that runs another program gets no descriptors.

    use super::map::OwnedFd;
    use std::process::Command;

    /// Returns -1, which no descriptor has.
    pub(crate) fn number(_fd: &OwnedFd) -> i32 {
        -1
    }

    /// Returns -1, which no descriptor has.
    #[cfg(feature = "process")]
    pub(crate) fn number_of(_fd: super::map::BorrowedFd<'_>) -> i32 {
        -1
    }

    /// Returns `None`: nothing is inherited.
    #[cfg(feature = "process")]
    pub(crate) fn duplicate(_number: i32, _dev: u64, _ino: u64) -> Option<OwnedFd> {
        None
    }

    /// Reports `Unsupported`.
    ///
    /// # Safety
    /// Nothing happens.
    #[cfg(feature = "process")]
    pub(crate) unsafe fn exchange(
        _base: *mut u8,
        _len: usize,
        _own: super::map::BorrowedFd<'_>,
        _fresh: super::map::BorrowedFd<'_>,
    ) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    /// Does nothing: the child finds no such descriptor.
    pub(crate) fn keep_in_child<K: Send + Sync + 'static>(_command: &mut Command, _keeper: K) {}

    /// Returns `None`: nothing is inherited.
    pub(crate) fn take_inherited(_number: i32, _dev: u64, _ino: u64) -> Option<OwnedFd> {
        None
    }
}

#[cfg(feature = "process")]
#[path = "unsupported/children.rs"]
mod children;
#[cfg(feature = "process")]
pub(crate) use children::{event, executable, fork, privilege, socket, spawn, surroundings};
