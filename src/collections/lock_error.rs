//! `LockError`: why a lock was not taken, or was taken with a warning.

use crate::error::{Error, ErrorKind};
use crate::raw::Refused;
use std::fmt;

/// Tells why a lock, or the data behind it, was refused.
///
/// `G` is the guard that [`OwnerDied`](LockError::OwnerDied) gives back with the lock held; `()` for calls that give no guard.
/// That guard keeps the array attached by itself, so `?` also works in functions that return any error. The lock is then held
/// until that error is dropped.
///
/// # Examples
///
/// ```
/// use procshare::{LockError, SharedValue};
///
/// let value = SharedValue::new(1)?;
/// let guard = value.get_lock();
/// assert!(matches!(value.try_get_lock(), Err(LockError::WouldDeadlock)));
/// drop(guard);
/// assert!(value.try_get_lock().is_ok());
/// # Ok::<(), procshare::Error>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum LockError<G = ()> {
    /// Somebody else holds the lock.
    WouldBlock,
    /// Somebody else held the lock until the time limit passed.
    TimedOut,
    /// The calling thread holds the lock already.
    WouldDeadlock,
    /// The last holder died or panicked while holding it, and `recover` has not been called since. Holds the guard.
    OwnerDied(G),
    /// This process was moved to another PID or time namespace, where its locks would mean nothing.
    ForeignNamespace,
    /// The bytes are no valid value of the type.
    Invalid,
}

impl<G> LockError<G> {
    /// The same error with another guard in it.
    pub(crate) fn map<H>(self, guard: impl FnOnce(G) -> H) -> LockError<H> {
        match self {
            LockError::WouldBlock => LockError::WouldBlock,
            LockError::TimedOut => LockError::TimedOut,
            LockError::WouldDeadlock => LockError::WouldDeadlock,
            LockError::OwnerDied(died) => LockError::OwnerDied(guard(died)),
            LockError::ForeignNamespace => LockError::ForeignNamespace,
            LockError::Invalid => LockError::Invalid,
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            LockError::WouldBlock => ErrorKind::WouldBlock,
            LockError::TimedOut => ErrorKind::TimedOut,
            LockError::WouldDeadlock => ErrorKind::WouldDeadlock,
            LockError::OwnerDied(_) => ErrorKind::OwnerDied,
            LockError::ForeignNamespace => ErrorKind::ForeignNamespace,
            LockError::Invalid => ErrorKind::Corrupt,
        }
    }
}

impl<G> From<Refused> for LockError<G> {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::WouldBlock => LockError::WouldBlock,
            Refused::TimedOut => LockError::TimedOut,
            Refused::WouldDeadlock => LockError::WouldDeadlock,
            Refused::Foreign => LockError::ForeignNamespace,
        }
    }
}

impl<G> fmt::Display for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LockError::WouldBlock => "another thread or process holds the lock",
            LockError::TimedOut => "another thread or process held the lock until the time limit expired",
            LockError::WouldDeadlock => "the calling thread already holds the lock",
            LockError::OwnerDied(_) => {
                "the last holder died or panicked while it held the lock: check the data, then \
                call recover()"
            }
            LockError::ForeignNamespace => "this process was moved to another PID or time namespace",
            LockError::Invalid => "the bytes are not a valid value of the type",
        })
    }
}

impl<G> fmt::Debug for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LockError::WouldBlock => "WouldBlock",
            LockError::TimedOut => "TimedOut",
            LockError::WouldDeadlock => "WouldDeadlock",
            LockError::OwnerDied(_) => "OwnerDied(..)",
            LockError::ForeignNamespace => "ForeignNamespace",
            LockError::Invalid => "Invalid",
        })
    }
}

impl<G> std::error::Error for LockError<G> {}

impl<G> From<LockError<G>> for Error {
    fn from(error: LockError<G>) -> Self {
        Error::new(error.kind(), error.to_string())
    }
}
