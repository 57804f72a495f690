//! What starting children would need.

use super::{file, linux_only};

pub(crate) mod executable {
    //! Knows nothing about the program, so no function of it can be identified.

    use std::ffi::OsStr;

    pub(crate) const PATH: &str = "";
    pub(crate) const NEEDS: &str = "procshare supports 64-bit Linux only";

    /// Describes the main program of this process; none is ever made.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Executable {
        pub(crate) id: u64,
    }

    impl Executable {
        pub(crate) fn own() -> Option<Self> {
            None
        }

        pub(crate) fn was_loaded_by_another() -> bool {
            false
        }

        pub(crate) fn offset_of(&self, _address: usize) -> Option<u64> {
            None
        }

        pub(crate) fn address_at(&self, _offset: u64) -> Option<*const ()> {
            None
        }
    }

    /// Does nothing.
    pub(crate) fn show_name(_name: &OsStr) {}
}

pub(crate) mod privilege {
    //! Knows nothing about rights.

    /// Returns `None`: where nothing can be started, nothing is gained.
    pub(crate) fn gain() -> Option<&'static str> {
        None
    }
}

pub(crate) mod event {
    //! Wakes nobody.

    use super::file::{BorrowedFd, OwnedFd};

    unsupported! {
        fn new() -> OwnedFd;
        fn signal(BorrowedFd<'_>) -> ();
        fn drain(BorrowedFd<'_>) -> ();
    }
}

pub(crate) mod spawn {
    //! Starts no children.

    pub(crate) use super::super::super::types::{End, Signal};
    use super::file::{BorrowedFd, OwnedFd};
    use core::ffi::CStr;
    use core::time::Duration;

    unsupported! {
        fn spawn_self(&[impl AsRef<CStr>], &[impl AsRef<CStr>], &[BorrowedFd<'_>], bool) -> u32;
        fn open_child(u32) -> Option<OwnedFd>;
        fn open_self() -> OwnedFd;
        fn wait(BorrowedFd<'_>, Option<Duration>) -> bool;
        fn wait_any(&[BorrowedFd<'_>], Option<Duration>) -> Vec<bool>;
        fn send(BorrowedFd<'_>, Signal) -> ();
    }

    /// Does nothing: there is no child.
    pub(crate) fn abandon(_pid: u32) {}

    pub(crate) fn is_child(_pidfd: BorrowedFd<'_>) -> bool {
        false
    }

    pub(crate) fn is_stopped(_pidfd: BorrowedFd<'_>) -> bool {
        false
    }

    /// Returns unknown: there is no child.
    pub(crate) fn reap(_pidfd: BorrowedFd<'_>) -> Option<End> {
        Some(End::Unknown)
    }

    pub(crate) fn exit_status(_end: End) -> Option<std::process::ExitStatus> {
        None
    }

    /// Ends this process.
    pub(crate) fn exit_at_once(_code: i32) -> ! {
        std::process::abort()
    }

    pub(crate) fn too_many_descriptors() -> std::io::Error {
        super::linux_only()
    }
}

pub(crate) mod fork {
    //! Copies no process.

    use super::file::BorrowedFd;
    use core::sync::atomic::AtomicU64;
    use std::io;

    /// Is never constructed.
    pub(crate) struct CommonWords(());

    impl CommonWords {
        /// Reports `Unsupported`.
        pub(crate) fn new() -> io::Result<Self> {
            Err(super::linux_only())
        }
    }

    impl AsRef<[AtomicU64]> for CommonWords {
        fn as_ref(&self) -> &[AtomicU64] {
            &[]
        }
    }

    unsupported! {
        fn thread_count() -> usize;
    }

    /// Reports `Unsupported`.
    ///
    /// # Safety
    /// Nothing happens.
    pub(crate) unsafe fn fork() -> io::Result<Option<u32>> {
        Err(super::linux_only())
    }

    /// Reports `Unsupported`.
    ///
    /// # Safety
    /// Nothing happens.
    pub(crate) unsafe fn clone_sibling(_note: BorrowedFd<'_>, _offset: usize) -> io::Result<Option<u32>> {
        Err(super::linux_only())
    }

    /// Returns false.
    ///
    /// # Safety
    /// Nothing happens.
    pub(crate) unsafe fn can_clone_sibling() -> bool {
        false
    }

    /// Does nothing.
    pub(crate) fn unblock_signals() {}
}

pub(crate) mod socket {
    //! Sends nothing.

    pub(crate) use super::super::super::types::{MOST_DESCRIPTORS, Message};
    use super::file::{BorrowedFd, OwnedFd};
    use std::io;

    unsupported! {
        fn pair() -> (OwnedFd, OwnedFd);
        fn send(BorrowedFd<'_>, &[u8], &[BorrowedFd<'_>], bool) -> ();
        fn receive(BorrowedFd<'_>, usize, bool) -> Option<Message>;
    }

    pub(crate) fn is_gone(_error: &io::Error) -> bool {
        false
    }

    /// Does nothing.
    pub(crate) fn shut(_socket: BorrowedFd<'_>) {}
}

pub(crate) mod surroundings {
    //! Leaves streams and folder as they are.

    pub(crate) use super::super::super::types::{STREAMS, Stream};
    use super::file::{BorrowedFd, OwnedFd};
    use std::path::Path;

    unsupported! {
        fn copy(Stream) -> Option<OwnedFd>;
        fn replace(Stream, BorrowedFd<'_>) -> ();
        fn open_null() -> OwnedFd;
        fn open_folder(&Path) -> OwnedFd;
        fn enter_folder(BorrowedFd<'_>) -> ();
    }
}
