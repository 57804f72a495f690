//! `Waiting`: one call's wait for the other side of a queue or ring.
//!
//! It looks for a while, then sleeps in slices. When a slice ends and nothing has moved, it asks whether anybody is left on the
//! other side. The answer "nobody" is believed only after one more look for what they may have left (W1).

use super::doorbell::Raised;
use crate::primitive::{AtomicU64, Deadline, Ordering, Polls, Wait};
use crate::raw::{Doorbell, NoSeat, Refused};
use core::time::Duration;
use std::time::Instant;

/// The first sleep; each fruitless one doubles it.
const FIRST_SLICE: Duration = Duration::from_millis(1);
/// The longest: it bounds how late a death is noticed, and how often an idle process wakes.
const LAST_SLICE: Duration = Duration::from_millis(64);

/// Why a call on a queue or ring ended without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nothing to take, or no room, and the call may not wait.
    WouldBlock,
    TimedOut,
    /// It has been closed; for a consumer: and nothing is left.
    Closed,
    /// Nobody is left on the other side; for a consumer: nor anything they left.
    Gone,
    /// The words contradict each other.
    Corrupt,
    /// There is no memory for an item outside the ring, or for a copy of it.
    #[cfg_attr(not(feature = "messages"), allow(dead_code, reason = "slots of a ring lie in it"))]
    OutOfMemory,
    /// The system refused to write or read an item outside the ring.
    #[cfg_attr(not(feature = "messages"), allow(dead_code, reason = "slots of a ring lie in it"))]
    Io,
    /// The lock of the caller's own side was refused.
    Lock(Refused),
    /// All seats are taken, so the caller could not be told from a process that has left.
    NoSeat,
    /// A process that looks for a seat has kept the caller from one for long, and must have been stopped.
    #[cfg_attr(not(feature = "messages"), allow(dead_code, reason = "ends have their seats"))]
    Busy,
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::WouldBlock => Stop::WouldBlock,
            Refused::TimedOut => Stop::TimedOut,
            Refused::WouldDeadlock | Refused::Foreign => Stop::Lock(refused),
        }
    }
}

impl From<NoSeat> for Stop {
    fn from(cause: NoSeat) -> Self {
        match cause {
            NoSeat::Lock(refused) => refused.into(),
            NoSeat::Full(_) | NoSeat::Taken(_) => Stop::NoSeat,
        }
    }
}

/// Tells whether anybody is left on the other side.
pub(crate) type Company<'a> = &'a dyn Fn() -> bool;

/// How long a call may wait, and for whom.
#[derive(Clone, Copy)]
pub(crate) struct Waiting<'a> {
    pub(crate) deadline: Deadline,
    company: Company<'a>,
}

impl<'a> Waiting<'a> {
    #[inline]
    pub(crate) fn new(deadline: Deadline, company: Company<'a>) -> Self {
        Waiting { deadline, company }
    }

    /// Begins to wait: a call that does not wait need not pay for what this takes.
    pub(super) fn begin(self) -> Watch<'a> {
        Watch {
            waiting: self,
            polls: None,
            slice: FIRST_SLICE,
            slept: false,
            raised: Raised::default(),
            asleep: Duration::ZERO,
            alone: false,
        }
    }
}

/// What a call that waits remembers between two looks.
pub(super) struct Watch<'a> {
    waiting: Waiting<'a>,
    polls: Option<Polls>,
    slice: Duration,
    /// Whether this call has slept: if so, it wakes the next when it ends (B3).
    pub(super) slept: bool,
    /// The bell as it raised it last.
    raised: Raised,
    /// For how long, for the next waits of this thread.
    asleep: Duration,
    /// Nobody is left; the next look is the last (W1).
    alone: bool,
}

impl Watch<'_> {
    /// Waits until `word` may have changed from `seen`, or nobody is left that could change it.
    #[cold]
    pub(super) fn until_moved(&mut self, bell: &Doorbell, word: &AtomicU64, seen: u64) -> Result<(), Stop> {
        if self.alone {
            return Err(Stop::Gone); // The look after the verdict found nothing (W1).
        }
        if self.waiting.deadline == Deadline::Now {
            return self.give_up(Stop::WouldBlock);
        }
        let mut polls = self.polls.take().unwrap_or_else(Polls::new);
        while polls.spin() {
            // Relaxed: the caller looks again, with the ordering it needs.
            if word.load(Ordering::Relaxed) != seen {
                polls.gather(|| word.load(Ordering::Relaxed));
                self.polls = Some(polls);
                return Ok(());
            }
        }
        self.polls = Some(polls);
        let left = self.waiting.deadline.left();
        if left == Some(Duration::ZERO) {
            return self.give_up(Stop::TimedOut);
        }
        let slice = left.map_or(self.slice, |left| left.min(self.slice));
        self.slept = true;
        let asleep_since = Instant::now();
        let ending = bell.sleep(word, seen, &mut self.raised, Some(slice));
        self.asleep += asleep_since.elapsed();
        if word.load(Ordering::Relaxed) != seen {
            self.slice = FIRST_SLICE;
            return Ok(());
        }
        match ending {
            Wait::TimedOut => self.slice = (self.slice * 2).min(LAST_SLICE),
            // A producer with much to copy wakes this call before it has finished.
            Wait::Woken => self.polls = Some(Polls::before_news()),
            _ => {}
        }
        self.alone = !(self.waiting.company)();
        Ok(())
    }

    /// Ends a call that may not wait, or not any longer, unless nobody is left: then it looks once more.
    fn give_up(&mut self, stop: Stop) -> Result<(), Stop> {
        self.alone = !(self.waiting.company)();
        if self.alone { Ok(()) } else { Err(stop) }
    }

    /// Remembers how the wait ended, and how much there was in the end, for the next waits of this thread.
    pub(super) fn learn(&self, found: u64, capacity: u64) {
        if let Some(polls) = &self.polls {
            polls.learn(self.asleep, found, capacity);
        }
    }
}
