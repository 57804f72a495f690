//! `RawMutex`: a lock that survives the death of its holder.
//!
//! One word holds the owner and two flags (see `primitive::owner`); zero is free and consistent.
//!
//! | state | word | moved by | to | if that party dies there |
//! |---|---|---|---|---|
//! | free | `0` or `I` | any thread, compare-exchange | held | the lock is held by a dead owner |
//! | held | `owner [I]` | its owner, by one store | free; then it notifies | a waiter proves it and takes over; sleepers' slices end by themselves |
//! | | | a waiter that proved the owner dead | `waiter I` | the next waiter proves *that* one dead |
//!
//! `I` (inconsistent) comes with every take-over, in the same store, and stays through unlocks until an owner declares the data
//! whole. An owner that publishes by one store may do so at once; one that writes in place must tell its users first.
//!
//! Waiters are not marked in the word but on an event count beside it. So only its owner changes the word of a held lock, and
//! unlocking is a plain store, which saves one of the two read-modify-writes that a lock otherwise costs.
//!
//! # Invariants
//!
//! - M1. A held word becomes free once, by the thread it names or one that has that thread's `Held`: `unlock` compares the whole
//!   id. The end of a thread frees nothing; only the end of its process does.
//! - M2. A sleeper has raised the event count's flag before it looked at the word for the last time; the owner that frees the word
//!   notifies.
//! - M3. A waiter that was woken raises the flag again, and notifies when it unlocks or gives up: others may still be asleep.
//! - M4. A living owner's word is never taken: take-over follows proof of death, and compares the whole word.
//! - M5. A wake-up that dies with its receiver delays the others by one slice at most.

use super::event_count::{EventCount, Raised};
use super::stamp::{self, CHECK_EVERY_MS, Half};
use super::wait::{Awaited, Late, Turn, Waiter};
use crate::primitive::owner::INCONSISTENT;
use crate::primitive::{
    AtomicU64, Deadline, Foreign, Ordering, OwnerId, Peers, Policy, Wait, crash_point, current_owner,
    is_current_process,
};
use core::time::Duration;

/// The longest sleep between two looks at the owner.
const LAST_SLICE: Duration = Duration::from_millis(32);
/// How long a word must stay unchanged before waiters also ask whether its owner called `exec`.
const EXEC_AFTER: Duration = Duration::from_millis(50);

/// How long a holder that only copies something may take: others wait this long even if they may not wait.
const SHORTLY: Duration = Duration::from_millis(20);

/// A robust lock: two words, zero when free.
#[repr(C)]
pub(crate) struct RawMutex {
    pub(super) word: AtomicU64,
    /// Waiters sleep on it until the word changes; its upper half says when the kernel was last asked about the owner.
    pub(super) event_count: EventCount,
}

/// Proof of holding: the owner, and whether the data may be half-written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) owner: OwnerId,
    pub(crate) inconsistent: bool,
}

/// Why a lock was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    WouldBlock,
    TimedOut,
    WouldDeadlock,
    Foreign,
}

impl From<Late> for Refused {
    fn from(late: Late) -> Self {
        match late {
            Late::WouldBlock => Refused::WouldBlock,
            Late::TimedOut => Refused::TimedOut,
        }
    }
}

impl From<Foreign> for Refused {
    fn from(_: Foreign) -> Self {
        Refused::Foreign
    }
}

impl RawMutex {
    #[cfg(procshare_loom)]
    pub(crate) fn new() -> Self {
        RawMutex {
            word: AtomicU64::new(0),
            event_count: EventCount::new(),
        }
    }

    /// The lock whose words are the two from `at` on.
    #[cfg(not(procshare_loom))]
    pub(crate) fn in_words(words: &[AtomicU64], at: usize) -> &Self {
        let words = &words[at..at + size_of::<Self>() / 8];
        // SAFETY: the slice is as long and as aligned as a RawMutex, which is made of AtomicU64 alone.
        unsafe { &*words.as_ptr().cast::<Self>() }
    }

    /// Takes the lock, waiting until `deadline` at most. Only a call that waits asks for the peers.
    #[inline]
    pub(crate) fn lock(&self, peers: impl FnOnce() -> Peers, deadline: Deadline) -> Result<Held, Refused> {
        self.lock_counted(None, peers, deadline)
    }

    /// As [`lock`](Self::lock); `passes` is a number its owners count up, by which waiters see how many pass.
    #[inline]
    pub(crate) fn lock_counted(
        &self,
        passes: Option<&AtomicU64>,
        peers: impl FnOnce() -> Peers,
        deadline: Deadline,
    ) -> Result<Held, Refused> {
        let me = current_owner()?;
        // Acquire: pairs with the Release in `unlock`, so that what the last owner wrote is seen.
        match self
            .word
            .compare_exchange(0, me.word(), Ordering::Acquire, Ordering::Relaxed)
        {
            Ok(_) => {
                crash_point!("lock.acquired");
                Ok(Held {
                    owner: me,
                    inconsistent: false,
                })
            }
            Err(word) => self.lock_contended(word, me, passes, &peers(), deadline),
        }
    }

    /// As [`lock`](Self::lock), for locks that are only held for a moment: a call that may not wait for what they guard may
    /// still wait for that moment.
    #[inline]
    pub(crate) fn lock_while_held_shortly(
        &self,
        peers: impl Fn() -> Peers,
        deadline: Deadline,
    ) -> Result<Held, Refused> {
        match self.lock(&peers, deadline) {
            // A model has no clock, and no process is stopped in it: there the moment always passes.
            Err(Refused::WouldBlock) if cfg!(procshare_loom) => self.lock(&peers, Deadline::Never),
            Err(Refused::WouldBlock) => match self.lock(&peers, Deadline::after(SHORTLY)) {
                Err(Refused::TimedOut) => Err(Refused::WouldBlock),
                outcome => outcome,
            },
            outcome => outcome,
        }
    }

    /// Gives the lock back. The caller holds it as `owner`.
    #[inline]
    pub(crate) fn unlock(&self, owner: OwnerId) {
        crash_point!("unlock.begin");
        // Relaxed: only the owner changes the word while it lives (M1, M4).
        let word = self.word.load(Ordering::Relaxed);
        if OwnerId::in_word(word) == Some(owner) {
            // Release: pairs with the Acquire of the next to lock.
            self.word.store(word & INCONSISTENT, Ordering::Release);
            crash_point!("unlock.released");
            self.event_count.notify(); // M2.
        }
    }

    /// Whether the calling process is the one that locked as `owner`: false in a fork child that inherited a guard.
    /// A guard may have moved to another thread of it, so threads are not compared.
    #[inline]
    pub(crate) fn is_caller(owner: OwnerId) -> bool {
        is_current_process(owner)
    }

    /// Whether the lock seems to be free, without a dead holder.
    #[cfg(feature = "messages")]
    pub(crate) fn seems_free(&self) -> bool {
        self.word.load(Ordering::Relaxed) == 0 // Relaxed: a hint.
    }

    /// Declares the data whole again. The caller holds the lock.
    pub(crate) fn mark_consistent(&self) {
        // Relaxed: the unlock that follows publishes it.
        self.word.fetch_and(!INCONSISTENT, Ordering::Relaxed);
    }

    /// Declares that the data may be half-written. The caller holds the lock.
    pub(crate) fn mark_inconsistent(&self) {
        // Relaxed: the unlock that follows publishes it.
        self.word.fetch_or(INCONSISTENT, Ordering::Relaxed);
    }

    /// Forgets an owner of an earlier start of the machine. The caller is alone with the segment.
    #[cfg(not(procshare_loom))]
    pub(crate) fn reset(&self) {
        let word = self.word.load(Ordering::Relaxed);
        let inconsistent = OwnerId::in_word(word).is_some() || word & INCONSISTENT != 0;
        self.word
            .store(if inconsistent { INCONSISTENT } else { 0 }, Ordering::Relaxed);
        self.event_count.reset();
    }

    /// Whether a waiter sleeps until the lock is free, as a hint.
    #[cfg(all(feature = "map", not(procshare_loom)))]
    pub(crate) fn is_wanted(&self) -> bool {
        self.event_count.is_raised()
    }

    /// The lock's current owner, as a hint.
    #[cfg(not(procshare_loom))]
    pub(crate) fn owner(&self) -> Option<OwnerId> {
        OwnerId::in_word(self.word.load(Ordering::Relaxed))
    }

    /// Waits for the lock. `word` is what the first attempt found.
    #[cold]
    fn lock_contended(
        &self,
        word: u64,
        me: OwnerId,
        passes: Option<&AtomicU64>,
        peers: &Peers,
        deadline: Deadline,
    ) -> Result<Held, Refused> {
        let contended = Contended {
            mutex: self,
            me,
            peers,
            passes,
            passes_before: passes.map_or(0, |passes| passes.load(Ordering::Relaxed)), // Relaxed: a hint about speed.
        };
        let mut waiter = Waiter::new(deadline);
        let outcome = contended.lock(word, &mut waiter);
        if waiter.slept && outcome.is_err() {
            self.event_count.wake(); // M3.
        }
        outcome
    }
}

/// A lock that another may hold, and the call that wants it.
struct Contended<'a> {
    mutex: &'a RawMutex,
    me: OwnerId,
    peers: &'a Peers,
    /// What owners count up, where there is such a thing, and its value when the wait began.
    passes: Option<&'a AtomicU64>,
    passes_before: u64,
}

impl Contended<'_> {
    fn lock(&self, mut word: u64, waiter: &mut Waiter) -> Result<Held, Refused> {
        loop {
            let free = match OwnerId::in_word(word) {
                None => word,
                Some(owner) if owner == self.me => return Err(Refused::WouldDeadlock),
                Some(_) => {
                    if waiter.until_moved(self, word)? == Turn::Forsaken {
                        if let Some(held) = self.take_over(word) {
                            return Ok(held);
                        }
                    }
                    word & INCONSISTENT
                }
            };
            match self.acquire_free(free, waiter) {
                Ok(held) => return Ok(held),
                Err(now) => word = now,
            }
        }
    }

    /// One compare-exchange from free; keeps `I`. Returns the word if it is another: looking and taking are one step, since
    /// either takes the cache line from the owner.
    fn acquire_free(&self, free: u64, waiter: &Waiter) -> Result<Held, u64> {
        let mine = self.me.word() | free & INCONSISTENT;
        // Acquire: pairs with the Release in `unlock`.
        self.mutex
            .word
            .compare_exchange(free, mine, Ordering::Acquire, Ordering::Relaxed)?;
        if let Some(spin) = &waiter.spin {
            spin.learn_of_lock(waiter.slept, self.passes_seen());
        }
        crash_point!("lock.acquired");
        Ok(Held {
            owner: self.me,
            inconsistent: free & INCONSISTENT != 0,
        })
    }

    /// Takes the place of the owner in `word`, who is dead (M4).
    fn take_over(&self, word: u64) -> Option<Held> {
        let mine = self.me.word() | INCONSISTENT;
        // Acquire: what the dead owner had stored is visible, its threads having left the processor for good (M4).
        self.mutex
            .word
            .compare_exchange(word, mine, Ordering::Acquire, Ordering::Relaxed)
            .ok()?;
        crash_point!("lock.taken_over");
        Some(Held {
            owner: self.me,
            inconsistent: true,
        })
    }

    /// How many owners have passed since the wait began, if that can be told.
    fn passes_seen(&self) -> u64 {
        self.passes.map_or(0, |passes| {
            passes.load(Ordering::Relaxed).wrapping_sub(self.passes_before) // Relaxed: as above.
        })
    }
}

impl Awaited for Contended<'_> {
    const POLICY: Policy = Policy::Lock;

    fn place(&self) -> (&AtomicU64, &EventCount) {
        (&self.mutex.word, &self.mutex.event_count)
    }

    fn sleep(&self, seen: u64, raised: &mut Raised, slice: Duration) -> Wait {
        crash_point!("lock.waiting");
        let ending = self
            .mutex
            .event_count
            .sleep(&self.mutex.word, seen, raised, Some(slice));
        if ending == Wait::Woken {
            crash_point!("lock.woken");
        }
        ending
    }

    fn next_slice(slice: Duration, _ending: Wait) -> Duration {
        (slice * 2).min(LAST_SLICE)
    }

    /// Whether the owner is dead, unless another waiter has just asked.
    fn is_forsaken(&self, seen: u64, still: Duration) -> bool {
        stamp::claim_check(self.mutex.event_count.word(), Half::Upper, CHECK_EVERY_MS)
            && OwnerId::in_word(seen).is_some_and(|owner| self.peers.is_dead(owner, still >= EXEC_AFTER))
    }
}

#[cfg(not(procshare_loom))]
const _: () = {
    assert!(size_of::<RawMutex>() == 16);
    assert!(core::mem::offset_of!(RawMutex, word) == 0);
};
