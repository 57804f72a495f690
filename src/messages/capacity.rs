//! `Capacity`: how much a queue or pipe holds.

use super::codec::UNIT;
use crate::error::{Error, ErrorKind, Result};

/// Bytes set aside for each item if the caller names none: a header of eight, and 24 for the item. All items of this size lie
/// in the ring, and some that are larger.
const BYTES_PER_ITEM: u64 = 32;
/// A ring this small has some thousand bytes besides what is reserved for references.
const FEWEST_BYTES_IN_ITEMS: u64 = 32 << 10;
const FEWEST_BYTES: u64 = 4096;
const MOST_BYTES: u64 = 4 << 30;
const MOST_ITEMS: u64 = 1 << 30;

/// Tells how much a queue or pipe holds.
///
/// With [`items`](Self::items) alone, the queue holds that many items of any size, as long as memory lasts.
/// [`put`](crate::SharedQueue::put) waits only while the queue holds that many, and fails with
/// [`OutOfMemory`](crate::SendError::OutOfMemory) if there is no memory for the item. Creating the queue takes 32 bytes for
/// each item, rounded up to a power of two, and at least 32 KiB. Large items take more memory while they are queued, and give it
/// back when they leave.
///
/// With [`bytes`](Self::bytes) as well, all items together take no more than that, and creating the queue takes all of it. Then
/// `put` also waits for room, and fails with [`TooLarge`](crate::SendError::TooLarge) if the item could never fit. An item
/// takes its encoded bytes, rounded up to a multiple of eight, and eight more. The number of bytes is rounded up to a power of
/// two, from 4 KiB to 4 GiB.
///
/// A queue on a disk is always bounded in bytes, by what creating it takes; so is one whose creator has a limit on file sizes
/// (`ulimit -f`), and one where no memory can be given back: on ramfs or huge pages, or in a sandbox that refuses it. In the
/// machine's shared-memory folder, a queue bounded in items alone looks terabytes long; `du` shows what it really takes.
///
/// # Examples
///
/// ```
/// use procshare::{Capacity, SharedQueue};
///
/// let any = SharedQueue::<Vec<u8>>::new(4)?;
/// let bounded = SharedQueue::<Vec<u8>>::new(Capacity::items(4).bytes(1 << 20))?;
/// any.put(vec![0; 2 << 20])?;
/// assert!(bounded.put(vec![0; 2 << 20]).is_err());
/// # Ok::<(), procshare::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    pub(super) items: u64,
    /// Bytes of the ring.
    pub(super) bytes: u64,
    /// Whether items are bounded by their number alone.
    pub(super) in_items: bool,
}

impl Capacity {
    /// Returns the capacity for `items` items of any size.
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
            in_items: true,
        }
    }

    /// Returns the same capacity with `bytes` bytes for all items together.
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
            in_items: false,
            ..self
        }
    }

    /// The capacity with its bytes rounded up, if it is a possible one.
    pub(super) fn rounded(self) -> Result<Self> {
        let fewest = if self.in_items {
            FEWEST_BYTES_IN_ITEMS.max(self.items.saturating_mul(BYTES_PER_ITEM))
        } else {
            FEWEST_BYTES
        };
        let bytes = self.bytes.max(fewest).checked_next_power_of_two();
        match bytes.filter(|bytes| *bytes <= MOST_BYTES) {
            Some(bytes) if (1..=MOST_ITEMS).contains(&self.items) => Ok(Capacity { bytes, ..self }),
            _ => {
                let message = format!(
                    "expected a capacity of 1 to {MOST_ITEMS} items and at most {MOST_BYTES} bytes, found {} items and \
                        {} bytes",
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
