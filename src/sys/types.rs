//! The types that all backends share.

#[cfg(not(unix))]
pub(crate) use no_descriptors::{AsFd, BorrowedFd, OwnedFd};
#[cfg(unix)]
pub(crate) use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Names the error numbers that higher floors tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errno {
    /// The process has no free descriptor.
    Emfile,
    /// The system has no free descriptor.
    Enfile,
    /// A symbolic link where none is followed.
    Eloop,
    /// No device, or a FIFO or socket that cannot be opened.
    Enxio,
    /// The file system or kernel cannot do it.
    Eopnotsupp,
    /// A folder.
    Eisdir,
    /// The name is taken.
    Eexist,
    /// Too many descriptors are on their way between processes.
    Etoomanyrefs,
    /// A name, or a path, is too long for the system.
    Enametoolong,
}

/// Says why a wait for a word ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Woken by a peer, or by a signal; look at the word again.
    Woken,
    /// The low half had another value, so there was no sleep.
    Changed,
    /// The timeout passed first.
    TimedOut,
}

/// Says which process this is, and in which namespaces its numbers are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The process.
    pub(crate) pid: u32,
    /// When it started, in clock ticks since boot; 0 is unknown.
    pub(crate) start: u64,
    /// Inode of the namespace in which `pid` counts; 0 is unknown.
    pub(crate) pid_namespace: u64,
    /// Inode of the namespace in which `start` counts; 0 is unknown.
    pub(crate) time_namespace: u64,
}

/// Says whether a process can still act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It never runs another instruction of its own.
    Dead,
    /// Nothing proves it dead.
    Alive {
        /// When it started, in clock ticks since boot; 0 is unknown.
        start: u64,
    },
}

/// What the kernel says about a file object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The file system it lies in.
    pub(crate) dev: u64,
    /// Its number in that file system.
    pub(crate) ino: u64,
    /// Its length in bytes.
    pub(crate) len: u64,
    /// Its owner.
    pub(crate) uid: u32,
    /// Its permission bits.
    pub(crate) mode: u32,
    /// Whether it is a regular file.
    pub(crate) is_file: bool,
    /// The 512-byte blocks it occupies.
    pub(crate) blocks: u64,
}

impl Stat {
    /// What tells it from all other file objects.
    pub(crate) fn id(&self) -> (u64, u64) {
        (self.dev, self.ino)
    }
}

/// What can no longer be done to a file object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seals {
    /// Change its bytes.
    pub(crate) write: bool,
    /// Make it shorter.
    pub(crate) shrink: bool,
    /// Make it longer.
    pub(crate) grow: bool,
    /// Add a seal.
    pub(crate) seal: bool,
}

/// Says how a child ended.
#[cfg(feature = "process")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
    /// Its end was reported elsewhere, and the kernel reports it only once.
    Unknown,
}

/// Names the signals that higher floors send.
#[cfg(feature = "process")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Ends a process at once.
    Kill,
    /// Asks a process to end.
    Terminate,
}

/// The contents of one message.
#[cfg(feature = "process")]
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) bytes: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// The most descriptors in one message.
#[cfg(feature = "process")]
pub(crate) const MOST_DESCRIPTORS: usize = 253;

/// Names a standard stream.
#[cfg(feature = "process")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    In,
    Out,
    Err,
}

/// All three, in the order of their numbers.
#[cfg(feature = "process")]
pub(crate) const STREAMS: [Stream; 3] = [Stream::In, Stream::Out, Stream::Err];

/// Descriptors for systems that have none: they name no object, as none can be made.
#[cfg(not(unix))]
mod no_descriptors {
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
