//! `Capacity`: how much a queue or pipe holds.

use super::codec::UNIT;
use crate::error::{Error, ErrorKind, Result};

/// Bytes set aside for each item where the caller names none: a header of eight, and 24 for the item. All items of this size
/// lie in the ring, and some that are larger.
const BYTES_PER_ITEM: u64 = 32;
/// So small a ring holds some thousand bytes beside what is reserved for references.
const FEWEST_BYTES_IN_ITEMS: u64 = 32 << 10;
const FEWEST_BYTES: u64 = 4096;
const MOST_BYTES: u64 = 4 << 30;
const MOST_ITEMS: u64 = 1 << 30;

/// Tells how much a queue or pipe holds, in items and perhaps in bytes.
///
/// A number stands for so many items, whatever their size, as long as memory lasts: what is taken for large items is given back
/// when they leave. So [`put`](crate::SharedQueue::put) waits only while there are as many items as that, and gives an item back
/// with [`OutOfMemory`](crate::SendError::OutOfMemory) for which there is no memory. 32 bytes for each item, 32 KiB at least,
/// are taken when the queue is created.
///
/// Where [`bytes`](Self::bytes) are named as well, they bound what all items take together, and all of them are taken when the
/// queue is created: then `put` waits for room, and an item for which there can be none is
/// [`TooLarge`](crate::SendError::TooLarge). An item takes its encoded bytes, rounded up to eight, and eight more. The bytes are
/// rounded up to a power of two, 4 KiB at least and 4 GiB at most.
///
/// Queues on a disk, and those made by a process whose files may be only so long (`ulimit -f`), are bounded by the bytes that
/// are taken when they are created, also where none are named. In the machine's shared-memory folder the file of a queue
/// bounded by items alone seems to be terabytes long; what it takes is what `du` shows.
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
    /// Whether items are to be bounded by their number alone.
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
            in_items: false,
            ..self
        }
    }

    /// The capacity with its bytes rounded up, if it is one.
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
