//! `Waiter`: the one wait under every call that waits: it spins, sleeps in slices, and asks whether anybody is left to wake it.
//!
//! A call waits for a word to move; whoever moves it notifies an event count (`event_count`). What the word means, and who may move
//! it, is for the user of this file, which looks at the word, has this file wait until it may have moved, and looks again.
//!
//! | state of a call | moved by | to | if that party dies there |
//! |---|---|---|---|
//! | spinning | the call: the word has moved | looking | nobody knew of it |
//! | | the call: it has spun long enough, and raises the flag | about to sleep | the flag stays up: the next to notify wakes nobody |
//! | about to sleep | the call: the word has moved | looking | as above |
//! | | the call, by the futex | asleep | as above |
//! | asleep | the peer: moves the word, takes the flag down, wakes it | looking | before the wake-up: the sleeper's slice ends by itself |
//! | | the clock: the slice ends | asking, or looking if the word has moved | – |
//! | looking | the call: it finds what it wants, or its time is up | ended | a wake-up that it was sent is lost: others' slices end |
//! | | the call: it does not | spinning, about to sleep | as above |
//! | asking | the call: a peer is left | looking, then a longer slice | the stamp is set: others ask a little later |
//! | | the call: nobody is left | looking for the last time | the next to ask finds the same |
//!
//! # Invariants
//!
//! - W1. A call sleeps only after it has raised the flag and then found the word unmoved, so that no change is slept through
//!   (B1).
//! - W2. No sleep lasts longer than its slice, nor than what is left of the call's time: a lost wake-up, and a death, hold up the
//!   others for one slice.
//! - W3. Whether a peer is left is asked only when a slice ends and the word has not moved, and by a call about to give up. A
//!   call that finds what it wants asks about nobody.
//! - W4. The answer that nobody is left ends no wait: the call looks once more, for what they may have left, and believes it only
//!   if it finds the word as it was.
//! - W5. A call that has slept wakes the next when it ends, or will when it notifies (B3).
//!
//! All loads here are relaxed: they say when to look, and the user's look has the Acquire that pairs with the Release of whoever
//! moves the word. What orders a sleeper against that party is the pair of fences in `event_count`.

use super::event_count::{EventCount, Raised};
use crate::primitive::{AtomicU64, Deadline, Ordering, Policy, Spin, Wait};
use core::time::Duration;
use std::time::Instant;

/// The first sleep; fruitless ones grow.
const FIRST_SLICE: Duration = Duration::from_millis(1);

/// What a call waits for.
pub(super) trait Awaited {
    /// How to spin before sleeping.
    const POLICY: Policy;

    /// The word that must move, and the event count of those who wait for that.
    fn place(&self) -> (&AtomicU64, &EventCount);

    /// Sleeps while the word is `seen`, one slice at most.
    fn sleep(&self, seen: u64, raised: &mut Raised, slice: Duration) -> Wait {
        let (word, event_count) = self.place();
        event_count.sleep(word, seen, raised, Some(slice))
    }

    /// How long to sleep after a slice that ended so, with the word unmoved: this bounds how late a death is noticed, and how
    /// often an idle process wakes.
    fn next_slice(slice: Duration, ending: Wait) -> Duration;

    /// Whether nobody is left who could move the word from `seen`. `still` is how long the call has slept with the word there;
    /// `Duration::MAX` if it is about to give up.
    fn is_forsaken(&self, seen: u64, still: Duration) -> bool;
}

/// What a call does after it has waited a while.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The word may have moved.
    Look,
    /// Nobody is left to move it: this look is the last, if it finds the word as it was (W4).
    Forsaken,
}

/// Why a call waits no longer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    WouldBlock,
    TimedOut,
}

/// What a call that waits remembers between two looks.
pub(super) struct Waiter {
    deadline: Deadline,
    /// A call that does not wait need not pay for it.
    pub(super) spin: Option<Spin>,
    slice: Duration,
    /// Whether this call has slept (W5).
    pub(super) slept: bool,
    /// Flag and count as of this call's last sleep.
    raised: Raised,
    /// For how long it has slept.
    pub(super) asleep: Duration,
    /// For how long the word has stood still meanwhile.
    still: Duration,
}

impl Waiter {
    pub(super) fn new(deadline: Deadline) -> Self {
        Waiter {
            deadline,
            spin: None,
            slice: FIRST_SLICE,
            slept: false,
            raised: Raised::default(),
            asleep: Duration::ZERO,
            still: Duration::ZERO,
        }
    }

    /// Spins, or sleeps one slice, until the word may have moved from `seen`, or nobody is left that could move it.
    #[cold]
    pub(super) fn until_moved<A: Awaited>(&mut self, awaited: &A, seen: u64) -> Result<Turn, Late> {
        if self.deadline == Deadline::Now {
            return Self::give_up(awaited, seen, Late::WouldBlock);
        }
        let (word, _) = awaited.place();
        let now = || word.load(Ordering::Relaxed);
        let spin = self.spin.get_or_insert_with(|| Spin::new(A::POLICY));
        if spin.turn(seen, now) {
            return Ok(Turn::Look);
        }
        let left = self.deadline.left();
        if left == Some(Duration::ZERO) {
            return Self::give_up(awaited, seen, Late::TimedOut);
        }
        let slice = left.map_or(self.slice, |left| left.min(self.slice)); // W2.
        self.slept = true;
        let asleep_since = Instant::now();
        let ending = awaited.sleep(seen, &mut self.raised, slice);
        let asleep = asleep_since.elapsed();
        self.asleep += asleep;
        // A signal ends a sleep too: what counts is whether the word has moved, not why the sleep ended.
        if now() != seen {
            (self.slice, self.still) = (FIRST_SLICE, Duration::ZERO);
            return Ok(Turn::Look);
        }
        self.still += asleep;
        self.slice = A::next_slice(self.slice, ending);
        if ending == Wait::Woken {
            spin.woken_in_vain(); // A peer wakes it before it has finished.
        }
        Ok(Self::ask(awaited, seen, self.still))
    }

    /// Ends a call that may not wait, or not any longer, unless nobody is left: then it looks once more (W4).
    fn give_up(awaited: &impl Awaited, seen: u64, late: Late) -> Result<Turn, Late> {
        match Self::ask(awaited, seen, Duration::MAX) {
            Turn::Look => Err(late),
            Turn::Forsaken => Ok(Turn::Forsaken),
        }
    }

    fn ask(awaited: &impl Awaited, seen: u64, still: Duration) -> Turn {
        if awaited.is_forsaken(seen, still) {
            Turn::Forsaken
        } else {
            Turn::Look
        }
    }
}
