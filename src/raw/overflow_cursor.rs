//! `OverflowCursor`: where one side of a queue stands in the bytes outside the ring; survives a death at any step.
//!
//! An item stored outside the ring lies in a file, and its record in the ring only refers to it. Such items follow one another;
//! both sides count their bytes from the beginning, modulo 2^48. Only the holder of the side's lock moves the words, each step
//! that moves several of them by stores in this order:
//!
//! | step of a put | shown by | if the holder dies there, its heir |
//! |---|---|---|
//! | begun, bytes being written | `tail` is `mark`, `at` is `aside` | gives back the memory of all bytes from `at` on |
//! | written, `at` moved | `tail` is `mark`, `at` is beyond `aside`, and the consumers have not passed `aside` | moves `at` back to `aside`, and does the same |
//! | published | `tail` is not `mark` | gives back what there is from `at` on: nothing |
//!
//! | step of a take | shown by | if the holder dies there, its heir |
//! |---|---|---|
//! | noted: `mark`, then `aside` | `head` is not `mark` | does nothing: the item is still there |
//! | published | `head` is `mark`, `at` is not `aside` | gives back the memory of the bytes from `at` to `aside` |
//! | given back | `at` is `aside` | does nothing |
//!
//! # Invariants
//!
//! - F1. Bytes from the consumers' `at` up to the producers' belong to queued items, and records refer only to these. All others,
//!   from the producers' `at` around to the consumers', belong to the holder of the producers' lock.
//! - F2. Memory of bytes is given back once `head` has passed their record, and before the consumers' `at` passes them.

use super::mark::CLOSED;
use crate::primitive::{AtomicU64, Ordering};

/// Bytes outside the ring are counted modulo this.
pub(crate) const POSITIONS: u64 = 1 << 48;

/// How many bytes lie between two positions.
pub(crate) fn distance(from: u64, to: u64) -> u64 {
    to.wrapping_sub(from) & (POSITIONS - 1)
}

/// One side's place; all zeros is the beginning.
#[repr(C)]
pub(crate) struct OverflowCursor {
    /// Producers: where the next item goes. Consumers: where the bytes not yet given back begin.
    at: AtomicU64,
    /// Producers: where `at` was before the put that `mark` records. Consumers: where it will be after that take.
    aside: AtomicU64,
    /// Producers: `tail` before the last put outside the ring. Consumers: `head` after the last such take.
    mark: AtomicU64,
}

impl OverflowCursor {
    #[cfg(procshare_loom)]
    pub(super) fn new() -> Self {
        OverflowCursor {
            at: AtomicU64::new(0),
            aside: AtomicU64::new(0),
            mark: AtomicU64::new(0),
        }
    }

    /// Where it stands.
    pub(crate) fn at(&self) -> u64 {
        // Acquire: pairs with the Release in `move_to` of the other side; memory before it has been given back (F2).
        self.at.load(Ordering::Acquire) & (POSITIONS - 1)
    }

    /// Moves on.
    pub(crate) fn move_to(&self, position: u64) {
        // Release: pairs with the Acquire in `at`.
        self.at.store(position & (POSITIONS - 1), Ordering::Release);
    }

    /// Begins a put that finds `tail`.
    pub(super) fn begin(&self, tail: u64) {
        // Release, here and in `note`: a process that dies has made these stores in this order; only an heir reads them.
        self.aside.store(self.at(), Ordering::Release);
        self.mark.store(tail, Ordering::Release);
    }

    /// Takes back a put that was not published. `freed` is where the consumers stand: a put that began before what they have
    /// given back was published long ago, and `tail`, which counts modulo 2^32, has wrapped around.
    pub(super) fn roll_back(&self, tail: u64, freed: u64) {
        let aside = self.aside.load(Ordering::Relaxed);
        if self.is_marked(tail) && distance(freed, aside) <= distance(freed, self.at()) {
            self.move_to(aside);
        }
    }

    /// Notes a take of all bytes before `position`, which will leave `head`.
    pub(super) fn note(&self, position: u64, head: u64) {
        self.mark.store(head, Ordering::Release);
        self.aside.store(position & (POSITIONS - 1), Ordering::Release);
    }

    /// What a published take has left to be given back: from where, and up to where.
    #[inline]
    pub(super) fn left_by(&self, head: u64) -> Option<(u64, u64)> {
        // Relaxed: stored under the lock the caller holds.
        let (at, aside) = (self.at.load(Ordering::Relaxed), self.aside.load(Ordering::Relaxed));
        (at != aside && self.is_marked(head)).then_some((at & (POSITIONS - 1), aside & (POSITIONS - 1)))
    }

    /// Whether a side's word is the one noted; closing does not move it.
    fn is_marked(&self, word: u64) -> bool {
        self.mark.load(Ordering::Relaxed) | CLOSED == word | CLOSED
    }
}

#[cfg(all(test, not(procshare_loom)))]
mod tests {
    use super::*;

    fn overflow_cursor() -> OverflowCursor {
        OverflowCursor {
            at: AtomicU64::new(0),
            aside: AtomicU64::new(0),
            mark: AtomicU64::new(0),
        }
    }

    /// Puts of ten bytes each; the word moves by two.
    fn put(overflow_cursor: &OverflowCursor, tail: u64, until: u32) -> u64 {
        let steps: [&dyn Fn(); 2] = [&|| overflow_cursor.begin(tail), &|| {
            overflow_cursor.move_to(overflow_cursor.at() + 10)
        }];
        steps.iter().take(until as usize).for_each(|step| step());
        if until > 2 { tail + 2 } else { tail }
    }

    #[test]
    fn a_put_that_died_anywhere_is_taken_back_unless_published() {
        let overflow_cursor = overflow_cursor();
        let mut tail = put(&overflow_cursor, 0, 3);
        for (until, expected) in [(0, 10), (1, 10), (2, 10), (3, 20)] {
            tail = put(&overflow_cursor, tail, until);
            overflow_cursor.roll_back(tail, 0);
            overflow_cursor.roll_back(tail | CLOSED, 0);
            assert_eq!(overflow_cursor.at(), expected, "after {until} steps");
        }
        // What was put into the ring since changes nothing.
        overflow_cursor.roll_back(tail + 2, 0);
        assert_eq!(overflow_cursor.at(), 20);
    }

    #[test]
    fn a_put_that_was_published_stays_when_its_tail_comes_round() {
        let overflow_cursor = overflow_cursor();
        put(&overflow_cursor, 0, 3);
        assert_eq!(overflow_cursor.at(), 10);
        // Consumers have given its bytes back, and enough items went through the ring that the tail is what it was.
        overflow_cursor.roll_back(0, 10);
        assert_eq!(overflow_cursor.at(), 10);
        // One that dies there all the same is taken back.
        put(&overflow_cursor, 0, 2);
        overflow_cursor.roll_back(0, 10);
        assert_eq!(overflow_cursor.at(), 10);
        overflow_cursor.move_to(POSITIONS - 4);
        put(&overflow_cursor, 0, 2);
        overflow_cursor.roll_back(0, POSITIONS - 8);
        assert_eq!(overflow_cursor.at(), POSITIONS - 4);
    }

    #[test]
    fn a_take_that_died_anywhere_leaves_bytes_behind_only_if_published() {
        let overflow_cursor = overflow_cursor();
        assert_eq!(overflow_cursor.left_by(0), None);
        overflow_cursor.mark.store(2, Ordering::Relaxed);
        assert_eq!(
            overflow_cursor.left_by(0).or(overflow_cursor.left_by(2)),
            None,
            "half noted"
        );
        overflow_cursor.note(10, 2);
        assert_eq!(
            (overflow_cursor.left_by(0), overflow_cursor.left_by(2)),
            (None, Some((0, 10)))
        );
        overflow_cursor.move_to(10);
        assert_eq!(overflow_cursor.left_by(2), None);
    }

    #[test]
    fn positions_go_around() {
        let overflow_cursor = overflow_cursor();
        overflow_cursor.move_to(POSITIONS - 4);
        let before = overflow_cursor.at();
        overflow_cursor.move_to(before + 10);
        assert_eq!((overflow_cursor.at(), distance(before, overflow_cursor.at())), (6, 10));
    }
}

#[cfg(not(procshare_loom))]
const _: () = assert!(size_of::<OverflowCursor>() == 24);
