//! `MapError`: why a map did not do what was asked.

use crate::encoding::{EncodingReason, Unfit};
use crate::error::{Error, ErrorKind};
use crate::raw::Refused;
use crate::raw::map::{Corrupt, Refusal};
use std::fmt;

/// Tells why a map did not do what was asked.
///
/// The map is then unchanged, unless the call says otherwise. The error converts into [`Error`], so that `?` works in functions
/// that return the crate's [`Result`](crate::Result).
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
        /// How many contiguous bytes the entry takes; a lower bound if it is larger than the map.
        needed: usize,
        /// Bytes that are free for it: those of its shard and those of no shard, unless they are scattered in scraps; or all
        /// that the map has, if the entry is larger than that.
        free: usize,
    },
    /// The encoded key is longer than keys may be in this map.
    KeyTooLong {
        /// The most bytes a key may take.
        most: usize,
    },
    /// The lock of the key's shard is held, and the handle does not wait.
    WouldBlock,
    /// The lock of the key's shard was held until the handle's time limit passed.
    TimedOut,
    /// The calling thread is inside the closure of an `update`, where no map can be used.
    WouldDeadlock,
    /// This process was moved to another PID or time namespace, or is a child forked inside an `update`.
    ForeignNamespace,
    /// The `Serialize` of the key or value failed, or its `Deserialize` does not accept the result, or the key is encoded
    /// differently from the map's key type.
    NotEncodable(EncodingReason),
    /// The stored bytes are no valid key or value of the type.
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
            MapError::NotEncodable(why) | MapError::NotDecodable(why) if why.is_of_memory() => ErrorKind::OutOfMemory,
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
    /// The error of a key or value that cannot be encoded, in a map with room for `most`.
    pub(super) fn unfit<T: ?Sized>(unfit: Unfit, most: usize, is_key: bool) -> Self {
        match unfit {
            Unfit::NotEncodable(reason) => MapError::NotEncodable(reason),
            Unfit::TooLarge(_) if is_key => MapError::KeyTooLong { most },
            Unfit::TooLarge(needed) => MapError::Full { needed, free: most },
            Unfit::OutOfMemory | Unfit::Io(_) => MapError::NotEncodable(unfit.reason::<T>()),
        }
    }

    /// The answer for a key too long for any entry, from a map that therefore does not have it.
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
                    "an entry of {needed} bytes does not fit: {free} bytes are free for it"
                )
            }
            MapError::KeyTooLong { most } => write!(f, "a key takes at most {most} bytes in this map"),
            MapError::WouldBlock => f.write_str("another thread or process holds the lock of the key's shard"),
            MapError::TimedOut => {
                f.write_str("another thread or process held the lock of the key's shard until the time limit expired")
            }
            MapError::WouldDeadlock => {
                f.write_str("the calling thread is inside the closure of an update, where no map can be used")
            }
            MapError::ForeignNamespace => {
                f.write_str("this process was moved to another PID or time namespace, or was forked inside an update")
            }
            MapError::NotEncodable(reason) => write!(f, "the key or value cannot be encoded: {reason}"),
            MapError::NotDecodable(reason) => {
                write!(f, "a stored key or value cannot be decoded: {reason}")
            }
            MapError::Corrupt => f.write_str("the shared memory is corrupt: its words are inconsistent"),
        }
    }
}

impl std::error::Error for MapError {}

impl From<MapError> for Error {
    fn from(error: MapError) -> Self {
        Error::new(error.kind(), error.to_string())
    }
}
