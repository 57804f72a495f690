//! The error of every cold operation: creating, attaching, placing, spawning.
//!
//! Hot operations (locks) have small enums of their own, which convert into [`Error`] so that `?` works.

use std::fmt;
use std::io;

/// Holds a value or the crate's [`Error`].
///
/// # Examples
///
/// ```
/// fn count(name: &str) -> procshare::Result<i64> {
///     Ok(procshare::SharedCounter::open(name)?.get())
/// }
///
/// assert!(count("no-such-counter").is_err());
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Tells why creating, attaching, locking or spawning failed.
///
/// [`kind`](Error::kind) is what a program matches on; the message says which segment, what was expected and what was
/// found; [`source`](std::error::Error::source) is the operating system's error where there was one.
///
/// # Examples
///
/// ```
/// use procshare::{ErrorKind, SharedValue};
///
/// let error = SharedValue::<u64>::open("no-such-segment").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert_eq!(error.segment(), Some("no-such-segment"));
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    segment: Option<String>,
    message: String,
    source: Option<io::Error>,
}

/// Names the cause of an [`Error`], one kind for each cause.
///
/// # Examples
///
/// ```
/// use procshare::{ErrorKind, Segment};
///
/// let name = format!("doc-error-kind-{}", std::process::id());
/// let segment = Segment::create(&name, 4096)?;
/// match Segment::create(&name, 4096).map_err(|error| error.kind()) {
///     Err(ErrorKind::AlreadyExists) => assert_eq!(segment.name(), Some(name)),
///     outcome => unreachable!("{outcome:?}"),
/// }
/// # Ok::<(), procshare::Error>(())
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "process", derive(serde::Serialize, serde::Deserialize))]
pub enum ErrorKind {
    /// A segment of that name exists and is in use.
    AlreadyExists,
    /// No segment, object or passed key has that name, or its folder is missing.
    NotFound,
    /// A name, key, path or environment variable is empty, too long, or holds a character it may not hold.
    InvalidName,
    /// The name refers to something other than a regular file (a link, a FIFO, a folder …).
    NotARegularFile,
    /// The bytes do not begin with the mark of a procshare segment of this byte order.
    NotASegment,
    /// The file is shorter than its header says, or too short for a header.
    Truncated,
    /// The segment was laid out by another version of the byte format.
    LayoutVersion,
    /// The header or directory holds values that no version of this crate writes.
    Corrupt,
    /// The object is of another kind or type than requested.
    TypeMismatch,
    /// The object or segment has another length than requested.
    LengthMismatch,
    /// The segment belongs to another user.
    ForeignUser,
    /// The segment belongs to another PID or time namespace, or this process's own cannot be determined.
    ForeignNamespace,
    /// The segment was made before the machine was last started.
    ForeignBoot,
    /// A sealed segment was expected and the seals are missing, or the other way round.
    Seals,
    /// The capacity is zero where it may not be, or larger than can be addressed.
    InvalidCapacity,
    /// The memory, shared-memory folder or disk cannot hold that many bytes, or a limit of this process forbids it.
    OutOfMemory,
    /// The segment has no room for another object of that size, a map for an entry, or a queue for another process.
    Full,
    /// Too many descriptors are open.
    TooManyDescriptors,
    /// The operating system denies access to the file or its folder.
    PermissionDenied,
    /// A lock of the segment, of its file or of a queue's participants has been held for too long.
    Busy,
    /// A lock's owner died or panicked, and `recover` has not been called since.
    OwnerDied,
    /// The lock is held, or the queue is full or empty, and the call may not wait.
    WouldBlock,
    /// The time limit passed.
    TimedOut,
    /// The calling thread holds the lock already.
    WouldDeadlock,
    /// It was closed, or this end of it was passed to a child.
    Closed,
    /// Nobody is left on the other side.
    Disconnected,
    /// An item is larger than the whole queue or pipe, or a map's key is too long.
    TooLarge,
    /// Another living process has this end of the pipe or ring, which only one may have.
    Claimed,
    /// An integer result does not fit.
    Overflow,
    /// A child was to be spawned, but the program never called `procshare::init`.
    NotInitialized,
    /// A handle was serialised somewhere other than in the arguments of a child or a job.
    NotTransferable,
    /// Arguments or results could not be encoded or decoded.
    Encoding,
    /// This process cannot be copied: it has other threads, or works on shared bytes in place.
    NotForkable,
    /// A child could not be started.
    Spawn,
    /// A child panicked, exited or was killed.
    ChildFailed,
    /// The operating system lacks something this crate needs.
    Unsupported,
    /// Another error of the operating system.
    Io,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            segment: None,
            message: message.into(),
            source: None,
        }))
    }

    pub(crate) fn with_source(mut self, source: io::Error) -> Self {
        self.0.source = Some(source);
        self
    }

    /// Names the segment, unless the error names one already.
    pub(crate) fn in_segment(mut self, name: impl fmt::Display) -> Self {
        if self.0.segment.is_none() {
            self.0.segment = Some(name.to_string());
        }
        self
    }

    /// Returns the kind of failure.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = procshare::Segment::new(0).unwrap_err();
    /// assert_eq!(error.kind(), procshare::ErrorKind::InvalidCapacity);
    /// ```
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the name of the segment concerned, where one is known.
    ///
    /// Anonymous segments are called `(anonymous)`.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = procshare::Segment::open("no-such-segment").unwrap_err();
    /// assert_eq!(error.segment(), Some("no-such-segment"));
    /// ```
    #[must_use]
    pub fn segment(&self) -> Option<&str> {
        self.0.segment.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(segment) = &self.0.segment {
            write!(f, "segment {segment:?}: ")?;
        }
        f.write_str(&self.0.message)?;
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source as _)
    }
}

/// Errors are results too: a child's function may return one. The operating system's error travels as text.
#[cfg(feature = "process")]
mod travelling {
    use super::{Error, ErrorKind, Inner};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    impl Serialize for Error {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let text = match &self.0.source {
                Some(source) => format!("{}: {source}", self.0.message),
                None => self.0.message.clone(),
            };
            (self.0.kind, &self.0.segment, text).serialize(serializer)
        }
    }

    impl<'de> Deserialize<'de> for Error {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let (kind, segment, message) = <(ErrorKind, Option<String>, String)>::deserialize(deserializer)?;
            Ok(Error(Box::new(Inner {
                kind,
                segment,
                message,
                source: None,
            })))
        }
    }
}
