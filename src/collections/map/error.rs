//! `MapError`: why a map did not do what it was asked to.

use crate::encoding::{EncodingReason, Unfit};
use crate::error::{Error, ErrorKind};
use crate::raw::Refused;
use crate::raw::map::{Corrupt, Refusal};
use std::fmt;

/// Tells why a map did not do what it was asked to.
///
/// The map is then as it was, unless the call says otherwise. It converts into [`Error`], so that `?` works in functions that return the crate's
/// [`Result`](crate::Result).
///
/// # Examples
///
/// ```
/// use procshare::{MapError, SharedMap};
///
/// let map = SharedMap::<String, Vec<u8>>::with_capacity(4096)?;
/// match map.insert("picture", &vec![0; 10_000]) {
///     Err(MapError::Full { needed, free }) => assert!(needed > 10_000 && free == 4096),
///     outcome => unreachable!("{outcome:?}"),
/// }
/// # Ok::<(), procshare::Error>(())
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum MapError {
    /// There is too little room.
    Full {
        /// How many bytes in one piece the entry takes; at least so many, if it is larger than the map.
        needed: usize,
        /// Bytes that are free for it: those of its shard, and of no shard, if they are not scattered in scraps; or all that
        /// the map has, if the entry is larger than these.
        free: usize,
    },
    /// The encoded key is longer than keys may be in this map.
    KeyTooLong {
        /// The most bytes a key may take.
        most: usize,
    },
    /// Somebody else holds the lock of the key's shard, and the handle does not wait.
    WouldBlock,
    /// Somebody else held the lock of the key's shard until the handle's time limit passed.
    TimedOut,
    /// The calling thread is inside the closure of an `update`, where no map can be used.
    WouldDeadlock,
    /// This process was moved to another PID or time namespace, or is a child forked inside an `update`.
    ForeignNamespace,
    /// The `Serialize` of key or value failed, or its `Deserialize` does not take what that gives, or the key's type is
    /// encoded otherwise than the map's.
    NotEncodable(EncodingReason),
    /// The stored bytes are no key or value of the type.
    NotDecodable(EncodingReason),
    /// The shared bytes contradict each other.
    Corrupt,
}

impl MapError {
    fn kind(&self) -> ErrorKind {
        match self {
            MapError::Full { .. } => ErrorKind::Full,
            MapError::KeyTooLong { .. } => ErrorKind::TooLarge,
            MapError::WouldBlock => ErrorKind::WouldBlock,
            MapError::TimedOut => ErrorKind::TimedOut,
            MapError::WouldDeadlock => ErrorKind::WouldDeadlock,
            MapError::ForeignNamespace => ErrorKind::ForeignNamespace,
            MapError::NotEncodable(_) | MapError::NotDecodable(_) => ErrorKind::Encoding,
            MapError::Corrupt => ErrorKind::Corrupt,
        }
    }
}

impl From<Refusal> for MapError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Lock(Refused::WouldBlock) => MapError::WouldBlock,
            Refusal::Lock(Refused::TimedOut) => MapError::TimedOut,
            Refusal::Lock(Refused::WouldDeadlock) => MapError::WouldDeadlock,
            Refusal::Lock(Refused::Foreign) => MapError::ForeignNamespace,
            Refusal::Corrupt => MapError::Corrupt,
            Refusal::Full { needed, free } | Refusal::Busy { needed, free } => MapError::Full {
                needed: needed as usize,
                free: free as usize,
            },
            Refusal::KeyTooLong { most } => MapError::KeyTooLong { most: most as usize },
        }
    }
}

impl From<Corrupt> for MapError {
    fn from(_: Corrupt) -> Self {
        MapError::Corrupt
    }
}

impl MapError {
    /// The error of a key or a value there are no bytes of, in a map with room for `most`.
    pub(super) fn unfit<T: ?Sized>(unfit: Unfit, most: usize, is_key: bool) -> Self {
        match unfit {
            Unfit::NotEncodable(reason) => MapError::NotEncodable(reason),
            Unfit::TooLarge(_) if is_key => MapError::KeyTooLong { most },
            Unfit::TooLarge(needed) => MapError::Full { needed, free: most },
            Unfit::OutOfMemory => MapError::NotEncodable(unfit.reason::<T>()),
        }
    }

    /// Of a key that is too long for any entry, the answer of a map that does not have it.
    #[cold]
    pub(super) fn of_lookup<R: Default>(self) -> Result<R, MapError> {
        match self {
            MapError::KeyTooLong { .. } => Ok(R::default()),
            error => Err(error),
        }
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapError::Full { needed, free } => {
                write!(
                    f,
                    "an entry of {needed} bytes does not fit: there are {free} bytes for it"
                )
            }
            MapError::KeyTooLong { most } => write!(f, "a key takes at most {most} bytes in this map"),
            MapError::WouldBlock => f.write_str("somebody else holds the lock of the key's shard"),
            MapError::TimedOut => {
                f.write_str("somebody else held the lock of the key's shard until the time limit passed")
            }
            MapError::WouldDeadlock => f.write_str("the calling thread is inside the closure of an update"),
            MapError::ForeignNamespace => {
                f.write_str("this process was moved to another PID or time namespace, or forked inside an update")
            }
            MapError::NotEncodable(reason) => write!(f, "key or value cannot be encoded: {reason}"),
            MapError::NotDecodable(reason) => write!(f, "the stored bytes are no key or value of the type: {reason}"),
            MapError::Corrupt => f.write_str("the shared bytes contradict each other"),
        }
    }
}

impl std::error::Error for MapError {}

impl From<MapError> for Error {
    fn from(error: MapError) -> Self {
        Error::new(error.kind(), error.to_string())
    }
}
