//! `EventCount`: lets threads of any process sleep until a word changes, and wakes one; a flag saves the wake-up if none sleeps.
//!
//! | state | flag | moved by | to | if that party dies there |
//! |---|---|---|---|---|
//! | nobody sleeps | down | a sleeper, before it sleeps | sleepers possible | the next to notify wakes nobody: harmless |
//! | sleepers possible | up | the process that changed the word, by compare-exchange | nobody sleeps, then one wake-up | sleepers' slices end by themselves |
//! | | | a sleeper that was woken raises it again | sleepers possible | as above |
//!
//! Sleepers sleep on the event count, not on the word: taking the flag down also counts, in the same store, so a sleeper that has
//! raised the flag and is not asleep yet does not fall asleep. If it slept on the word instead, this could happen: it raises the
//! flag, sees a change, and the flag is taken down for that change; then it falls asleep with the flag down, and nobody who
//! notifies would wake it.
//!
//! # Invariants
//!
//! - B1. A sleeper raises the flag before it looks at the word for the last time; a process that changes the word looks at the
//!   flag afterwards. One of the two sees the other (the fences in between are a pair, see `primitive::asymmetric`).
//! - B2. A process that takes the flag down wakes one sleeper, and that one raises it again for the rest.
//! - B3. A call that has slept wakes the next when it ends, in whatever way: while the flag was down, wake-ups meant for others
//!   were skipped. A process that is the only one ever to sleep there need not.

use crate::primitive::{AtomicU64, Ordering, Wait, asymmetric, crash_point, futex};
use core::time::Duration;

/// The flag; above it, in the lower half, a count of how often it was taken down. The upper half is a stamp's (`stamp`).
pub(super) const RAISED: u64 = 1;

/// The flag and its count. The word that sleepers wait for is a different one.
#[repr(C)]
pub(crate) struct EventCount {
    pub(super) word: AtomicU64,
}

/// What a waiting thread remembers of its last sleep at an event count: flag and count as it slept on them.
#[derive(Default)]
pub(crate) struct Raised(Option<u32>);

impl EventCount {
    #[cfg(procshare_loom)]
    pub(crate) fn new() -> Self {
        EventCount {
            word: AtomicU64::new(0),
        }
    }

    /// Wakes one sleeper, if there may be any. The caller has just changed the word.
    #[inline]
    pub(crate) fn notify(&self) {
        asymmetric::light(); // B1; its partner is in `sleep`.
        if self.word.load(Ordering::Relaxed) & RAISED != 0 {
            self.wake();
        }
    }

    /// Wakes one sleeper, if there may be any (B2).
    #[cold]
    pub(crate) fn wake(&self) {
        // Relaxed: the futex orders what sleepers and wakers do with the event count.
        let mut state = self.word.load(Ordering::Relaxed);
        while state & RAISED != 0 {
            // Adding one to the raised flag takes it down and carries into the count.
            let lowered = state.wrapping_add(RAISED);
            match self
                .word
                .compare_exchange(state, lowered, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => {
                    crash_point!("bell.lowered");
                    futex::wake(&self.word, 1);
                    return;
                }
                // A stamp was put on it: try again. But if another process has taken the flag down, that one wakes a sleeper in
                // our place, even if the flag is up again.
                Err(now) if now as u32 != state as u32 => return,
                Err(now) => state = now,
            }
        }
    }

    /// Wakes all that sleep, or are about to, whether the flag is up or not: there may be sleepers whose flag was taken down for
    /// another that has yet to raise it again.
    #[cold]
    pub(crate) fn wake_all(&self) {
        asymmetric::light(); // B1, if the caller has changed the word.
        self.word.fetch_add(2 * RAISED, Ordering::Relaxed); // Relaxed: as in `wake`.
        futex::wake(&self.word, u32::MAX);
    }

    /// Sleeps while `word` is `seen` and the event count is not notified, one slice at most. `raised` is the caller's memory of its
    /// last sleep here.
    #[cold]
    pub(crate) fn sleep(&self, word: &AtomicU64, seen: u64, raised: &mut Raised, slice: Option<Duration>) -> Wait {
        let state = self.raise();
        // A flag that has been up since the last fence needs no second one. A process that changed the word looked at the flag
        // either before that fence, and then the word's change is seen below, or after it, and then the event count has moved.
        if raised.0 != Some(state as u32) {
            asymmetric::heavy(); // B1; its partner is in `notify`.
            raised.0 = Some(state as u32);
        }
        if word.load(Ordering::Relaxed) != seen {
            return Wait::Changed;
        }
        crash_point!("bell.sleeping");
        let ending = futex::wait(&self.word, state as u32, slice);
        if ending == Wait::Woken {
            crash_point!("bell.woken");
            self.raise(); // B2. No fence: if neither side sees the other here, B3 makes up for it.
        }
        ending
    }

    /// Whether any sleeper may be there, as a hint.
    #[cfg(all(feature = "map", not(procshare_loom)))]
    pub(super) fn is_raised(&self) -> bool {
        self.word.load(Ordering::Relaxed) & RAISED != 0
    }

    /// The word, whose upper half is a stamp's.
    pub(super) fn word(&self) -> &AtomicU64 {
        &self.word
    }

    #[cfg(not(procshare_loom))]
    pub(super) fn reset(&self) {
        self.word.store(0, Ordering::Relaxed);
    }

    fn raise(&self) -> u64 {
        // Relaxed: `sleep` fences.
        self.word.fetch_or(RAISED, Ordering::Relaxed) | RAISED
    }
}
