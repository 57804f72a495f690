//! What starting children would need.

use super::{linux_only, map};

pub(crate) mod executable {
    //! Knows nothing about the program, so no function of it can be identified.

    /// Describes the main program of this process.
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[allow(dead_code, reason = "no value of it is ever made")]
    pub(crate) struct Executable {
        pub(crate) id: u64,
    }

    impl Executable {
        /// Returns `None`: unknown.
        pub(crate) fn own() -> Option<Self> {
            None
        }

        /// Returns false: nothing is known of it.
        pub(crate) fn was_loaded_by_another() -> bool {
            false
        }

        /// Returns `None`: unknown.
        pub(crate) fn offset_of(&self, _address: usize) -> Option<u64> {
            None
        }

        /// Returns `None`: unknown.
        pub(crate) fn address_at(&self, _offset: u64) -> Option<*const ()> {
            None
        }
    }
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

    use super::map::{BorrowedFd, OwnedFd};
    use std::io;

    fn unsupported<T>() -> io::Result<T> {
        Err(super::linux_only())
    }

    /// Reports `Unsupported`.
    pub(crate) fn new() -> io::Result<OwnedFd> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn signal(_fd: BorrowedFd<'_>) -> io::Result<()> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn drain(_fd: BorrowedFd<'_>) -> io::Result<()> {
        unsupported()
    }
}

pub(crate) mod spawn {
    //! Starts no children.

    use super::map::{BorrowedFd, OwnedFd};
    use core::ffi::CStr;
    use core::time::Duration;
    use std::io;

    /// Says how a child ended.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[allow(dead_code, reason = "this backend starts no children")]
    pub(crate) enum End {
        Exited(i32),
        Signaled(i32),
        Unknown,
    }

    /// Names the signals that higher floors send.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Signal {
        Kill,
        Terminate,
    }

    fn unsupported<T>() -> io::Result<T> {
        Err(super::linux_only())
    }

    /// Reports `Unsupported`.
    pub(crate) fn spawn_self(
        _arguments: &[impl AsRef<CStr>],
        _environment: &[impl AsRef<CStr>],
        _keep: &[BorrowedFd<'_>],
        _silent: bool,
    ) -> io::Result<u32> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn open_child(_pid: u32) -> io::Result<Option<OwnedFd>> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn open_self() -> io::Result<OwnedFd> {
        unsupported()
    }

    /// Does nothing: there is no child.
    pub(crate) fn abandon(_pid: u32) {}

    /// Reports `Unsupported`.
    pub(crate) fn wait(_pidfd: BorrowedFd<'_>, _timeout: Option<Duration>) -> io::Result<bool> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn wait_any(_fds: &[BorrowedFd<'_>], _timeout: Option<Duration>) -> io::Result<Vec<bool>> {
        unsupported()
    }

    /// Returns false: there are no children.
    pub(crate) fn is_child(_pidfd: BorrowedFd<'_>) -> bool {
        false
    }

    /// Reports that it is not: there is no child.
    pub(crate) fn is_stopped(_pidfd: BorrowedFd<'_>) -> bool {
        false
    }

    /// Returns unknown: there is no child.
    pub(crate) fn reap(_pidfd: BorrowedFd<'_>) -> Option<End> {
        Some(End::Unknown)
    }

    /// Returns `None`: unknown.
    pub(crate) fn exit_status(_end: End) -> Option<std::process::ExitStatus> {
        None
    }

    /// Reports `Unsupported`.
    pub(crate) fn send(_pidfd: BorrowedFd<'_>, _signal: Signal) -> io::Result<()> {
        unsupported()
    }

    /// Ends this process.
    pub(crate) fn exit_at_once(_code: i32) -> ! {
        std::process::abort()
    }

    /// Returns `Unsupported`.
    pub(crate) fn too_many_descriptors() -> io::Error {
        super::linux_only()
    }
}

pub(crate) mod fork {
    //! Copies no process.

    use super::map::BorrowedFd;
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

    /// Reports `Unsupported`.
    pub(crate) fn thread_count() -> io::Result<usize> {
        Err(super::linux_only())
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

    use super::map::{BorrowedFd, OwnedFd};
    use std::io;

    pub(crate) const MOST_DESCRIPTORS: usize = 253;

    /// The contents of one message.
    #[derive(Debug)]
    pub(crate) struct Message {
        pub(crate) bytes: Vec<u8>,
        pub(crate) descriptors: Vec<OwnedFd>,
    }

    fn unsupported<T>() -> io::Result<T> {
        Err(super::linux_only())
    }

    /// Reports `Unsupported`.
    pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn send(_socket: BorrowedFd<'_>, _bytes: &[u8], _fds: &[BorrowedFd<'_>], _wait: bool) -> io::Result<()> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn receive(_socket: BorrowedFd<'_>, _room: usize, _wait: bool) -> io::Result<Option<Message>> {
        unsupported()
    }

    /// Says no: nothing is sent.
    pub(crate) fn is_gone(_error: &io::Error) -> bool {
        false
    }

    /// Does nothing.
    pub(crate) fn shut(_socket: BorrowedFd<'_>) {}
}

pub(crate) mod surroundings {
    //! Leaves streams and folder as they are.

    use super::map::{BorrowedFd, OwnedFd};
    use std::io;
    use std::path::Path;

    /// Names a standard stream.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Stream {
        In,
        Out,
        Err,
    }

    pub(crate) const STREAMS: [Stream; 3] = [Stream::In, Stream::Out, Stream::Err];

    fn unsupported<T>() -> io::Result<T> {
        Err(super::linux_only())
    }

    /// Reports `Unsupported`.
    pub(crate) fn copy(_stream: Stream) -> io::Result<OwnedFd> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn replace(_stream: Stream, _fd: BorrowedFd<'_>) -> io::Result<()> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn open_null() -> io::Result<OwnedFd> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn open_folder(_path: &Path) -> io::Result<OwnedFd> {
        unsupported()
    }

    /// Reports `Unsupported`.
    pub(crate) fn enter_folder(_folder: BorrowedFd<'_>) -> io::Result<()> {
        unsupported()
    }
}
