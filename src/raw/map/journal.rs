//! `Journal`: an undo log, by which several words of a shard change as one; undone if the owner dies halfway, read without a lock.
//!
//! | state | word | moved by | to | if that party dies there |
//! |---|---|---|---|---|
//! | at rest | `[ g \| 0 ]` | holder of the shard's lock: notes what a word holds, counts that, changes the word | changing | – |
//! | changing | `[ g \| n ]` | the same | changing, `[ g \| n + 1 ]` | the next holder puts `n` words back: nothing has happened |
//! | | | the same, by one store | at rest, `[ g + 1 \| 0 ]` | it has happened |
//! | undoing | `[ g \| n ]` | the holder that found it, or gave up | at rest, `[ g + 1 \| 0 ]` | the next holder begins again |
//!
//! So a change is as large as its number of words, and so is its undoing: the rest of the map need not be looked at.
//!
//! # Invariants
//!
//! - J1. A word changes only after what it held has been noted, and the note counted.
//! - J2. Words are put back in the reverse order of the notes, so that the first note of a word wins; doing so twice is the same
//!   as doing it once.
//! - J3. Memory that a change has freed is written to only after that change was published, and memory that a change takes only
//!   after its first word was counted. So a reader that finds the same word at rest before and after looking has seen nothing
//!   half-changed.
//!
//! The notes lie in the shard: `LOG` pairs of a word's number and what it held.

use crate::primitive::{AtomicU64, Ordering, crash_point, fence};

/// The most words a change may consist of.
pub(crate) const LOG: usize = 64;
const COUNT_BITS: u32 = 16;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

/// What was found contradicts everything that any version of this crate writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Corrupt;

/// A shard's journal, and the words that it covers.
#[derive(Clone, Copy)]
pub(crate) struct Journal<'a> {
    pub(crate) state: &'a AtomicU64,
    /// `2 * LOG` words.
    pub(crate) log: &'a [AtomicU64],
    pub(crate) words: &'a [AtomicU64],
}

/// A change under way; undone when it drops unpublished. Its maker holds the shard's lock.
pub(crate) struct Change<'a> {
    journal: Journal<'a>,
    generation: u64,
    count: u64,
}

impl<'a> Journal<'a> {
    /// Begins a change. Nothing shows before its first word.
    #[inline]
    pub(crate) fn begin(self) -> Change<'a> {
        Change {
            journal: self,
            generation: self.state.load(Ordering::Relaxed) >> COUNT_BITS, // Relaxed: as in `is_open`.
            count: 0,
        }
    }

    /// Undoes what the last holder of the lock left half-done.
    pub(crate) fn recover(self) -> Result<(), Corrupt> {
        let state = self.state.load(Ordering::Relaxed); // Relaxed: as in `is_open`.
        self.undo(state >> COUNT_BITS, state & COUNT)
    }

    fn undo(&self, generation: u64, count: u64) -> Result<(), Corrupt> {
        let notes = self.log.get(..2 * count as usize).ok_or(Corrupt)?;
        // Release: pairs with the Acquire fence in `read`: a reader that sees a word put back, perhaps to what it held between two
        // of its changes, sees the count, though another has counted.
        fence(Ordering::Release);
        for note in notes.chunks_exact(2).rev() {
            let at = note[0].load(Ordering::Relaxed);
            let held = note[1].load(Ordering::Relaxed);
            // Relaxed: the store below publishes all of them at once.
            self.words
                .get(at as usize)
                .ok_or(Corrupt)?
                .store(held, Ordering::Relaxed);
            crash_point!("map.undone");
        }
        // Release: pairs with the Acquire in `read`.
        self.state.store(rested(generation), Ordering::Release);
        Ok(())
    }
}

/// Whether a change was begun and neither published nor undone. For the holder of the lock: the last owner died.
#[inline(always)]
pub(crate) fn is_open(state: &AtomicU64) -> bool {
    // Relaxed: only the holder of the lock stores here.
    state.load(Ordering::Relaxed) & COUNT != 0
}

/// Has `look` look at the words of the journal with that state, without the lock; `None` if they were being changed, so that what
/// it saw means nothing.
#[inline(always)]
pub(crate) fn read<R>(state: &AtomicU64, look: impl FnOnce() -> R) -> Option<R> {
    // Acquire: pairs with the Release in `publish` and `undo`, so that the words are those it published.
    let before = state.load(Ordering::Acquire);
    if before & COUNT != 0 {
        return None;
    }
    let seen = look();
    // Acquire: pairs with the Release fences in `set` and `undo`. If a word seen came from a later change, the load below
    // sees that change's count, or what came after it (J1, J3).
    fence(Ordering::Acquire);
    (state.load(Ordering::Relaxed) == before).then_some(seen)
}

impl Change<'_> {
    /// What a word holds, including this change's own writes.
    #[inline]
    pub(crate) fn get(&self, at: u32) -> Result<u64, Corrupt> {
        let word = self.journal.words.get(at as usize).ok_or(Corrupt)?;
        Ok(word.load(Ordering::Relaxed)) // Relaxed: only the holder of the lock stores here.
    }

    /// Changes a word.
    #[inline]
    pub(crate) fn set(&mut self, at: u32, value: u64) -> Result<(), Corrupt> {
        let word = self.journal.words.get(at as usize).ok_or(Corrupt)?;
        let at_log = 2 * self.count as usize;
        let [number, held] = self.journal.log.get(at_log..at_log + 2).ok_or(Corrupt)? else {
            return Err(Corrupt);
        };
        if self.count == 0 {
            // Release, without a partner: a note must not be made before the last change is published, whose undoing would take
            // the note for its own.
            fence(Ordering::Release);
        }
        number.store(u64::from(at), Ordering::Relaxed);
        held.store(word.load(Ordering::Relaxed), Ordering::Relaxed);
        crash_point!("map.noted");
        self.count += 1;
        // Release: the note comes first (J1). A process that takes the lock from a dead owner sees it because that owner's threads
        // have left the processor for good.
        let state = self.generation << COUNT_BITS | self.count;
        self.journal.state.store(state, Ordering::Release);
        // Release: pairs with the Acquire fence in `read`: a reader of the changed word sees the count (J1).
        fence(Ordering::Release);
        word.store(value, Ordering::Relaxed);
        crash_point!("map.changed");
        Ok(())
    }

    /// Notes what a word holds that is about to be overwritten as part of free memory.
    #[inline]
    pub(crate) fn keep(&mut self, at: u32) -> Result<(), Corrupt> {
        let value = self.get(at)?;
        self.set(at, value)
    }

    /// Makes all words of the change valid at once.
    #[inline]
    pub(crate) fn publish(mut self) {
        if self.count != 0 {
            self.count = 0;
            // Release: pairs with the Acquire in `read`.
            self.journal.state.store(rested(self.generation), Ordering::Release);
            crash_point!("map.published");
        }
    }
}

impl Drop for Change<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.count != 0 {
            // It cannot fail: every note was checked when it was made.
            let _ = self.journal.undo(self.generation, self.count);
        }
    }
}

/// The word at rest after a change.
fn rested(generation: u64) -> u64 {
    generation.wrapping_add(1) << COUNT_BITS
}
