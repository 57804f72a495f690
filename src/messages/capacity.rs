//! `Capacity`: how much a queue or pipe holds.

use super::codec::UNIT;
use crate::error::{Error, ErrorKind, Result};

/// Bytes set aside for each item where the caller says nothing: a header of eight, and 56 for the item.
const BYTES_PER_ITEM: u64 = 64;
const FEWEST_BYTES: u64 = 4096;
const MOST_BYTES: u64 = 4 << 30;
const MOST_ITEMS: u64 = 1 << 30;

/// Tells how much a queue or pipe holds, in items and in bytes.
///
/// A number stands for so many items of 56 bytes each, on the average; say [`bytes`](Self::bytes) where yours are larger.
/// An item takes its encoded bytes, rounded up to eight, and eight more. The bytes are rounded up to a power of two, 4 KiB
/// at least and 4 GiB at most, and all of them are taken when the queue is created.
///
/// # Examples
///
/// ```
/// use procshare::{Capacity, SharedQueue};
///
/// let small = SharedQueue::<u32>::new(100)?;
/// let large = SharedQueue::<Vec<u8>>::new(Capacity::items(4).bytes(1 << 20))?;
/// assert_eq!((small.capacity(), large.capacity()), (100, 4));
/// # Ok::<(), procshare::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    pub(super) items: u64,
    pub(super) bytes: u64,
}

impl Capacity {
    /// Returns the capacity for `items` items of 56 bytes each.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procshare::Capacity::items(100), procshare::Capacity::from(100));
    /// ```
    #[must_use]
    pub fn items(items: usize) -> Self {
        let items = items as u64;
        Capacity {
            items,
            bytes: items.saturating_mul(BYTES_PER_ITEM),
        }
    }

    /// Returns the same number of items with `bytes` bytes for all of them together.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = procshare::SharedQueue::<String>::new(procshare::Capacity::items(10).bytes(1 << 20))?;
    /// assert_eq!(queue.capacity_bytes(), 1 << 20);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn bytes(self, bytes: usize) -> Self {
        Capacity {
            bytes: bytes as u64,
            ..self
        }
    }

    /// The capacity with its bytes rounded up, if it is one.
    pub(super) fn rounded(self) -> Result<Self> {
        let bytes = self.bytes.max(FEWEST_BYTES).checked_next_power_of_two();
        match bytes.filter(|bytes| *bytes <= MOST_BYTES) {
            Some(bytes) if (1..=MOST_ITEMS).contains(&self.items) => Ok(Capacity { bytes, ..self }),
            _ => {
                let message = format!(
                    "a queue holds 1 to {MOST_ITEMS} items in up to {MOST_BYTES} bytes, found {} items in {} bytes",
                    self.items, self.bytes
                );
                Err(Error::new(ErrorKind::InvalidCapacity, message))
            }
        }
    }
}

impl From<usize> for Capacity {
    fn from(items: usize) -> Self {
        Self::items(items)
    }
}

const _: () = {
    assert!(MOST_BYTES / UNIT as u64 <= 1 << 30, "units are counted modulo 2^31");
    assert!(
        MOST_BYTES - UNIT as u64 <= u32::MAX as u64,
        "a header holds an item's length in 32 bits"
    );
};
