//! `JoinError`: how a child ended, if without a result.

use crate::error::{Error, ErrorKind};
use std::fmt;

/// Tells why a child gave no result.
///
/// # Examples
///
/// ```
/// use procshare::{JoinError, Process};
///
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     let child = Process::spawn(|| std::process::exit(3), ())?;
///     let error: JoinError = child.join().map(|()| unreachable!()).unwrap_err();
///     assert_eq!(error, JoinError::Exited(3));
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinError {
    /// The function panicked with this message.
    Panicked(String),
    /// A signal ended the child.
    Signaled(i32),
    /// The child exited with this status before the function returned.
    Exited(i32),
    /// The child still ran when the time limit passed.
    TimedOut,
    /// The child has ended, but other code in this process took its status.
    Unknown,
    /// The child was already joined.
    AlreadyJoined,
    /// Arguments could not be decoded, or the result could not be encoded or decoded.
    Encoding(String),
    /// The result holds a handle; handles travel as arguments only.
    NotTransferable(String),
    /// The child ended before it called the function.
    NotStarted(String),
    /// Memory, or the child's file size limit, had no room for the result.
    OutOfMemory(String),
    /// The system refused to write or read the result, for a reason other than memory.
    Io(String),
}

impl JoinError {
    /// The error for a child that leaves this reason in place of a result.
    pub(super) fn refusal(kind: ErrorKind, text: String) -> Self {
        match kind {
            ErrorKind::NotTransferable => JoinError::NotTransferable(text),
            ErrorKind::OutOfMemory => JoinError::OutOfMemory(text),
            ErrorKind::Spawn => JoinError::NotStarted(text),
            ErrorKind::Encoding => JoinError::Encoding(text),
            _ => JoinError::Io(text),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Panicked(message) => write!(f, "the child panicked: {message}"),
            JoinError::Signaled(signal) => write!(f, "the child was killed by signal {signal}"),
            JoinError::Exited(code) => write!(f, "the child exited with status {code}"),
            JoinError::TimedOut => f.write_str("the child was still running when the time limit expired"),
            JoinError::Unknown => f.write_str(
                "the child ended, but its exit status is unknown: other code in this \
                process has collected it",
            ),
            JoinError::AlreadyJoined => f.write_str("the child was already joined"),
            JoinError::Encoding(text)
            | JoinError::NotTransferable(text)
            | JoinError::OutOfMemory(text)
            | JoinError::Io(text) => f.write_str(text),
            JoinError::NotStarted(text) => write!(f, "the child failed before it called the function: {text}"),
        }
    }
}

impl std::error::Error for JoinError {}

impl From<JoinError> for Error {
    fn from(error: JoinError) -> Self {
        let kind = match &error {
            JoinError::TimedOut => ErrorKind::TimedOut,
            JoinError::Encoding(_) => ErrorKind::Encoding,
            JoinError::NotTransferable(_) => ErrorKind::NotTransferable,
            JoinError::NotStarted(_) => ErrorKind::Spawn,
            JoinError::OutOfMemory(_) => ErrorKind::OutOfMemory,
            JoinError::Io(_) => ErrorKind::Io,
            _ => ErrorKind::ChildFailed,
        };
        Error::new(kind, error.to_string())
    }
}
