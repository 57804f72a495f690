//! `RawExtent`: which process may touch a reserved stretch of a segment's file that holds one long item of a queue.
//!
//! Such an item is encoded and decoded by user code, which may take long: under no lock that others wait for. An extent's own
//! lock is only ever tried, and a caller that finds it held does without.
//!
//! | state | lock | mark | moved by | to | if that party dies there |
//! |---|---|---|---|---|---|
//! | free | free | 0 | a producer, which locks it | written | – |
//! | written | held | 0 | the same: gives its memory back, then unlocks | free | the next to lock it gives its memory back |
//! | | | | the same, with the producers' lock: the mark, then the unlocking, then one store to `tail` | queued | the mark is `tail`, which the heir of the producers' lock sees: it gives its memory back |
//! | queued | free | not passed | a consumer, with the consumers' lock: locks it, then one store to `head` | being read | queued, or taken if `head` was stored |
//! | | | | a consumer that found it locked: copies it, then one store to `head` | taken | queued |
//! | being read, taken | held, free | passed by `head` | the holder of its lock: gives its memory back, then the mark, then the lock | free | the next to lock it does the same |
//!
//! # Invariants
//!
//! - E1. Only the holder of its lock writes the bytes of an extent or gives them back, and not even the holder does while the item
//!   is queued: while there is a mark that `head` has not passed.
//! - E2. Nobody waits for an extent's lock.

use super::mutex::{Held, RawMutex};
use crate::primitive::{AtomicU64, Deadline, Ordering, OwnerId, Peers};

/// How many items may be written or read in place at a time; further ones are copied.
pub(crate) const EXTENTS: usize = 8;

/// Tells a mark from none.
const MARKED: u64 = 1;

/// All zeros is free.
#[repr(C)]
pub(crate) struct RawExtent {
    lock: RawMutex,
    /// `[ items put before the one it holds | MARKED ]`; 0 while there is none.
    mark: AtomicU64,
    unused: AtomicU64,
}

/// What an extent holds, as the holder of its lock sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Nothing,
    /// An item that may still be taken.
    Queued,
    /// What was an item, or will never be one.
    Taken,
}

impl RawExtent {
    #[cfg(procshare_loom)]
    pub(super) fn new() -> Self {
        RawExtent {
            lock: RawMutex::new(),
            mark: AtomicU64::new(0),
            unused: AtomicU64::new(0),
        }
    }

    /// Takes its lock, if no living process has it (E2). If the last holder died, the lock says so until it is declared
    /// consistent.
    pub(crate) fn try_lock(&self, peers: impl FnOnce() -> Peers) -> Option<Held> {
        self.lock.lock(peers, Deadline::Now).ok()
    }

    /// Whether its lock seems to be free.
    pub(crate) fn seems_unlocked(&self) -> bool {
        self.lock.seems_free()
    }

    /// What it holds, if this many items have been taken out of the queue: a hint, unless the caller has the lock.
    pub(crate) fn content(&self, taken: u32) -> Content {
        // Relaxed: stored under the lock.
        match self.mark.load(Ordering::Relaxed) {
            0 => Content::Nothing,
            mark if is_before((mark >> 1) as u32, taken) => Content::Taken,
            _ => Content::Queued,
        }
    }

    /// Whether it holds the item before which this many had been put.
    pub(crate) fn holds(&self, put: u32) -> bool {
        self.mark.load(Ordering::Relaxed) == mark_of(put) // Relaxed: as above.
    }

    /// It holds the next item, before which this many have been put. The caller has its lock and that of the producers.
    pub(crate) fn place(&self, put: u32) {
        // Release: a process that dies has made its stores in this order; others see it by the lock.
        self.mark.store(mark_of(put), Ordering::Release);
        self.lock.mark_consistent();
    }

    /// It holds nothing, and its memory has been given back. The caller has the lock.
    pub(crate) fn empty(&self) {
        self.mark.store(0, Ordering::Release); // Release: as above.
        self.lock.mark_consistent();
    }

    /// Its memory could not be given back. The caller has the lock.
    pub(crate) fn leave_dirty(&self) {
        self.lock.mark_inconsistent();
    }

    pub(crate) fn unlock(&self, owner: OwnerId) {
        self.lock.unlock(owner);
    }
}

fn mark_of(put: u32) -> u64 {
    u64::from(put) << 1 | MARKED
}

/// Whether the item at that place has been taken: counts wrap around, and a queue holds less than half of them.
fn is_before(place: u32, taken: u32) -> bool {
    (1..=1 << 31).contains(&taken.wrapping_sub(place))
}

#[cfg(not(procshare_loom))]
const _: () = assert!(size_of::<RawExtent>() == 32);
