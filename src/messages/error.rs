//! Why an item was not sent, or not received.

use crate::encoding::EncodingReason;
use crate::error::{Error, ErrorKind};
use crate::raw::{NoSeat, Refused, Stop};
use std::fmt;

const TOO_MANY: &str = "too many processes use the queue: at most 1024 can, or as many as \
    `QueueBuilder::max_processes` allowed when it was created; create it with a larger number";

const BUSY: &str = "a peer was stopped while it was joining, and has held the participants' lock for too long: \
    continue it (SIGCONT) or kill it";

/// Tells why an item was not sent, and gives it back.
///
/// # Examples
///
/// ```
/// use procshare::{SendError, SharedQueue};
///
/// let queue = SharedQueue::new(1)?;
/// queue.put("first".to_owned())?;
/// match queue.try_put("second".to_owned()) {
///     Err(SendError::Full(item)) => assert_eq!(item, "second"),
///     outcome => unreachable!("{outcome:?}"),
/// }
/// # Ok::<(), procshare::Error>(())
/// ```
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "messages", derive(serde::Serialize, serde::Deserialize))]
pub enum SendError<T> {
    /// There is no room, and the call may not wait.
    Full(T),
    /// There was no room until the time limit passed.
    TimedOut(T),
    /// It was closed, or this end was passed to a child, or belongs to the process this one was copied from.
    Closed(T),
    /// No other handle could receive it. Threads that share one handle count as one: give each a clone.
    Disconnected(T),
    /// It would not fit even if nothing else were there.
    TooLarge {
        /// The item.
        item: T,
        /// At least how many bytes it takes: encoding stops once the limit is passed.
        bytes: usize,
        /// How many bytes it may take.
        capacity: usize,
    },
    /// The machine, the cgroup, the file system or a limit of this process has no memory for it.
    OutOfMemory(T),
    /// Its `Serialize` failed, or its `Deserialize` does not accept the result.
    NotEncodable {
        /// The item.
        item: T,
        /// Why.
        reason: EncodingReason,
    },
    /// The system refused to write it, for a reason other than memory.
    Io(T),
    /// The shared bytes contradict each other.
    Corrupt(T),
    /// The calling thread holds the lock already: a signal handler, or a leaked guard.
    WouldDeadlock(T),
    /// This process was moved to another PID or time namespace.
    ForeignNamespace(T),
    /// The maximum number of processes takes part already: 1024, or the number given to `QueueBuilder::max_processes`.
    TooManyProcesses(T),
    /// A peer that was stopped while taking a place kept the first call of a fork child waiting for 10 seconds.
    Busy(T),
}

/// Tells why no item was received.
///
/// # Examples
///
/// ```
/// use procshare::{RecvError, SharedQueue};
///
/// let queue = SharedQueue::<u32>::new(8)?;
/// assert_eq!(queue.try_get(), Err(RecvError::Empty));
/// queue.close();
/// assert_eq!(queue.get(), Err(RecvError::Closed));
/// # Ok::<(), procshare::Error>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "messages", derive(serde::Serialize, serde::Deserialize))]
pub enum RecvError {
    /// Nothing is there, and the call may not wait.
    Empty,
    /// Nothing was there until the time limit passed.
    TimedOut,
    /// It was closed and nothing is left in it; or this end was passed to a child, or belongs to the process this one was
    /// copied from.
    Closed,
    /// No other handle could send, and everything that was sent has been received.
    Disconnected,
    /// The item's bytes are no valid `T`; another build's type may differ. The item is taken out; the next can be received.
    Invalid(EncodingReason),
    /// There is no memory for a copy of the item. It stays in the queue.
    OutOfMemory,
    /// The system refused to read the item, for a reason other than memory. It stays in the queue.
    Io,
    /// The shared bytes contradict each other, and nothing more can be received.
    Corrupt,
    /// The calling thread holds the lock already: a signal handler, or a leaked guard.
    WouldDeadlock,
    /// This process was moved to another PID or time namespace.
    ForeignNamespace,
    /// The maximum number of processes takes part already: 1024, or the number given to `QueueBuilder::max_processes`.
    TooManyProcesses,
    /// A peer that was stopped while taking a place kept the first call of a fork child waiting for 10 seconds.
    Busy,
}

impl<T> SendError<T> {
    pub(super) fn of(stop: Stop, item: T) -> Self {
        match stop {
            Stop::WouldBlock => SendError::Full(item),
            Stop::TimedOut => SendError::TimedOut(item),
            Stop::Closed => SendError::Closed(item),
            Stop::Gone => SendError::Disconnected(item),
            Stop::Corrupt => SendError::Corrupt(item),
            Stop::OutOfMemory => SendError::OutOfMemory(item),
            Stop::Io => SendError::Io(item),
            Stop::Lock(Refused::Foreign) => SendError::ForeignNamespace(item),
            Stop::Lock(_) => SendError::WouldDeadlock(item),
            Stop::NoSeat => SendError::TooManyProcesses(item),
            Stop::Busy => SendError::Busy(item),
        }
    }

    /// Returns the item that was not sent.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = procshare::SharedQueue::new(1)?;
    /// queue.close();
    /// assert_eq!(queue.put(7).unwrap_err().into_item(), 7);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn into_item(self) -> T {
        match self {
            SendError::Full(item)
            | SendError::TimedOut(item)
            | SendError::Closed(item)
            | SendError::Disconnected(item)
            | SendError::TooLarge { item, .. }
            | SendError::OutOfMemory(item)
            | SendError::NotEncodable { item, .. }
            | SendError::Io(item)
            | SendError::Corrupt(item)
            | SendError::WouldDeadlock(item)
            | SendError::ForeignNamespace(item)
            | SendError::TooManyProcesses(item)
            | SendError::Busy(item) => item,
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            SendError::Full(_) => ErrorKind::WouldBlock,
            SendError::TimedOut(_) => ErrorKind::TimedOut,
            SendError::Closed(_) => ErrorKind::Closed,
            SendError::Disconnected(_) => ErrorKind::Disconnected,
            SendError::TooLarge { .. } => ErrorKind::TooLarge,
            SendError::OutOfMemory(_) => ErrorKind::OutOfMemory,
            SendError::NotEncodable { reason, .. } if reason.is_of_memory() => ErrorKind::OutOfMemory,
            SendError::NotEncodable { .. } => ErrorKind::Encoding,
            SendError::Io(_) => ErrorKind::Io,
            SendError::Corrupt(_) => ErrorKind::Corrupt,
            SendError::WouldDeadlock(_) => ErrorKind::WouldDeadlock,
            SendError::ForeignNamespace(_) => ErrorKind::ForeignNamespace,
            SendError::TooManyProcesses(_) => ErrorKind::Full,
            SendError::Busy(_) => ErrorKind::Busy,
        }
    }

    /// The variant's name, so that errors are `Debug` even if items are not.
    fn name(&self) -> &'static str {
        match self {
            SendError::Full(_) => "Full",
            SendError::TimedOut(_) => "TimedOut",
            SendError::Closed(_) => "Closed",
            SendError::Disconnected(_) => "Disconnected",
            SendError::TooLarge { .. } => "TooLarge",
            SendError::OutOfMemory(_) => "OutOfMemory",
            SendError::NotEncodable { .. } => "NotEncodable",
            SendError::Io(_) => "Io",
            SendError::Corrupt(_) => "Corrupt",
            SendError::WouldDeadlock(_) => "WouldDeadlock",
            SendError::ForeignNamespace(_) => "ForeignNamespace",
            SendError::TooManyProcesses(_) => "TooManyProcesses",
            SendError::Busy(_) => "Busy",
        }
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Full(_) => "there is no room for the item",
            SendError::TimedOut(_) => "there was no room for the item before the time limit expired",
            SendError::Closed(_) => "closed",
            SendError::Disconnected(_) => {
                "no other handle is left that could receive the item (threads that share one handle count as one: give \
                    each thread a clone)"
            }
            SendError::TooLarge { bytes, capacity, .. } => {
                return write!(
                    f,
                    "the item takes {bytes} bytes or more, but the capacity is {capacity} bytes"
                );
            }
            SendError::OutOfMemory(_) => "not enough memory for the item",
            SendError::NotEncodable { reason, .. } => return write!(f, "the item cannot be encoded: {reason}"),
            SendError::Io(_) => "the operating system could not write the item",
            SendError::Corrupt(_) => "the shared memory is corrupt: its words are inconsistent",
            SendError::WouldDeadlock(_) => "the calling thread already holds the lock",
            SendError::ForeignNamespace(_) => "this process was moved to another PID or time namespace",
            SendError::TooManyProcesses(_) => TOO_MANY,
            SendError::Busy(_) => BUSY,
        })
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::NotEncodable { reason, .. } => write!(f, "NotEncodable {{ reason: {reason:?}, .. }}"),
            _ => write!(f, "{}(..)", self.name()),
        }
    }
}

impl<T> std::error::Error for SendError<T> {}

impl<T> From<SendError<T>> for Error {
    fn from(error: SendError<T>) -> Self {
        Error::new(error.kind(), error.to_string())
    }
}

impl RecvError {
    /// Whether nothing more will come: closed, or nobody left.
    #[cfg(feature = "messages")]
    pub(super) fn is_end(&self) -> bool {
        matches!(self, RecvError::Closed | RecvError::Disconnected)
    }

    /// Whether the next call may receive the next item.
    #[cfg(feature = "messages")]
    pub(super) fn is_of_item(&self) -> bool {
        matches!(self, RecvError::Invalid(_))
    }

    fn kind(&self) -> ErrorKind {
        match self {
            RecvError::Empty => ErrorKind::WouldBlock,
            RecvError::TimedOut => ErrorKind::TimedOut,
            RecvError::Closed => ErrorKind::Closed,
            RecvError::Disconnected => ErrorKind::Disconnected,
            RecvError::Invalid(reason) if reason.is_of_memory() => ErrorKind::OutOfMemory,
            RecvError::Invalid(_) | RecvError::Corrupt => ErrorKind::Corrupt,
            RecvError::OutOfMemory => ErrorKind::OutOfMemory,
            RecvError::Io => ErrorKind::Io,
            RecvError::WouldDeadlock => ErrorKind::WouldDeadlock,
            RecvError::ForeignNamespace => ErrorKind::ForeignNamespace,
            RecvError::TooManyProcesses => ErrorKind::Full,
            RecvError::Busy => ErrorKind::Busy,
        }
    }
}

impl From<Stop> for RecvError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::WouldBlock => RecvError::Empty,
            Stop::TimedOut => RecvError::TimedOut,
            Stop::Closed => RecvError::Closed,
            Stop::Gone => RecvError::Disconnected,
            Stop::Corrupt => RecvError::Corrupt,
            Stop::OutOfMemory => RecvError::OutOfMemory,
            Stop::Io => RecvError::Io,
            Stop::Lock(Refused::Foreign) => RecvError::ForeignNamespace,
            Stop::Lock(_) => RecvError::WouldDeadlock,
            Stop::NoSeat => RecvError::TooManyProcesses,
            Stop::Busy => RecvError::Busy,
        }
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecvError::Empty => "no item is available",
            RecvError::TimedOut => "no item became available before the time limit expired",
            RecvError::Closed => "closed, and no item is left",
            RecvError::Disconnected => {
                "no other handle is left that could send, and all items were received (threads that share one handle \
                    count as one: give each thread a clone)"
            }
            RecvError::Invalid(reason) => {
                return write!(f, "the item cannot be decoded: {reason}");
            }
            RecvError::OutOfMemory => "not enough memory for a copy of the item",
            RecvError::Io => "the operating system could not read the item",
            RecvError::Corrupt => "the shared memory is corrupt: its words are inconsistent",
            RecvError::WouldDeadlock => "the calling thread already holds the lock",
            RecvError::ForeignNamespace => "this process was moved to another PID or time namespace",
            RecvError::TooManyProcesses => TOO_MANY,
            RecvError::Busy => BUSY,
        })
    }
}

impl std::error::Error for RecvError {}

impl From<RecvError> for Error {
    fn from(error: RecvError) -> Self {
        Error::new(error.kind(), error.to_string())
    }
}

/// The error of a cold call that needs a seat.
pub(super) fn no_seat(cause: NoSeat, what: &str) -> Error {
    match cause {
        NoSeat::Full(places) => {
            let message = format!(
                "all {places} participant slots are taken: drop handles in other processes, or create a queue with a larger \
                 `QueueBuilder::max_processes` (the number of a pipe or ring is fixed)"
            );
            Error::new(ErrorKind::Full, message)
        }
        NoSeat::Taken(pid) => Error::new(
            ErrorKind::Claimed,
            format!("only one process can hold the {what} at a time, and process {pid} holds it"),
        ),
        NoSeat::Lock(Refused::Foreign) => Error::new(
            ErrorKind::ForeignNamespace,
            "this process was moved to another PID or time namespace",
        ),
        NoSeat::Lock(Refused::WouldBlock | Refused::TimedOut) => Error::new(ErrorKind::Busy, BUSY),
        NoSeat::Lock(_) => Error::new(ErrorKind::WouldDeadlock, "the calling thread already holds the lock"),
    }
}
